import { AppError, isId, messageOrigins, messageTypes, parseRecipient } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Contacts } from '../../contacts/contacts.js';
import { runStatement } from '../../db/statement.js';
import type { ListQuery } from '../contract.js';

/** A part of a WHERE clause, with `?` for its parameters. */
export interface Condition {
  sql: string;
  parameters: readonly unknown[];
}

/**
 * What a list asks for. A message belongs to it when it meets all of `all` and, where there are any, one of `branches`. Each branch is read from an
 * index in the order of time, and no message meets two of them: a database that is asked for one of several values would sort all of their rows.
 */
export interface Selection {
  all: Condition[];
  branches: Condition[];
  /** What the search index knows of the filters: of each entry, at least one holds. */
  facts: Facts[];
}

export interface Facts {
  chats?: readonly string[];
  authors?: readonly string[];
  kinds?: readonly (readonly [origin: string, type: string])[];
}

type Filters = Pick<ListQuery, 'direction' | 'type' | 'status' | 'origin' | 'chatId' | 'contact' | 'from' | 'to'>;

/** A session with fewer messages than this is read by time, whatever else is asked for. */
const smallSession = 2_000;
const isMade = { inbound: ['live', 'backfill'], outbound: ['api', 'panel', 'device'] } as const;

/**
 * The conditions of a list. A person is found by every id that the account knows of them, in structured columns only: the name that somebody gives
 * themselves is never compared. Throws `INVALID_RECIPIENT`.
 */
export async function selectionOf(
  { reader, contacts }: { reader: DataSource; contacts: Pick<Contacts, 'formsOf'> },
  {
    accountId,
    sessionId,
    query: filters,
    countryCode,
  }: { accountId: string; sessionId: string | null; query: Filters; countryCode?: string | null | undefined },
): Promise<Selection> {
  const all: Condition[] = [{ sql: '"accountId" = ? AND "deletedAt" IS NULL', parameters: [accountId] }];
  if (sessionId) all.push(equal('sessionId', sessionId));
  if (filters.from) all.push({ sql: '"createdAt" >= ?', parameters: [Date.parse(filters.from)] });
  if (filters.to) all.push({ sql: '"createdAt" <= ?', parameters: [Date.parse(filters.to)] });
  const { ways, facts } = await directionsOf(filters, (field, input) =>
    contacts.formsOf(accountId, addressOf(field, input, countryCode)),
  );
  // SQLite keeps no statistics: of a session and another condition it would take the index of the condition.
  const isByTime = sessionId !== null && reader.options.type !== 'postgres' && (await isSmall(reader, sessionId));
  const [branches = [], ...others] = isByTime ? [[], ...ways] : ways;
  return { all: [...all, ...others.map((way) => unindexed(reader, anyOf(way)))], branches: [...branches], facts };
}

/** The conditions that each have an index, the most selective first; each as its branches. */
async function directionsOf(filters: Filters, formsOf: (field: string, input: string) => Promise<string[]>) {
  const ways: Condition[][] = [];
  const facts: Facts[] = [];
  if (filters.chatId) {
    const forms = await formsOf('chatId', filters.chatId);
    ways.push(forms.map((form) => equal('chatId', form)));
    facts.push({ chats: forms });
  }
  if (filters.contact) {
    const forms = await formsOf('contact', filters.contact);
    const written = (form: string): Condition => ({ sql: `"chatType" <> 'private' AND "fromId" = ?`, parameters: [form] });
    ways.push(forms.flatMap((form) => [equal('chatId', form), written(form)]));
    facts.push({ chats: forms, authors: forms });
  }
  if (filters.status) ways.push(filters.status.map((status) => equal('status', status)));
  if (filters.type || filters.origin || filters.direction) {
    const { direction, origin = messageOrigins, type = messageTypes } = filters;
    const origins = origin.filter((one) => !direction || (isMade[direction] as readonly string[]).includes(one));
    const kinds = origins.flatMap((one) => type.map((other) => [one, other] as const));
    ways.push(kinds.length > 0 ? kinds.map((kind) => ({ sql: '"origin" = ? AND "type" = ?', parameters: kind })) : [nothing]);
    if (kinds.length > 0) facts.push({ kinds });
  }
  return { ways, facts };
}

