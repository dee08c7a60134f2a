import { createLifecycle, type Lifecycle } from '@chasqui/shared/process';
import { repeat } from '../clock.js';
import type { WorkerConfig } from '../config.js';
import { createDisk, type Disk } from '../disk.js';
import type { Outlet } from '../events/outlet.js';
import { createHeartbeat } from '../heartbeat.js';
import { createLog, type Log } from '../log.js';
import type { SendRecord } from '../sends/record.js';
import { version } from '../version.js';
import { createEventParts } from './events.js';
import { openFoundation, type Foundation, type Overrides } from './foundation.js';
import { openServer } from './http.js';
import { createSessionParts } from './sessions.js';

export interface Worker {
  url: string;
  log: Log;
  workerId: string;
  /** Reports an unhandled rejection. The worker is degraded until five minutes have passed without another one. */
  noteTrouble(error?: unknown): void;
  /** Resolves to the names of the parts that did not stop in order. */
  close(): Promise<readonly string[]>;
}

const hourMs = 3_600_000;
const minuteMs = 60_000;

/** Starts a worker. A start that fails closes everything that it opened. */
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

/** The files of this folder are the only ones that construct components. Each one registers with the lifecycle where it is built. */
async function buildWorker(config: WorkerConfig, over: Overrides, log: Log, lifecycle: Lifecycle): Promise<Worker> {
  const core = await openFoundation(config, over, log, lifecycle);
  const { clock, problems, identity } = core;
  const { outlet, call } = createEventParts(core);
  const sessions = createSessionParts(core, outlet, over);
  const { registry, record } = sessions;
  const disk = createDisk({ dir: config.dir, warnBelowMb: config.diskWarnMb, pending: outlet.pending, log });
  await disk.check();
  const isHealthy = (): boolean => outlet.healthy() && disk.hasRoom() && !problems.isDegraded();
  const port = await openServer(core, sessions, { outlet, disk, isHealthy, isLogReplaced: over.log !== undefined });
  const url = config.port === 0 || config.url === null ? `http://127.0.0.1:${port}` : config.url;
  const heartbeat = createHeartbeat({
    call,
    registry,
    worker: { ...identity, url, version, capacity: config.maxSessions, memoryLimitMb: config.memoryLimitMb },
    everyMs: config.heartbeatMs,
    isHealthy,
    problems,
    clock,
    log,
  });
  lifecycle.add('heartbeat', { phase: 'intake', start: () => heartbeat.start(), stop: () => heartbeat.stop() });
  addTasks(core, record, outlet, disk);
  await lifecycle.start();
  log.info('The worker is ready.', {
    workerId: identity.workerId,
    port,
    version,
    browserProfile: config.browser.profile,
  });
  return {
    url,
    log,
    workerId: identity.workerId,
    noteTrouble: (error) => problems.note('UNHANDLED_REJECTION', { detail: 'process', error }),
    async close() {
      const unfinished = await lifecycle.stop();
      log.info('The worker has stopped.', { workerId: identity.workerId });
      return unfinished;
    },
  };
}

/** Each task fails alone: on a full disk the first one fails, the others and the process go on. */
function addTasks({ lifecycle, clock, problems, calls }: Foundation, record: SendRecord, outlet: Outlet, disk: Disk): void {
  const tasks: readonly { name: string; everyMs: number; run: () => void | Promise<void> }[] = [
    { name: 'prune sends', everyMs: hourMs, run: record.prune },
    { name: 'prune calls', everyMs: hourMs, run: calls.prune },
    { name: 'prune outlet', everyMs: hourMs, run: outlet.prune },
    { name: 'check the disk', everyMs: minuteMs, run: disk.check },
  ];
  let stops: (() => void)[] = [];
  lifecycle.add('timers', {
    phase: 'intake',
    start: () => {
      stops = tasks.map(({ name, everyMs, run }) =>
        repeat(clock, everyMs, run, (error) => problems.note('TASK_FAILED', { detail: name, error })),
      );
    },
    stop: () => stops.forEach((stop) => stop()),
  });
}
