/** The longest time for which the later events of a session wait behind one that failed, all its retries together. */
const maxHoldMs = 45_000;

interface Hold {
  cursor: number;
  /** On the monotonic clock. */
  until: number;
  /** The same moment on the wall clock. */
  untilWall: number;
  /** When this event failed for the first time, on the monotonic clock. */
  since: number;
}

interface Held {
  sessionId: string | null;
  eventCursor: number;
}

export type Holds = ReturnType<typeof createHolds>;

/**
 * Keeps the order of each session at one endpoint over a short outage: behind an event that failed, the later ones of its session wait
 * for its next attempt. An event that fails for longer than `maxHoldMs` is not waited for: it is probably the event that the receiver
 * refuses, not the receiver that is down. Kept in memory only: after a crash some events may arrive out of order, and their cursors tell.
 */
export function createHolds(monotonic: () => number) {
  const holds = new Map<string, Hold>();
  const keyOf = ({ sessionId }: Held): string => sessionId ?? '';

  const release = (delivery: Held): void => {
    const key = keyOf(delivery);
    if ((holds.get(key)?.cursor ?? Infinity) <= delivery.eventCursor) holds.delete(key);
  };
  const isOver = (hold: Hold, wallNow: number): boolean => monotonic() >= hold.until || wallNow >= hold.untilWall;

  return {
    /** Records a failure whose next attempt is in `waitMs`; null: there is none. Returns whether the session waits for it. */
    failed(delivery: Held, waitMs: number | null, wallNow: number): boolean {
      const now = monotonic();
      const before = holds.get(keyOf(delivery));
      const since = before?.cursor === delivery.eventCursor ? before.since : now;
      if (waitMs === null || now + waitMs - since > maxHoldMs) {
        release(delivery);
        return false;
      }
      const cursor = delivery.eventCursor;
      // An older event that waits already keeps its place: it is the one that must go first.
      if (!before || before.cursor >= cursor || isOver(before, wallNow))
        holds.set(keyOf(delivery), { cursor, until: now + waitMs, untilWall: wallNow + waitMs, since });
      return true;
    },
    /** The event is delivered, or is not waited for any more. */
    release,
    /** Whether this event has to wait for an earlier one of its session. */
    isHeld(delivery: Held, wallNow: number): boolean {
      const hold = holds.get(keyOf(delivery));
      return hold !== undefined && delivery.eventCursor > hold.cursor && !isOver(hold, wallNow);
    },
    /** The sessions that wait now; '' stands for events of the account. */
    sessions(wallNow: number): string[] {
      return [...holds].flatMap(([key, hold]) => (isOver(hold, wallNow) ? [] : [key]));
    },
    /** Milliseconds until the next wait ends; null when nothing waits. */
    nextInMs(wallNow: number): number | null {
      const waiting = [...holds.values()].filter((hold) => !isOver(hold, wallNow));
      return waiting.length === 0 ? null : Math.max(0, Math.min(...waiting.map(({ until }) => until)) - monotonic());
    },
    /** Ends all waiting: the endpoint was changed, or answers again. */
    clear: (): void => holds.clear(),
    isEmpty: (): boolean => holds.size === 0,
  };
}
