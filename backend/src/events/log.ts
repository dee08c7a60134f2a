import { allows, AppError, eventCatalogue, eventTypes, type EventResource, type EventType } from '@chasqui/shared';
import { In, type DataSource } from 'typeorm';
import type { Core } from '../core.js';
import type { Database } from '../db/database.js';
import { rangesSql } from '../db/ranges.js';
import { runStatement } from '../db/statement.js';
import { parseColumn, storedTextOf } from '../db/unreadable.js';
import { invalidCursor } from '../lib/list-cursor.js';
import { EventRow } from './event.entity.js';
import { countThatFit, pageBytes } from '../db/page-bytes.js';
import { cursorText } from './events.js';

/**
 * Reads the log. Every read takes the account first; events that the caller's permissions do not cover are invisible to it.
 */
export interface EventLog {
  /** Returns the cursor of the account's newest event; 0 when there is none. */
  head(accountId: string): Promise<number>;
  /**
   * Throws `CURSOR_EXPIRED` when retention deleted events after the cursor, and `VALIDATION_FAILED` for a cursor that the log has not reached: a gap
   * is reported, never silent.
   */
  requireAvailable(accountId: string, after: number): Promise<void>;
  /**
   * Returns the next events after a cursor; null begins with the oldest available one. The head is read first and the log is written in
   * cursor order, so a page that is not full covers everything up to that head, and the next page continues from there: a reader of rare
   * events does not scan the same events again, and its cursor does not expire.
   *
   * Returns at most `limit` events, and fewer when their data would exceed `maxBytes`; such a page counts as full. It contains at least one
   * event if there is any. Throws like `requireAvailable`.
   */
  page(reading: Reading, after: number | null, limit: number, maxBytes?: number): Promise<EventPage>;
  /**
   * Counts the events after a cursor, and those of each type: at most `maxCounted`. Then `next` is the cursor of the last counted one; otherwise the
   * head of the log. Throws like `requireAvailable`.
   */
  count(reading: Reading, after: number): Promise<EventCount>;
  /** Returns one event. Throws `EVENT_NOT_FOUND`, also for one that the caller may not read. */
  one(reading: Reading, id: string): Promise<EventResource>;
  /** Returns the newest events of one message, oldest first: at most 1,000, and fewer when they are long. Other people may add any number. */
  ofMessage(accountId: string, messageId: string): Promise<EventRow[]>;
}

/** The most events that the timeline of one message reads. */
const maxOfMessage = 1_000;

/** The reader and the events that it may read. The permissions are the current ones of the credential. */
export interface Reading {
  accountId: string;
  permissions: readonly string[];
  /** Only events of this session; null: of all. */
  sessionId: string | null;
  /** Only these types; null: all that may be read. */
  types: readonly EventType[] | null;
}

export interface EventPage {
  events: EventResource[];
  /** The cursor of the next page. */
  next: string;
  /** The newest event of the account. */
  latest: string;
  isFull: boolean;
}

export interface EventCount {
  total: number;
  byType: Partial<Record<EventType, number>>;
  /** Whether all events up to `next` are counted, and `next` is the newest of the account. */
  isExact: boolean;
  next: string;
}

/** Counting more would take longer than reading them is worth. */
export const maxCounted = 5_000;

interface Context extends Pick<Core, 'database' | 'clock'> {
  /** Returns one more than the highest cursor of the account that retention has deleted, 0 while there is none. It may grow at any time. */
  oldestAvailable: (accountId: string) => Promise<number>;
}

export function createEventLog(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  { oldestAvailable = async () => 0 }: Partial<Pick<Context, 'oldestAvailable'>> = {},
): EventLog {
  const context: Context = { database, clock, oldestAvailable };
  return {
    head: (accountId) => lastCursor(database.reader, accountId),
    requireAvailable: (accountId, after) => requireAvailable(context, accountId, after),
    page: (reading, after, limit, maxBytes = pageBytes) => readPage(context, reading, after, limit, maxBytes),
    count: (reading, after) => countAfter(context, reading, after),
    one: (reading, id) => readOne(context, reading, id),
    ofMessage: (accountId, messageId) => readOfMessage(context, accountId, messageId),
  };
}

/** Returns the cursor of the newest event, of one account or of all; 0 when there is none. */
export async function lastCursor(reader: DataSource, accountId?: string): Promise<number> {
  const sql = 'SELECT MAX(cursor) AS last FROM events';
  const [where, values] = accountId === undefined ? ['', []] : [' WHERE "accountId" = ?', [accountId]];
  const { rows } = await runStatement<{ last: number | string | null }>(reader, sql + where, values, { prepare: false });
  return Number(rows[0]?.last ?? 0);
}