const equal = (column: string, value: string): Condition => ({ sql: `"${column}" = ?`, parameters: [value] });
const nothing: Condition = { sql: '1 = 0', parameters: [] };

/** One condition for all branches. */
export const anyOf = (branches: readonly Condition[]): Condition => ({
  sql: `(${branches.map(({ sql }) => sql).join(' OR ')})`,
  parameters: branches.flatMap(({ parameters }) => parameters),
});

/** The condition, for which SQLite uses no index: it keeps no statistics, and would prefer it to the one that is meant. */
export const unindexed = (reader: DataSource, { sql, parameters }: Condition): Condition => ({
  sql: reader.options.type === 'postgres' ? sql : sql.replace(/"(\w+)" (=|[<>]=)/g, '+"$1" $2'),
  parameters,
});

async function isSmall(reader: DataSource, sessionId: string): Promise<boolean> {
  const sql = `SELECT COUNT(*) AS n FROM (SELECT 1 FROM messages WHERE "sessionId" = ? LIMIT ${smallSession}) counted`;
  const {
    rows: [row],
  } = await runStatement<{ n: number }>(reader, sql, [sessionId], { prepare: false });
  return Number(row?.n ?? 0) < smallSession;
}

/** The rows of all branches in one statement; `end` orders and limits each of them. Without branches all rows are one. */
export function union(
  branches: readonly Condition[],
  all: readonly Condition[],
  columns: string,
  end: string,
): { sql: string; parameters: unknown[] } {
  const parts = (branches.length > 0 ? branches : [null]).map((branch) => (branch ? [...all, branch] : [...all]));
  return {
    sql: parts
      .map(
        (conditions, index) =>
          `SELECT * FROM (SELECT ${columns} FROM messages WHERE ${conditions.map(({ sql }) => sql).join(' AND ')} ${end}) part${index}`,
      )
      .join(' UNION ALL '),
    parameters: parts.flatMap((conditions) => conditions.flatMap(({ parameters }) => parameters)),
  };
}

/** The chat or person that a caller names. Throws `INVALID_RECIPIENT`. */
function addressOf(field: string, input: string, countryCode: string | null | undefined): string {
  const parsed = parseRecipient(input, countryCode);
  if (parsed.ok) return parsed.address.id;
  const fields = [{ path: field, code: 'INVALID_RECIPIENT', message: parsed.message }];
  throw new AppError('INVALID_RECIPIENT', { input, fields }, parsed.message);
}

/** What comes behind the cursor of a page, in the order of time. Throws `VALIDATION_FAILED` for a text that no page gave. */
export function beyond(cursor: string, order: 'asc' | 'desc'): Condition {
  const { at, id } = readCursor(cursor);
  return { sql: `("createdAt", id) ${order === 'asc' ? '>' : '<'} (?, ?)`, parameters: [at, id] };
}

/** The same in the order of ids. */
export const idBeyond = (cursor: string, order: 'asc' | 'desc'): Condition => ({
  sql: `id ${order === 'asc' ? '>' : '<'} ?`,
  parameters: [idOfCursor(cursor)],
});

/** The id of the last message of the page that gave the cursor. Throws like `beyond`. */
export const idOfCursor = (cursor: string): string => readCursor(cursor).id;

function readCursor(cursor: string): { at: number; id: string } {
  const [at = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split(':');
  // Fifteen digits are the milliseconds of some thirty thousand years, and a number that both databases hold exactly.
  if (!/^\d{1,15}$/.test(at) || !isId(id))
    throw new AppError('VALIDATION_FAILED', {
      fields: [{ path: 'cursor', code: 'INVALID_CURSOR', message: 'Take the cursor from meta.nextCursor.' }],
    });
  // Upper-case digits are valid in an id, and sort differently in a database.
  return { at: Number(at), id: id.toLowerCase() };
}
