import { allows, AppError, eventCatalogue, eventTypes, type EventResource, type EventType } from '@chasqui/shared';
import { In } from 'typeorm';
import type { Database } from '../db/database.js';
import { select } from '../db/sql.js';
import { parseColumn, storedTextOf } from '../db/unreadable.js';
import type { Clock } from '../lib/clock.js';
import { EventRow } from './event.entity.js';
import { countThatFit, pageBytes } from '../db/page-bytes.js';
import { cursorText } from './events.js';

export type EventLog = ReturnType<typeof createEventLog>;

/** Events of one message that its timeline reads. */
const maxOfMessage = 1_000;

/** Who reads, and what of it: the permissions are those of the credential as it is now. */
export interface Reading {
  accountId: string;
  permissions: readonly string[];
  /** Events of this session only. */
  sessionId: string | null;
  /** These only; null is all that may be read. */
  types: readonly EventType[] | null;
}

export interface EventPage {
  events: EventResource[];
  /** Where to go on. */
  next: string;
  /** The newest event of the account. */
  latest: string;
  isFull: boolean;
}

/**
 * Reading the log. Every read takes the account first; what the caller's permissions do not cover is not there for it.
 * `oldestKept`: one more than the highest cursor of the account that retention took away, 0 while it took none. It may grow at any time.
 */
