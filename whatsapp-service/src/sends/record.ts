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
 * | accepted: the lane has started it | not at all | as before: nothing was handed over by this call |
 * | handed_over | committed right before the page call | may have been sent: only a lookup can decide |
 * | settled: the outcome is known | some milliseconds later, many in one commit | the outcome; killed before, it says handed_over, and the lookup finds it |
 *
 * So each send needs only one commit of its own, the one before the hand-over, without which a crash could send a message twice.
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
  /** Records that the lane has started this send. In memory only. */
  accept(entry: Accepted): void;
  /** Commits that the message may be sent from now on. Throws when the store accepts no writes; then it must not be sent. */
  handOver(messageId: string): void;
  /** Records the outcome. On disk some milliseconds later; an outcome `sent` is final. */
  settle(messageId: string, outcome: FinalOutcome): void;
  /** Records that a lookup found the message with an ack of WhatsApp's server (1 or more). An unknown outcome becomes `sent`. */
  prove(sessionId: string, reservedId: string, found: { whatsappId: string; ack: number }): void;
  /** Writes outcomes that are still in memory. Call it before the store is closed. */
  flush(): void;
  /** Deletes the records of sends that are older than seven days. */
  prune(): void;
}

type Accepted = Pick<SendEntry, 'messageId' | 'sessionId' | 'reservedId' | 'hash' | 'attempt'>;

const retentionMs = 7 * 86_400_000;
/** The delay before outcomes are written. During a series of sends the next hand-over writes them earlier. */
const groupMs = 20;
/** The delay before a failed write is retried. */
const retryMs = 1_000;

interface Row {
  message_id: string;
  session_id: string;
  reserved_id: string;
  hash: string;
  state: SendEntry['state'];
  outcome: string | null;
  attempt: number;
}

interface Context {
  readonly clock: Clock;
  readonly onFailure: (error: unknown) => void;
  readonly sql: ReturnType<typeof statements>;
  /** Sends that the lane has started and that have no outcome yet. */
  readonly accepted: Map<string, Accepted>;
  /** Outcomes that are not yet on disk. */
  readonly unsaved: Map<string, { entry: Accepted; outcome: FinalOutcome }>;
  /** Whether a timer will write the outcomes. */
  isArmed: boolean;
  /** Writes the unsaved outcomes in one commit. */
  readonly saveAll: () => void;
  /** Writes a hand-over and the unsaved outcomes of earlier sends in the same commit. */
  readonly handOverWithRest: (entry: Accepted) => void;
}

export function createSendRecord(
  store: Store,
  clock: Clock,
  /** Called when outcomes could not be written. They stay in memory, and the write is retried. */
  onFailure: (error: unknown) => void = () => undefined,
): SendRecord {
  const sql = statements(store);
  const unsaved: Context['unsaved'] = new Map();
  const saveAll = store.transaction((): void => {
    for (const { entry, outcome } of unsaved.values())
      sql.settle.run({ ...entry, outcome: JSON.stringify(outcome), now: clock.now() });
  });
  const handOverWithRest = store.transaction((entry: Accepted): void => {
    saveAll();
    sql.handOver.run({ ...entry, now: clock.now() });
  });
  const accepted: Context['accepted'] = new Map();
  const context: Context = { clock, onFailure, sql, accepted, unsaved, isArmed: false, saveAll, handOverWithRest };
  return {
    find: (messageId) => find(context, messageId),
    accept: (entry) => accept(context, entry),
    handOver: (messageId) => handOver(context, messageId),
    settle: (messageId, outcome) => settle(context, messageId, outcome),
    prove: (sessionId, reservedId, found) => prove(context, sessionId, reservedId, found),
    flush: () => flush(context),
    prune: () => void sql.prune.run(clock.now() - retentionMs),
  };
}

function find(context: Context, messageId: string): SendEntry | null {
  const { accepted, unsaved } = context;
  const running = accepted.get(messageId);
  const known = savedEntry(context, messageId);
  if (running) return { ...running, state: known?.state === 'handed_over' ? 'handed_over' : 'accepted', outcome: null };
  const unsavedEntry = unsaved.get(messageId);
  const isSent = known?.outcome?.outcome === 'sent';
  return unsavedEntry && !isSent ? { ...unsavedEntry.entry, state: 'settled', outcome: unsavedEntry.outcome } : known;
}

function savedEntry({ sql }: Context, messageId: string): SendEntry | null {
  const row = sql.find.get(messageId);
  return row ? entryOf(row) : null;
}

function accept(context: Context, entry: Accepted): void {
  // Otherwise an earlier outcome of this message could overwrite the new state.
  if (context.unsaved.has(entry.messageId)) flush(context);
  context.accepted.set(entry.messageId, entry);
}

function handOver({ accepted, unsaved, handOverWithRest }: Context, messageId: string): void {
  const entry = accepted.get(messageId);
  if (!entry) throw new Error('A send was handed over before it was accepted, or twice.');
  handOverWithRest(entry);
  unsaved.clear();
}

function settle(context: Context, messageId: string, outcome: FinalOutcome): void {
  const { accepted, unsaved } = context;
  const entry = accepted.get(messageId) ?? unsaved.get(messageId)?.entry ?? savedEntry(context, messageId);
  if (!entry) throw new Error('A send was settled before it was accepted.');
  accepted.delete(messageId);
  // A message that was found stays `sent`: the call that waited for it may still end as uncertain.
  if (unsaved.get(messageId)?.outcome.outcome === 'sent') return;
  const { sessionId, reservedId, hash, attempt } = entry;
  unsaved.set(messageId, { entry: { messageId, sessionId, reservedId, hash, attempt }, outcome });
  arm(context, groupMs);
}

function prove(context: Context, sessionId: string, reservedId: string, found: { whatsappId: string; ack: number }): void {
  flush(context);
  for (const { message_id: id } of context.sql.withUnknownOutcome.all(sessionId, reservedId))
    settle(context, id, { outcome: 'sent', ...found, at: new Date(context.clock.now()).toISOString() });
}

function flush({ unsaved, saveAll }: Context): void {
  if (unsaved.size === 0) return;
  saveAll();
  unsaved.clear();
}

/** Writes the outcomes after `ms`, unless that is scheduled already. */
function arm(context: Context, ms: number): void {
  if (context.isArmed) return;
  context.isArmed = true;
  context.clock.after(ms, () => {
    context.isArmed = false;
    try {
      flush(context);
    } catch (error) {
      context.onFailure(error); // The disk is full. The record on disk says handed_over, and a lookup can find the outcome.
      arm(context, retryMs);
    }
  });
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
