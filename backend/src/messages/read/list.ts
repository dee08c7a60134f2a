import type { DataSource } from 'typeorm';
import { bytesSql, countThatFit, pageBytes } from '../../db/page-bytes.js';
import { countRanges, countSql, rangesSql, readRanges, type Condition, type Ranges } from '../../db/ranges.js';
import { readAmong } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { cursorAfter } from '../../lib/list-cursor.js';
import { namesVersionSql, type Contacts } from '../../contacts/contacts.js';
import type { IdRange, MessageSearch } from '../../search/search.js';
import { factOf, lateAboveMs, timeOfId, type Wanted } from '../../search/store.js';
import type { ListQuery } from '../contract.js';
import { longColumns, Message } from '../message.entity.js';
import { namedIn } from './named.js';
import { afterCursor, anyOf, idAfterCursor, idOfCursor, selectionOf, unindexed, type Selection } from './selection.js';

/** Totals are exact below this number. Counting a million rows for a page of fifty is not worth its time. */
const maxCounted = 1_000;
/** The same for a text search, which reads each counted message. */
const maxCountedBySearch = 250;
/** A text search reads about so many messages for a page. */
const maxPlaces = 2_000;
/** Where no more messages than this meet the filters, a text search compares all of them instead of reading the index. */
const maxFew = 256;

interface Warning {
  code: string;
  message: string;
}

/** One page of a list. `meta` is the `meta` of the API's reply: limit, cursor of the next page and, with an offset, the total. */
export interface MessagePage {
  messages: Message[];
  meta: object;
  warnings: Warning[];
  /** For `Contacts.people`, if the statement that read the page read it as well. */
  namesVersion?: number | undefined;
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
  /** Of the columns that may be long. */
  bytes: number;
}

/**
 * Returns a page of an account's messages. With a cursor, every page costs the same. With an offset, the total is returned too. Throws
 * `INVALID_RECIPIENT` for a chat or person that cannot be parsed, and `VALIDATION_FAILED` for a cursor that no page returned.
 */
export async function listMessages(
  { reader, contacts, search }: { reader: DataSource; contacts: Pick<Contacts, 'formsOf'>; search: Pick<MessageSearch, 'find'> },
  input: ListInput,
): Promise<MessagePage> {
  const { query } = input;
  const selection = await selectionOf({ reader, contacts }, input);
  if (query.search !== undefined) return searchMessages({ reader, search }, { ...input, selection, term: query.search });
  const { limit, cursor, offset } = query;
  const { places, total, namesVersion } = await readListed(reader, selection, query);
  const { messages, nextCursor, warnings } = await readPage(reader, places, limit);
  if (cursor) return { messages, meta: { limit, nextCursor }, warnings: [], namesVersion };
  return { messages, meta: { limit, offset, total, totalExact: total < maxCounted, nextCursor }, warnings, namesVersion };
}

interface Listed {
  places: Place[];
  /** Zero with a cursor. */
  total: number;
  namesVersion?: number | undefined;
}

/**
 * Reads the places of a page and the total. The rows are counted only if the page is full. PostgreSQL reads it all in one statement, and the version of
 * names with it: a statement of its own would cost more processor time in both processes than what it reads.
 */
async function readListed(reader: DataSource, selection: Selection, query: ListQuery): Promise<Listed> {
  const { limit, cursor } = query;
  const offset = cursor ? 0 : query.offset;
  const totalOf = (places: readonly Place[], counted: () => Promise<number>): number | Promise<number> => {
    if (cursor) return 0;
    const isEnd = places.length > 0 ? places.length < limit : offset === 0;
    return isEnd ? Math.min(offset + places.length, maxCounted) : counted();
  };
  if (reader.options.type !== 'postgres') {
    const places = await readPlaces(reader, selection, query);
    return { places, total: await totalOf(places, () => countUpTo(reader, selection)) };
  }
  const ranges = rangesOfPlaces(selection, query);
  const listed = rangesSql('postgres', ranges);
  const counted = cursor ? { sql: '0', parameters: [] } : countSql('postgres', rangesToCount(selection));
  const sql = `WITH listed AS MATERIALIZED (${listed.sql})
    SELECT "createdAt", id, bytes, CASE WHEN (SELECT COUNT(*) FROM listed) < ${offset + limit} THEN NULL ELSE (${counted.sql}) END AS total,
      (${namesVersionSql}) AS "namesVersion" FROM listed ORDER BY ${ranges.order} OFFSET ${offset}`;
  type Row = PlaceRow & { total: string | null; namesVersion: string | null };
  const { rows } = await runStatement<Row>(reader, sql, [...listed.parameters, ...counted.parameters], { prepare: false });
  const places = rows.map(placeOf);
  const [first] = rows;
  const namesVersion = first?.namesVersion == null ? undefined : Number(first.namesVersion);
  // A page behind the end has no row that could tell the total.
  const total = await totalOf(places, async () => (first ? Number(first.total) : countUpTo(reader, selection)));
  return { places, total, namesVersion };
}

interface SearchInput extends ListInput {
  selection: Selection;
  term: string;
}

