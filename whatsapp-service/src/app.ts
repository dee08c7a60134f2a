import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { newId } from '@chasqui/shared';
import { closeWaitingConnections, listen } from '@chasqui/shared/express';
import { createLifecycle, type Lifecycle } from '@chasqui/shared/process';
import { createBackend } from './backend.js';
import { guardTimers, repeat, systemClock, type Clock } from './clock.js';
import type { WorkerConfig } from './config.js';
import { createDisk } from './disk.js';
import type { Engine } from './engine/engine.js';
import { createEngine } from './engine/wwebjs/client.js';
import { createDelivery } from './events/delivery.js';
import { createOutlet } from './events/outlet.js';
import { bareEvent } from './events/payload.js';
import { createHeartbeat } from './heartbeat.js';
import { createServer } from './http/server.js';
import { createLog, type Log } from './log.js';
import { createProblems } from './problems.js';
import { createSendRecord } from './sends/record.js';
import { createSender } from './sends/sender.js';
import { createMarks } from './sessions/marks.js';
import { createProfiles } from './sessions/profiles.js';
import { acquireLock } from './sessions/profile-lock.js';
import { createRegistry } from './sessions/registry.js';
import { createSessionSettings } from './sessions/session-settings.js';
import { createSession } from './sessions/session.js';
import { createStartLimit } from './sessions/start-limit.js';
import { onceInStore, openStore } from './store.js';
import { version } from './version.js';

export interface Worker {
  url: string;
  log: Log;
  workerId: string;
  /** An unhandled rejection. The worker calls itself degraded until five minutes have passed without another one. */
  noteTrouble(error?: unknown): void;
  /** Resolves to the names of the parts that did not stop in order. */
  close(): Promise<readonly string[]>;
}

const flushMs = 5_000;
/** Running sends finish and browsers close. A send that is cut off here is uncertain and is looked up after the next start. */
const sessionsStopMs = 11_000;
const hourMs = 3_600_000;
const minuteMs = 60_000;

interface Overrides {
  engine?: Engine;
  clock?: Clock;
  log?: Log;
}

