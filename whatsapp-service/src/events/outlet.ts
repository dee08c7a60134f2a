import type { OutletEvent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Marks } from '../sessions/marks.js';
import { isStoreUnavailable, type Store } from '../store.js';
import { barePayload, serialize } from './payload.js';
import { createSeenMessages, seenIn, type SeenMessage } from './seen.js';
import type { WorkerEvent } from './worker-event.js';

export { bareEvent } from './payload.js';

/**
 * The worker's ordered, durable queue of events for the backend.
 *
 * | step | what is on disk |
 * | --- | --- |
 * | `append` | nothing for at most 16 ms; then one commit for all events since: id, sequence, row, watermark |
 * | `batch` | unchanged; the same rows are returned until they are acknowledged |
 * | `acknowledge` | the mark moves, on disk within 200 ms; the last few thousand rows behind it stay, for a backend that asks for them again |
 * | `refuse` | refused events are parked, never dropped |
 *
 * A kill between `append` and its commit loses the events of those milliseconds. The next backfill then finds the messages, because their
 * keys are not yet marked as seen and the watermark commits together with them; the next start emits the states again.
 *
 * | the disk | what happens |
 * | --- | --- |
 * | accepts no writes (full, locked, read-only) | events wait in memory, in order; the commit is retried every second |
 * | waiting events exceed half of the memory limit | further messages are dropped and counted as missed; other events still wait |
 * | waiting events exceed the limit | every further event is dropped and reported as EVENTS_DROPPED, with the count |
 * | accepts writes again | all waiting events are written in order; then `onMissed` starts a backfill of each session that missed messages |
 *
 * An event that cannot be written although the disk accepts writes is isolated (`parked`, NOT_WRITABLE); later events are written.
 */
export interface Outlet {
  /** Queues an event. Never throws: an event that cannot be stored is reported as a problem. */
  append(sessionId: string, epoch: number, event: WorkerEvent): void;
  /** The next events, oldest first: those that the backend asked for again, then those that were never acknowledged. */
  batch(limit: number): OutletEvent[];
  acknowledge(cursor: number): void;
  refuse(events: readonly OutletEvent[], code: string): void;
  /** Deletes one acknowledged event, so that it is not sent again when the backend asks for it. */
  remove(cursor: number): void;
  /** At most `limit` later events, of other sessions if there are any, and the newest. They show whether the backend accepts other events. */
  witnesses(event: OutletEvent, limit: number): OutletEvent[];
  /** Queues the events that the backend asked for again. Returns false when they are no longer stored. */
  resend(sessionId: string, fromSequence: number): boolean;
  /** The session runs here under a new epoch: events that were refused under an older one are queued again. */
  readopt(sessionId: string, epoch: number): void;
  /**
   * Removes the content from stored events of a session, some hundred events with each call, because a backlog may be long and nothing else
   * runs during a call. Returns false while there is more.
   */
  strip(sessionId: string): boolean;
  /** Keys of a session's messages that had a reaction or a change since `since` (milliseconds). */
  watched(sessionId: string, since: number): string[];
  pending(): number;
  /** False while commits fail (full disk). */
  healthy(): boolean;
  /** Writes the waiting events. Never throws. */
  commit(): void;
  /** Called after the disk accepts writes again, with the sessions whose messages were dropped meanwhile. */
  onMissed(listener: (sessionIds: readonly string[]) => void): void;
  /** Writes the acknowledged cursor. Call it before the store is closed. */
  saveMark(): void;
  onCommit(listener: () => void): void;
  prune(): void;
}

/** The delay before a commit: short for the first event after a quiet time, longer in a stream, whose delivery waits as long anyway. */
const groupMs = { first: 4, stream: 16 };
const markMs = 200;
const batchBytes = 512 * 1024;
const retainedBehindAck = 5_000;
const retryMs = 1_000;
/** Events per transaction. If the disk fills up, only the last transaction of a long backlog has to be repeated. */
const maxPerCommit = 500;
/** The number of events whose content one call of `strip` removes. */
const maxPerStrip = 300;
const defaultMemory = 64 * 1024 * 1024;
const dayMs = 86_400_000;

