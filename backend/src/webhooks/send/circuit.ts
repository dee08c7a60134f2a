/** The circuit opens when this rate of the last attempts failed, out of at least `minAttempts` in the window. */
const windowSize = 20;
const windowMs = 60_000;
const minAttempts = 10;
const openingRate = 0.8;
/** It also opens after a few consecutive failures over this time: for an endpoint with few events, or one that hangs. */
const few = { failures: 3, ms: 30_000 };
/** How long it stays open before a probe: doubled with each probe that fails. */
export const probeMs = { first: 1_000, longest: 60_000 };

export type Circuit = ReturnType<typeof createCircuit>;

/**
 * Decides when attempts to an endpoint pause. It counts attempts of the last minute on the monotonic clock, in memory: what must
 * survive a restart (`openUntil`, `openMs`) is on the endpoint's row.
 */
export function createCircuit(monotonic: () => number) {
  let recent: { at: number; isFailure: boolean }[] = [];
  let firstFailureAt: number | null = null;
  let failuresInARow = 0;
  let seen: { openUntil: number; probeAt: number } | null = null;

  function note(isFailure: boolean): void {
    const at = monotonic();
    recent.push({ at, isFailure });
    if (recent.length > windowSize) recent.shift();
    if (isFailure) {
      firstFailureAt ??= at;
      failuresInARow += 1;
    } else {
      firstFailureAt = null;
      failuresInARow = 0;
    }
  }

  return {
    succeeded(): void {
      note(false);
    },
    /** Returns whether this failure opens the circuit. */
    failed(): boolean {
      note(true);
      const now = monotonic();
      const inWindow = recent.filter(({ at }) => now - at <= windowMs);
      const failures = inWindow.filter(({ isFailure }) => isFailure).length;
      if (inWindow.length >= minAttempts && failures >= inWindow.length * openingRate) return true;
      return failuresInARow >= few.failures && now - firstFailureAt! >= few.ms;
    },
    /** Resets the counts: the circuit has closed, or a person changed the endpoint. */
    reset(): void {
      recent = [];
      firstFailureAt = null;
      failuresInARow = 0;
      seen = null;
    },
    /**
     * Milliseconds until a probe may go; 0: now. The stored time is of the wall clock, and a clock that was set back must not
     * prolong it: once this process has read it, it counts on the monotonic clock.
     */
    waitMs({ openUntil, openMs }: { openUntil: Date | null; openMs: number | null }, wallNow: number): number {
      if (openUntil === null) return 0;
      const left = Math.min(openUntil.getTime() - wallNow, openMs ?? probeMs.longest);
      if (left <= 0) return 0;
      if (seen?.openUntil !== openUntil.getTime()) seen = { openUntil: openUntil.getTime(), probeAt: monotonic() + left };
      return Math.max(0, Math.min(left, seen.probeAt - monotonic()));
    },
    isEmpty: (): boolean => recent.every(({ isFailure }) => !isFailure) && seen === null,
  };
}

/** Returns for how long the circuit opens: first a second, then twice as long each time, or as long as the receiver requested. */
export function openingMs(previousMs: number | null, retryAfterMs: number, maxRetryAfterMs: number): number {
  const grown = previousMs === null ? probeMs.first : Math.min(Math.max(previousMs * 2, probeMs.first), probeMs.longest);
  return Math.max(grown, Math.min(retryAfterMs, maxRetryAfterMs));
}
