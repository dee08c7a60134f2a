import { sendOutcome, type SendOutcome } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { Store } from '../store.js';

export type FinalOutcome = Exclude<SendOutcome, { outcome: 'sending' }>;

/**
 * Message id → what became of it, over restarts.
 *
 * | state | on disk since | after a kill it means |
 * | --- | --- | --- |
 * | (none) | | nothing was handed over |
 * | accepted | its turn in the lane came | nothing was handed over; may be sent anew |
 * | handed_over | right before the page call | may have left: only a lookup can tell |
 * | settled | the outcome is known | the outcome |
 */
export interface SendEntry {
  messageId: string;
  sessionId: string;
  reservedId: string;
  hash: string;
  state: 'accepted' | 'handed_over' | 'settled';
  outcome: FinalOutcome | null;
  /** A lookup after the outcome did not find the message: a repeat that comes now is on purpose. */
  lookedUp: boolean;
}

export interface SendRecord {
  find(messageId: string): SendEntry | null;
  accept(entry: Pick<SendEntry, 'messageId' | 'sessionId' | 'reservedId' | 'hash'>): void;
  handOver(messageId: string): void;
  settle(messageId: string, outcome: FinalOutcome): void;
  /** What a lookup by the reserved id said of a message whose outcome was in doubt. */
  lookedUp(sessionId: string, reservedId: string, found: { whatsappId: string; ack: number } | null): void;
  prune(): void;
}

const keptMs = 7 * 86_400_000;

interface Row {
  message_id: string;
  session_id: string;
  reserved_id: string;
  hash: string;
  state: SendEntry['state'];
  outcome: string | null;
  looked_up: number;
}

export function createSendRecord(store: Store, clock: Clock): SendRecord {
  const find = store.prepare<[string], Row>('SELECT * FROM sends WHERE message_id = ?');
  const accept = store.prepare(
    `INSERT INTO sends (message_id, session_id, reserved_id, hash, state, outcome, looked_up, updated_at)
     VALUES (?, ?, ?, ?, 'accepted', NULL, 0, ?)
     ON CONFLICT (message_id) DO UPDATE SET state = 'accepted', outcome = NULL, looked_up = 0, updated_at = excluded.updated_at`,
  );
  const handOver = store.prepare(
    "UPDATE sends SET state = 'handed_over', updated_at = ? WHERE message_id = ? AND state = 'accepted'",
  );
  // Once found, a message stays sent: the call that waited for it may still end in doubt.
  const settle = store.prepare(
    `UPDATE sends SET state = 'settled', outcome = ?, looked_up = 0, updated_at = ?
     WHERE message_id = ? AND NOT (state = 'settled' AND json_extract(outcome, '$.outcome') = 'sent')`,
  );
  const doubtful = store.prepare<[string, string], Row>(
    `SELECT * FROM sends WHERE session_id = ? AND reserved_id = ?
       AND (state = 'handed_over' OR (state = 'settled' AND json_extract(outcome, '$.outcome') = 'uncertain'))`,
  );
  const markLookedUp = store.prepare('UPDATE sends SET looked_up = 1, updated_at = ? WHERE message_id = ?');
  const prune = store.prepare('DELETE FROM sends WHERE updated_at < ?');

  const settleAs = (messageId: string, outcome: FinalOutcome): void =>
    void settle.run(JSON.stringify(outcome), clock.now(), messageId);

  return {
    find(messageId) {
      const row = find.get(messageId);
      return row ? entryOf(row) : null;
    },
    accept: (entry) => void accept.run(entry.messageId, entry.sessionId, entry.reservedId, entry.hash, clock.now()),
    handOver(messageId) {
      if (handOver.run(clock.now(), messageId).changes !== 1)
        throw new Error('A send is handed over once, after it was accepted.');
    },
    settle: settleAs,
    lookedUp(sessionId, reservedId, found) {
      for (const row of doubtful.all(sessionId, reservedId)) {
        if (found) settleAs(row.message_id, { outcome: 'sent', ...found, at: new Date(clock.now()).toISOString() });
        else markLookedUp.run(clock.now(), row.message_id);
      }
    },
    prune: () => void prune.run(clock.now() - keptMs),
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
    lookedUp: row.looked_up === 1,
  };
}
