import type { DataSource } from 'typeorm';
import { countOfFitting, pageBytes } from '../../db/page-bytes.js';
import { readAmong } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { cursorAfter } from '../../lib/list-cursor.js';
import type { Contacts } from '../../contacts/contacts.js';
import type { MessageSearch } from '../../search/search.js';
import { factOf, type Wanted } from '../../search/store.js';
import type { ListQuery } from '../contract.js';
import { Message } from '../message.entity.js';
import { afterCursor, anyOf, idAfterCursor, idOfCursor, selectionOf, unindexed, union, type Selection } from './selection.js';

/** Totals are exact below this number. Counting a million rows for a page of fifty is not worth its time. */
const maxCounted = 1_000;
/** The same for a text search, which reads each counted message. */
const maxCountedBySearch = 250;

interface Warning {
  code: string;
  message: string;
}

/** One page of a list. `meta` is the `meta` of the API's reply: limit, cursor of the next page and, with an offset, the total. */
export interface MessagePage {
  messages: Message[];
  meta: object;
  warnings: Warning[];
}

interface ListInput {
  accountId: string;
  sessionId: string | null;
  query: ListQuery;
  /** The country of numbers that begin with 0. */
  countryCode?: string | null | undefined;
}

/** The position of a message in a list. */
interface Place {
  id: string;
  /** Milliseconds. */
  createdAt: number;
}

/**
 * Returns a page of an account's messages. With a cursor, every page costs the same. With an offset, the total is returned too. Throws
 * `INVALID_RECIPIENT` for a chat or person that cannot be parsed, and `VALIDATION_FAILED` for a cursor that no page returned.
 */
export async function listMessages(
  { reader, contacts, search }: { reader: DataSource; contacts: Pick<Contacts, 'formsOf'>; search: Pick<MessageSearch, 'find'> },
  input: ListInput,
): Promise<MessagePage> {
  const { accountId, sessionId, query } = input;
  const selection = await selectionOf({ reader, contacts }, input);
  if (query.search !== undefined)
    return searchMessages({ reader, search }, { accountId, sessionId, selection, query, term: query.search });
  const { limit, cursor, offset } = query;
  const places = await readPlaces(reader, selection, query);
  const { messages, nextCursor, warnings } = await readPage(reader, places, limit);
  if (cursor) return { messages, meta: { limit, nextCursor }, warnings: [] };
  const total = await countUpTo(reader, selection);
  return { messages, meta: { limit, offset, total, totalExact: total < maxCounted, nextCursor }, warnings };
}

interface SearchInput extends Pick<ListInput, 'accountId' | 'sessionId' | 'query'> {
  selection: Selection;
  term: string;
}

/**
 * Returns a page of a text search in the order of ids, because the index is read in that order. It differs from the order of time only for messages
 * that were accepted after the clock was set back. `meta.searchComplete` is false while earlier messages are being indexed, as after an upgrade.
 */
async function searchMessages(
  { reader, search }: { reader: DataSource; search: Pick<MessageSearch, 'find'> },
  input: SearchInput,
): Promise<MessagePage> {
  const { selection, query, term } = input;
  const { limit, cursor, order } = query;
  const conditions = [...selection.all, ...(selection.branches.length > 0 ? [anyOf(selection.branches)] : [])];
  if (cursor) conditions.push(idAfterCursor(cursor, order));
  const offset = cursor ? 0 : query.offset;
  const maxMatches = cursor ? limit : Math.max(offset + limit, maxCountedBySearch);
  const { matches, isComplete } = await search.find({
    term,
    conditions: conditions.map((condition) => unindexed(reader, condition)),
    facts: factsOf(input),
    order,
    from: cursor ? idFrom(cursor, order) : null,
    maxMatches,
  });
  const places = matches.slice(offset, offset + limit);
  const { messages, nextCursor, warnings } = await readPage(reader, places, limit);
  const meta = { limit, nextCursor, searchComplete: isComplete };
  if (cursor) return { messages, meta, warnings: [] };
  const total = { offset, total: matches.length, totalExact: isComplete && matches.length < maxMatches };
  return { messages, meta: { ...meta, ...total }, warnings };
}

