import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createMeter, type Meter } from '@chasqui/shared/metrics';
import type { Lifecycle } from '@chasqui/shared/process';
import { openTracing, type Tracing } from '@chasqui/shared/tracing';
import { guardTimers, systemClock, type Clock } from '../clock.js';
import type { WorkerConfig } from '../config.js';
import type { Engine } from '../engine/engine.js';
import { createCallRecord, type CallRecord } from '../events/calls.js';
import type { Log } from '../log.js';
import { createProblems, type Problems } from '../problems.js';
import { countProblems } from '../metrics.js';
import { version } from '../version.js';
import { createMarks, type Marks } from '../sessions/marks.js';
import { acquireLock } from '../sessions/profile-lock.js';
import { onceInStore, openStore, type Store } from '../store.js';

/** The parts that every other file of this folder uses. */
export interface Foundation {
  config: WorkerConfig;
  lifecycle: Lifecycle;
  log: Log;
  /** Its timers cannot end the process: what they throw is reported as a problem. */
  clock: Clock;
  problems: Problems;
  store: Store;
  marks: Marks;
  calls: CallRecord;
  meter: Meter;
  /** Null: no collector is set. */
  tracing: Tracing | null;
  /** `workerId` is stored with the data of the worker; `bootId` is new in each process. */
  identity: { workerId: string; bootId: string };
}

/** The parts that tests replace. */
export interface Overrides {
  engine?: Engine;
  clock?: Clock;
  log?: Log;
}

/** Thrown while a restore into the data folder is not finished: some parts may be in their place, and others not. */
export class UnfinishedRestoreError extends Error {
  constructor(dataDir: string) {
    super(`A restore into ${dataDir} was not finished. Run the same \`npm run restore\` again, which continues it.`);
    this.name = 'UnfinishedRestoreError';
  }
}

function refuseUnfinishedRestore(dir: string): void {
  const dataDir = dirname(dir);
  if (existsSync(join(dataDir, '.restoring'))) throw new UnfinishedRestoreError(dataDir);
}

/** Locks the worker's folder and opens its store. */
export async function openFoundation(config: WorkerConfig, over: Overrides, log: Log, lifecycle: Lifecycle): Promise<Foundation> {
  refuseUnfinishedRestore(config.dir);
  const unguarded = over.clock ?? systemClock;
  const meter = createMeter({ process: 'worker', version });
  lifecycle.add('metrics', { phase: 'connections', stop: () => meter.stop() });
  const problems = countProblems(createProblems({ clock: unguarded, log }), meter);
  const clock = guardTimers(unguarded, (error) => problems.note('TASK_FAILED', { detail: 'timer', error }));
  const lock = await acquireLock(join(config.dir, 'worker.lock'));
  lifecycle.add('worker lock', { phase: 'locks', stop: () => lock.release() });
  const store = openStore(join(config.dir, 'worker.sqlite'));
  lifecycle.add('store', { phase: 'data', stop: () => store.close() });
  const workerId = onceInStore(store, 'workerId', () => `worker-${randomUUID().slice(0, 8)}`);
  const identity = { workerId, bootId: randomUUID() };
  const calls = createCallRecord(store, clock);
  const tracing = await openTracing({ ...config.traces, process: 'worker', version, log });
  // Behind the phase in which the last events are delivered.
  if (tracing) lifecycle.add('traces', { phase: 'data', stop: () => tracing.stop() });
  return { config, lifecycle, log, clock, problems, store, marks: createMarks(store), calls, identity, meter, tracing };
}
