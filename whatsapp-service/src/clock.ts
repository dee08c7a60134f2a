/** The clock of the worker, passed as an argument so that tests can control it. All values are in milliseconds. */
export interface Clock {
  /** Wall time since 1970, for times that are shown or compared with times from outside. It may jump forward or back at any moment. */
  now(): number;
  /** Time since a fixed moment of this process. It never goes back and ignores changes of the wall clock: for durations, deadlines and leases. */
  monotonic(): number;
  /** Runs `what` once after `ms`; the result cancels it. Timers do not keep the process alive. */
  after(ms: number, what: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, what) => {
    const timer = setTimeout(what, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/**
 * A clock whose timers cannot end the process: what a callback throws goes to `report`. Components catch the errors that they expect; this
 * catches the others.
 */
export const guardTimers = (clock: Clock, report: (error: unknown) => void): Clock => ({
  ...clock,
  after: (ms, what) =>
    clock.after(ms, () => {
      try {
        what();
      } catch (error) {
        report(error);
      }
    }),
});

/** Runs `task` every `ms`, never twice at once. Its errors go to `report`, and the task runs again. Returns a function that stops it. */
export function repeat(clock: Clock, ms: number, task: () => void | Promise<void>, report: (error: unknown) => void): () => void {
  let stopped = false;
  let cancel = (): void => undefined;
  const run = async (): Promise<void> => {
    try {
      await task();
    } catch (error) {
      report(error);
    }
    if (!stopped) arm();
  };
  const arm = (): void => {
    cancel = clock.after(ms, () => void run());
  };
  arm();
  return () => {
    stopped = true;
    cancel();
  };
}

export const sleep = (clock: Clock, ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal?.addEventListener('abort', done);
  });

/** Resolves to whether `promise` was fulfilled or rejected within `ms`. Does not reject. */
export function settlesWithin(clock: Clock, promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, () => resolve(false));
    const settled = (): void => {
      cancel();
      resolve(true);
    };
    promise.then(settled, settled);
  });
}

/** Exponential delay with ±20 % jitter; `attempt` counts from 1. */
export function backoff(attempt: number, firstMs: number, maxMs: number, random: () => number): number {
  const delayMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(delayMs * (0.8 + 0.4 * random()));
}
