import type { Clock } from './clock.js';

/** What one more request met. */
export interface Taken {
  isAllowed: boolean;
  limit: number;
  remaining: number;
  /** Until the oldest request that counts leaves the window, and there is room for one more. Milliseconds. */
  resetMs: number;
}

/** Sliding windows, each by its name: never more than `limit` requests within any `windowMs`. */
export interface Windows {
  /** Counts one request, unless the window is full. */
  take(name: string, limit: number, windowMs: number): Promise<Taken>;
  /** How full it is, without counting. */
  peek(name: string, limit: number, windowMs: number): Promise<Taken>;
  /** False while what is shared between backends cannot be reached, and each counts for itself. */
  isShared(): boolean;
  close(): Promise<void>;
}

/** A window slides by sixtieths of itself: a request counts until the slot it came in has left as a whole, never shorter than the window. */
export const slotsOf = (windowMs: number): { slots: number; slotMs: number } => {
  const slotMs = Math.max(1, Math.ceil(windowMs / 60));
  return { slots: Math.ceil(windowMs / slotMs), slotMs };
};

interface Window {
  /** Slot number and requests in it, oldest first. */
  slots: [slot: number, count: number][];
  total: number;
  idleAt: number;
}

/** Beyond so many names the ones that were idle longest are forgotten: a flood of addresses must not fill the memory. */
const mostNames = 100_000;

/** Windows in the memory of this process: a restart forgives. */
export function createLocalWindows(clock: Pick<Clock, 'now'>, most = mostNames): Windows & { giveBack(name: string): void } {
  const windows = new Map<string, Window>();

  function look(name: string, limit: number, windowMs: number, count: 0 | 1): Taken {
    const { slots, slotMs } = slotsOf(windowMs);
    const now = clock.now().getTime();
    const slot = Math.floor(now / slotMs);
    const window = windows.get(name) ?? { slots: [], total: 0, idleAt: 0 };
    while (window.slots.length > 0 && window.slots[0]![0] < slot - slots) window.total -= window.slots.shift()![1];
    const isAllowed = window.total < limit;
    if (count === 1 && isAllowed) {
      const last = window.slots.at(-1);
      if (last && last[0] >= slot) last[1] += 1;
      else window.slots.push([slot, 1]);
      window.total += 1;
      window.idleAt = now + windowMs + slotMs;
      // Set anew, it stands last: the first names of the map are those that were idle longest.
      windows.delete(name);
      windows.set(name, window);
      if (windows.size > most) forget(now);
    }
    const oldest = window.slots[0]?.[0] ?? slot;
    return {
      isAllowed,
      limit,
      remaining: Math.max(0, limit - window.total),
      resetMs: Math.max(1, (oldest + slots + 1) * slotMs - now),
    };
  }

  /** Those whose requests all left their windows, and the tenth that was idle longest. */
  function forget(now: number): void {
    let left = Math.ceil(most / 10);
    for (const [name, { idleAt }] of windows) {
      if (idleAt > now && left <= 0) break;
      windows.delete(name);
      left -= 1;
    }
  }

  return {
    take: (name, limit, windowMs) => Promise.resolve(look(name, limit, windowMs, 1)),
    peek: (name, limit, windowMs) => Promise.resolve(look(name, limit, windowMs, 0)),
    /** The last request did not happen after all. */
    giveBack(name) {
      const window = windows.get(name);
      const last = window?.slots.at(-1);
      if (!window || !last || last[1] === 0) return;
      last[1] -= 1;
      window.total -= 1;
    },
    isShared: () => true,
    close: () => Promise.resolve(),
  };
}