async function countAfter(context: Context, reading: Reading, after: number): Promise<EventCount> {
  const { database } = context;
  const latest = await lastCursor(database.reader, reading.accountId);
  if (after > latest) await requireReached(context, after);
  const types = readable(reading.permissions, reading.types);
  const some = latest > after ? nextCursors(database.dialect, { ...reading, types }, after, maxCounted) : null;
  const byType: EventCount['byType'] = {};
  let [total, last] = [0, after];
  if (some) {
    const sql = `SELECT e.type, COUNT(*) AS n, MAX(e.cursor) AS last FROM events e WHERE e.cursor IN (${some.sql}) GROUP BY e.type`;
    type Counted = { type: EventType; n: number | string; last: number | string };
    for (const row of (await runStatement<Counted>(database.reader, sql, some.parameters, { prepare: false })).rows) {
      byType[row.type] = Number(row.n);
      total += Number(row.n);
      last = Math.max(last, Number(row.last));
    }
  }
  await requireKept(context, reading.accountId, after);
  const isExact = total < maxCounted;
  return { total, byType, isExact, next: cursorText(isExact ? Math.max(last, latest) : last) };
}

async function requireAvailable(context: Context, accountId: string, after: number): Promise<void> {
  await requireReached(context, after);
  await requireKept(context, accountId, after);
}

/**
 * Refuses a cursor that the log has not reached: its reader would miss every event up to it. An earlier backup that was restored leads to such
 * cursors too. The counter is read, because retention may have deleted the newest event.
 */
async function requireReached({ database }: Context, after: number): Promise<void> {
  const sql = `SELECT last FROM event_counters WHERE scope = 'log'`;
  const { rows } = await runStatement<{ last: number | string }>(database.reader, sql);
  if (after > Number(rows[0]?.last ?? 0))
    throw invalidCursor('after', 'The log has not reached this cursor. Take it from an event or from meta.nextCursor.');
}

async function requireKept({ oldestAvailable }: Context, accountId: string, after: number): Promise<void> {
  const last = (await oldestAvailable(accountId)) - 1;
  if (after < last) throw new AppError('CURSOR_EXPIRED', { oldestCursor: cursorText(last) });
}

async function readPage(
  context: Context,
  reading: Reading,
  after: number | null,
  limit: number,
  maxBytes: number,
): Promise<EventPage> {
  const { database } = context;
  const { accountId } = reading;
  const from = after ?? 0;
  const latest = await lastCursor(database.reader, accountId);
  if (from > latest) await requireReached(context, from);
  const types = readable(reading.permissions, reading.types);
  const next = latest > from ? nextCursors(database.dialect, { ...reading, types }, from, limit) : null;
  const { cursors, isCut } = next ? await fitting(database, next, maxBytes) : { cursors: [], isCut: false };
  const events = cursors.length > 0 ? await readAt(context, accountId, cursors) : [];
  // Checked afterwards: a deletion by retention during the read would otherwise be a silent gap.
  if (after !== null) await requireKept(context, accountId, after);
  const last = Number(events.at(-1)?.cursor ?? from);
  const isFull = isCut || events.length === limit;
  return { events, next: cursorText(isFull ? last : Math.max(last, latest)), latest: cursorText(latest), isFull };
}

async function readOne(context: Context, reading: Reading, id: string): Promise<EventResource> {
  const [event] = await read(context, reading.accountId, 'e.id = ?', [id]);
  const types: readonly string[] = readable(reading.permissions, null) ?? eventTypes;
  const isForeign = reading.sessionId !== null && event?.session?.id !== reading.sessionId;
  if (!event || isForeign || !types.includes(event.type)) throw new AppError('EVENT_NOT_FOUND');
  return event;
}

async function readOfMessage({ database: { reader } }: Context, accountId: string, messageId: string): Promise<EventRow[]> {
  const { rows: found } = await runStatement<{ cursor: number | string; bytes: number }>(
    reader,
    `SELECT cursor, octet_length(data) AS bytes FROM events WHERE "accountId" = ? AND "messageId" = ? ORDER BY cursor DESC LIMIT ${maxOfMessage}`,
    [accountId, messageId],
    { prepare: false },
  );
  const cursors = found.slice(0, countThatFit(found, pageBytes)).map(({ cursor }) => Number(cursor));
  return reader.getRepository(EventRow).find({ where: { accountId, cursor: In(cursors) }, order: { cursor: 'ASC' } });
}