/**
 * Returns a page of a search in the order of ids, because the index is read in that order. It differs from the order of time only for messages
 * that were accepted after the clock was set back. `meta.searchComplete` is false while earlier messages are being indexed, as after an upgrade, and
 * on a page that has fewer messages than `limit` because the search stopped: then `nextCursor` continues it, also after a page without messages.
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
  const { matches, isComplete, stoppedAt } = await search.find({
    term,
    named: await namedIn(reader, input, term),
    only: await fewThatMeet(reader, selection, query),
    conditions: conditions.map((condition) => unindexed(reader, condition)),
    facts: factsOf(input),
    order,
    ...rangesOf(query),
    maxMatches,
    maxPlaces,
  });
  const places = matches.slice(offset, offset + limit);
  const page = await readPage(reader, places, limit);
  const { messages, warnings } = page;
  const stopped = stoppedAt === null ? null : cursorAfter({ at: timeOfId(stoppedAt), id: stoppedAt });
  const nextCursor = page.nextCursor ?? stopped;
  const meta = { limit, nextCursor, searchComplete: isComplete };
  if (cursor) return { messages, meta, warnings: [] };
  const total = { offset, total: matches.length, totalExact: isComplete && matches.length < maxMatches };
  return { messages, meta: { ...meta, ...total }, warnings };
}

/**
 * Returns the ids of all messages that meet the filters, if they are few; else null. Asked only for filters that are no facts of the search index:
 * a frequent word with a rare status would be looked up in the index and compared thousands of times.
 */
async function fewThatMeet(reader: DataSource, selection: Selection, { status, bulkJobId }: ListQuery): Promise<string[] | null> {
  if (!status && !bulkJobId) return null;
  const places = await readPlaces(reader, selection, { order: 'desc', cursor: undefined, offset: 0, limit: maxFew + 1 });
  return places.length > maxFew ? null : places.map(({ id }) => id);
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

/** How much later than the time with which the id of a message begins its `createdAt` may be: by moments, because the id is made first. */
const earlySlackMs = 60_000;

/**
 * Returns the ids between which the index is read: the filters of time and the cursor. The conditions decide exactly. Ids of late messages have no
 * upper bound.
 */
function rangesOf({ from, to, cursor, order }: ListQuery): { range: IdRange; lateRange: IdRange | null } {
  const oldest = from ? idAt(Date.parse(from) - earlySlackMs) : null;
  // A millisecond more, because the newest place is left out when the index is read from there.
  const newest = to ? idAt(Date.parse(to) + lateAboveMs + 1) : null;
  const behind = cursor ? idFrom(cursor, order) : null;
  const rangeTo = (newest: string | null): IdRange =>
    order === 'asc' ? { from: lastOf(oldest, behind, order), to: newest } : { from: lastOf(newest, behind, order), to: oldest };
  return { range: rangeTo(newest), lateRange: newest === null ? null : rangeTo(null) };
}

/** Returns the one of two ids that comes later in this order. */
function lastOf(one: string | null, other: string | null, order: 'asc' | 'desc'): string | null {
  if (one === null || other === null) return one ?? other;
  return one < other === (order === 'asc') ? other : one;
}

/**
 * Returns the id from which the index is read for the page after the cursor. It is one millisecond before the cursor's id, because several messages can
 * share one position of the index. A condition excludes those of the page before.
 */
const idFrom = (cursor: string, order: 'asc' | 'desc'): string => idAt(timeOfId(idOfCursor(cursor)) + (order === 'asc' ? -1 : 1));

/** Returns the smallest id that begins with this time. */
function idAt(time: number): string {
  const hex = Math.max(0, Math.min(time, 2 ** 48 - 1))
    .toString(16)
    .padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/**
 * Reads the messages at these places, as many as fit into `pageBytes` and at least one. The next page starts after the last of them. The warning is
 * for callers that use offsets, because they would skip the rows that are left out.
 */
async function readPage(
  reader: DataSource,
  places: readonly Place[],
  limit: number,
): Promise<{ messages: Message[]; nextCursor: string | null; warnings: Warning[] }> {
  const fitting = places.slice(0, countThatFit(places, pageBytes));
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

/** One range: every row. */
const everything: Condition = { sql: '1 = 1', parameters: [] };
const rangesOfSelection = ({ branches }: Selection): readonly Condition[] => (branches.length > 0 ? branches : [everything]);

type PlaceQuery = Pick<ListQuery, 'order' | 'cursor' | 'offset' | 'limit'>;

/** Each branch is read in the order of time and no further than the page needs. */
function rangesOfPlaces(selection: Selection, query: PlaceQuery): Ranges {
  const direction = query.order === 'asc' ? 'ASC' : 'DESC';
  return {
    table: 'messages',
    columns: `"createdAt", id, ${bytesSql(longColumns)} AS bytes`,
    ranges: rangesOfSelection(selection),
    also: query.cursor ? [...selection.all, afterCursor(query.cursor, query.order)] : selection.all,
    order: `"createdAt" ${direction}, id ${direction}`,
    limit: (query.cursor ? 0 : query.offset) + query.limit,
  };
}

async function readPlaces(reader: DataSource, selection: Selection, query: PlaceQuery): Promise<Place[]> {
  const rows = await readRanges<PlaceRow>(
    reader,
    rangesOfPlaces(selection, query),
    (one, other) => compareTimes(one, other) * (query.order === 'asc' ? 1 : -1),
  );
  return rows.slice(query.cursor ? 0 : query.offset).map(placeOf);
}

type PlaceRow = Timed & { bytes: number | string };
const placeOf = ({ id, createdAt, bytes }: PlaceRow): Place => ({ id, createdAt: Number(createdAt), bytes: Number(bytes) });

type Timed = { id: string; createdAt: number | string };
const compareTimes = (one: Timed, other: Timed): number =>
  Number(one.createdAt) - Number(other.createdAt) || (one.id < other.id ? -1 : 1);

const rangesToCount = (selection: Selection): Omit<Ranges, 'columns'> => ({
  table: 'messages',
  ranges: rangesOfSelection(selection),
  also: selection.all,
  order: '"createdAt", id',
  limit: maxCounted,
});

const countUpTo = (reader: DataSource, selection: Selection): Promise<number> => countRanges(reader, rangesToCount(selection));
