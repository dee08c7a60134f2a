import { AppError, foldText } from '@chasqui/shared';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { Core } from '../core.js';
import { advisoryLocks, tryStep } from '../db/locks.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Condition } from '../db/ranges.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';
import { gramsIn } from './grams.js';
import { createSearchStore, ensureTriggers, factOf, type PlaceRange, type SearchStore, type Wanted } from './store.js';

/** The id of a chat, or of a person who writes in chats with several people. `sessionId` null: in every session. */
export interface NamedChat {
  sessionId: string | null;
  waId: string;
}

/** The chats and messages that a search term names. All of these messages match, whatever their text is. */
export interface Named {
  chats: readonly NamedChat[];
  messageIds: readonly string[];
}

/** Two ids, in the order in which the index is read; ids begin with a time. Null: from or to the end. */
export interface IdRange {
  from: string | null;
  to: string | null;
}

export interface Query {
  term: string;
  named: Named;
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

/** How many messages one transaction indexes. A send in the meantime waits for at most one such transaction. */
const batchSize = 32;
/** The pause after a batch, as a multiple of its time: indexing takes a twentieth of a busy process, and most of an idle one. */
const restFactor = { busy: 19, idle: 0.2 };
/** The process counts as busy if its event loop was active for more than this share of the last pause. */
const busyAbove = 0.5;
const pollMs = 500;
/** Of the messages that wait to be indexed, at most this many are compared one by one. */
const maxWaiting = 10_000;
/** How many places one query reads. */
const pageSize = 256;
/**
 * With more named chats than this, the newest messages are compared one by one first: probably many of them are in these chats, and a query with a
 * thousand chats takes longer than reading so many places.
 */
const manyChats = 200;
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
}
type IsMatch = (message: Candidate) => boolean;

interface Context extends Pick<Core, 'database' | 'log' | 'report'> {
  store: SearchStore;
  isStopped: boolean;
  /** Ends the pause between two batches. */
  wake: () => void;
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
  const context: Context = { database, log, report, store, isStopped: false, wake: () => undefined };
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
  const isMatch = matcherOf(query.named, folded);
  // Closes: a message that leaves the queue between the two reads is in neither. It is queued first and indexed later, so the queue is read first.
  const waiting = await findWaiting(reader, query, isMatch);
  const { matches: indexed, stoppedAt } = await findIndexed(reader, store, query, folded, isMatch);
  const all = new Map([...waiting.matches, ...indexed].map((match) => [match.id, match]));
  // By id, like the places of the index: in another order, a match at a later place could belong before matches that were cut off.
  const sign = query.order === 'asc' ? 1 : -1;
  const compared = (a: string, b: string): number => sign * (a < b ? -1 : a > b ? 1 : 0);
  const matches = [...all.values()].sort((a, b) => compared(a.id, b.id)).slice(0, query.maxMatches);
  if (stoppedAt === null) return { matches, isComplete: waiting.isAll, stoppedAt };
  // What waits behind that place is found again from there.
  return { matches: matches.filter(({ id }) => compared(id, stoppedAt) <= 0), isComplete: false, stoppedAt };
}

