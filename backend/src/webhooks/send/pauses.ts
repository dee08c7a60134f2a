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

export type Pauses = ReturnType<typeof createPauses>;

/**
 * Keeps the order of each session at one endpoint over a short outage: behind an event that failed, the later ones of its session wait
 * for its next attempt. Later events do not wait for one that fails for longer than `maxPauseMs`: then the receiver probably
 * refuses the event and is not down. In memory only: after a crash some events may arrive out of order, which their cursors show.
 */
export function createPauses(monotonic: () => number) {
  const pauses = new Map<string, Pause>();
  const keyOf = ({ sessionId }: EventKey): string => sessionId ?? '';

  const release = (delivery: EventKey): void => {
    const key = keyOf(delivery);
    if ((pauses.get(key)?.cursor ?? Infinity) <= delivery.eventCursor) pauses.delete(key);
  };
  const isOver = (pause: Pause, wallNow: number): boolean => monotonic() >= pause.until || wallNow >= pause.untilWall;

  return {
    /** Records a failure whose next attempt is in `waitMs`; null: there is none. Returns whether the session waits for it. */
    failed(delivery: EventKey, waitMs: number | null, wallNow: number): boolean {
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
    /** Called when the event was delivered, or later events no longer wait for it. */
    release,
    /** Whether this event has to wait for an earlier one of its session. */
    isPaused(delivery: EventKey, wallNow: number): boolean {
      const pause = pauses.get(keyOf(delivery));
      return pause !== undefined && delivery.eventCursor > pause.cursor && !isOver(pause, wallNow);
    },
    /** The sessions that wait now; '' means events of the account. */
    sessions(wallNow: number): string[] {
      return [...pauses].flatMap(([key, pause]) => (isOver(pause, wallNow) ? [] : [key]));
    },
    /** Milliseconds until the next wait ends; null when nothing waits. */
    nextInMs(wallNow: number): number | null {
      const waiting = [...pauses.values()].filter((pause) => !isOver(pause, wallNow));
      return waiting.length === 0 ? null : Math.max(0, Math.min(...waiting.map(({ until }) => until)) - monotonic());
    },
    /** Ends all waiting: the endpoint was changed, or answers again. */
    clear: (): void => pauses.clear(),
    isEmpty: (): boolean => pauses.size === 0,
  };
}
