import { AppError, foldText } from '@chasqui/shared';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { Core } from '../core.js';
import { bytesSql } from '../db/page-bytes.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Condition } from '../db/ranges.js';
import { longColumns } from '../messages/message.entity.js';
import { gramsIn } from './grams.js';
import { indexUntilStopped, settle } from './indexing.js';
import type { KnownChat, NamedChat, PlaceRange } from './places.js';
export type { KnownChat, NamedChat } from './places.js';
import { createSearchStore, ensureTriggers, factOf, withChats, type SearchStore, type Wanted } from './store.js';

/** The chats and messages that a search term names. All of these messages match, whatever their text is. */
export interface Named {
  chats: readonly NamedChat[];
  messageIds: readonly string[];
  /** Set if the term names too many chats to list. Returns those of some that it names. */
  among: ((some: readonly KnownChat[]) => Promise<readonly KnownChat[]>) | null;
}

/** Two ids, in the order in which the index is read; ids begin with a time. Null: from or to the end. */
export interface IdRange {
  from: string | null;
  to: string | null;
}

export interface Query {
  term: string;
  named: Named;
  /** The ids of all messages that meet the conditions, where they are few. Then only these are compared, and the index is not read. */
  only: readonly string[] | null;
  /** Further conditions that the messages must meet. */
  conditions: readonly Condition[];
  /** Facts that follow from the conditions. The index uses them to narrow the search. */
  facts: Wanted;
  order: 'asc' | 'desc';
  /** The ids between which the index is read. */
  range: IdRange;
  /** The same for late messages (`lateAboveMs`). Null: `range` is that of late messages too. */
  lateRange: IdRange | null;
  /** The maximum number of matches to return. */
  maxMatches: number;
  /** The search stops after about so many places of the index: of many messages with the term, few or none may meet the conditions. */
  maxPlaces: number;
}

export interface Match {
  id: string;
  createdAt: number;
  /** Of the columns that may be long. */
  bytes: number;
}

export interface Found {
  matches: Match[];
  /** False: there may be further matches. Either so many messages wait to be indexed that only the newest of them were examined, or `stoppedAt` is set. */
  isComplete: boolean;
  /** Set if the search stopped after `maxPlaces` places. It is the id behind which it goes on, in the order of the query. */
  stoppedAt: string | null;
}

export interface MessageSearch {
  /**
   * Returns the first matches in the order of their ids, which is the order in which messages were accepted. Throws `VALIDATION_FAILED` for a term
   * without any character that can be found.
   */
  find(query: Query): Promise<Found>;
  /** Indexes everything that waits. For erasures and tests. */
  settle(): Promise<void>;
  /** Creates the triggers that the database lacks, and starts indexing. */
  start(): Promise<void>;
  /** Resolves when the batch that is being indexed has ended. */
  stop(): Promise<void>;
}

/** Of the messages that wait to be indexed, at most this many are compared one by one. */
const maxWaiting = 10_000;
/** How many places one query reads. */
const pageSize = 256;
/**
 * Where many chats are named (`manyChats`), so many of the newest messages are compared one by one first: probably many of them are in these chats.
 * Where a term names too many chats to list, all messages are compared: probably many of them match.
 */
const maxBroadPlaces = 512;

/** The columns that decide whether a message matches. */
interface Candidate {
  id: string;
  sessionId: string;
  chatId: string;
  chatType: string;
  fromId: string | null;
  createdAt: number | string;
  text: string | null;
  bytes: number | string;
}
/** Returns those messages that match as they are now. */
type Matching = (messages: readonly Candidate[]) => readonly Candidate[] | Promise<readonly Candidate[]>;

interface Context extends Pick<Core, 'database'> {
  store: SearchStore;
}

/**
 * Search over messages: for any part of a text, in every script, and for the chats, people and messages that the caller found for the term.
 *
 * Accepting or receiving a message costs one small row in `search_queue`, which a trigger writes in the same transaction. A loop indexes queued
 * messages within about a second. Until then a search reads them one by one, so that a message is found from its commit on, by its current text and
 * chat: every match is compared with the row. Edited, erased and deleted messages are queued in the same way, so that the index is updated.
 *
 * | what happens | then |
 * | --- | --- |
 * | the process dies between two batches | the queue still has the messages that are left |
 * | two backends on PostgreSQL | one of them indexes at a time |
 * | one message cannot be indexed | it is reported and leaves the queue; the others are indexed |
 */
