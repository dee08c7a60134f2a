import type { DataSource } from 'typeorm';
import { countOfFitting, pageBytes } from '../../db/page-bytes.js';
import { readAmong } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Contacts } from '../../contacts/contacts.js';
import type { MessageSearch } from '../../search/search.js';
import { factOf, type Wanted } from '../../search/store.js';
import type { ListQuery } from '../contract.js';
import { Message } from '../message.entity.js';
import { anyOf, beyond, idBeyond, idOfCursor, selectionOf, unindexed, union, type Selection } from './selection.js';

/** Totals are exact below this figure: counting a million rows for a page of fifty helps nobody. */
const maxCounted = 1_000;
/** The same of a text search, where each message that counts is read. */
const maxCountedBySearch = 250;

interface Warning {
  code: string;
  message: string;
}

export interface Place {
  id: string;
  createdAt: number;
}

/** A page of the account's messages. `countryCode` is the country of numbers that begin with 0. With a cursor it costs the same on every page; with an offset it also returns the total. */
export async function listMessages(
  { reader, contacts, search }: { reader: DataSource; contacts: Pick<Contacts, 'formsOf'>; search: Pick<MessageSearch, 'find'> },
  asked: { accountId: string; sessionId: string | null; query: ListQuery; countryCode?: string | null | undefined },
): Promise<{ messages: Message[]; meta: object; warnings: Warning[] }> {
  const { accountId, sessionId, query } = asked;
  const selection = await selectionOf({ reader, contacts }, asked);
  if (query.search !== undefined)
    return searchMessages({ reader, search }, { accountId, sessionId, selection, query, term: query.search });
  const { limit, cursor, offset } = query;
  const places = await pageOf(reader, selection, query);
  const { messages, nextCursor, warnings } = await pageAt(reader, places, limit);
  if (cursor) return { messages, meta: { limit, nextCursor }, warnings: [] };
  const total = await countUpTo(reader, selection);
  return { messages, meta: { limit, offset, total, totalExact: total < maxCounted, nextCursor }, warnings };
}

/**
 * The same for a text search, in the order of the ids: the index is read in this order. It differs from the order of time only for messages that were
 * accepted after the clock was set back. `meta.searchComplete` is false while earlier messages are being indexed, as after an upgrade.
 */
async function searchMessages(
  { reader, search }: { reader: DataSource; search: Pick<MessageSearch, 'find'> },
  asked: { accountId: string; sessionId: string | null; selection: Selection; query: ListQuery; term: string },
): Promise<{ messages: Message[]; meta: object; warnings: Warning[] }> {
  const { selection, query, term } = asked;
  const { limit, cursor, order } = query;
  const conditions = [...selection.all, ...(selection.branches.length > 0 ? [anyOf(selection.branches)] : [])];
  if (cursor) conditions.push(idBeyond(cursor, order));
  const offset = cursor ? 0 : query.offset;
  const { matches, isComplete } = await search.find({
    term,
    conditions: conditions.map((condition) => unindexed(reader, condition)),
    facts: factsOf(asked),
    order,
    from: cursor ? idFrom(cursor, order) : null,
    most: cursor ? limit : Math.max(offset + limit, maxCountedBySearch),
  });
  const places = matches.slice(offset, offset + limit);
  const { messages, nextCursor, warnings } = await pageAt(reader, places, limit);
  const meta = { limit, nextCursor, searchComplete: isComplete };
  if (cursor) return { messages, meta, warnings: [] };
  const most = Math.max(offset + limit, maxCountedBySearch);
  const total = { offset, total: matches.length, totalExact: isComplete && matches.length < most };
  return { messages, meta: { ...meta, ...total }, warnings };
}

/** What the index knows of the filters besides the text. Conditions of which it knows nothing are compared with each row. */
function factsOf({ accountId, sessionId, selection }: Parameters<typeof searchMessages>[1]): Wanted {
  const all = [factOf.account(accountId), ...(sessionId ? [factOf.session(sessionId)] : [])];
  const any = selection.facts.map(({ chats, authors, kinds }) => [
    ...(chats ?? []).map(factOf.chat),
    ...(authors ?? []).map(factOf.author),
    ...(kinds ?? []).map(([origin, type]) => factOf.kind(origin, type)),
  ]);
  return { all, any };
}

/**
 * An id from which the index is read for the page behind the cursor. It is one millisecond before the cursor's, because several messages can share one
 * place of the index; those that the page before had are left out by a condition.
 */
function idFrom(cursor: string, order: 'asc' | 'desc'): string {
  const ms = Number.parseInt(idOfCursor(cursor).slice(0, 13).replace('-', ''), 16) + (order === 'asc' ? -1 : 1);
  const hex = Math.max(0, Math.min(ms, 2 ** 48 - 1))
    .toString(16)
    .padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

const cursorBehind = ({ createdAt, id }: Place): string => Buffer.from(`${createdAt}:${id}`).toString('base64url');

/** What of a message may be long. */
const longColumns = ['content', 'text', 'sealed', 'contact'];

/**
 * Reads the messages of a page: as many of the places as fit into `pageBytes`, at least one. The cursor goes on behind the last one. The
 * warning is for readers by offset, who would pass the rows that were left out.
 */
async function pageAt(
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
    messages: await inOrder(reader, fitting),
    nextCursor: last ? cursorBehind(last) : null,
    warnings: isCut ? [warning] : [],
  };
}

/** The messages with these ids, in this order. One that was deleted meanwhile is left out. */
async function inOrder(reader: DataSource, places: readonly Place[]): Promise<Message[]> {
  if (places.length === 0) return [];
  const ids = places.map(({ id }) => id);
  const found = new Map((await readAmong(reader, Message, 'id', ids)).map((message) => [message.id, message]));
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** Each branch is read in the order of time no further than the page needs; the few rows of all branches are sorted once more. */
async function pageOf(reader: DataSource, { all, branches }: Selection, query: ListQuery): Promise<Place[]> {
  const direction = query.order === 'asc' ? 'ASC' : 'DESC';
  const offset = query.cursor ? 0 : query.offset;
  const order = `ORDER BY "createdAt" ${direction}, id ${direction}`;
  const conditions = query.cursor ? [...all, beyond(query.cursor, query.order)] : all;
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
