import type { Clock } from '../clock.js';

/** A moment in both readings of the clock. */
export interface Instant {
  wall: number;
  monotonic: number;
}
export const instant = (clock: Clock): Instant => ({ wall: clock.now(), monotonic: clock.monotonic() });

/**
 * The time until which this worker may send for a session. A grant is a duration from the moment at which the worker requested it. The lease
 * has expired when either clock says so: the monotonic clock ignores a wall clock that is set back, but stops while the machine is
 * suspended; the wall clock does not. Before the first grant sends are not fenced.
 */
export interface Lease {
  /** Keeps the later of two grants; an expired one is always replaced. */
  grant(requestedAt: Instant, durationMs: number): void;
  /** Remaining milliseconds; 0 after the end, Infinity before the first grant. */
  remainingMs(): number;
  isValid(): boolean;
  /** The end as wall time, the only clock that the page shares; Infinity before the first grant. */
  endsAt(): number;
  wasGranted(): boolean;
}

export function createLease(clock: Clock): Lease {
  let ends: Instant | null = null;

  const remainingMs = (): number =>
    ends === null ? Infinity : Math.max(0, Math.min(ends.monotonic - clock.monotonic(), ends.wall - clock.now()));

  return {
    grant(requestedAt, durationMs) {
      const next = { wall: requestedAt.wall + durationMs, monotonic: requestedAt.monotonic + durationMs };
      if (ends === null || next.monotonic > ends.monotonic || remainingMs() === 0) ends = next;
    },
    remainingMs,
    isValid: () => remainingMs() > 0,
    endsAt: () => clock.now() + remainingMs(),
    wasGranted: () => ends !== null,
  };
}