interface Entry {
  sessionId: string;
  epoch: number;
  type: string;
  occurredAt: string;
  payload: string;
}
interface Waiting extends Entry {
  /** The message that the event is about. */
  seen: SeenMessage | null;
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

export function createOutlet(options: {
  store: Store;
  clock: Clock;
  log: Log;
  problems: Problems;
  /** Watermarks, which are written in the same commits. */
  marks?: Marks;
  newId: () => string;
  seenDays: number;
  /** The maximum number of characters of events that wait in memory while the disk accepts no writes. */
  memoryLimit?: number;
}): Outlet {
  const { store, clock, log, problems, marks, newId, memoryLimit = defaultMemory } = options;
  const sql = statements(store);
  const seenMessages = createSeenMessages(store);
  let waiting: Waiting[] = [];
  let waitingSize = 0;
  const missed = new Set<string>();
  let armed = false;
  let committedAt = -Infinity;
  let healthy = true;
  let listener = (): void => undefined;
  let missedListener = (_sessionIds: readonly string[]): void => undefined;
  const resendFrom = new Map<string, number>();
  /** How far `strip` has come in each session. */
  const stripped = new Map<string, { cursor: number; parked: string }>();

  const readAck = (): number => Number(sql.readMeta.get('ackCursor')?.value ?? 0);
  let acked = readAck();
  let savedMark = acked;
  /** The number of unacknowledged rows. Counted once and then updated, because a backlog may be long. */
  let unacknowledged = sql.count.get(acked)!.n;
  let cancelMark: (() => void) | null = null;

  const insert = (entry: Entry): void => {
    const { last } = sql.nextSequence.get(entry.sessionId, entry.epoch)!;
    sql.insert.run(newId(), entry.sessionId, entry.epoch, last, entry.type, entry.occurredAt, entry.payload);
  };

  const insertAll = store.transaction((entries: readonly Waiting[], withMarks: boolean): number => {
    let added = 0;
    for (const entry of entries) {
      // A message may come both live and by backfill. The first one counts; its record commits together with the event.
      if (entry.seen && !seenMessages.note(entry.sessionId, entry.seen, clock.now())) continue;
      insert(entry);
      added += 1;
    }
    if (withMarks) marks?.write();
    failPoint('outlet.written');
    return added;
  });

  /** Writes `entries` in one commit, or one by one if one of them cannot be written. Throws when the store accepts no writes at all. */
  function writeGroup(entries: readonly Waiting[], withMarks: boolean): number {
    try {
      return insertAll(entries, withMarks);
    } catch (error) {
      if (isStoreUnavailable(error)) throw error;
      if (entries.length === 1) {
        isolate(entries[0]!, error);
        return 0;
      }
    }
    // The marks are written with the last entry, because they cover all entries before it.
    return entries.reduce((sum, entry, index) => sum + writeGroup([entry], withMarks && index === entries.length - 1), 0);
  }

  /** Parks an event that cannot be written. Its sequence number was not used, so the backend sees no gap. */
  function isolate({ sessionId, epoch, type, occurredAt, payload }: Waiting, error: unknown): void {
    problems.note('EVENT_SET_ASIDE', { sessionId, detail: type, error });
    const park = (storedPayload: string): void =>
      void sql.park.run(newId(), sessionId, epoch, type, occurredAt, storedPayload, 'NOT_WRITABLE', clock.now());
    try {
      park(payload);
    } catch (failure) {
      if (isStoreUnavailable(failure)) return;
      log.warn('An isolated event could not be recorded.', { sessionId, type });
    }
  }

  function commit(): void {
    while (waiting.length > 0 || (marks?.hasUnwritten() ?? false)) {
      const entries = waiting.slice(0, maxPerCommit);
      const isLast = entries.length === waiting.length;
      committedAt = clock.monotonic();
      try {
        // The marks cover all waiting events, so they are written with the last group.
        unacknowledged += writeGroup(entries, isLast);
        if (isLast) marks?.written();
        failPoint('outlet.committed');
      } catch (error) {
        // Nothing of the group was written. It stays in order and is retried.
        healthy = false;
        problems.note('STORE_WRITE_FAILED', { detail: 'outlet', error });
        arm(retryMs);
        return;
      }
      waiting = waiting.slice(entries.length);
      for (const { payload } of entries) waitingSize -= payload.length;
      listener();
      if (isLast) break;
    }
    if (!healthy) recovered();
  }

  function recovered(): void {
    healthy = true;
    log.info('Events can be written to the outlet again.', { sessionsWithMissedMessages: missed.size });
    const sessions = [...missed];
    missed.clear();
    if (sessions.length > 0) missedListener(sessions);
  }

  /** Whether an event may wait in memory. Messages are dropped first, because a backfill can read them again. */
  function fits({ sessionId, type, payload }: Waiting): boolean {
    if (healthy) return true;
    const size = waitingSize + payload.length;
    if (type === 'message.observed' && size > memoryLimit / 2) {
      missed.add(sessionId);
      marks?.freeze(sessionId);
      return false;
    }
    if (size <= memoryLimit) return true;
    problems.note('EVENTS_DROPPED', { sessionId, detail: type });
    return false;
  }

  function arm(ms: number): void {
    if (armed) return;
    armed = true;
    clock.after(ms, () => {
      armed = false;
      commit();
    });
  }
  const armSoon = (): void => arm(clock.monotonic() - committedAt < groupMs.stream ? groupMs.stream : groupMs.first);
  marks?.onUnwritten(armSoon);

  /** The mark may be written late: after a kill the worker sends the same events again, and the backend recognises their ids. */
  function armMark(): void {
    if (cancelMark) return;
    cancelMark = clock.after(markMs, () => {
      try {
        saveMark();
      } catch (error) {
        problems.note('STORE_WRITE_FAILED', { detail: 'acknowledgement', error });
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
    sql.forget.run(cursor - retainedBehindAck);
  });

  function rowsToSend(limit: number): Row[] {
    const rows = [...resendFrom].flatMap(([sessionId, from]) => sql.bySequence.all({ sessionId, from, acked, limit }));
    return [...rows, ...sql.after.all(acked, limit)].sort((a, b) => a.cursor - b.cursor).slice(0, limit);
  }

  return {
    append(sessionId, epoch, event) {
      try {
        const seen = seenIn(event);
        const occurredAt = new Date(clock.now()).toISOString();
        const { json: payload, shortened } = serialize(event.payload);
        if (shortened) problems.note('EVENT_SHORTENED', { sessionId, detail: event.event });
        const entry = { sessionId, epoch, type: event.event, occurredAt, payload, seen };
        if (!fits(entry)) return;
        waiting.push(entry);
        waitingSize += payload.length;
        armSoon();
      } catch (error) {
        problems.note('EVENT_SET_ASIDE', { sessionId, detail: event.event, error });
      }
    },

    batch(limit) {
      const events: OutletEvent[] = [];
      let bytes = 0;
      for (const row of rowsToSend(limit)) {
        bytes += row.payload.length;
        if (events.length > 0 && bytes > batchBytes) break;
        events.push(eventOf(row));
      }
      return events;
    },

    acknowledge(cursor) {
      resendFrom.clear();
      const highest = sql.highest.get()?.cursor ?? 0;
      const next = Math.min(cursor, highest);
      if (next <= acked) return;
      unacknowledged -= sql.between.get(acked, next)!.n;
      acked = next;
      armMark();
    },

    refuse: store.transaction((events: readonly OutletEvent[], code: string): void => {
      for (const event of events) {
        const payload = JSON.stringify(event.payload);
        sql.park.run(event.id, event.sessionId, event.epoch, event.type, event.occurredAt, payload, code, clock.now());
      }
    }),

    remove: (cursor) => void sql.remove.run(cursor),
    witnesses({ cursor, sessionId }, limit) {
      const others = sql.ofOthers.all(cursor, sessionId, Math.ceil(limit / 2));
      const newest = sql.newest
        .all(cursor, limit - others.length)
        .filter((row) => !others.some((one) => one.cursor === row.cursor));
      return [...others, ...newest].map(eventOf);
    },

    resend(sessionId, fromSequence) {
      const first = sql.bySequence.get({ sessionId, from: fromSequence, acked, limit: 1 });
      if (!first) return false;
      resendFrom.set(sessionId, fromSequence);
      return true;
    },

    readopt(sessionId, epoch) {
      commit();
      const count = store.transaction((): number => {
        const parked = sql.parked.all(sessionId, epoch);
        for (const { type, occurred_at: occurredAt, payload } of parked) insert({ sessionId, epoch, type, occurredAt, payload });
        sql.unpark.run(sessionId, epoch);
        return parked.length;
      })();
      unacknowledged += count;
      if (count > 0) listener();
    },

    strip(sessionId) {
      commit();
      const from = stripped.get(sessionId) ?? { cursor: 0, parked: '' };
      const rows = sql.ofSession.all(sessionId, from.cursor, maxPerStrip);
      const parked = sql.parkedOf.all(sessionId, from.parked, maxPerStrip);
      store.transaction((): void => {
        for (const { cursor, type, payload } of rows) sql.rewrite.run(barePayload(type, payload), cursor);
        for (const { id, type, payload } of parked) sql.rewriteParked.run(barePayload(type, payload), id);
      })();
      if (rows.length === maxPerStrip || parked.length === maxPerStrip) {
        stripped.set(sessionId, { cursor: rows.at(-1)?.cursor ?? from.cursor, parked: parked.at(-1)?.id ?? from.parked });
        return false;
      }
      stripped.delete(sessionId);
      // The journal of the database still contains the old payloads.
      store.pragma('wal_checkpoint(TRUNCATE)');
      return true;
    },

    watched: seenMessages.watched,
    pending: () => unacknowledged + waiting.length,
    healthy: () => healthy,
    commit,
    saveMark,
    onCommit: (next) => {
      listener = next;
    },
    onMissed: (next) => {
      missedListener = next;
    },
    prune: store.transaction((): void => {
      const oldest = clock.now() - options.seenDays * dayMs;
      sql.pruneSeen.run(oldest);
      sql.pruneParked.run(oldest);
    }),
  };
}

const eventOf = (row: Row): OutletEvent => ({
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
    ofOthers: store.prepare<[number, string, number], Row>(
      `SELECT * FROM (SELECT * FROM outlet WHERE cursor > ? ORDER BY cursor LIMIT 2000) WHERE session_id <> ? LIMIT ?`,
    ),
    newest: store.prepare<[number, number], Row>('SELECT * FROM outlet WHERE cursor > ? ORDER BY cursor DESC LIMIT ?'),
    /** By cursor, not by the index of sequences: with a limit it stops after the rows that it needs. */
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
