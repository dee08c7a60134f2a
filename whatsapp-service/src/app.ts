import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { newId } from '@chasqui/shared';
import { listen } from '@chasqui/shared/express';
import { createBackend } from './backend.js';
import { systemClock, type Clock } from './clock.js';
import type { WorkerConfig } from './config.js';
import { createDisk } from './disk.js';
import type { Engine } from './engine/engine.js';
import { createEngine } from './engine/wwebjs/client.js';
import { createDelivery } from './events/delivery.js';
import { bareEvent, createOutlet } from './events/outlet.js';
import { createHeartbeat } from './heartbeat.js';
import { createServer } from './http/server.js';
import { createLog, type Log } from './log.js';
import { createSendRecord } from './sends/record.js';
import { createSender } from './sends/sender.js';
import { createGate } from './sessions/gate.js';
import { createMarks } from './sessions/marks.js';
import { createProfiles } from './sessions/profiles.js';
import { acquireLock } from './sessions/profile-lock.js';
import { createRegistry } from './sessions/registry.js';
import { createSession } from './sessions/session.js';
import { onceInStore, openStore } from './store.js';
import { version } from './version.js';

export interface Worker {
  url: string;
  log: Log;
  workerId: string;
  /** Something went wrong that nobody waited for; health tells. */
  noteTrouble(): void;
  close(): Promise<void>;
}

const flushMs = 5_000;
const hourMs = 3_600_000;
const minuteMs = 60_000;

/** Builds and starts a worker: the only place that constructs and wires. `engine` and `clock` are replaced in tests. */
export async function startWorker(
  config: WorkerConfig,
  over: { engine?: Engine; clock?: Clock; log?: Log } = {},
): Promise<Worker> {
  const clock = over.clock ?? systemClock;
  const log = over.log ?? createLog(config.logLevel, { process: 'worker' });
  const lock = await acquireLock(join(config.dir, 'worker.lock'));
  const uploadDir = join(config.dir, 'tmp');
  await rm(uploadDir, { recursive: true, force: true });
  const store = openStore(join(config.dir, 'worker.sqlite'));
  const worker = { workerId: onceInStore(store, 'workerId', () => `worker-${randomUUID().slice(0, 8)}`), bootId: randomUUID() };
  const marks = createMarks(store);
  const record = createSendRecord(store, clock);
  const outlet = createOutlet({ store, clock, log, newId: () => newId(clock.now()), seenDays: 30 });
  const backend = createBackend({ url: config.backendUrl, serviceKey: config.serviceKey, defaultTimeoutMs: 10_000 });
  const delivery = createDelivery({ outlet, call: backend.call, worker, epochOf: marks.epoch, clock, random: Math.random, log });
  const engine =
    over.engine ??
    createEngine({
      browser: config.browser,
      loadTimeoutMs: config.initTimeoutMs,
      onOddity: (sentence, fields) => log.warn(sentence, fields),
    });
  const profiles = createProfiles({ dir: config.dir, clock, log });
  const gate = createGate(config.startConcurrency);
  const registry = createRegistry({
    maxSessions: config.maxSessions,
    memoryLimitMb: config.memoryLimitMb,
    leaseMs: config.leaseMs,
    now: clock.now,
    onBare: outlet.strip,
    log,
    create: (id) =>
      createSession(id, {
        engine,
        profiles,
        gate,
        marks,
        clock,
        random: Math.random,
        log,
        readopt: (epoch) => outlet.readopt(id, epoch),
        emit: (event) => outlet.append(id, marks.epoch(id), registry.isBare(id) ? bareEvent(event) : event),
        initTimeoutMs: config.initTimeoutMs,
        probeMs: config.probeMs,
        maxReconnectAttempts: config.maxReconnectAttempts,
        recycleAboveMb: config.recycleAboveMb,
      }),
  });
  const sender = createSender({ record, log, draining: registry.isDraining, sessionFor: registry.under });
  const disk = createDisk({ dir: config.dir, warnBelowMb: config.diskWarnMb, pending: outlet.pending, log });
  await disk.look();
  let troubles = 0;
  const app = createServer({
    serviceKey: config.serviceKey,
    maxFileSize: config.maxFileSize,
    uploadDir,
    log,
    routes: {
      registry,
      sender,
      record,
      worker: { ...worker, version, capacity: config.maxSessions },
      browser: { path: config.browser.path, profile: config.browser.profile },
      sendDeadlineMs: config.sendDeadlineMs,
      outletPending: outlet.pending,
      isHealthy: () => outlet.healthy() && disk.hasRoom() && troubles === 0,
      diskFreeMb: disk.freeMb,
    },
  });
  const server = listen(app, config.port, config.host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = config.port === 0 || config.url === null ? `http://127.0.0.1:${port}` : config.url;
  const heartbeat = createHeartbeat({
    call: backend.call,
    registry,
    worker: { ...worker, url, version, capacity: config.maxSessions, memoryLimitMb: config.memoryLimitMb },
    everyMs: config.heartbeatMs,
    clock,
    log,
  });
  delivery.start();
  heartbeat.start();
  const pruning = setInterval(() => {
    record.prune();
    outlet.prune();
  }, hourMs);
  pruning.unref();
  const watchingDisk = setInterval(() => void disk.look(), minuteMs);
  watchingDisk.unref();
  log.info('The worker is ready.', { workerId: worker.workerId, port, version, browserProfile: config.browser.profile });

  return {
    url,
    log,
    workerId: worker.workerId,
    noteTrouble: () => void (troubles += 1),
    async close() {
      heartbeat.stop();
      clearInterval(pruning);
      clearInterval(watchingDisk);
      // Running sends finish, because a session waits for its lane; then browsers close, and what they told is handed over.
      await registry.close();
      await delivery.stop(flushMs);
      await shut(server);
      backend.close();
      record.flush();
      outlet.saveMark();
      store.close();
      await lock.release();
      log.info('The worker has stopped.', { workerId: worker.workerId });
    },
  };
}

const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 1_000).unref();
  });