export function createMessageSearch({ database, log, report }: Pick<Core, 'database' | 'log' | 'report'>): MessageSearch {
  const store = createSearchStore(database);
  const context = { database, log, report, store, isStopped: false, wake: () => undefined };
  let running: Promise<void> = Promise.resolve();
  return {
    find: (query) => find(context, query),
    settle: () => settle(context),
    async start() {
      await ensureTriggers(database);
      running = indexUntilStopped(context);
    },
    async stop() {
      context.isStopped = true;
      context.wake();
      await running;
    },
  };
}

async function find({ database: { reader }, store }: Context, query: Query): Promise<Found> {
  const folded = foldText(query.term);
  if (folded === '') {
    const message = 'The search text has no character that can be found.';
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'search', code: 'INVALID_FORMAT', message }] }, message);
  }
  const matching = matchingOf(query.named, folded);
  const sign = query.order === 'asc' ? 1 : -1;
  const compared = (a: string, b: string): number => sign * (a < b ? -1 : a > b ? 1 : 0);
  // By id, like the places of the index: in another order, a match at a later place could belong before matches that were cut off.
  const first = (matches: Iterable<Match>): Match[] =>
    [...matches].sort((a, b) => compared(a.id, b.id)).slice(0, query.maxMatches);
  if (query.only)
    return { matches: first(await compareIds(reader, query, query.only, matching)), isComplete: true, stoppedAt: null };
  // Closes: a message that leaves the queue between the two reads is in neither. It is queued first and indexed later, so the queue is read first.
  const waiting = await findWaiting(reader, query, matching);
  const { matches: indexed, stoppedAt } = await findIndexed(reader, store, query, folded, matching);
  const all = new Map([...waiting.matches, ...indexed].map((match) => [match.id, match]));
  const matches = first(all.values());
  if (stoppedAt === null) return { matches, isComplete: waiting.isAll, stoppedAt };
  // What waits behind that place is found again from there.
  return { matches: matches.filter(({ id }) => compared(id, stoppedAt) <= 0), isComplete: false, stoppedAt };
}

function matchingOf(named: Named, folded: string): Matching {
  const { among } = named;
  if (!among) {
    const isMatch = matcherOf(named, folded);
    return (messages) => messages.filter(isMatch);
  }
  return async (messages) => {
    if (messages.length === 0) return [];
    return messages.filter(matcherOf({ ...named, chats: await among(messages.flatMap(chatsIn)) }, folded));
  };
}

/** The chat of a message, and who wrote it where several people do. */
const chatsIn = ({ sessionId, chatId, chatType, fromId }: Candidate): KnownChat[] => [
  { sessionId, waId: chatId },
  ...(chatType !== 'private' && fromId !== null ? [{ sessionId, waId: fromId }] : []),
];

function matcherOf({ chats, messageIds }: Named, folded: string): (message: Candidate) => boolean {
  const named = new Set(chats.map(({ sessionId, waId }) => `${sessionId ?? ''} ${waId}`));
  const ids = new Set(messageIds);
  const isNamed = (sessionId: string, waId: string): boolean => named.has(` ${waId}`) || named.has(`${sessionId} ${waId}`);
  return ({ id, sessionId, chatId, chatType, fromId, text }) =>
    ids.has(id) ||
    (named.size > 0 &&
      (isNamed(sessionId, chatId) || (chatType !== 'private' && fromId !== null && isNamed(sessionId, fromId)))) ||
    (text !== null && foldText(text).includes(folded));
}

/**
 * Returns the matches among the messages that the term names by id, and among those that wait to be indexed. `isAll`: whether all of the latter were
 * compared.
 */
async function findWaiting(reader: DataSource, query: Query, matching: Matching): Promise<{ matches: Match[]; isAll: boolean }> {
  const { rows: queued } = await runStatement<{ messageId: string }>(
    reader,
    `SELECT "messageId" FROM search_queue ORDER BY n DESC LIMIT ${maxWaiting}`,
    [],
    { prepare: false },
  );
  const ids = [...new Set([...query.named.messageIds, ...queued.map(({ messageId }) => messageId)])];
  return { matches: await compareIds(reader, query, ids, matching), isAll: queued.length < maxWaiting };
}

/** Returns those of the messages with these ids that meet the conditions and match. */
async function compareIds(
  reader: DataSource,
  { conditions }: Query,
  ids: readonly string[],
  matching: Matching,
): Promise<Match[]> {
  const matches: Match[] = [];
  for (let start = 0; start < ids.length; start += 1_000) {
    if (start > 0) await sleep(0);
    const part = ids.slice(start, start + 1_000);
    const { condition, parameter } = among(reader, 'id', part);
    const from = `(SELECT * FROM messages WHERE ${condition}) waiting`;
    matches.push(...(await compare(reader, from, parameter, conditions, matching)));
  }
  return matches;
}

