import {
  isWorkerEventType,
  withoutContent,
  type OutletEvent,
  type WorkerEventPayload,
  type WorkerEventType,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import type { Store } from '../store.js';

export type WorkerEvent = { [T in WorkerEventType]: { event: T; payload: WorkerEventPayload<T> } }[WorkerEventType];

/**
 * The worker's ordered, durable queue to the backend.
 *
 * | step | what is on disk |
 * | --- | --- |
 * | `append` | nothing for at most 16 ms; then one commit for all that came meanwhile: id, sequence, row |
 * | `batch` | unchanged; the same rows come again until they are acknowledged |
 * | `acknowledge` | the mark moves, within 200 ms on disk too; the last few thousand rows behind it stay, for a backend that asks again |
 * | `refuse` | STALE_EPOCH and unreadable ones are parked, never dropped |
 *
 * A kill between `append` and its commit loses what happened in those milliseconds. Messages are then found by the next backfill,
 * because their keys are not yet marked as seen; states are told anew by the next start.
 */
export interface Outlet {
  append(sessionId: string, epoch: number, event: WorkerEvent): void;
  /** Oldest first: those asked for again, then those never acknowledged. */
  batch(limit: number): OutletEvent[];
  acknowledge(cursor: number): void;
  refuse(events: readonly OutletEvent[], code: string): void;
  /** Sends what the backend asked for once more; false when it is no longer there. */
  resend(sessionId: string, fromSequence: number): boolean;
  /** The session runs here under a new epoch: what was refused under an older one is queued again. */
  readopt(sessionId: string, epoch: number): void;
  /** Takes the content out of all that is kept of a session. */
  strip(sessionId: string): void;
  pending(): number;
  /** False while commits fail (full disk). */
  healthy(): boolean;
  commit(): void;
  /** Writes what may wait: before the store is closed. */
  saveMark(): void;
  onCommit(listener: () => void): void;
  prune(): void;
}

/** The first event after silence is written soon. Those of a stream share a commit for longer: their delivery gathers as long anyway. */
const groupMs = { first: 4, stream: 16 };
const markMs = 200;
const batchBytes = 512 * 1024;
const keptBehindAck = 5_000;
const dayMs = 86_400_000;

interface Entry {
  sessionId: string;
  epoch: number;
  type: string;
  occurredAt: string;
  payload: string;
}
interface Waiting extends Entry {
  /** The key under which the backend must see this only once. */
  seenKey: string | null;
}

interface Row {
  cursor: number;
  id: string;
  session_id: string;
  epoch: number;
  sequence: number;
  type: string;
  occurred_at: string;
  payload: string;
}

export function createOutlet(options: { store: Store; clock: Clock; log: Log; newId: () => string; seenDays: number }): Outlet {
  const { store, clock, log, newId } = options;
  const sql = statements(store);
  let waiting: Waiting[] = [];
  let armed = false;
  let committedAt = -Infinity;
  let healthy = true;
  let listener = (): void => undefined;
  const again = new Map<string, number>();

  const readAck = (): number => Number(sql.readMeta.get('ackCursor')?.value ?? 0);
  let acked = readAck();
  let savedMark = acked;
  /** Rows that were never acknowledged: counted once, then kept up, because a backlog may be long. */
  let unread = sql.count.get(acked)!.n;
  let cancelMark: (() => void) | null = null;

  const put = (entry: Entry): void => {
    const { last } = sql.nextSequence.get(entry.sessionId, entry.epoch)!;
    sql.insert.run(newId(), entry.sessionId, entry.epoch, last, entry.type, entry.occurredAt, entry.payload);
  };

  const putAll = store.transaction((entries: readonly Waiting[]): number => {
    let added = 0;
    for (const entry of entries) {
      // Live and backfill may both bring a message; the first one counts, and the mark commits with the event.
      if (entry.seenKey && sql.see.run(entry.sessionId, entry.seenKey, clock.now()).changes === 0) continue;
      put(entry);
      added += 1;
    }
    failPoint('outlet.written');
    return added;
  });

  function commit(): void {
    if (waiting.length === 0) return;
    const entries = waiting;
    waiting = [];
    committedAt = clock.now();
    try {
      unread += putAll(entries);
      healthy = true;
      failPoint('outlet.committed');
    } catch (error) {
      // Nothing of the group was written. It is kept in order and tried again; health tells of it.
      waiting = [...entries, ...waiting];
      healthy = false;
      log.error('Events could not be written to the outlet.', { waiting: waiting.length, ...errorFields(error) });
      arm(1_000);
      return;
    }
    listener();
  }

  function arm(ms: number): void {
    if (armed) return;
    armed = true;
    clock.after(ms, () => {
      armed = false;
      commit();
    });
  }

  /** The mark need not be on disk at once: killed before, the worker sends the same events again, and the backend knows their ids. */
  function armMark(): void {
    if (cancelMark) return;
    cancelMark = clock.after(markMs, () => {
      try {
        saveMark();
      } catch (error) {
        log.error('How far the backend has read could not be written; it is tried again.', errorFields(error));
        armMark();
      }
    });
  }

  function saveMark(): void {
    cancelMark?.();
    cancelMark = null;
    if (acked > savedMark) writeMark(acked);
    savedMark = acked;
  }

  const writeMark = store.transaction((cursor: number): void => {
    sql.writeMeta.run('ackCursor', String(cursor));
    sql.forget.run(cursor - keptBehindAck);
  });

  function wanted(limit: number): Row[] {
    const rows = [...again].flatMap(([sessionId, from]) => sql.bySequence.all({ sessionId, from, acked, limit }));
    return [...rows, ...sql.after.all(acked, limit)].sort((a, b) => a.cursor - b.cursor).slice(0, limit);
  }

  return {
    append(sessionId, epoch, event) {
      const seenKey = event.event === 'message.observed' ? event.payload.message.key : null;
      const occurredAt = new Date(clock.now()).toISOString();
      waiting.push({ sessionId, epoch, type: event.event, occurredAt, payload: JSON.stringify(event.payload), seenKey });
      arm(clock.now() - committedAt < groupMs.stream ? groupMs.stream : groupMs.first);
    },

    batch(limit) {
      const events: OutletEvent[] = [];
      let bytes = 0;
      for (const row of wanted(limit)) {
        bytes += row.payload.length;
        if (events.length > 0 && bytes > batchBytes) break;
        events.push(eventOf(row));
      }
      return events;
    },

    acknowledge(cursor) {
      again.clear();
      const most = sql.highest.get()?.cursor ?? 0;
      const next = Math.min(cursor, most);
      if (next <= acked) return;
      unread -= sql.between.get(acked, next)!.n;
      acked = next;
      armMark();
    },

    refuse: store.transaction((events: readonly OutletEvent[], code: string): void => {
      for (const event of events) {
        const payload = JSON.stringify(event.payload);
        sql.park.run(event.id, event.sessionId, event.epoch, event.type, event.occurredAt, payload, code, clock.now());
      }
    }),

    resend(sessionId, fromSequence) {
      const first = sql.bySequence.get({ sessionId, from: fromSequence, acked, limit: 1 });
      if (!first) return false;
      again.set(sessionId, fromSequence);
      return true;
    },

    readopt(sessionId, epoch) {
      commit();
      const count = store.transaction((): number => {
        const parked = sql.parked.all(sessionId, epoch);
        for (const { type, occurred_at: occurredAt, payload } of parked) put({ sessionId, epoch, type, occurredAt, payload });
        sql.unpark.run(sessionId, epoch);
        return parked.length;
      })();
      unread += count;
      if (count > 0) listener();
    },

    strip(sessionId) {
      commit();
      store.transaction((): void => {
        for (const { cursor, type, payload } of sql.ofSession.all(sessionId)) sql.rewrite.run(barePayload(type, payload), cursor);
        for (const { id, type, payload } of sql.parkedOf.all(sessionId)) sql.rewriteParked.run(barePayload(type, payload), id);
      })();
      // What stood there before still stands in the journal of the database.
      store.pragma('wal_checkpoint(TRUNCATE)');
    },

    pending: () => unread + waiting.length,
    healthy: () => healthy,
    commit,
    saveMark,
    onCommit: (next) => {
      listener = next;
    },
    prune: store.transaction((): void => {
      const oldest = clock.now() - options.seenDays * dayMs;
      sql.pruneSeen.run(oldest);
      sql.pruneParked.run(oldest);
    }),
  };
}

const barePayload = (type: string, payload: string): string =>
  isWorkerEventType(type)
    ? JSON.stringify(withoutContent(type, JSON.parse(payload) as WorkerEventPayload<typeof type>))
    : payload;

/** The event as a session tells it that keeps metadata alone. */
export const bareEvent = ({ event, payload }: WorkerEvent): WorkerEvent =>
  ({ event, payload: withoutContent(event, payload) }) as WorkerEvent;

const eventOf = (row: Row): OutletEvent => ({
  cursor: row.cursor,
  id: row.id,
  sessionId: row.session_id,
  epoch: row.epoch,
  sequence: row.sequence,
  type: row.type,
  occurredAt: row.occurred_at,
  // Our own JSON, written above from a checked payload.
  payload: JSON.parse(row.payload) as Record<string, unknown>,
});

function statements(store: Store) {
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
    see: store.prepare('INSERT OR IGNORE INTO seen_messages (session_id, key, seen_at) VALUES (?, ?, ?)'),
    after: store.prepare<[number, number], Row>('SELECT * FROM outlet WHERE cursor > ? ORDER BY cursor LIMIT ?'),
    /** Rows behind the mark, of the newest epoch that has the sequence asked for. */
    bySequence: store.prepare<[{ sessionId: string; from: number; acked: number; limit: number }], Row>(
      `SELECT * FROM outlet WHERE session_id = @sessionId AND sequence >= @from AND cursor <= @acked
         AND epoch = (SELECT max(epoch) FROM outlet WHERE session_id = @sessionId AND sequence = @from)
       ORDER BY cursor LIMIT @limit`,
    ),
    highest: store.prepare<[], { cursor: number }>('SELECT coalesce(max(cursor), 0) AS cursor FROM outlet'),
    count: store.prepare<[number], { n: number }>('SELECT count(*) AS n FROM outlet WHERE cursor > ?'),
    between: store.prepare<[number, number], { n: number }>('SELECT count(*) AS n FROM outlet WHERE cursor > ? AND cursor <= ?'),
    ofSession: store.prepare<[string], Pick<Row, 'cursor' | 'type' | 'payload'>>(
      'SELECT cursor, type, payload FROM outlet WHERE session_id = ?',
    ),
    rewrite: store.prepare('UPDATE outlet SET payload = ? WHERE cursor = ?'),
    parkedOf: store.prepare<[string], Pick<Row, 'id' | 'type' | 'payload'>>(
      'SELECT id, type, payload FROM parked WHERE session_id = ?',
    ),
    rewriteParked: store.prepare('UPDATE parked SET payload = ? WHERE id = ?'),
    forget: store.prepare('DELETE FROM outlet WHERE cursor <= ?'),
    park: store.prepare(
      `INSERT OR REPLACE INTO parked (id, session_id, epoch, type, occurred_at, payload, code, parked_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    /** States are not queued again: the session tells its present one when it takes the new epoch. */
    parked: store.prepare<[string, number], Row>(
      `SELECT * FROM parked WHERE session_id = ? AND epoch < ? AND code = 'STALE_EPOCH' AND type NOT LIKE 'session.%'
       ORDER BY occurred_at, id`,
    ),
    unpark: store.prepare("DELETE FROM parked WHERE session_id = ? AND epoch < ? AND code = 'STALE_EPOCH'"),
    pruneSeen: store.prepare('DELETE FROM seen_messages WHERE seen_at < ?'),
    pruneParked: store.prepare('DELETE FROM parked WHERE parked_at < ?'),
  };
}
