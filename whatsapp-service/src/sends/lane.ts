import { settlesWithin, type Clock } from '../clock.js';

/** Runs one job at a time, in the order of the calls. */
export interface Lane {
  run<T>(job: () => Promise<T>): Promise<T>;
  /** The number of jobs that run or wait. */
  depth(): number;
  /** Resolves when no job runs or waits, at the latest after `maxMs`. */
  idle(maxMs: number): Promise<void>;
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
    async idle(maxMs) {
      if (depth > 0) await settlesWithin(clock, tail, maxMs);
    },
  };
}
