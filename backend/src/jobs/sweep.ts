import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, type ReportFailure } from '../failures/failures.js';
import { errorFields, type Log } from '../lib/log.js';

/** One cleanup task. May run twice, or on two backends at once, and may die halfway: the next run goes on. */
export interface CleanupTask {
  /** For the log and the record of failures, such as `retention.messages`. */
  name: string;
  run: () => Promise<unknown>;
}

export interface SweepTimes {
  /** After the start, when everything is up. */
  firstMs: number;
  everyMs: number;
  /** After a failure; doubles with each one up to `everyMs`. */
  retryMs: number;
  /** A task that runs longer is reported once, and left running. */
  overdueMs: number;
}

const defaultTimes: SweepTimes = { firstMs: 60_000, everyMs: 3_600_000, retryMs: 60_000, overdueMs: 15 * 60_000 };

/**
 * Runs the cleanup tasks: a minute after the start, for what a kill left behind and what became too old meanwhile, and then every hour.
 * Each task has a loop of its own. One that fails is retried soon and recorded; one that never ends is reported; neither keeps another
 * task waiting, and no task overlaps itself.
 */
export function startSweep({
  tasks,
  log,
  report,
  times,
}: {
  tasks: readonly CleanupTask[];
  log: Log;
  report: ReportFailure;
  times?: Partial<SweepTimes> | undefined;
}): { stop: () => void } {
  const { firstMs, everyMs, retryMs, overdueMs } = { ...defaultTimes, ...times };
  const stopped = new AbortController();
  const { signal } = stopped;
  // Every task waits on it; Node takes more than ten for a leak.
  setMaxListeners(0, signal);

  async function loop(task: CleanupTask): Promise<void> {
    let failures = 0;
    for (let waitMs = firstMs; ; waitMs = failures === 0 ? everyMs : Math.min(everyMs, retryMs * 2 ** (failures - 1))) {
      await sleep(waitMs, undefined, { signal, ref: false });
      failures = (await runOnce(task)) ? 0 : Math.min(failures + 1, 20);
      signal.throwIfAborted();
    }
  }

  async function runOnce({ name, run }: CleanupTask): Promise<boolean> {
    const overdue = setTimeout(() => {
      log.error('A cleanup task has not ended; the other tasks go on.', { task: name, afterMs: overdueMs });
      report({
        kind: 'cleanup',
        subject: name,
        code: 'TASK_OVERDUE',
        detail: `It has run for more than ${overdueMs / 60_000} minutes.`,
      });
    }, overdueMs).unref();
    try {
      await run();
      return true;
    } catch (error) {
      log.error('A cleanup task failed; it is tried again.', { task: name, ...errorFields(error) });
      report({ kind: 'cleanup', subject: name, ...describeError(error) });
      return false;
    } finally {
      clearTimeout(overdue);
    }
  }

  for (const task of tasks) loop(task).catch(() => undefined); // Rejects only when it is stopped.
  return { stop: () => stopped.abort() };
}
