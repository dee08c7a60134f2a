import type { DataSource } from 'typeorm';
import type { Contacts } from '../../contacts/contacts.js';
import type { People } from '../../contacts/people.js';
import { readRanges, type Condition } from '../../db/ranges.js';
import { among } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { iso } from '../../lib/iso.js';
import { cursorAfter, readCursor, type Place } from '../../lib/list-cursor.js';
import type { Message } from '../message.entity.js';
import { reasonOf } from '../read/present.js';
import { maxPreview, type ConversationQuery, type ConversationResource } from './contract.js';
import { searchOf } from './search.js';

/** One page of conversations. Pass `nextCursor` for the next one; null: this is the last. */
export interface ConversationPage {
  conversations: ConversationResource[];
  nextCursor: string | null;
}

export interface ConversationParts {
  reader: DataSource;
  contacts: Pick<Contacts, 'people' | 'formsOfAll'>;
}

interface ListInput {
  accountId: string;
  /** The sessions whose chats are listed. */
  sessionIds: readonly string[];
  query: Pick<ConversationQuery, 'unread' | 'search' | 'limit' | 'cursor'>;
}

/** A row of `conversations`. */
interface Row {
  sessionId: string;
  chatId: string;
  lastAt: number;
  lastId: string;
  unread: number;
  chatName: string | null;
}

/** One entry of the list. */
interface Shown {
  /** The newest row of the person. */
  newest: Row;
  /** The row at whose place the person is listed: the newest one that meets the search. */
  listed: Row;
  /** The number of unread messages in all rows of the person. */
  unread: number;
}

interface FoundPage {
  shown: Shown[];
  /** The place behind which the next page begins. Null: this is the last page. */
  next: Place | null;
}

/** With at most so many unread rows, all of them are read for each page of `unread=true`. */
const maxUnread = 500;
/** With more of them, so many rows are examined for each page of `unread=true`. */
const maxExamined = 1_000;
/** The size of one read of rows that are examined. */
const examinedAtOnce = { first: 100, most: 500 };

const columns = 'c."sessionId", c."chatId", c."lastAt", c."lastId", c.unread, c."chatName"';
const placeOf = ({ lastAt, lastId }: Row): Place => ({ at: lastAt, id: lastId });
type Dated = Pick<Row, 'lastAt' | 'lastId'>;
const isNewer = (one: Dated, other: Dated): boolean =>
  one.lastAt > other.lastAt || (one.lastAt === other.lastAt && one.lastId > other.lastId);

/**
 * Returns the chats of these sessions, the newest first. Rows of one person in one session are shown as one, at the place of the newest row. So a
 * page may read more rows than it shows.
 */
export async function listConversations(parts: ConversationParts, input: ListInput): Promise<ConversationPage> {
  const place = input.query.cursor ? readCursor(input.query.cursor) : null;
  const unread = input.query.unread === 'true' ? await readUnread(parts.reader, input.sessionIds) : null;
  const { shown, next } = unread ? await pageOfRows(parts, input, unread, place) : await pageFrom(parts, input, place);
  return { conversations: await present(parts, input.accountId, shown), nextCursor: next && cursorAfter(next) };
}

/**
 * Reads a page in the order of the list; each session from its index, no further than the page needs. A person is unread if any row is, which is not
 * always the row at whose place the person is listed. So with `unread=true` every row is examined, and the page ends early after `maxExamined` rows.
 */
async function pageFrom(parts: ConversationParts, input: ListInput, start: Place | null): Promise<FoundPage> {
  const { limit, unread } = input.query;
  const conditions = await conditionsOf(parts, input.accountId, input.query);
  const isExamined = unread === 'true';
  const shown: Shown[] = [];
  let place = start;
  let size = isExamined ? Math.max(limit, examinedAtOnce.first) : limit;
  let isEnd = input.sessionIds.length === 0;
  for (let examined = 0; shown.length < limit && !isEnd && !(isExamined && examined >= maxExamined);) {
    const rows = await readAfter(parts.reader, input.sessionIds, conditions, place, size);
    const found = await joinPeople(parts, input.accountId, rows, conditions);
    isEnd = rows.length < size;
    examined += rows.length;
    for (const [index, row] of rows.entries()) {
      place = placeOf(row);
      const entry = found.get(row);
      // A person is shown once, at the place of another row if `listed` is that one.
      if (entry?.listed === row && (unread === undefined || entry.unread > 0 === (unread === 'true'))) shown.push(entry);
      if (shown.length < limit) continue;
      isEnd &&= index === rows.length - 1;
      break;
    }
    if (isExamined) size = Math.min(examinedAtOnce.most, size * 2);
  }
  return { shown, next: isEnd ? null : place };
}