/** The facts in the search index that follow from the filters. Conditions without a fact are compared with each row. */
function factsOf({ accountId, sessionId, selection }: SearchInput): Wanted {
  const all = [factOf.account(accountId), ...(sessionId ? [factOf.session(sessionId)] : [])];
  const any = selection.facts.map(({ chats, authors, kinds }) => [
    ...(chats ?? []).map(factOf.chat),
    ...(authors ?? []).map(factOf.author),
    ...(kinds ?? []).map(([origin, type]) => factOf.kind(origin, type)),
  ]);
  return { all, any };
}

/**
 * Returns the id from which the index is read for the page after the cursor. It is one millisecond before the cursor's id, because several messages can
 * share one position of the index. A condition excludes those of the page before.
 */
function idFrom(cursor: string, order: 'asc' | 'desc'): string {
  const ms = Number.parseInt(idOfCursor(cursor).slice(0, 13).replace('-', ''), 16) + (order === 'asc' ? -1 : 1);
  const hex = Math.max(0, Math.min(ms, 2 ** 48 - 1))
    .toString(16)
    .padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** The columns of a message that may be long. */
const longColumns = ['content', 'text', 'sealed', 'contact'];

/**
 * Reads the messages at these places, as many as fit into `pageBytes` and at least one. The next page starts after the last of them. The warning is
 * for callers that use offsets, because they would skip the rows that are left out.
 */
async function readPage(
  reader: DataSource,
  places: readonly Place[],
  limit: number,
): Promise<{ messages: Message[]; nextCursor: string | null; warnings: Warning[] }> {
  const ids = places.map(({ id }) => id);
  const fitting = places.slice(0, await countOfFitting(reader, { table: 'messages', long: longColumns, ids }));
  const isCut = fitting.length < places.length;
  const last = isCut || places.length === limit ? fitting.at(-1) : undefined;
  const warning = {
    code: 'PAGE_CUT',
    message: `The page has ${fitting.length} messages, because more would exceed ${pageBytes / 1_048_576} MiB. Go on with meta.nextCursor, or add ${fitting.length} to offset.`,
  };
  return {
    messages: await readInOrder(reader, fitting),
    nextCursor: last ? cursorAfter({ at: last.createdAt, id: last.id }) : null,
    warnings: isCut ? [warning] : [],
  };
}

/** Reads the messages at these places, in this order. A message that was deleted since is left out. */
async function readInOrder(reader: DataSource, places: readonly Place[]): Promise<Message[]> {
  if (places.length === 0) return [];
  const ids = places.map(({ id }) => id);
  const found = new Map((await readAmong(reader, Message, 'id', ids)).map((message) => [message.id, message]));
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** Reads each branch in the order of time and no further than the page needs, then sorts the few rows of all branches. */
async function readPlaces(reader: DataSource, { all, branches }: Selection, query: ListQuery): Promise<Place[]> {
  const direction = query.order === 'asc' ? 'ASC' : 'DESC';
  const offset = query.cursor ? 0 : query.offset;
  const order = `ORDER BY "createdAt" ${direction}, id ${direction}`;
  const conditions = query.cursor ? [...all, afterCursor(query.cursor, query.order)] : all;
  const { sql, parameters } = union(branches, conditions, '"createdAt", id', `${order} LIMIT ${offset + query.limit}`);
  const page = `${sql} ${order} LIMIT ${query.limit} OFFSET ${offset}`;
  const { rows } = await runStatement<{ id: string; createdAt: number | string }>(reader, page, parameters, { prepare: false });
  return rows.map(({ id, createdAt }) => ({ id, createdAt: Number(createdAt) }));
}

async function countUpTo(reader: DataSource, { all, branches }: Selection): Promise<number> {
  const { sql, parameters } = union(branches, all, '1 AS one', `LIMIT ${maxCounted}`);
  const {
    rows: [row],
  } = await runStatement<{ n: number | string }>(
    reader,
    `SELECT COUNT(*) AS n FROM (${sql} LIMIT ${maxCounted}) counted`,
    parameters,
    { prepare: false },
  );
  return Number(row?.n ?? 0);
}
