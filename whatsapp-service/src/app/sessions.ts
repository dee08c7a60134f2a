import { join } from 'node:path';
import { createEgress } from '@chasqui/shared/egress';
import type { Engine } from '../engine/engine.js';
import { createEngine } from '../engine/wwebjs/client.js';
import type { Outlet } from '../events/outlet.js';
import { bareEvent } from '../events/payload.js';
import { countPhoneRequests, countSends } from '../metrics.js';
import { createProxyConnector } from '../proxy/connect.js';
import { createProxies } from '../proxy/proxies.js';
import { createSendRecord, type SendRecord } from '../sends/record.js';
import { createSender, type Sender } from '../sends/sender.js';
import { createIncomingCalls } from '../sessions/incoming-calls.js';
import { createProfiles, type Profiles } from '../sessions/profiles.js';
import { createRegistry, type Registry } from '../sessions/registry.js';
import { createSession, type Session } from '../sessions/session.js';
import { createSessionSettings, type SessionSettings } from '../sessions/session-settings.js';
import type { SessionDeps } from '../sessions/session-state.js';
import { createStartLimit } from '../sessions/start-limit.js';
import { createWorkerArchive, type WorkerArchive } from '../sessions/worker-archive.js';
import { traceSender } from '../traced.js';
import type { Foundation, Overrides } from './foundation.js';

export interface SessionParts {
  registry: Registry;
  sender: Sender;
  record: SendRecord;
  archive: WorkerArchive;
}

/** Running sends finish and browsers close. A send that is cut off here is uncertain and is looked up after the next start. */
const sessionsStopMs = 11_000;

/** The sessions with their browsers, and the sends. */
export function createSessionParts(core: Foundation, outlet: Outlet, over: Overrides): SessionParts {
  const { config, lifecycle, log, clock, problems, store } = core;
  const record = createSendRecord(store, clock, (error) => problems.note('STORE_WRITE_FAILED', { detail: 'send record', error }));
  lifecycle.add('send record', { phase: 'data', stop: () => record.flush() });
  const settings = createSessionSettings({ clock, log, strip: outlet.strip });
  const profiles = createProfiles({ dir: config.dir, clock, log });
  const registry = createRegistry({
    create: sessionFactory(core, outlet, settings, profiles, over.engine ?? createBrowserEngine(core)),
    settings,
    maxSessions: config.maxSessions,
    memoryLimitMb: config.memoryLimitMb,
    leaseMs: config.leaseMs,
    clock,
    log,
  });
  lifecycle.add('sessions', { phase: 'work', stop: () => registry.close(), withinMs: sessionsStopMs });
  outlet.onMissed((sessionIds) => {
    for (const session of registry.all()) if (sessionIds.includes(session.id)) session.onMissedMessages();
  });
  const sender = createSender({
    record,
    log,
    draining: registry.isDraining,
    sessionFor: registry.under,
    onEnded: countSends(core.meter),
  });
  const archive = createWorkerArchive({ store, profiles, registry, tmp: join(config.dir, 'tmp') });
  return { registry, sender: core.tracing ? traceSender(sender, core.tracing) : sender, record, archive };
}

const createBrowserEngine = ({ config, log, meter }: Foundation): Engine =>
  createEngine({
    browser: config.browser,
    loadTimeoutMs: config.initTimeoutMs,
    maxFileSize: config.maxFileSize,
    asksPhone: config.asksPhone,
    onAskedPhone: countPhoneRequests(meter),
    onWarning: (sentence, fields) => log.warn(sentence, fields),
  });

function sessionFactory(
  { config, log, clock, problems, marks, calls }: Foundation,
  outlet: Outlet,
  settings: SessionSettings,
  profiles: Profiles,
  engine: Engine,
): (id: string) => Session {
  const startLimit = createStartLimit(config.startConcurrency);
  const proxies = createProxies(createProxyConnector({ egress: createEgress({ allow: config.egressAllow }) }));
  return (id) => {
    const emit: SessionDeps['emit'] = (event) =>
      outlet.append(id, marks.epoch(id), settings.isBare(id) ? bareEvent(event, settings.keywords(id)) : event);
    return createSession(id, {
      engine,
      profiles,
      startLimit,
      pairingNumber: () => settings.pairingNumber(id),
      proxy: () => settings.proxy(id),
      proxies,
      marks,
      clock,
      random: Math.random,
      log,
      problems,
      readopt: (epoch) => outlet.readopt(id, epoch),
      watched: (since) => outlet.watched(id, since),
      emit,
      calls: createIncomingCalls({
        sessionId: id,
        record: calls,
        rejects: () => settings.rejectsCalls(id),
        isBare: () => settings.isBare(id),
        emit,
        problems,
      }),
      initTimeoutMs: config.initTimeoutMs,
      probeMs: config.probeMs,
      maxQrCodes: config.maxQrCodes,
      maxReconnectAttempts: config.maxReconnectAttempts,
      mayReconnect: () => settings.mayReconnect(id),
      recycleAboveMb: () => settings.recycleAboveMb(id) ?? config.recycleAboveMb,
      copyEveryMs: config.copyEveryMs,
    });
  };
}
