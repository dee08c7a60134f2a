/**
 * Keeps the order of each session at one endpoint over a short outage: behind an event that failed, the later ones of its session wait
 * for its next attempt. Later events do not wait for one that fails for longer than `maxPauseMs`: then the receiver probably
 * refuses the event and is not down. In memory only: after a crash some events may arrive out of order, which their cursors show.
 */
export interface Pauses {
  /** Records a failure whose next attempt is in `waitMs`; null: there is none. Returns whether the session waits for it. */
  failed(delivery: EventKey, waitMs: number | null, wallNow: number): boolean;
  /** Called when the event was delivered, or later events no longer wait for it. */
  release(delivery: EventKey): void;
  /** Whether this event has to wait for an earlier one of its session. */
  isPaused(delivery: EventKey, wallNow: number): boolean;
  /** Returns the sessions that wait now; '' means events of the account. */
  sessions(wallNow: number): string[];
  /** Ends all waiting: the endpoint was changed, or answers again. */
  clear(): void;
  isEmpty(): boolean;
}

/** The longest time for which later events of a session wait behind one that failed, over all its retries. */
const maxPauseMs = 45_000;

interface Pause {
  cursor: number;
  /** On the monotonic clock. */
  until: number;
  /** The same moment on the wall clock. */
  untilWall: number;
  /** When this event failed for the first time, on the monotonic clock. */
  since: number;
}

interface EventKey {
  sessionId: string | null;
  eventCursor: number;
}

const keyOf = ({ sessionId }: EventKey): string => sessionId ?? '';

export function createPauses(monotonic: () => number): Pauses {
  const pauses = new Map<string, Pause>();
  const release = (delivery: EventKey): void => {
    const key = keyOf(delivery);
    if ((pauses.get(key)?.cursor ?? Infinity) <= delivery.eventCursor) pauses.delete(key);
  };
  const isOver = (pause: Pause, wallNow: number): boolean => monotonic() >= pause.until || wallNow >= pause.untilWall;

  return {
    failed(delivery, waitMs, wallNow) {
      const now = monotonic();
      const before = pauses.get(keyOf(delivery));
      const since = before?.cursor === delivery.eventCursor ? before.since : now;
      if (waitMs === null || now + waitMs - since > maxPauseMs) {
        release(delivery);
        return false;
      }
      const cursor = delivery.eventCursor;
      // An older event that already waits keeps its place, because it must be sent first.
      if (!before || before.cursor >= cursor || isOver(before, wallNow))
        pauses.set(keyOf(delivery), { cursor, until: now + waitMs, untilWall: wallNow + waitMs, since });
      return true;
    },
    release,
    isPaused(delivery, wallNow) {
      const pause = pauses.get(keyOf(delivery));
      return pause !== undefined && delivery.eventCursor > pause.cursor && !isOver(pause, wallNow);
    },
    sessions: (wallNow) => [...pauses].flatMap(([key, pause]) => (isOver(pause, wallNow) ? [] : [key])),
    clear: () => pauses.clear(),
    isEmpty: () => pauses.size === 0,
  };
}
