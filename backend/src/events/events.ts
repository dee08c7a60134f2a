import { eventCatalogue, newId, type EventData, type EventType } from '@chasqui/shared';
import type { Transaction } from '../db/unit-of-work.js';
import { insertIfAbsent, insertRows } from '../db/rows.js';
import { increment } from '../db/sql.js';
import { runStatement } from '../db/statement.js';
import type { Clock } from '../lib/clock.js';
import { EventCounter, EventRow } from './event.entity.js';

/** One event to be written. `sessionId` null: an event of the account. `messageId` puts it on that message's timeline. */
export interface NewEvent<T extends EventType = EventType> {
  accountId: string;
  sessionId: string | null;
  type: T;
  /**
   * What names people is passed as a function. It is called when the log is locked and every cache of names is current, so that no name is published
   * after the transaction that removed it. It may read the database with the transaction's manager.
   */
  data: EventData<T> | (() => EventData<T> | Promise<EventData<T>>);
  messageId?: string | null;
  occurredAt?: Date;
}

/** The event as listeners receive it: enough to know whom it concerns. Its content is read from the log. */
export type PublishedEvent = Pick<EventRow, 'cursor' | 'accountId' | 'sessionId' | 'messageId' | 'type'> & {
  /** Null when another backend committed it. */
  data: EventRow['data'] | null;
};

export interface Events {
  /**
   * Writes the event inside the caller's transaction: a fact and its event commit together or not at all. Returns the row.
   * Listeners receive it after the commit.
   */
  append<T extends EventType>(tx: Transaction, event: NewEvent<T>): Promise<EventRow>;
  /** Writes several events in this order, at little more than the cost of one. */
  appendAll(tx: Transaction, events: readonly NewEvent[]): Promise<EventRow[]>;
  /**
   * Locks the log until the end of the transaction, as `append` does. For transactions that write shared rows (counters of an account) before
   * they append: all lock the log first, so that they cannot deadlock. Does nothing on SQLite, which runs one transaction at a time.
   */
  lock(tx: Transaction): Promise<void>;
  /**
   * Tells the caches of names of every backend that stored names are removed by this transaction. Locks the log until its end.
   *
   * The version is a column of the log's row because each event updates that row: PostgreSQL returns the row as it is after the wait for its lock,
   * so each append after this commit learns of it in the same statement.
   */
  raiseNamesVersion(tx: Transaction): Promise<void>;
  /** Calls `listener` with the version of the names in each transaction that appends, before the data of its events is built. It must not throw. */
  onNamesVersion(listener: (version: number) => void): void;
  /**
   * Calls `listener` for every committed event: those of this process in commit order, those of other backends as wake.ts receives them,
   * perhaps twice. Returns a function that unsubscribes. A listener that throws is reported; the others still get the event.
   */
  subscribe(listener: (event: PublishedEvent) => void): () => void;
  /** Publishes an event that another backend committed to the listeners. */
  receive(event: PublishedEvent): void;
}

export interface EventParts {
  clock: Clock;
  /** Writes the deliveries of the events, in their commit. Absent in tests without deliveries. */
  deliver?: (tx: Transaction, rows: readonly EventRow[]) => Promise<void>;
  /** Called with the error that a listener threw, and the event. */
  listenerFailed?: (error: unknown, event: PublishedEvent) => void;
}

interface Context extends EventParts {
  listeners: Set<(event: PublishedEvent) => void>;
  namesListeners: ((version: number) => void)[];
}

export function createEvents(parts: EventParts): Events {
  const context: Context = { ...parts, listeners: new Set(), namesListeners: [] };
  return {
    append: async <T extends EventType>(tx: Transaction, event: NewEvent<T>) => (await write(context, tx, [event]))[0]!,
    appendAll: (tx, events) => write(context, tx, events),
    lock: lockLog,
    raiseNamesVersion: async (tx) => void (await advanceLog(tx, 0, 1)),
    onNamesVersion: (listener) => void context.namesListeners.push(listener),
    subscribe(listener) {
      context.listeners.add(listener);
      return () => void context.listeners.delete(listener);
    },
    receive: (event) => publish(context, event),
  };
}

/** See `lock` of the event log. */
export async function lockLog(tx: Transaction): Promise<void> {
  if (tx.manager.connection.options.type === 'postgres')
    await runStatement(tx.manager, "SELECT last FROM event_counters WHERE scope = 'log' FOR UPDATE", []);
}

/** Calls every listener. One that throws must not keep the event from the others, nor fail the commit that has already happened. */
function publish({ listeners, listenerFailed }: Context, event: PublishedEvent): void {
  for (const listener of listeners)
    try {
      listener(event);
    } catch (error) {
      listenerFailed?.(error, event);
    }
}

