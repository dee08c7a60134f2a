/** Time as an argument, so that tests can turn it. */
export interface Clock {
  now(): number;
  /** Runs `what` once after `ms`; the result cancels it. Timers do not keep the process alive. */
  after(ms: number, what: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after: (ms, what) => {
    const timer = setTimeout(what, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

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

/** Whether `promise` settled, well or not, within `ms`. Does not reject. */
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
export function backoff(attempt: number, firstMs: number, mostMs: number, random: () => number): number {
  const plain = Math.min(mostMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(plain * (0.8 + 0.4 * random()));
}