/** Returns as many of the next cursors as fit into `maxBytes` of data. Reads only the lengths, which both databases know without reading the text. */
async function fitting(
  { reader }: Database,
  { sql, parameters }: { sql: string; parameters: readonly unknown[] },
  maxBytes: number,
): Promise<{ cursors: number[]; isCut: boolean }> {
  const { rows: found } = await runStatement<{ cursor: number | string; bytes: number }>(
    reader,
    `SELECT e.cursor, octet_length(e.data) AS bytes FROM events e WHERE e.cursor IN (${sql}) ORDER BY e.cursor`,
    parameters,
    { prepare: false },
  );
  const count = countThatFit(found, maxBytes);
  return { cursors: found.slice(0, count).map(({ cursor }) => Number(cursor)), isCut: count < found.length };
}

const readAt = (context: Context, accountId: string, cursors: readonly number[]): Promise<EventResource[]> =>
  read(context, accountId, `e.cursor IN (${cursors.map(() => '?').join(', ')})`, cursors);

/** Reads rows in the form of the API. Bypasses the entities: turning a page of rows into class instances took longer than reading it. */
async function read(
  { database, clock }: Context,
  accountId: string,
  where: string,
  parameters: readonly unknown[],
): Promise<EventResource[]> {
  const { rows: found } = await runStatement<RawRow>(
    database.reader,
    `SELECT e.cursor, e.id, e.type, e."sessionId", s.name, e.sequence, e."occurredAt", e.data
      FROM events e LEFT JOIN sessions s ON s.id = e."sessionId"
      WHERE e."accountId" = ? AND ${where} ORDER BY e.cursor`,
    [accountId, ...parameters],
    { prepare: false },
  );
  const now = clock.now().toISOString();
  return found.map((row) => ({
    cursor: cursorText(Number(row.cursor)),
    id: row.id,
    type: row.type,
    session: row.sessionId ? { id: row.sessionId, name: row.name ?? '' } : null,
    sequence: row.sequence === null ? null : Number(row.sequence),
    occurredAt: new Date(Number(row.occurredAt)).toISOString(),
    data: withoutOldCode(row.type, dataOf(row), now),
  }));
}

/** A row as either driver returns it: PostgreSQL returns big integers as text. */
interface RawRow {
  cursor: number | string;
  id: string;
  type: string;
  sessionId: string | null;
  name: string | null;
  sequence: number | string | null;
  occurredAt: number | string;
  data: string;
}

/** The data of an event. Unreadable data becomes an empty object: it must not fail the page, and with it every stream that reaches it. */
function dataOf({ data }: Pick<RawRow, 'data'>): Record<string, unknown> {
  const value = parseColumn(data);
  return storedTextOf(value) === undefined ? (value as Record<string, unknown>) : {};
}

/** Removes expired codes, even before they are wiped from the row. */
function withoutOldCode(type: string, data: Record<string, unknown>, now: string): Record<string, unknown> {
  const { expiresAt } = data;
  if (typeof expiresAt !== 'string' || expiresAt > now) return data;
  if (type === 'session.qr') return { ...data, qrCode: null, qrText: null };
  return type === 'session.pairing_code' ? { ...data, code: null } : data;
}

/** Returns the requested types that the permissions cover; null: every type, so that no filter is needed. */
export function readable(permissions: readonly string[], requested: readonly EventType[] | null): readonly EventType[] | null {
  const covered = (requested ?? eventTypes).filter((type) => allows(permissions, eventCatalogue[type].permission));
  return covered.length === eventTypes.length ? null : covered;
}

/**
 * Returns the statement for the next cursors, from an index alone: one range for each type, which costs the same wherever in a log of millions it
 * begins. `type IN (…)` would scan everything between two rare events.
 */
function nextCursors(
  dialect: Database['dialect'],
  { accountId, sessionId, types }: Reading,
  after: number,
  limit: number,
): { sql: string; parameters: unknown[] } | null {
  // The session's index has the type before the cursor, and there is none without the type.
  const ranges = types ?? (sessionId ? eventTypes : null);
  if (ranges?.length === 0) return null;
  const [column, owner] = sessionId ? ['"sessionId"', sessionId] : ['"accountId"', accountId];
  return rangesSql(dialect, {
    table: 'events',
    columns: 'cursor',
    ranges: ranges?.map((type) => ({ sql: 'type = ?', parameters: [type] })) ?? [{ sql: '1 = 1', parameters: [] }],
    also: [{ sql: `${column} = ? AND cursor > ?`, parameters: [owner, after] }],
    order: 'cursor',
    limit,
  });
}