/** Returns the page behind a place of the people to whom these rows belong. */
async function pageOfRows(
  parts: ConversationParts,
  input: ListInput,
  rows: readonly Row[],
  place: Place | null,
): Promise<FoundPage> {
  const { limit, search } = input.query;
  const found = await joinPeople(parts, input.accountId, rows, await conditionsOf(parts, input.accountId, { search }));
  const entries = new Map<string, Shown>();
  for (const entry of found.values()) {
    const isBehind = place === null || isNewer({ lastAt: place.at, lastId: place.id }, entry.listed);
    if (isBehind) entries.set(keyOf(entry.listed), entry);
  }
  const all = [...entries.values()].sort((one, other) => (isNewer(one.listed, other.listed) ? -1 : 1));
  const shown = all.slice(0, limit);
  return { shown, next: all.length > limit ? placeOf(shown.at(-1)!.listed) : null };
}

/** Returns all rows with unread messages, in no order. Null: there are more than `maxUnread`. */
async function readUnread(reader: DataSource, sessionIds: readonly string[]): Promise<Row[] | null> {
  const theirs = among(reader, 'sessionId', sessionIds);
  // SQLite has no statistics, and would read all rows of the sessions by their key.
  const index = reader.options.type === 'postgres' ? '' : 'INDEXED BY conversations_unread';
  const sql = `SELECT ${columns} FROM conversations c ${index} WHERE c.${theirs.condition} AND c.unread > 0 LIMIT ${maxUnread + 1}`;
  const { rows } = await runStatement<Row>(reader, sql, [theirs.parameter], { prepare: false });
  return rows.length > maxUnread ? null : rows.map(typed);
}

/** The conditions of the rows that are read in order. `unread=true` is none of them, because another row of the person may be the unread one. */
async function conditionsOf(
  { reader }: ConversationParts,
  accountId: string,
  { unread, search }: Pick<ListInput['query'], 'unread' | 'search'>,
): Promise<Condition[]> {
  const parts: Condition[] = [];
  if (unread === 'false') parts.push({ sql: 'c.unread = 0', parameters: [] });
  if (search !== undefined) parts.push(await searchOf(reader, accountId, search));
  return parts;
}

/** Reads rows of these sessions, each from its index in the order of the list. */
async function readAfter(
  reader: DataSource,
  sessionIds: readonly string[],
  conditions: readonly Condition[],
  place: Place | null,
  limit: number,
): Promise<Row[]> {
  const behind = { sql: '(c."lastAt", c."lastId") < (?, ?)', parameters: place ? [place.at, place.id] : [] };
  const rows = await readRanges<Row>(
    reader,
    {
      table: 'conversations c',
      columns,
      ranges: sessionIds.map((id) => ({ sql: 'c."sessionId" = ?', parameters: [id] })),
      also: [...(place ? [behind] : []), ...conditions],
      order: '"lastAt" DESC, "lastId" DESC',
      limit,
    },
    (one, other) => (isNewer(typed(one), typed(other)) ? -1 : 1),
  );
  return rows.map(typed);
}

/** PostgreSQL returns big integers as text. */
const typed = (row: Row): Row => ({ ...row, lastAt: Number(row.lastAt), unread: Number(row.unread) });

/** Returns the entry of the person of each row; none if no row of the person meets the conditions. */
async function joinPeople(
  { reader, contacts }: ConversationParts,
  accountId: string,
  rows: readonly Row[],
  conditions: readonly Condition[],
): Promise<Map<Row, Shown>> {
  const forms = await contacts.formsOfAll(accountId, [...new Set(rows.map(({ chatId }) => chatId))]);
  const idsOf = ({ sessionId, chatId }: Row): ChatId[] =>
    [...new Set([chatId, ...(forms.get(chatId) ?? [])])].map((id) => ({ sessionId, chatId: id }));
  const ids = new Map(rows.flatMap(idsOf).map((id) => [keyOf(id), id]));
  const stored = new Map(rows.map((row) => [keyOf(row), row]));
  const others = [...ids].filter(([key]) => !stored.has(key)).map(([, id]) => id);
  for (const row of await rowsOf(reader, others, [])) stored.set(keyOf(row), row);
  const meeting = conditions.length === 0 ? stored : new Set((await rowsOf(reader, [...ids.values()], conditions)).map(keyOf));
  const found = new Map<Row, Shown>();
  for (const row of rows) {
    const all = idsOf(row).flatMap((id) => stored.get(keyOf(id)) ?? []);
    const listed = newestOf(all.filter((one) => meeting.has(keyOf(one))));
    const newest = newestOf(all);
    if (listed && newest) found.set(row, { newest, listed, unread: all.reduce((sum, { unread }) => sum + unread, 0) });
  }
  return found;
}

