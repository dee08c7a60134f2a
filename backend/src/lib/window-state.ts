/**
 * The state of one sliding window as a plain value, so that every store (memory, Redis, a table) counts in the same way.
 *
 * Requests are kept in buckets of a sixtieth of the window. A bucket is dated by its latest request, and all of its requests count until
 * that one is a whole window old. So the limit applies to any window, no wait is longer than the window, and room is free at most a
 * sixtieth late. Buckets carry times instead of slot numbers: a window whose length changes keeps its counts.
 */
export interface Bucket {
  /** When the latest request of this bucket was counted. Milliseconds. */
  at: number;
  count: number;
}

/** Oldest first. */
export type WindowState = Bucket[];

/** Length of a bucket. Milliseconds. */
export const bucketMs = (windowMs: number): number => Math.max(1, Math.ceil(windowMs / 60));

/**
 * Removes buckets that have left the window. Buckets from the future, which exist after a clock was set back, are dated to `now`: they
 * count for one more window, not until the clock has caught up.
 */
export function pruneWindow(state: WindowState, windowMs: number, now: number): WindowState {
  const pruned: WindowState = [];
  for (const { at, count } of state) {
    const clamped = Math.min(at, now);
    if (clamped <= now - windowMs || count <= 0) continue;
    const last = pruned.at(-1);
    if (last && last.at === clamped) last.count += count;
    else pruned.push({ at: clamped, count });
  }
  return pruned;
}

/** Counts one request now. Expects a pruned state and changes it. */
export function addToWindow(state: WindowState, windowMs: number, now: number): void {
  const length = bucketMs(windowMs);
  const last = state.at(-1);
  if (last && Math.floor(last.at / length) === Math.floor(now / length)) {
    last.at = now;
    last.count += 1;
  } else state.push({ at: now, count: 1 });
}

/** Refunds one request: the latest, because the limit does not depend on which one is refunded. Changes the state. */
export function refundFromWindow(state: WindowState): void {
  const last = state.at(-1);
  if (!last) return;
  last.count -= 1;
  if (last.count <= 0) state.pop();
}

export const totalOf = (state: WindowState): number => state.reduce((sum, { count }) => sum + count, 0);

/** Milliseconds until the number of counted requests is below `limit`; 0 when it is. Expects a pruned state. */
export function waitForRoom(state: WindowState, limit: number, windowMs: number, now: number): number {
  let left = totalOf(state);
  for (const { at, count } of state) {
    if (left < limit) return 0;
    left -= count;
    if (left < limit) return Math.max(1, at + windowMs - now);
  }
  return left < limit ? 0 : windowMs;
}
