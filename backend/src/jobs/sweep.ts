import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Core } from '../core.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';

/** One cleanup task. May run twice, or on two backends at once, and may die halfway: the next run continues. */
export interface CleanupTask {
  /** The name of the task in the log and in the record of failures, such as `retention.messages`. */
  name: string;
  run: () => Promise<unknown>;
}

export interface SweepTimes {
  /** The delay after the start. */
  firstMs: number;
  everyMs: number;
  /** The delay after a failure; doubles with each one up to `everyMs`. */
  retryMs: number;
  /** A task that runs longer is reported once, and continues. */
  overdueMs: number;
}

const defaultTimes: SweepTimes = { firstMs: 60_000, everyMs: 3_600_000, retryMs: 60_000, overdueMs: 15 * 60_000 };

interface Context extends Pick<Core, 'log' | 'report'>, SweepTimes {
  stopped: AbortSignal;
}

/**
 * Runs the cleanup tasks: a minute after the start, for what a killed process left behind and what has expired, and then every hour.
 * Each task has a loop of its own. One that fails is retried soon and recorded; one that never ends is reported. Neither delays another
 * task, and no task overlaps itself.
 */
export function startSweep(
  { log, report }: Pick<Core, 'log' | 'report'>,
  { tasks, times }: { tasks: readonly CleanupTask[]; times?: Partial<SweepTimes> | undefined },
): { stop: () => void } {
  const stopper = new AbortController();
  const context: Context = { log, report, ...defaultTimes, ...times, stopped: stopper.signal };
  // Every task listens to it; Node regards more than ten listeners as a leak.
  setMaxListeners(0, stopper.signal);
  for (const task of tasks) loop(context, task).catch(() => undefined); // Rejects only when it is stopped.
  return { stop: () => stopper.abort() };
}

async function loop(context: Context, task: CleanupTask): Promise<void> {
  const { firstMs, everyMs, retryMs, stopped } = context;
  let failures = 0;
  for (let waitMs = firstMs; ; waitMs = failures === 0 ? everyMs : Math.min(everyMs, retryMs * 2 ** (failures - 1))) {
    await sleep(waitMs, undefined, { signal: stopped, ref: false });
    failures = (await runTask(context, task)) ? 0 : Math.min(failures + 1, 20);
    stopped.throwIfAborted();
  }
}

/** Returns whether the task succeeded. Never rejects. */
async function runTask({ log, report, overdueMs }: Context, { name, run }: CleanupTask): Promise<boolean> {
  const overdue = setTimeout(() => {
    log.error('Cleanup task is overdue; it continues, and the other tasks are not delayed.', { task: name, afterMs: overdueMs });
    const detail = `It has run for more than ${overdueMs / 60_000} minutes.`;
    report({ kind: 'cleanup', subject: name, code: 'TASK_OVERDUE', detail });
  }, overdueMs).unref();
  try {
    await run();
    return true;
  } catch (error) {
    log.error('Cleanup task failed; it is retried.', { task: name, ...errorFields(error) });
    report({ kind: 'cleanup', subject: name, ...describeError(error) });
    return false;
  } finally {
    clearTimeout(overdue);
  }
}
