/** One that failed, and until when the later ones of its session wait for its next attempt. */
interface Hold {
  cursor: number;
  until: number;
  since: number;
}

/** What has failed more often than this is not waited for: perhaps it is the event that the receiver cannot take, not the receiver that is down. */
const waitedFor = 2;
/** Nor is a next attempt that is further away. */
const longestMs = 60_000;

export type Holds = ReturnType<typeof createHolds>;

/**
 * Keeps a session's order at an endpoint over a short outage: behind an event that failed the later ones of its session wait for its
 * next attempt. In memory alone: after a crash some may come out of order, and their cursors tell.
 */
export function createHolds() {
  const held = new Map<string, Map<string, Hold>>();

  return {
    failed(
      webhookId: string,
      { sessionId, eventCursor, attempts }: { sessionId: string | null; eventCursor: number; attempts: number },
      again: number | null,
      now: number,
    ): void {
      if (again === null || again - now > longestMs || attempts + 1 > waitedFor)
        return this.settled(webhookId, { sessionId, eventCursor });
      const its = held.get(webhookId) ?? new Map<string, Hold>();
      held.set(webhookId, its.set(sessionId ?? '', { cursor: eventCursor, until: again, since: now }));
    },
    /** It is delivered, or not waited for any more. */
    settled(webhookId: string, { sessionId, eventCursor }: { sessionId: string | null; eventCursor: number }): void {
      const its = held.get(webhookId);
      if ((its?.get(sessionId ?? '')?.cursor ?? Infinity) > eventCursor) return;
      its!.delete(sessionId ?? '');
      if (its!.size === 0) held.delete(webhookId);
    },
    /** Until when this one waits; null when it may go. A change of the endpoint by a person ends all waiting. */
    until(
      webhook: { id: string; updatedAt: Date },
      { sessionId, eventCursor }: { sessionId: string | null; eventCursor: number },
      now: number,
    ): Date | null {
      const hold = held.get(webhook.id)?.get(sessionId ?? '');
      if (!hold || hold.until <= now || eventCursor <= hold.cursor || hold.since < webhook.updatedAt.getTime()) return null;
      return new Date(hold.until);
    },
  };
}
