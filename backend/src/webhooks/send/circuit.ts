/**
 * Decides when attempts to an endpoint pause. It counts attempts of the last minute on the monotonic clock, in memory: what must
 * survive a restart (`openUntil`, `openMs`) is on the endpoint's row.
 */
export interface Circuit {
  succeeded(): void;
  /** Returns whether this failure opens the circuit. */
  failed(): boolean;
  /** Resets the counts: the circuit has closed, or a person changed the endpoint. */
  reset(): void;
  /**
   * Milliseconds until a probe may go; 0: now. The stored time is of the wall clock, and a clock that was set back must not
   * prolong it: once this process has read it, it counts on the monotonic clock.
   */
  waitMs(stored: { openUntil: Date | null; openMs: number | null }, wallNow: number): number;
  /** Whether the circuit has no state that the next run of the lane needs. */
  isEmpty(): boolean;
}

/** The circuit opens when this rate of the last attempts failed, out of at least `minAttempts` in the window. */
const windowSize = 20;
const windowMs = 60_000;
const minAttempts = 10;
const openingRate = 0.8;
/** The circuit also opens after a few consecutive failures over this time: for an endpoint with few events, or one that hangs. */
const few = { failures: 3, ms: 30_000 };
/** How long it stays open before a probe: doubled with each probe that fails. */
export const probeMs = { first: 1_000, longest: 60_000 };

interface State {
  monotonic: () => number;
  recent: { at: number; isFailure: boolean }[];
  /** The current series of failures without a success. */
  series: { since: number | null; count: number };
  /** The stored time that was read last, and when it ends on the monotonic clock. */
  opening: { openUntil: number; probeAt: number } | null;
}

export function createCircuit(monotonic: () => number): Circuit {
  const state: State = { monotonic, recent: [], series: { since: null, count: 0 }, opening: null };
  return {
    succeeded: () => note(state, false),
    failed() {
      note(state, true);
      return isOpening(state);
    },
    reset() {
      state.recent = [];
      state.series = { since: null, count: 0 };
      state.opening = null;
    },
    waitMs({ openUntil, openMs }, wallNow) {
      if (openUntil === null) return 0;
      const left = Math.min(openUntil.getTime() - wallNow, openMs ?? probeMs.longest);
      if (left <= 0) return 0;
      if (state.opening?.openUntil !== openUntil.getTime())
        state.opening = { openUntil: openUntil.getTime(), probeAt: monotonic() + left };
      return Math.max(0, Math.min(left, state.opening.probeAt - monotonic()));
    },
    isEmpty: () => state.recent.every(({ isFailure }) => !isFailure) && state.opening === null,
  };
}

function note({ monotonic, recent, series }: State, isFailure: boolean): void {
  const at = monotonic();
  recent.push({ at, isFailure });
  if (recent.length > windowSize) recent.shift();
  series.since = isFailure ? (series.since ?? at) : null;
  series.count = isFailure ? series.count + 1 : 0;
}

function isOpening({ monotonic, recent, series }: State): boolean {
  const now = monotonic();
  const inWindow = recent.filter(({ at }) => now - at <= windowMs);
  const failures = inWindow.filter(({ isFailure }) => isFailure).length;
  if (inWindow.length >= minAttempts && failures >= inWindow.length * openingRate) return true;
  return series.count >= few.failures && now - series.since! >= few.ms;
}

/** Returns for how long the circuit opens: first a second, then twice as long each time, or as long as the receiver requested. */
export function openingMs(previousMs: number | null, retryAfterMs: number, maxRetryAfterMs: number): number {
  const grown = previousMs === null ? probeMs.first : Math.min(Math.max(previousMs * 2, probeMs.first), probeMs.longest);
  return Math.max(grown, Math.min(retryAfterMs, maxRetryAfterMs));
}
