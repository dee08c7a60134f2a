import type { OutletEvent } from '@chasqui/shared';
import type { Store } from '../store.js';

/** The rows of the outlet in the worker's store, and every statement on them. The tables are created in `store.ts`. */

export interface Row {
  cursor: number;
  id: string;
  session_id: string;
  epoch: number;
  sequence: number;
  type: string;
  occurred_at: string;
  payload: string;
}

/** An event that has no row yet. */
export interface NewEvent {
  sessionId: string;
  epoch: number;
  type: string;
  occurredAt: string;
  /** JSON. */
  payload: string;
}

export type OutletStatements = ReturnType<typeof outletStatements>;

/** Inserts an event under the next sequence number of its session and epoch. Part of the caller's transaction. */
export function insertEvent(sql: OutletStatements, id: string, event: NewEvent): void {
  const { last } = sql.nextSequence.get(event.sessionId, event.epoch)!;
  sql.insert.run(id, event.sessionId, event.epoch, last, event.type, event.occurredAt, event.payload);
}

export const eventOf = (row: Row): OutletEvent => ({
  cursor: row.cursor,
  id: row.id,
  sessionId: row.session_id,
  epoch: row.epoch,
  sequence: row.sequence,
  type: row.type,
  occurredAt: row.occurred_at,
  payload: parsed(row.payload),
});

/** Parses a stored payload. A row that the disk has damaged is sent without its payload; the backend refuses that event, and it is parked. */
function parsed(payload: string): Record<string, unknown> {
  try {
    return JSON.parse(payload) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

export function outletStatements(store: Store) {
  return {
    readMeta: store.prepare<[string], { value: string }>('SELECT value FROM meta WHERE name = ?'),
    writeMeta: store.prepare(
      'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    ),
    nextSequence: store.prepare<[string, number], { last: number }>(
      `INSERT INTO sequences (session_id, epoch, last) VALUES (?, ?, 1)
       ON CONFLICT (session_id, epoch) DO UPDATE SET last = last + 1 RETURNING last`,
    ),
    insert: store.prepare(
      'INSERT INTO outlet (id, session_id, epoch, sequence, type, occurred_at, payload) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    after: store.prepare<[number, number], Row>('SELECT * FROM outlet WHERE cursor > ? ORDER BY cursor LIMIT ?'),
    /** Rows behind the mark, of the newest epoch that has the requested sequence. */
    bySequence: store.prepare<[{ sessionId: string; from: number; acked: number; limit: number }], Row>(
      `SELECT * FROM outlet WHERE session_id = @sessionId AND sequence >= @from AND cursor <= @acked
         AND epoch = (SELECT max(epoch) FROM outlet WHERE session_id = @sessionId AND sequence = @from)
       ORDER BY cursor LIMIT @limit`,
    ),
    highest: store.prepare<[], { cursor: number }>('SELECT coalesce(max(cursor), 0) AS cursor FROM outlet'),
    count: store.prepare<[number], { n: number }>('SELECT count(*) AS n FROM outlet WHERE cursor > ?'),
    between: store.prepare<[number, number], { n: number }>('SELECT count(*) AS n FROM outlet WHERE cursor > ? AND cursor <= ?'),
    remove: store.prepare<[number]>('DELETE FROM outlet WHERE cursor = ?'),
    /** Later events of other sessions, from the next 2,000. */
    ofOthers: store.prepare<[number, string, number], Row>(
      `SELECT * FROM (SELECT * FROM outlet WHERE cursor > ? ORDER BY cursor LIMIT 2000) WHERE session_id <> ? LIMIT ?`,
    ),
    newest: store.prepare<[number, number], Row>('SELECT * FROM outlet WHERE cursor > ? ORDER BY cursor DESC LIMIT ?'),
    /** Reads by cursor, not by the index of sequences: with a limit it stops after the rows that it needs. */
    ofSession: store.prepare<[string, number, number], Pick<Row, 'cursor' | 'type' | 'payload'>>(
      'SELECT cursor, type, payload FROM outlet WHERE +session_id = ? AND cursor > ? ORDER BY cursor LIMIT ?',
    ),
    rewrite: store.prepare('UPDATE outlet SET payload = ? WHERE cursor = ?'),
    parkedOf: store.prepare<[string, string, number], Pick<Row, 'id' | 'type' | 'payload'>>(
      'SELECT id, type, payload FROM parked WHERE session_id = ? AND id > ? ORDER BY id LIMIT ?',
    ),
    rewriteParked: store.prepare('UPDATE parked SET payload = ? WHERE id = ?'),
    forget: store.prepare('DELETE FROM outlet WHERE cursor <= ?'),
    park: store.prepare(
      `INSERT OR REPLACE INTO parked (id, session_id, epoch, type, occurred_at, payload, code, parked_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    /** States are not queued again: the session emits its current state when it adopts the new epoch. */
    parked: store.prepare<[string, number], Row>(
      `SELECT * FROM parked WHERE session_id = ? AND epoch < ? AND code = 'STALE_EPOCH' AND type NOT LIKE 'session.%'
       ORDER BY occurred_at, id`,
    ),
    unpark: store.prepare("DELETE FROM parked WHERE session_id = ? AND epoch < ? AND code = 'STALE_EPOCH'"),
    pruneSeen: store.prepare('DELETE FROM seen_messages WHERE seen_at < ?'),
    pruneParked: store.prepare('DELETE FROM parked WHERE parked_at < ?'),
  };
}
