import type { Clock } from './clock.js';
import { addToWindow, pruneWindow, refundFromWindow, totalOf, waitForRoom, type WindowState } from './window-state.js';

/** The state of a window for one more request. */
export interface Counted {
  isAllowed: boolean;
  limit: number;
  remaining: number;
  /** Until there is room for one more; when there is room already, until the oldest request that counts leaves. Milliseconds. */
  resetMs: number;
}

/**
 * Sliding windows, each with a name: never more than `limit` requests within any `windowMs`. Each call passes limit and length, which
 * may change between calls: a change applies from the next call, and earlier requests still count.
 */
export interface Windows {
  /** Counts one request, unless the window is full. */
  count(name: string, limit: number, windowMs: number): Promise<Counted>;
  /** Returns the state without counting. */
  peek(name: string, limit: number, windowMs: number): Promise<Counted>;
  /** Refunds one counted request that did not happen after all. */
  refund(name: string): Promise<void>;
  /** Forgets all that was counted under this name, on every backend that shares the window. */
  forget(name: string, windowMs: number): Promise<void>;
  /** False while the store that the backends share does not answer, and each counts for itself. */
  isShared(): boolean;
  close(): Promise<void>;
}

/** Describes a pruned state for one more request. */
export function countedOf(state: WindowState, isAllowed: boolean, limit: number, windowMs: number, now: number): Counted {
  const waitMs = waitForRoom(state, limit, windowMs, now);
  const oldest = state[0];
  const untilOldestLeaves = oldest ? Math.max(1, Math.ceil(oldest.at + windowMs - now)) : windowMs;
  return {
    isAllowed,
    limit,
    remaining: Math.max(0, limit - totalOf(state)),
    resetMs: waitMs > 0 ? Math.ceil(waitMs) : untilOldestLeaves,
  };
}

interface Window {
  state: WindowState;
  /** When its last request leaves the window. Monotonic milliseconds. */
  idleAt: number;
}

/** Above this number of names the longest idle ones are forgotten: a flood of addresses must not fill the memory. */
const maxNames = 100_000;

/** Windows in the memory of this process, by its monotonic clock: setting the machine's clock changes nothing, and a restart forgets all counts. */
export function createLocalWindows(clock: Pick<Clock, 'monotonic'>, max = maxNames): Windows {
  const windows = new Map<string, Window>();

  function look(name: string, limit: number, windowMs: number, counts: boolean): Counted {
    const now = clock.monotonic();
    const known = windows.get(name);
    const state = known ? pruneWindow(known.state, windowMs, now) : [];
    const isAllowed = totalOf(state) < limit;
    if (counts && isAllowed) {
      addToWindow(state, windowMs, now);
      // Deleted and set again, it is the last in the map's order: the first names are those that were idle longest.
      windows.delete(name);
      windows.set(name, { state, idleAt: now + windowMs });
      if (windows.size > max) forgetIdle(now);
    }
    return countedOf(state, isAllowed, limit, windowMs, now);
  }

  /** Forgets names whose requests have all left their windows, and the tenth that was idle longest. */
  function forgetIdle(now: number): void {
    let left = Math.ceil(max / 10);
    for (const [name, { idleAt }] of windows) {
      if (idleAt > now && left <= 0) break;
      windows.delete(name);
      left -= 1;
    }
  }

  return {
    count: (name, limit, windowMs) => Promise.resolve(look(name, limit, windowMs, true)),
    peek: (name, limit, windowMs) => Promise.resolve(look(name, limit, windowMs, false)),
    refund(name) {
      const window = windows.get(name);
      if (window) refundFromWindow(window.state);
      return Promise.resolve();
    },
    forget: (name) => Promise.resolve(void windows.delete(name)),
    isShared: () => true,
    close: () => Promise.resolve(),
  };
}
