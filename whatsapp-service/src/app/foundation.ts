import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Lifecycle } from '@chasqui/shared/process';
import { guardTimers, systemClock, type Clock } from '../clock.js';
import type { WorkerConfig } from '../config.js';
import type { Engine } from '../engine/engine.js';
import { createCallRecord, type CallRecord } from '../events/calls.js';
import type { Log } from '../log.js';
import { createProblems, type Problems } from '../problems.js';
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
  /** `workerId` is stored with the data of the worker; `bootId` is new in each process. */
  identity: { workerId: string; bootId: string };
}

/** The parts that tests replace. */
export interface Overrides {
  engine?: Engine;
  clock?: Clock;
  log?: Log;
}

/** Locks the worker's folder and opens its store. */
export async function openFoundation(config: WorkerConfig, over: Overrides, log: Log, lifecycle: Lifecycle): Promise<Foundation> {
  const unguarded = over.clock ?? systemClock;
  const problems = createProblems({ clock: unguarded, log });
  const clock = guardTimers(unguarded, (error) => problems.note('TASK_FAILED', { detail: 'timer', error }));
  const lock = await acquireLock(join(config.dir, 'worker.lock'));
  lifecycle.add('worker lock', { phase: 'locks', stop: () => lock.release() });
  const store = openStore(join(config.dir, 'worker.sqlite'));
  lifecycle.add('store', { phase: 'data', stop: () => store.close() });
  const workerId = onceInStore(store, 'workerId', () => `worker-${randomUUID().slice(0, 8)}`);
  const identity = { workerId, bootId: randomUUID() };
  const calls = createCallRecord(store, clock);
  return { config, lifecycle, log, clock, problems, store, marks: createMarks(store), calls, identity };
}
