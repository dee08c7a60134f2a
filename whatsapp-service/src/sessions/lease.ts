import type { Clock } from '../clock.js';

/** A moment in both readings of the clock. */
export interface Instant {
  wall: number;
  monotonic: number;
}
export const instant = (clock: Clock): Instant => ({ wall: clock.now(), monotonic: clock.monotonic() });

/**
 * How long the backend lets this worker send for a session. A grant is a duration from the moment at which the worker asked for it.
 * It has run out when either reading of the clock says so: the monotonic one ignores a wall clock that is set back, and stands still
 * while the machine is suspended; the wall clock does not. Without any grant sends are not fenced.
 */
export interface Lease {
  /** Keeps the later of two grants; an expired one is always replaced. */
  grant(askedAt: Instant, durationMs: number): void;
  /** Milliseconds that are left; 0 after its end, Infinity without any grant. */
  remainingMs(): number;
  holds(): boolean;
  /** The end as wall time, for the page, which has no other clock in common with us; Infinity without any grant. */
  endsAt(): number;
  wasGranted(): boolean;
}

export function createLease(clock: Clock): Lease {
  let ends: Instant | null = null;

  const remainingMs = (): number =>
    ends === null ? Infinity : Math.max(0, Math.min(ends.monotonic - clock.monotonic(), ends.wall - clock.now()));

  return {
    grant(askedAt, durationMs) {
      const next = { wall: askedAt.wall + durationMs, monotonic: askedAt.monotonic + durationMs };
      if (ends === null || next.monotonic > ends.monotonic || remainingMs() === 0) ends = next;
    },
    remainingMs,
    holds: () => remainingMs() > 0,
    endsAt: () => clock.now() + remainingMs(),
    wasGranted: () => ends !== null,
  };
}
