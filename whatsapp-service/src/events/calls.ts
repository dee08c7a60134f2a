import type { WorkerEventPayload } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { Store } from '../store.js';
import type { WorkerEvent } from './worker-event.js';

type Call = WorkerEventPayload<'call.received'>;

/**
 * Which calls were seen, so that each is reported once, also when the page or the worker starts again while it rings. The event of a call waits
 * here while the session rejects the call, because a kill must not lose it.
 *
 * | the process dies | on disk | what the next one does |
 * | --- | --- | --- |
 * | before `record` | nothing | the page reports the call again if it still rings |
 * | between `record` and the commit of the event | the event | emits it |
 * | after that commit | the event is in the outlet, the call is marked as reported | nothing |
 */
export interface CallRecord {
  /**
   * Stores the event that is due if the process dies now. Returns false for a call that was reported before. Throws when the store accepts no
   * writes.
   */
  record(sessionId: string, call: Call): boolean;
  /** Marks a call as reported, in the transaction that stores its event. Returns false if it was reported before. */
  report(sessionId: string, callId: string): boolean;
  /** The calls that an earlier process has recorded and not reported. */
  unreported(): { sessionId: string; call: Call }[];
  /** Deletes calls that are older than a day. */
  prune(): void;
}

const retentionMs = 86_400_000;

/** The id of the call that an event is about. Null for other events, and for a call without an id. */
export const callIn = (event: WorkerEvent): string | null =>
  event.event === 'call.received' && event.payload.callId !== '' ? event.payload.callId : null;

export function createCallRecord(store: Store, clock: Clock): CallRecord {
  const read = store.prepare<[string, string], { payload: string | null }>(
    'SELECT payload FROM calls WHERE session_id = ? AND call_id = ?',
  );
  const write = store.prepare(
    `INSERT INTO calls (session_id, call_id, payload, seen_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (session_id, call_id) DO UPDATE SET payload = excluded.payload`,
  );
  const waiting = store.prepare<[], { session_id: string; payload: string }>(
    'SELECT session_id, payload FROM calls WHERE payload IS NOT NULL ORDER BY seen_at',
  );
  const forget = store.prepare('DELETE FROM calls WHERE seen_at < ?');
  const isReported = (sessionId: string, callId: string): boolean => read.get(sessionId, callId)?.payload === null;
  return {
    record(sessionId, call) {
      if (isReported(sessionId, call.callId)) return false;
      write.run(sessionId, call.callId, JSON.stringify(call), clock.now());
      return true;
    },
    report(sessionId, callId) {
      if (isReported(sessionId, callId)) return false;
      write.run(sessionId, callId, null, clock.now());
      return true;
    },
    unreported: () =>
      waiting.all().map(({ session_id: sessionId, payload }) => ({ sessionId, call: JSON.parse(payload) as Call })),
    prune: () => void forget.run(clock.now() - retentionMs),
  };
}