async function write(context: Context, tx: Transaction, events: readonly NewEvent[]): Promise<EventRow[]> {
  if (events.length === 0) return [];
  const counts = countBy(events);
  const { last, namesVersion, sequences } = await advanceAll(tx, events.length, counts);
  let cursor = last - events.length;
  for (const [sessionId, count] of counts) sequences.set(sessionId, sequences.get(sessionId)! - count);
  for (const listener of context.namesListeners) listener(namesVersion);
  const now = context.clock.now();
  const rows: EventRow[] = [];
  for (const event of events) {
    const built = typeof event.data === 'function' ? event.data() : event.data;
    const data = built instanceof Promise ? await built : built;
    const sequence = event.sessionId === null ? null : sequences.get(event.sessionId)! + 1;
    if (event.sessionId !== null) sequences.set(event.sessionId, sequence!);
    rows.push({
      cursor: (cursor += 1),
      id: newId(now.getTime()),
      accountId: event.accountId,
      sessionId: event.sessionId,
      sequence,
      type: event.type,
      messageId: event.messageId ?? null,
      // Fields that the catalogue does not name are not logged.
      data: eventCatalogue[event.type].data.parse(data) as Record<string, unknown>,
      occurredAt: event.occurredAt ?? now,
    });
  }
  await insertRows(tx, EventRow, rows);
  await context.deliver?.(tx, rows);
  tx.afterCommit(() => {
    for (const row of rows) publish(context, row);
  });
  return rows;
}

/**
 * Advances the log's cursor, and the version of the names if names are removed. The update locks the counter's row until the commit, which makes the
 * order of cursors the order of commits on PostgreSQL too: a reader that has seen cursor 7 never meets a 6 that commits later.
 */
async function advanceLog(tx: Transaction, by: number, namesBy = 0): Promise<{ last: number; namesVersion: number }> {
  const sql = `UPDATE event_counters SET last = last + ?, "namesVersion" = "namesVersion" + ? WHERE scope = 'log' RETURNING last, "namesVersion"`;
  const [row] = (await runStatement<Omit<CounterRow, 'scope'>>(tx.manager, sql, [by, namesBy])).rows;
  if (row) return countersOf(row);
  await insertIfAbsent(tx, EventCounter, { scope: 'log', last: 0 });
  return advanceLog(tx, by, namesBy);
}

/** The last numbers of the log and of sessions after new events. */
interface Advanced {
  last: number;
  namesVersion: number;
  sequences: Map<string, number>;
}

interface CounterRow {
  scope: string;
  last: number | string;
  namesVersion: number | string;
}

const countersOf = ({ last, namesVersion }: Omit<CounterRow, 'scope'>): { last: number; namesVersion: number } => ({
  last: Number(last),
  namesVersion: Number(namesVersion),
});

const bothOnSqlite = `UPDATE event_counters SET last = last + CASE scope WHEN 'log' THEN ? ELSE ? END WHERE scope IN ('log', ?)
  RETURNING scope, last, "namesVersion"`;
/** The second update reads the result of the first one, so the log is always locked first: two transactions never deadlock. */
const bothOnPostgres = `WITH log AS (UPDATE event_counters SET last = last + ? WHERE scope = 'log' RETURNING scope, last, "namesVersion"),
  own AS (UPDATE event_counters c SET last = c.last + ? FROM log WHERE c.scope = ? RETURNING c.scope, c.last, c."namesVersion")
  SELECT * FROM log UNION ALL SELECT * FROM own`;

/** Advances the log and the sessions of the events: in one statement if the events belong to one session, as nearly all do. */
async function advanceAll(tx: Transaction, by: number, counts: ReadonlyMap<string, number>): Promise<Advanced> {
  const [[sessionId, count] = []] = counts;
  if (counts.size !== 1 || sessionId === undefined || count === undefined) return advanceEach(tx, by, counts);
  const isPostgres = tx.manager.connection.options.type === 'postgres';
  const { rows } = await runStatement<CounterRow>(tx.manager, isPostgres ? bothOnPostgres : bothOnSqlite, [by, count, sessionId]);
  const log = rows.find(({ scope }) => scope === 'log');
  const own = rows.find(({ scope }) => scope === sessionId);
  const { last, namesVersion } = log ? countersOf(log) : await advanceLog(tx, by);
  return { last, namesVersion, sequences: new Map([[sessionId, own ? Number(own.last) : await advance(tx, sessionId, count)]]) };
}

async function advanceEach(tx: Transaction, by: number, counts: ReadonlyMap<string, number>): Promise<Advanced> {
  const log = await advanceLog(tx, by);
  const sequences = new Map<string, number>();
  for (const [sessionId, count] of counts) sequences.set(sessionId, await advance(tx, sessionId, count));
  return { ...log, sequences };
}

/** Advances the counter of a session and returns its last number. */
async function advance(tx: Transaction, scope: string, by: number): Promise<number> {
  const last = await increment(tx.manager, 'event_counters', 'last', { column: 'scope', value: scope }, by);
  if (last !== null) return last;
  await insertIfAbsent(tx, EventCounter, { scope, last: 0 });
  return advance(tx, scope, by);
}

/** The number of these events of each session. */
function countBy(list: readonly NewEvent[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { sessionId } of list) if (sessionId !== null) counts.set(sessionId, (counts.get(sessionId) ?? 0) + 1);
  return counts;
}

/** Cursors leave the API as text of one length, so that they sort as text too. */
export const cursorText = (cursor: number): string => String(cursor).padStart(14, '0');
