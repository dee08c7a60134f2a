/**
 * Time, passed in so that tests can set it. There are two readings, and they must not be mixed:
 *
 * | reading | use it for | behaviour |
 * | --- | --- | --- |
 * | `now()` | what people read, what is stored, what other machines compare | may jump in either direction when the machine's clock is set |
 * | `monotonic()` | every duration: waits, timeouts, cache TTLs, rate limits | only goes forward; its origin means nothing, so never store it |
 */
export interface Clock {
  /** The wall clock. */
  now(): Date;
  /** Milliseconds since an arbitrary moment of this process. Two readings may only be subtracted or compared. */
  monotonic(): number;
}

export const systemClock: Clock = { now: () => new Date(), monotonic: () => performance.now() };

/**
 * Milliseconds since 1970 by the wall clock at the moment of this call, going forward by the monotonic clock from then on. For times that
 * are stored and read back by this process: setting the machine's clock does not move it. After a restart it may be behind what is stored.
 */
export function steadyTime(clock: Clock): () => number {
  const origin = clock.now().getTime() - clock.monotonic();
  return () => origin + clock.monotonic();
}

/** The wall clock's time in so many milliseconds. */
export const timeIn = (clock: Pick<Clock, 'now'>, ms: number): Date => new Date(clock.now().getTime() + ms);