type ChatId = Pick<Row, 'sessionId' | 'chatId'>;
const keyOf = ({ sessionId, chatId }: ChatId): string => `${sessionId} ${chatId}`;

const newestOf = (rows: readonly Row[]): Row | undefined =>
  rows.reduce<Row | undefined>((best, row) => (best === undefined || isNewer(row, best) ? row : best), undefined);

/** Returns the rows of these chats that meet the conditions. */
async function rowsOf(reader: DataSource, ids: readonly ChatId[], conditions: readonly Condition[]): Promise<Row[]> {
  if (ids.length === 0) return [];
  const sessionIds = ids.map(({ sessionId }) => sessionId);
  const chatIds = ids.map(({ chatId }) => chatId);
  const isPostgres = reader.options.type === 'postgres';
  // On SQLite, CROSS JOIN keeps the order of the tables: one look-up by key for each id.
  const from = isPostgres
    ? 'unnest(?::text[], ?::text[]) AS i(s, w) JOIN conversations c ON c."sessionId" = i.s AND c."chatId" = i.w'
    : `json_each(?) i CROSS JOIN conversations c ON c."sessionId" = i.value ->> 0 AND c."chatId" = i.value ->> 1`;
  const chats = isPostgres ? [sessionIds, chatIds] : [JSON.stringify(ids.map((id) => [id.sessionId, id.chatId]))];
  const values = [...chats, ...conditions.flatMap(({ parameters }) => parameters)];
  const text = `SELECT ${columns} FROM ${from} WHERE ${['1 = 1', ...conditions.map(({ sql }) => sql)].join(' AND ')}`;
  return (await runStatement<Row>(reader, text, values, { prepare: false })).rows.map(typed);
}

type LastMessage = Pick<
  Message,
  | 'id'
  | 'whatsappId'
  | 'direction'
  | 'origin'
  | 'type'
  | 'status'
  | 'reasonCode'
  | 'reasonText'
  | 'chatId'
  | 'chatType'
  | 'fromId'
  | 'text'
> &
  Record<'timestamp' | 'createdAt' | 'editedAt' | 'revokedAt', number | string | null>;

const timeOf = (stored: number | string | null): string | null => iso(stored === null ? null : new Date(Number(stored)));

/**
 * Returns the conversations with their last messages. A conversation is left out if its last message was deleted or erased after the rows were read.
 */
async function present(
  { reader, contacts }: ConversationParts,
  accountId: string,
  shown: readonly Shown[],
): Promise<ConversationResource[]> {
  const ids = among(
    reader,
    'id',
    shown.map(({ newest }) => newest.lastId),
  );
  // The account in a form that no index has: SQLite would read all messages of the account instead of these few ids.
  const sql = `SELECT id, "whatsappId", direction, origin, type, status, "reasonCode", "reasonText", "chatId", "chatType", "fromId",
    SUBSTR(text, 1, ${maxPreview}) AS text, timestamp, "createdAt", "editedAt", "revokedAt"
    FROM messages WHERE ${ids.condition} AND "accountId" || '' = ? AND "deletedAt" IS NULL`;
  const { rows } = await runStatement<LastMessage>(reader, sql, [ids.parameter, accountId]);
  const messages = new Map(rows.map((row) => [row.id, row]));
  const people = await contacts.people(shown.map(({ newest: { sessionId, chatId: waId } }) => ({ sessionId, waId })));
  const all: ConversationResource[] = [];
  for (const { newest, unread } of shown) {
    const message = messages.get(newest.lastId);
    if (message?.chatId === newest.chatId) all.push(presentOne(newest, unread, message, people));
  }
  return all;
}

function presentOne(
  { sessionId, chatId, chatName }: Row,
  unreadCount: number,
  message: LastMessage,
  people: People,
): ConversationResource {
  const contact = message.chatType === 'private' ? people(sessionId, chatId) : null;
  const { id, whatsappId, direction, origin, type, status, chatType, fromId, text } = message;
  return {
    sessionId,
    chat: { id: chatId, type: chatType, name: contact?.name ?? chatName },
    contact,
    unreadCount,
    lastMessage: {
      id,
      whatsappId,
      direction,
      origin,
      type,
      status,
      reason: reasonOf(message),
      from: fromId,
      text,
      timestamp: timeOf(message.timestamp),
      createdAt: timeOf(message.createdAt)!,
      editedAt: timeOf(message.editedAt),
      revokedAt: timeOf(message.revokedAt),
    },
  };
}