export function createEventLog({
  database,
  clock,
  oldestKept = async () => 0,
}: {
  database: Database;
  clock: Clock;
  oldestKept?: (accountId: string) => Promise<number>;
}) {
  const rows = database.reader.getRepository(EventRow);

  async function head(accountId: string): Promise<number> {
    const [last] = await select<{ last: number | string | null }>(
      database.reader,
      'SELECT MAX(cursor) AS last FROM events WHERE "accountId" = ?',
      [accountId],
    );
    return Number(last?.last ?? 0);
  }

  /** Throws `CURSOR_EXPIRED` when retention took something behind the cursor: a jump is told, never made silently. */
  async function requireKept(accountId: string, after: number): Promise<void> {
    const last = (await oldestKept(accountId)) - 1;
    if (after < last) throw new AppError('CURSOR_EXPIRED', { oldestCursor: cursorText(last) });
  }

  return {
    head,
    requireKept,

    /**
     * The next events behind a cursor; null begins with the oldest kept. The head is read first and the log is written in the order
     * of its cursors, so that a page that is not full has looked at everything up to that head, and the next one goes on from there:
     * a reader of something rare does not look through the same events again, and its cursor does not grow old.
     *
     * At most `limit` events, and fewer when their data would be longer than `maxBytes`; then the page is full, and the next one goes on. One
     * event is always in it.
     */
    async page(reading: Reading, after: number | null, limit: number, maxBytes = pageBytes): Promise<EventPage> {
      const { accountId } = reading;
      const from = after ?? 0;
      const latest = await head(accountId);
      const types = readable(reading.permissions, reading.types);
      const next = latest > from ? nextCursors(database.dialect, { ...reading, types }, from, limit) : null;
      const { cursors, isCut } = next ? await fitting(next, maxBytes) : { cursors: [], isCut: false };
      const events = cursors.length > 0 ? await readAt(accountId, cursors) : [];
      // Afterwards: what retention takes while this reads would otherwise be a silent gap.
      if (after !== null) await requireKept(accountId, after);
      const last = Number(events.at(-1)?.cursor ?? from);
      const isFull = isCut || events.length === limit;
      return { events, next: cursorText(isFull ? last : Math.max(last, latest)), latest: cursorText(latest), isFull };
    },

    /** One event; `EVENT_NOT_FOUND` also for one that the caller may not read. */
    async one(reading: Reading, id: string): Promise<EventResource> {
      const [event] = await read(reading.accountId, 'e.id = ?', [id]);
      const types: readonly string[] = readable(reading.permissions, null) ?? eventTypes;
      const isForeign = reading.sessionId !== null && event?.session?.id !== reading.sessionId;
      if (!event || isForeign || !types.includes(event.type)) throw new AppError('EVENT_NOT_FOUND');
      return event;
    },

    /** The newest events of one message, oldest first: at most 1,000, and fewer when they are long. Others may add as many as they like. */
    async ofMessage(accountId: string, messageId: string): Promise<EventRow[]> {
      const found = await select<{ cursor: number | string; bytes: number }>(
        database.reader,
        `SELECT cursor, octet_length(data) AS bytes FROM events WHERE "accountId" = ? AND "messageId" = ? ORDER BY cursor DESC LIMIT ${maxOfMessage}`,
        [accountId, messageId],
      );
      const cursors = found.slice(0, countThatFit(found, pageBytes)).map(({ cursor }) => Number(cursor));
      return rows.find({ where: { accountId, cursor: In(cursors) }, order: { cursor: 'ASC' } });
    },
  };

  /** As many of the next cursors as fit into `maxBytes` of data. The lengths alone are read for it: SQLite and PostgreSQL have them without the text. */
  async function fitting(
    { sql, parameters }: { sql: string; parameters: readonly unknown[] },
    maxBytes: number,
  ): Promise<{ cursors: number[]; isCut: boolean }> {
    const found = await select<{ cursor: number | string; bytes: number }>(
      database.reader,
      `SELECT e.cursor, octet_length(e.data) AS bytes FROM events e WHERE e.cursor IN (${sql}) ORDER BY e.cursor`,
      parameters,
    );
    const count = countThatFit(found, maxBytes);
    return { cursors: found.slice(0, count).map(({ cursor }) => Number(cursor)), isCut: count < found.length };
  }

  function readAt(accountId: string, cursors: readonly number[]): Promise<EventResource[]> {
    return read(accountId, `e.cursor IN (${cursors.map(() => '?').join(', ')})`, cursors);
  }

  /** Rows as they leave the API. Read past the entities: turning a page of rows into objects of classes took longer than reading it. */
  async function read(accountId: string, where: string, parameters: readonly unknown[]): Promise<EventResource[]> {
    const found = await select<RawRow>(
      database.reader,
      `SELECT e.cursor, e.id, e.type, e."sessionId", s.name, e.sequence, e."occurredAt", e.data
      FROM events e LEFT JOIN sessions s ON s.id = e."sessionId"
      WHERE e."accountId" = ? AND ${where} ORDER BY e.cursor`,
      [accountId, ...parameters],
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
}

/** A row as either driver gives it: PostgreSQL has its big integers as text. */
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

/** What an event says. One that cannot be read says nothing: it must not end the page, and with it every stream that comes to it. */
function dataOf({ data }: Pick<RawRow, 'data'>): Record<string, unknown> {
  const value = parseColumn(data);
  return storedTextOf(value) === undefined ? (value as Record<string, unknown>) : {};
}

/** A code that has run out is of no use to anybody who may read it, even before it is wiped from the row. */
function withoutOldCode(type: string, data: Record<string, unknown>, now: string): Record<string, unknown> {
  const { expiresAt } = data;
  if (typeof expiresAt !== 'string' || expiresAt > now) return data;
  if (type === 'session.qr') return { ...data, qrCode: null, qrText: null };
  return type === 'session.pairing_code' ? { ...data, code: null } : data;
}

/** What of the asked types the permissions cover; null: every type there is, so that nothing need be filtered. */
export function readable(permissions: readonly string[], asked: readonly EventType[] | null): readonly EventType[] | null {
  const covered = (asked ?? eventTypes).filter((type) => allows(permissions, eventCatalogue[type].permission));
  return covered.length === eventTypes.length ? null : covered;
}

/**
 * The next cursors, from an index alone: one ordered range for each type, merged as far as the limit, which costs the same wherever
 * in a log of millions it begins. `type IN (…)` would go through all that lies between two rare events. Written in two ways: SQLite
 * merges ordered arms lazily and has no LATERAL; PostgreSQL takes 30 ms to plan forty arms.
 */
function nextCursors(
  dialect: Database['dialect'],
  { accountId, sessionId, types }: Reading,
  after: number,
  limit: number,
): { sql: string; parameters: unknown[] } | null {
  // Only the session's index has the type before the cursor and nothing without it.
  const ranges = types ?? (sessionId ? eventTypes : null);
  if (ranges?.length === 0) return null;
  const [column, owner] = sessionId ? ['"sessionId"', sessionId] : ['"accountId"', accountId];
  const range = (type: string): string => `SELECT cursor FROM events WHERE ${column} = ?${type} AND cursor > ?`;
  const end = `ORDER BY cursor LIMIT ${limit}`;
  if (ranges === null) return { sql: `SELECT cursor FROM (${range('')} ${end}) AS a`, parameters: [owner, after] };
  if (dialect === 'sqlite') {
    const arms = ranges.map(() => range(' AND type = ?')).join(' UNION ALL ');
    return { sql: `SELECT cursor FROM (${arms} ${end})`, parameters: ranges.flatMap((type) => [owner, type, after]) };
  }
  const marks = ranges.map(() => '?').join(', ');
  const lateral = `SELECT a.cursor FROM unnest(ARRAY[${marks}]::text[]) AS t(name), LATERAL (${range(' AND type = t.name')} ${end}) AS a`;
  return { sql: `SELECT cursor FROM (${lateral} ${end}) AS b`, parameters: [...ranges, owner, after] };
}
