import type { OutletEvent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Marks } from '../sessions/marks.js';
import { isStoreTrouble, type Store } from '../store.js';
import { barePayload, serialize } from './payload.js';
import { createSeenMessages, seenIn, type SeenMessage } from './seen.js';
import type { WorkerEvent } from './worker-event.js';

export { bareEvent } from './payload.js';

/**
 * The worker's ordered, durable queue to the backend.
 *
 * | step | what is on disk |
 * | --- | --- |
 * | `append` | nothing for at most 16 ms; then one commit for all that came meanwhile: id, sequence, row, watermark |
 * | `batch` | unchanged; the same rows come again until they are acknowledged |
 * | `acknowledge` | the mark moves, within 200 ms on disk too; the last few thousand rows behind it stay, for a backend that asks again |
 * | `refuse` | STALE_EPOCH and unreadable ones are parked, never dropped |
 *
 * A kill between `append` and its commit loses what happened in those milliseconds. Messages are then found by the next backfill,
 * because their keys are not yet marked as seen and the watermark commits together with them; states are told again by the next start.
 *
 * | the disk | what happens |
 * | --- | --- |
 * | takes no writes (full, locked, read-only) | events wait in memory, in order; the commit is repeated every second |
 * | waiting events pass half of the memory limit | messages are not kept any more, but counted as missed; everything else is |
 * | waiting events pass the limit | every event is dropped and reported as EVENTS_DROPPED, with their number |
 * | takes writes again | all that waits is written in order; then `onMissed` asks each session that missed messages for a backfill |
 *
 * An event that cannot be written although the disk takes writes is set aside (`parked`, NOT_WRITABLE); those behind it go on.
 */
export interface Outlet {
  /** Never throws: an event that cannot be kept is reported as a problem. */
  append(sessionId: string, epoch: number, event: WorkerEvent): void;
  /** Oldest first: those asked for again, then those never acknowledged. */
  batch(limit: number): OutletEvent[];
  acknowledge(cursor: number): void;
  refuse(events: readonly OutletEvent[], code: string): void;
  /** Takes one event out for good: it was acknowledged, and is not to be sent again when the backend asks for it. */
  remove(cursor: number): void;
  /** At most `limit` events behind this one, of other sessions where there are any, and the newest: to see whether the backend takes others. */
  witnesses(event: OutletEvent, limit: number): OutletEvent[];
  /** Sends what the backend asked for once more; false when it is no longer there. */
  resend(sessionId: string, fromSequence: number): boolean;
  /** The session runs here under a new epoch: what was refused under an older one is queued again. */
  readopt(sessionId: string, epoch: number): void;
  /**
   * Takes the content out of what is kept of a session, some hundred events with each call, because a backlog may be long and nothing else runs
   * meanwhile. Returns false while there is more.
   */
  strip(sessionId: string): boolean;
  /** Keys of a session's messages that had a reaction or a change since `since` (milliseconds). */
  watched(sessionId: string, since: number): string[];
  pending(): number;
  /** False while commits fail (full disk). */
  healthy(): boolean;
  /** Writes what waits. Never throws. */
  commit(): void;
  /** Called after the disk took writes again, with the sessions of which messages were not kept meanwhile. */
  onMissed(listener: (sessionIds: readonly string[]) => void): void;
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
const retryMs = 1_000;
/** Events per transaction, so that a long backlog is not written again from its start each time the disk is full at its end. */
const maxPerCommit = 500;
/** Events whose content is taken out at once. */
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
  /** The message that it is about. */
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
  /** How many characters of events wait in memory at most while the disk takes none. */
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
  const again = new Map<string, number>();
  /** How far the content was taken out of a session's events. */
  const stripped = new Map<string, { cursor: number; parked: string }>();

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

  const putAll = store.transaction((entries: readonly Waiting[], withMarks: boolean): number => {
    let added = 0;
    for (const entry of entries) {
      // Live and backfill may both bring a message; the first one counts, and what is noted of it commits with the event.
      if (entry.seen && !seenMessages.note(entry.sessionId, entry.seen, clock.now())) continue;
      put(entry);
      added += 1;
    }
    if (withMarks) marks?.write();
    failPoint('outlet.written');
    return added;
  });

  /** Writes `entries` in one commit, or one by one where one of them is at fault. Throws when the store takes no writes at all. */
  function writeGroup(entries: readonly Waiting[], withMarks: boolean): number {
    try {
      return putAll(entries, withMarks);
    } catch (error) {
      if (isStoreTrouble(error)) throw error;
      if (entries.length === 1) {
        setAside(entries[0]!, error);
        return 0;
      }
    }
    // The marks go with the last of them, because they cover all that is before.
    return entries.reduce((sum, entry, index) => sum + writeGroup([entry], withMarks && index === entries.length - 1), 0);
  }

  /** The event itself is at fault. Its place in the sequence was never given, so the backend misses nothing. */
  function setAside({ sessionId, epoch, type, occurredAt, payload }: Waiting, error: unknown): void {
    problems.note('EVENT_SET_ASIDE', { sessionId, detail: type, error });
    const park = (kept: string): void =>
      void sql.park.run(newId(), sessionId, epoch, type, occurredAt, kept, 'NOT_WRITABLE', clock.now());
    try {
      park(payload);
    } catch (failure) {
      if (isStoreTrouble(failure)) return;
      log.warn('An event that was set aside could not be kept.', { sessionId, type });
    }
  }

  function commit(): void {
    while (waiting.length > 0 || (marks?.hasUnwritten() ?? false)) {
      const entries = waiting.slice(0, maxPerCommit);
      const isLast = entries.length === waiting.length;
      committedAt = clock.monotonic();
      try {
        // The marks cover all that waits, so they go with the last of it.
        unread += writeGroup(entries, isLast);
        if (isLast) marks?.written();
        failPoint('outlet.committed');
      } catch (error) {
        // Nothing of the group was written. It is kept in order and tried again.
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

  /** Whether an event may wait. Memory is not endless: what WhatsApp can tell again goes first. */
  function fits({ sessionId, type, payload }: Waiting): boolean {
    if (healthy) return true;
    const size = waitingSize + payload.length;
    if (type === 'message.observed' && size > memoryLimit / 2) {
      missed.add(sessionId);
      marks?.hold(sessionId);
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

  /** The mark need not be on disk at once: killed before, the worker sends the same events again, and the backend knows their ids. */
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
    sql.forget.run(cursor - keptBehindAck);
  });

  function wanted(limit: number): Row[] {
    const rows = [...again].flatMap(([sessionId, from]) => sql.bySequence.all({ sessionId, from, acked, limit }));
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
      // What stood there before still stands in the journal of the database.
      store.pragma('wal_checkpoint(TRUNCATE)');
      return true;
    },

    watched: seenMessages.watched,
    pending: () => unread + waiting.length,
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

/** Our own JSON. A row that the disk has damaged goes out without its payload: the backend refuses that one event, and it is parked. */
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
    /** Rows behind the mark, of the newest epoch that has the sequence asked for. */
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
