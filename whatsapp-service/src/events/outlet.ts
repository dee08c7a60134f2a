import type { OutletEvent } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Marks } from '../sessions/marks.js';
import type { Store } from '../store.js';
import { eventOf, insertEvent, outletStatements, type OutletStatements, type Row } from './outlet-rows.js';
import type { CallRecord } from './calls.js';
import { barePayload } from './payload.js';
import { createSeenMessages } from './seen.js';
import type { WorkerEvent } from './worker-event.js';
import { createWriteBuffer, type WriteBuffer } from './write-buffer.js';

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
 * | waiting events exceed half of the memory limit | further messages are dropped and counted as missed, and thumbnails are dropped; other events still wait |
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
  /** Records that the backend has committed all events up to this cursor. They are not sent again unless the backend asks for them. */
  acknowledge(cursor: number): void;
  /** Parks events that the backend refused with this code, and takes them out of the outlet. The caller then acknowledges them. */
  refuse(events: readonly OutletEvent[], code: string): void;
  /** Returns at most `limit` later events: half of them of other sessions if there are any, and the newest. They show whether the backend accepts other events. */
  witnesses(event: OutletEvent, limit: number): OutletEvent[];
  /** Queues the events that the backend asked for again. Returns false when they are no longer stored. */
  resend(sessionId: string, fromSequence: number): boolean;
  /** Queues events again that the backend refused under an older epoch. For a session that now runs here under a new one. */
  readopt(sessionId: string, epoch: number): void;
  /**
   * Removes the content from stored events of a session. Each call handles some hundred events, because a backlog may be long and a call blocks the
   * process. Returns false while there is more.
   */
  strip(sessionId: string): boolean;
  /** Keys of a session's messages that had a reaction or a change since `since` (milliseconds). */
  watched(sessionId: string, since: number): string[];
  /** The number of events that the backend has not acknowledged. */
  pending(): number;
  /** False while commits fail (full disk). */
  healthy(): boolean;
  /** Writes the waiting events. Never throws. */
  commit(): void;
  /** Called after the disk accepts writes again, with the sessions whose messages were dropped meanwhile. */
  onMissed(listener: (sessionIds: readonly string[]) => void): void;
  /** Writes the acknowledged cursor. Call it before the store is closed. */
  saveMark(): void;
  /** Called after each commit that may have added events. One listener. */
  onCommit(listener: () => void): void;
  /** Deletes keys of messages and parked events that are older than `seenDays`. */
  prune(): void;
}

export interface OutletOptions {
  store: Store;
  clock: Clock;
  log: Log;
  problems: Problems;
  /** Watermarks, which are written in the same commits. */
  marks?: Marks;
  /** Calls, which are marked as reported in the same commits. */
  calls?: Pick<CallRecord, 'report'>;
  newId: () => string;
  /** How long the keys of messages and the parked events are stored. */
  seenDays: number;
  /** The maximum number of characters of events that wait in memory while the disk accepts no writes. */
  memoryLimit?: number;
}

interface Context {
  readonly store: Store;
  readonly clock: Clock;
  readonly problems: Problems;
  readonly newId: () => string;
  readonly sql: OutletStatements;
  readonly buffer: WriteBuffer;
  /** The cursor up to which the backend has acknowledged all events. */
  acked: number;
  /** The acknowledged cursor on disk. */
  savedMark: number;
  /** The number of unacknowledged rows. Counted once and then updated, because a backlog may be long. */
  unacknowledged: number;
  /** Cancels the scheduled write of the acknowledged cursor; null if none is scheduled. */
  cancelMark: (() => void) | null;
  /** Writes the acknowledged cursor and deletes the rows far behind it. */
  readonly writeMark: (cursor: number) => void;
  /** Per session: the sequence number from which the backend asked for events again. */
  readonly resendFrom: Map<string, number>;
  /** How far `strip` has come in each session. */
  readonly stripped: Map<string, { cursor: number; parked: string }>;
  onCommit: () => void;
  onMissed: (sessionIds: readonly string[]) => void;
}

const markMs = 200;
const batchBytes = 512 * 1024;
const retainedBehindAck = 5_000;
/** The number of events whose content one call of `strip` removes. */
const maxPerStrip = 300;
const defaultMemory = 64 * 1024 * 1024;
const dayMs = 86_400_000;

export function createOutlet(options: OutletOptions): Outlet {
  const { store, clock, log, problems, marks, calls, newId, memoryLimit = defaultMemory } = options;
  const sql = outletStatements(store);
  const seenMessages = createSeenMessages(store);
  const buffer = createWriteBuffer({
    store,
    sql,
    seenMessages,
    marks,
    calls,
    clock,
    log,
    problems,
    newId,
    memoryLimit,
    onAdded(count) {
      context.unacknowledged += count;
    },
    onCommit: () => context.onCommit(),
    onMissed: (sessionIds) => context.onMissed(sessionIds),
  });
  const context = createContext({ store, clock, problems, newId, sql, buffer });
  return {
    append: buffer.append,
    batch: (limit) => batch(context, limit),
    acknowledge: (cursor) => acknowledge(context, cursor),
    refuse: (events, code) => refuse(context, events, code),
    witnesses: (event, limit) => witnesses(sql, event, limit),
    resend: (sessionId, fromSequence) => resend(context, sessionId, fromSequence),
    readopt: (sessionId, epoch) => readopt(context, sessionId, epoch),
    strip: (sessionId) => strip(context, sessionId),
    watched: seenMessages.watched,
    pending: () => context.unacknowledged + buffer.size(),
    healthy: buffer.isHealthy,
    commit: buffer.commit,
    onMissed(listener) {
      context.onMissed = listener;
    },
    saveMark: () => saveMark(context),
    onCommit(listener) {
      context.onCommit = listener;
    },
    prune: store.transaction((): void => prune(context, clock.now() - options.seenDays * dayMs)),
  };
}