async function findIndexed(
  reader: DataSource,
  store: SearchStore,
  { conditions, named, facts, order, range, lateRange, maxMatches, maxPlaces }: Query,
  folded: string,
  matching: Matching,
): Promise<Pick<Found, 'matches' | 'stoppedAt'>> {
  const rangeOf = ({ from, to }: IdRange): PlaceRange => ({
    order,
    after: from && store.placeOf(from),
    last: to && store.placeOf(to),
  });
  const partsOf = (wanted: Wanted): Part[] => [
    partOf(store, wanted, rangeOf(range)),
    ...(lateRange ? [partOf(store, withLate(wanted), rangeOf(lateRange))] : []),
  ];
  const { chats } = named;
  const narrowed = partsOf({ all: [...facts.all, ...gramsIn(folded)], any: facts.any });
  if (chats.length > 0) {
    const read: Part['read'] = (some, limit) => store.namedPlaces({ chats, facts, conditions }, some, limit);
    narrowed.push({ range: rangeOf(range), read });
    if (lateRange) narrowed.push(partOf(store, withLate(withChats(facts, chats)), rangeOf(lateRange)));
  }
  // Without any fact, the index cannot be read in order.
  const isBroad = named.among !== null || (chats.length > store.manyChats && facts.all.length > 0);
  let parts = isBroad ? partsOf(facts) : narrowed;
  const matches: Match[] = [];
  let size = Math.min(pageSize, maxMatches + 16);
  let place: string | null = null;
  for (let read = 0; matches.length < maxMatches;) {
    if (read >= maxBroadPlaces && parts !== narrowed && named.among === null) {
      parts = narrowed;
      for (const part of parts) part.range.after = furtherOf(part.range.after, place!, order);
    }
    const places = await nextPlaces(parts, order, size);
    const last = places.at(-1);
    if (last === undefined) break;
    place = last;
    const { from: source, parameter } = store.at(places);
    matches.push(...(await compare(reader, source, parameter, conditions, matching)));
    for (const part of parts) part.range.after = furtherOf(part.range.after, last, order);
    read += places.length;
    if (read >= maxPlaces && matches.length < maxMatches) return { matches, stoppedAt: store.endOf(last, order) };
    // Where matches are rare, the next ones are further away.
    size = Math.min(pageSize, size * 2);
    await sleep(0);
  }
  return { matches, stoppedAt: null };
}

/** What is read from the index, and where. */
interface Part {
  range: PlaceRange;
  read(range: PlaceRange, limit: number): Promise<string[]>;
}

const partOf = (store: SearchStore, wanted: Wanted, range: PlaceRange): Part => ({
  range,
  read: (some, limit) => store.places(wanted, some, limit),
});

const withLate = ({ all, any }: Wanted): Wanted => ({ all: [...all, factOf.late], any });

/** Returns the first places of all parts, in order. Each of them is read up to the limit, so that none is left out between two pages. */
async function nextPlaces(parts: readonly Part[], order: 'asc' | 'desc', limit: number): Promise<string[]> {
  const found = await Promise.all(parts.map(({ range, read }) => read(range, limit)));
  const places = [...new Set(found.flat())].sort();
  return (order === 'asc' ? places : places.reverse()).slice(0, limit);
}

/** Returns the one of two places that comes later in this order. */
const furtherOf = (one: string | null, other: string, order: 'asc' | 'desc'): string =>
  one !== null && (order === 'asc' ? one > other : one < other) ? one : other;

/** Returns the messages that meet the conditions and match as they are now. */
async function compare(
  reader: DataSource,
  from: string,
  parameter: unknown,
  conditions: readonly Condition[],
  matching: Matching,
): Promise<Match[]> {
  const where = conditions.map(({ sql }) => sql).join(' AND ');
  const { rows } = await runStatement<Candidate>(
    reader,
    `SELECT id, "sessionId", "chatId", "chatType", "fromId", "createdAt", text, ${bytesSql(longColumns)} AS bytes FROM ${from} WHERE ${where || '1 = 1'}`,
    [parameter, ...conditions.flatMap(({ parameters }) => parameters)],
    { prepare: false },
  );
  return (await matching(rows)).map(({ id, createdAt, bytes }) => ({ id, createdAt: Number(createdAt), bytes: Number(bytes) }));
}