/** Starts a worker. A start that fails closes everything that it opened. `engine` and `clock` are replaced in tests. */
export async function startWorker(config: WorkerConfig, over: Overrides = {}): Promise<Worker> {
  const log = over.log ?? createLog(config.logLevel, { process: 'worker' });
  const lifecycle = createLifecycle(log);
  try {
    return await buildWorker(config, over, log, lifecycle);
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

/** The only place that constructs and connects components. Each one registers itself with the lifecycle as soon as it is open. */
async function buildWorker(config: WorkerConfig, over: Overrides, log: Log, lifecycle: Lifecycle): Promise<Worker> {
  const bareClock = over.clock ?? systemClock;
  const problems = createProblems({ clock: bareClock, log });
  const clock = guardTimers(bareClock, (error) => problems.note('TASK_FAILED', { detail: 'timer', error }));
  const lock = await acquireLock(join(config.dir, 'worker.lock'));
  lifecycle.add('worker lock', { phase: 'locks', stop: () => lock.release() });
  const uploadDir = join(config.dir, 'tmp');
  await rm(uploadDir, { recursive: true, force: true });
  const store = openStore(join(config.dir, 'worker.sqlite'));
  lifecycle.add('store', { phase: 'data', stop: () => store.close() });
  const worker = { workerId: onceInStore(store, 'workerId', () => `worker-${randomUUID().slice(0, 8)}`), bootId: randomUUID() };
  const marks = createMarks(store);
  const record = createSendRecord(store, clock, (error) => problems.note('STORE_WRITE_FAILED', { detail: 'send record', error }));
  lifecycle.add('send record', { phase: 'data', stop: () => record.flush() });
  const outlet = createOutlet({ store, clock, log, problems, marks, newId: () => newId(clock.now()), seenDays: 30 });
  lifecycle.add('outlet', { phase: 'data', stop: () => outlet.saveMark() });
  const backend = createBackend({ url: config.backendUrl, serviceKey: config.serviceKey, defaultTimeoutMs: 10_000 });
  const delivery = createDelivery({
    outlet,
    call: backend.call,
    worker,
    epochOf: marks.epoch,
    clock,
    random: Math.random,
    log,
    problems,
  });
  lifecycle.add('event delivery', {
    phase: 'connections',
    start: () => delivery.start(),
    stop: () => delivery.stop(flushMs).finally(() => backend.close()),
    withinMs: flushMs + 1_000,
  });
  const engine =
    over.engine ??
    createEngine({
      browser: config.browser,
      loadTimeoutMs: config.initTimeoutMs,
      maxFileSize: config.maxFileSize,
      onWarning: (sentence, fields) => log.warn(sentence, fields),
    });
  const profiles = createProfiles({ dir: config.dir, clock, log });
  const startLimit = createStartLimit(config.startConcurrency);
  const settings = createSessionSettings({ clock, log, strip: outlet.strip });
  const registry = createRegistry({
    settings,
    maxSessions: config.maxSessions,
    memoryLimitMb: config.memoryLimitMb,
    leaseMs: config.leaseMs,
    clock,
    log,
    create: (id) =>
      createSession(id, {
        engine,
        profiles,
        startLimit,
        marks,
        clock,
        random: Math.random,
        log,
        problems,
        readopt: (epoch) => outlet.readopt(id, epoch),
        watched: (since) => outlet.watched(id, since),
        emit: (event) => outlet.append(id, marks.epoch(id), settings.isBare(id) ? bareEvent(event) : event),
        initTimeoutMs: config.initTimeoutMs,
        probeMs: config.probeMs,
        maxQrCodes: config.maxQrCodes,
        maxReconnectAttempts: config.maxReconnectAttempts,
        mayReconnect: () => settings.mayReconnect(id),
        recycleAboveMb: config.recycleAboveMb,
      }),
  });
  lifecycle.add('sessions', { phase: 'work', stop: () => registry.close(), withinMs: sessionsStopMs });
  const sender = createSender({ record, log, draining: registry.isDraining, sessionFor: registry.under });
  const disk = createDisk({ dir: config.dir, warnBelowMb: config.diskWarnMb, pending: outlet.pending, log });
  await disk.check();
  const isHealthy = (): boolean => outlet.healthy() && disk.hasRoom() && !problems.isDegraded();
  outlet.onMissed((sessionIds) => {
    for (const session of registry.all()) if (sessionIds.includes(session.id)) session.missed();
  });
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
      isHealthy,
      diskFreeMb: disk.freeMb,
    },
  });
  const server = listen(app, config.port, config.host, {
    maxConnections: 1_024,
    // Above the longest deadline that a command may have.
    idleMs: 660_000,
  });
  await once(server, 'listening');
  lifecycle.add('HTTP server', { phase: 'connections', stop: () => shut(server) });
  const { port } = server.address() as AddressInfo;
  const url = config.port === 0 || config.url === null ? `http://127.0.0.1:${port}` : config.url;
  const heartbeat = createHeartbeat({
    call: backend.call,
    registry,
    worker: { ...worker, url, version, capacity: config.maxSessions, memoryLimitMb: config.memoryLimitMb },
    everyMs: config.heartbeatMs,
    isHealthy,
    problems,
    clock,
    log,
  });
  lifecycle.add('heartbeat', { phase: 'intake', start: () => heartbeat.start(), stop: () => heartbeat.stop() });
  await lifecycle.start();
  // Each task fails alone: on a full disk the first one fails, the others and the process go on.
  const tasks: readonly (readonly [name: string, everyMs: number, run: () => void | Promise<void>])[] = [
    ['prune sends', hourMs, record.prune],
    ['prune outlet', hourMs, outlet.prune],
    ['check the disk', minuteMs, disk.check],
  ];
  const stopTasks = tasks.map(([detail, everyMs, run]) =>
    repeat(clock, everyMs, run, (error) => problems.note('TASK_FAILED', { detail, error })),
  );
  lifecycle.add('timers', { phase: 'intake', stop: () => stopTasks.forEach((stop) => stop()) });
  log.info('The worker is ready.', { workerId: worker.workerId, port, version, browserProfile: config.browser.profile });

  return {
    url,
    log,
    workerId: worker.workerId,
    noteTrouble: (error) => problems.note('UNHANDLED_REJECTION', { detail: 'process', error }),
    async close() {
      const unfinished = await lifecycle.stop();
      log.info('The worker has stopped.', { workerId: worker.workerId });
      return unfinished;
    },
  };
}

const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    closeWaitingConnections(server);
    setTimeout(() => server.closeAllConnections(), 1_000).unref();
  });
