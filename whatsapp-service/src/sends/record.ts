import { sendOutcome, type SendOutcome } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { Store } from '../store.js';

export type FinalOutcome = Exclude<SendOutcome, { outcome: 'sending' }>;

/**
 * The state of each send by message id. Survives restarts.
 *
 * | state | on disk | after a kill it means |
 * | --- | --- | --- |
 * | (none) | | nothing was handed over |
 * | accepted: its turn in the lane came | not at all | as before: nothing was handed over by this call |
 * | handed_over | committed right before the page call | may have left: only a lookup can tell |
 * | settled: the outcome is known | some milliseconds later, many in one commit | the outcome; killed before, it says handed_over, and the lookup finds it |
 *
 * So a send costs one commit of its own: the one that must not be missing.
 */
export interface SendEntry {
  messageId: string;
  sessionId: string;
  reservedId: string;
  hash: string;
  state: 'accepted' | 'handed_over' | 'settled';
  outcome: FinalOutcome | null;
  /** The backend's number of the recorded attempt, from 1. */
  attempt: number;
}

export interface SendRecord {
  find(messageId: string): SendEntry | null;
  accept(entry: Accepted): void;
  handOver(messageId: string): void;
  settle(messageId: string, outcome: FinalOutcome): void;
  /** A lookup found the message acknowledged by WhatsApp's server (ack 1 or more). A record with an unknown outcome becomes `sent`. */
  prove(sessionId: string, reservedId: string, found: { whatsappId: string; ack: number }): void;
  /** Writes outcomes that are still in memory. Call it before the store is closed. */
  flush(): void;
  prune(): void;
}

const retentionMs = 7 * 86_400_000;
/** The delay before outcomes are written. During a series of sends the next handover writes them earlier. */
const groupMs = 20;

interface Row {
  message_id: string;
  session_id: string;
  reserved_id: string;
  hash: string;
  state: SendEntry['state'];
  outcome: string | null;
  attempt: number;
}
type Accepted = Pick<SendEntry, 'messageId' | 'sessionId' | 'reservedId' | 'hash' | 'attempt'>;

export function createSendRecord(
  store: Store,
  clock: Clock,
  /** Called when outcomes could not be written. They stay in memory, and the write is retried. */
  onFailure: (error: unknown) => void = () => undefined,
): SendRecord {
  const sql = statements(store);
  const accepted = new Map<string, Accepted>();
  /** Outcomes that are not yet on disk. */
  const unsaved = new Map<string, { entry: Accepted; outcome: FinalOutcome }>();
  let armed = false;

  const saveAll = store.transaction((): void => {
    for (const { entry, outcome } of unsaved.values())
      sql.settle.run({ ...entry, outcome: JSON.stringify(outcome), now: clock.now() });
  });

  /** Writes the unsaved outcomes of earlier sends in the same commit. */
  const handOverWithRest = store.transaction((entry: Accepted): void => {
    saveAll();
    sql.handOver.run({ ...entry, now: clock.now() });
  });

  function flush(): void {
    if (unsaved.size === 0) return;
    saveAll();
    unsaved.clear();
  }

  function arm(ms: number): void {
    if (armed) return;
    armed = true;
    clock.after(ms, () => {
      armed = false;
      try {
        flush();
      } catch (error) {
        onFailure(error); // The disk is full. The record on disk says handed_over, and a lookup can find the outcome.
        arm(1_000);
      }
    });
  }

  const saved = (messageId: string): SendEntry | null => {
    const row = sql.find.get(messageId);
    return row ? entryOf(row) : null;
  };

  function settle(messageId: string, outcome: FinalOutcome): void {
    const entry = accepted.get(messageId) ?? unsaved.get(messageId)?.entry ?? saved(messageId);
    if (!entry) throw new Error('A send was settled before it was accepted.');
    accepted.delete(messageId);
    // A message that was found stays `sent`: the call that waited for it may still end as uncertain.
    if (unsaved.get(messageId)?.outcome.outcome === 'sent') return;
    const { sessionId, reservedId, hash, attempt } = entry;
    unsaved.set(messageId, { entry: { messageId, sessionId, reservedId, hash, attempt }, outcome });
    arm(groupMs);
  }

  return {
    find(messageId) {
      const running = accepted.get(messageId);
      const known = saved(messageId);
      if (running) return { ...running, state: known?.state === 'handed_over' ? 'handed_over' : 'accepted', outcome: null };
      const unsavedEntry = unsaved.get(messageId);
      const isSent = known?.outcome?.outcome === 'sent';
      return unsavedEntry && !isSent ? { ...unsavedEntry.entry, state: 'settled', outcome: unsavedEntry.outcome } : known;
    },
    accept(entry) {
      // Otherwise an earlier outcome of this message could overwrite the new state.
      if (unsaved.has(entry.messageId)) flush();
      accepted.set(entry.messageId, entry);
    },
    handOver(messageId) {
      const entry = accepted.get(messageId);
      if (!entry) throw new Error('A send was handed over before it was accepted, or twice.');
      handOverWithRest(entry);
      unsaved.clear();
    },
    settle,
    prove(sessionId, reservedId, found) {
      flush();
      for (const { message_id: id } of sql.withUnknownOutcome.all(sessionId, reservedId))
        settle(id, { outcome: 'sent', ...found, at: new Date(clock.now()).toISOString() });
    },
    flush,
    prune: () => void sql.prune.run(clock.now() - retentionMs),
  };
}

function statements(store: Store) {
  return {
    find: store.prepare<[string], Row>('SELECT * FROM sends WHERE message_id = ?'),
    handOver: store.prepare<[Accepted & { now: number }]>(
      `INSERT INTO sends (message_id, session_id, reserved_id, hash, state, outcome, attempt, updated_at)
       VALUES (@messageId, @sessionId, @reservedId, @hash, 'handed_over', NULL, @attempt, @now)
       ON CONFLICT (message_id) DO UPDATE SET state = 'handed_over', outcome = NULL, attempt = excluded.attempt,
         updated_at = excluded.updated_at`,
    ),
    settle: store.prepare<[Accepted & { outcome: string; now: number }]>(
      `INSERT INTO sends (message_id, session_id, reserved_id, hash, state, outcome, attempt, updated_at)
       VALUES (@messageId, @sessionId, @reservedId, @hash, 'settled', @outcome, @attempt, @now)
       ON CONFLICT (message_id) DO UPDATE SET state = 'settled', outcome = excluded.outcome, attempt = excluded.attempt,
         updated_at = excluded.updated_at
       WHERE NOT (state = 'settled' AND json_extract(outcome, '$.outcome') = 'sent')`,
    ),
    withUnknownOutcome: store.prepare<[string, string], Row>(
      `SELECT * FROM sends WHERE session_id = ? AND reserved_id = ?
         AND (state = 'handed_over' OR (state = 'settled' AND json_extract(outcome, '$.outcome') = 'uncertain'))`,
    ),
    prune: store.prepare<[number]>('DELETE FROM sends WHERE updated_at < ?'),
  };
}

function entryOf(row: Row): SendEntry {
  const parsed = row.outcome === null ? null : sendOutcome.parse(JSON.parse(row.outcome));
  return {
    messageId: row.message_id,
    sessionId: row.session_id,
    reservedId: row.reserved_id,
    hash: row.hash,
    state: row.state,
    outcome: parsed?.outcome === 'sending' ? null : parsed,
    attempt: row.attempt,
  };
}