function matcherOf({ chats, messageIds }: Named, folded: string): IsMatch {
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
async function findWaiting(
  reader: DataSource,
  { conditions, named }: Query,
  isMatch: IsMatch,
): Promise<{ matches: Match[]; isAll: boolean }> {
  const { rows: queued } = await runStatement<{ messageId: string }>(
    reader,
    `SELECT "messageId" FROM search_queue ORDER BY n DESC LIMIT ${maxWaiting}`,
    [],
    { prepare: false },
  );
  const ids = [...new Set([...named.messageIds, ...queued.map(({ messageId }) => messageId)])];
  const matches: Match[] = [];
  for (let start = 0; start < ids.length; start += 1_000) {
    if (start > 0) await sleep(0);
    const part = ids.slice(start, start + 1_000);
    const { condition, parameter } = among(reader, 'id', part);
    const from = `(SELECT * FROM messages WHERE ${condition}) waiting`;
    matches.push(...(await compare(reader, from, parameter, conditions, isMatch)));
  }
  return { matches, isAll: queued.length < maxWaiting };
}

async function findIndexed(
  reader: DataSource,
  store: SearchStore,
  { conditions, named, facts, order, range, lateRange, maxMatches, maxPlaces }: Query,
  folded: string,
  isMatch: IsMatch,
): Promise<Pick<Found, 'matches' | 'stoppedAt'>> {
  const wanted: Wanted[] = [{ all: [...facts.all, ...gramsIn(folded)], any: facts.any }];
  if (named.chats.length > 0) wanted.push({ all: facts.all, any: [...facts.any, factsOfChats(named.chats)] });
  const rangeOf = ({ from, to }: IdRange): PlaceRange => ({
    order,
    after: from && store.placeOf(from),
    last: to && store.placeOf(to),
  });
  const partsOf = (some: readonly Wanted[]): Part[] => [
    ...some.map((one) => ({ wanted: one, range: rangeOf(range) })),
    ...(lateRange
      ? some.map(({ all, any }) => ({ wanted: { all: [...all, factOf.late], any }, range: rangeOf(lateRange) }))
      : []),
  ];
  const narrowed = partsOf(wanted);
  // Without any fact, the index cannot be read in order.
  let parts = named.chats.length > manyChats && facts.all.length > 0 ? partsOf([facts]) : narrowed;
  const matches: Match[] = [];
  let size = Math.min(pageSize, maxMatches + 16);
  let place: string | null = null;
  for (let read = 0; matches.length < maxMatches;) {
    if (read >= maxBroadPlaces && parts !== narrowed) {
      parts = narrowed;
      for (const part of parts) part.range.after = furtherOf(part.range.after, place!, order);
    }
    const places = await nextPlaces(store, parts, order, size);
    const last = places.at(-1);
    if (last === undefined) break;
    place = last;
    const { from: source, parameter } = store.at(places);
    matches.push(...(await compare(reader, source, parameter, conditions, isMatch)));
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
  wanted: Wanted;
  range: PlaceRange;
}

const factsOfChats = (chats: readonly NamedChat[]): number[] => [
  ...new Set(chats.flatMap(({ waId }) => [factOf.chat(waId), factOf.author(waId)])),
];

/** Returns the first places of all parts, in order. Each of them is read up to the limit, so that none is left out between two pages. */
async function nextPlaces(store: SearchStore, parts: readonly Part[], order: 'asc' | 'desc', limit: number): Promise<string[]> {
  const found = await Promise.all(parts.map(({ wanted, range }) => store.places(wanted, range, limit)));
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
  isMatch: IsMatch,
): Promise<Match[]> {
  const where = conditions.map(({ sql }) => sql).join(' AND ');
  const { rows } = await runStatement<Candidate>(
    reader,
    `SELECT id, "sessionId", "chatId", "chatType", "fromId", "createdAt", text FROM ${from} WHERE ${where || '1 = 1'}`,
    [parameter, ...conditions.flatMap(({ parameters }) => parameters)],
    { prepare: false },
  );
  return rows.filter(isMatch).map(({ id, createdAt }) => ({ id, createdAt: Number(createdAt) }));
}

async function settle(context: Context): Promise<void> {
  for (;;) {
    const done = await indexBatch(context);
    if (done === 0) return;
    await sleep(done === null ? 50 : 0);
  }
}

async function indexUntilStopped(context: Context): Promise<void> {
  let factor = restFactor.idle;
  while (!context.isStopped) {
    const started = performance.now();
    const done = await indexBatch(context).catch((error: unknown) => {
      context.log.warn('Messages could not be indexed for the search; indexing is retried.', errorFields(error));
      return null;
    });
    const pause = Math.max(1, done ? (performance.now() - started) * factor : pollMs);
    const before = performance.eventLoopUtilization();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pause);
      timer.unref();
      context.wake = () => (clearTimeout(timer), resolve());
    });
    const { utilization } = performance.eventLoopUtilization(before);
    factor = utilization > busyAbove ? restFactor.busy : restFactor.idle;
  }
}

/** Indexes a batch, or one message at a time if the batch fails. Returns how many rows left the queue; null while another backend indexes. */
async function indexBatch(context: Context): Promise<number | null> {
  try {
    return await indexNewest(context, batchSize);
  } catch (error) {
    if (isSystemError(error)) throw error;
    for (let left = batchSize; left > 0; left -= 1) if (!(await indexOne(context))) return 0;
    return batchSize;
  }
}

/** Indexes the newest message alone. One that fails is reported and leaves the queue. */
async function indexOne(context: Context): Promise<number | null> {
  try {
    return await indexNewest(context, 1);
  } catch (error) {
    if (isSystemError(error)) throw error;
    return context.database.write.run(async (tx) => {
      const sql = 'DELETE FROM search_queue WHERE n = (SELECT MAX(n) FROM search_queue) RETURNING "messageId" AS id';
      const [row] = (await runStatement<{ id: string }>(tx.manager, sql)).rows;
      if (row) context.report({ kind: 'search', subject: row.id, ...describeError(error) });
      return row ? 1 : 0;
    });
  }
}

/** Indexes the newest messages that wait, in one transaction. Returns how many rows left the queue; null while another backend indexes. */
function indexNewest({ database, store }: Context, size: number): Promise<number | null> {
  return database.write.run(async (tx) => {
    if (!(await tryStep(tx, advisoryLocks.search))) return null;
    const { rows: queued } = await runStatement<{ n: number | string; messageId: string }>(
      tx.manager,
      'SELECT n, "messageId" FROM search_queue ORDER BY n DESC LIMIT ?',
      [size],
    );
    if (queued.length === 0) return 0;
    // The entries are deleted before the rows are read: a later change of a row queues it again.
    const entries = among(
      tx.manager,
      'n',
      queued.map(({ n }) => Number(n)),
    );
    await runStatement(tx.manager, `DELETE FROM search_queue WHERE ${entries.condition}`, [entries.parameter]);
    await store.refresh(tx, [...new Set(queued.map(({ messageId }) => messageId))]);
    return queued.length;
  });
}
