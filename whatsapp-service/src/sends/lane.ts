import { settlesWithin, type Clock } from '../clock.js';

/** One job at a time, in the order of asking. */
export interface Lane {
  run<T>(job: () => Promise<T>): Promise<T>;
  /** Jobs that run or wait. */
  depth(): number;
  /** Resolves when nothing runs or waits any more, at the latest after `mostMs`. */
  idle(mostMs: number): Promise<void>;
}

export function createLane(clock: Clock): Lane {
  let tail: Promise<unknown> = Promise.resolve();
  let depth = 0;
  return {
    run(job) {
      depth += 1;
      const result = tail.then(job).finally(() => {
        depth -= 1;
      });
      tail = result.then(
        () => undefined,
        () => undefined,
      );
      return result;
    },
    depth: () => depth,
    async idle(mostMs) {
      if (depth > 0) await settlesWithin(clock, tail, mostMs);
    },
  };
}