function createContext(parts: Pick<Context, 'store' | 'clock' | 'problems' | 'newId' | 'sql' | 'buffer'>): Context {
  const { store, sql } = parts;
  const acked = Number(sql.readMeta.get('ackCursor')?.value ?? 0);
  return {
    ...parts,
    acked,
    savedMark: acked,
    unacknowledged: sql.count.get(acked)!.n,
    cancelMark: null,
    writeMark: store.transaction((cursor: number): void => {
      sql.writeMeta.run('ackCursor', String(cursor));
      sql.forget.run(cursor - retainedBehindAck);
    }),
    resendFrom: new Map(),
    stripped: new Map(),
    onCommit: () => undefined,
    onMissed: () => undefined,
  };
}

function batch(context: Context, limit: number): OutletEvent[] {
  const events: OutletEvent[] = [];
  let bytes = 0;
  for (const row of rowsToSend(context, limit)) {
    bytes += row.payload.length;
    if (events.length > 0 && bytes > batchBytes) break;
    events.push(eventOf(row));
  }
  return events;
}

function rowsToSend({ sql, acked, resendFrom }: Context, limit: number): Row[] {
  const rows = [...resendFrom].flatMap(([sessionId, from]) => sql.bySequence.all({ sessionId, from, acked, limit }));
  return [...rows, ...sql.after.all(acked, limit)].sort((a, b) => a.cursor - b.cursor).slice(0, limit);
}

function acknowledge(context: Context, cursor: number): void {
  const { sql, acked } = context;
  context.resendFrom.clear();
  const highest = sql.highest.get()?.cursor ?? 0;
  const next = Math.min(cursor, highest);
  if (next <= acked) return;
  context.unacknowledged -= sql.between.get(acked, next)!.n;
  context.acked = next;
  armMark(context);
}

/** The mark may be written late: after a kill the worker sends the same events again, and the backend recognises their ids. */
function armMark(context: Context): void {
  if (context.cancelMark) return;
  context.cancelMark = context.clock.after(markMs, () => {
    try {
      saveMark(context);
    } catch (error) {
      context.problems.note('STORE_WRITE_FAILED', { detail: 'acknowledgement', error });
      armMark(context);
    }
  });
}

function saveMark(context: Context): void {
  context.cancelMark?.();
  context.cancelMark = null;
  if (context.acked > context.savedMark) context.writeMark(context.acked);
  context.savedMark = context.acked;
}

/** The mark is written later, so after a kill the batch is sent again: without a refused event, which may be queued again under a new id by then. */
function refuse(context: Context, events: readonly OutletEvent[], code: string): void {
  const { store, sql, clock, acked } = context;
  const park = store.transaction((): number => {
    let waiting = 0;
    for (const { cursor, id, sessionId, epoch, type, occurredAt, payload } of events) {
      sql.park.run(id, sessionId, epoch, type, occurredAt, JSON.stringify(payload), code, clock.now());
      const { changes } = sql.remove.run(cursor);
      if (cursor > acked) waiting += changes;
    }
    return waiting;
  });
  context.unacknowledged -= park();
}

function witnesses(sql: OutletStatements, { cursor, sessionId }: OutletEvent, limit: number): OutletEvent[] {
  const others = sql.ofOthers.all(cursor, sessionId, Math.ceil(limit / 2));
  const newest = sql.newest.all(cursor, limit - others.length).filter((row) => !others.some((one) => one.cursor === row.cursor));
  return [...others, ...newest].map(eventOf);
}

function resend({ sql, acked, resendFrom }: Context, sessionId: string, fromSequence: number): boolean {
  const first = sql.bySequence.get({ sessionId, from: fromSequence, acked, limit: 1 });
  if (!first) return false;
  resendFrom.set(sessionId, fromSequence);
  return true;
}

function readopt(context: Context, sessionId: string, epoch: number): void {
  const { store, sql, newId, buffer } = context;
  buffer.commit();
  const count = store.transaction((): number => {
    const parked = sql.parked.all(sessionId, epoch);
    for (const { type, occurred_at: occurredAt, payload } of parked)
      insertEvent(sql, newId(), { sessionId, epoch, type, occurredAt, payload });
    sql.unpark.run(sessionId, epoch);
    return parked.length;
  })();
  context.unacknowledged += count;
  if (count > 0) context.onCommit();
}

function strip(context: Context, sessionId: string): boolean {
  const { store, sql, buffer, stripped } = context;
  buffer.commit();
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
}

function prune({ sql }: Context, oldest: number): void {
  sql.pruneSeen.run(oldest);
  sql.pruneParked.run(oldest);
}
