import { AppError, foldText } from '@chasqui/shared';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { Core } from '../core.js';
import { advisoryLocks, tryStep } from '../db/locks.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';
import { gramsIn } from './grams.js';
import { createSearchStore, ensureTriggers, type SearchStore, type Wanted } from './store.js';

/** A part of a WHERE clause on `messages`, with `?` for its parameters. */
interface Condition {
  sql: string;
  parameters: readonly unknown[];
}

export interface Query {
  term: string;
  /** What else the messages must meet. */
  conditions: readonly Condition[];
  /** Facts that follow from the conditions, by which the index narrows them down. */
  facts: Wanted;
  order: 'asc' | 'desc';
  /** Search from this message on, the id of which begins with a time. Null: from the end. */
  from: string | null;
  /** The most matches to return. */
  maxMatches: number;
}

export interface Match {
  id: string;
  createdAt: number;
}

export interface MessageSearch {
  /**
   * Returns the first matches in the order of their ids, which is the order in which messages were accepted. `isComplete` is false while so many
   * messages wait to be indexed, as after an upgrade, that only the newest of them were examined. Throws `VALIDATION_FAILED` for a term without
   * any character that can be found.
   */
  find(query: Query): Promise<{ matches: Match[]; isComplete: boolean }>;
  /** Indexes everything that waits. For erasures and tests. */
  settle(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Messages that are indexed in one transaction: what is sent meanwhile waits no longer than for these. */
const batchSize = 32;
/** The pause after a batch, as a multiple of its time: indexing takes a twentieth of a busy process, and most of an idle one. */
const restFactor = { busy: 19, idle: 0.2 };
/** The process is busy when its event loop was for more than this part of the last pause. */
const busyAbove = 0.5;
const pollMs = 500;
/** Of the messages that wait to be indexed, at most this many are compared one by one. */
const maxWaiting = 10_000;
/** Places whose messages are read with one query. */
const pageSize = 256;

interface Context extends Pick<Core, 'database' | 'log' | 'report'> {
  store: SearchStore;
  isStopped: boolean;
  /** Ends the pause of the indexing job. */
  wake: () => void;
}

/**
 * Text search over messages, in every script, for any part of a text.
 *
 * Accepting and taking in a message cost one small row in `search_queue`, which a trigger writes in the same transaction. A job turns queued messages
 * into entries of the index within about a second. Until then a search reads them one by one, so that a message is found from its commit on, by its
 * text as it is: every match is compared with the row. What is edited, erased or deleted is queued in the same way, and leaves the index.
 *
 * | what happens | then |
 * | --- | --- |
 * | the process dies between two batches | the queue says what is left |
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

async function find({ database: { reader }, store }: Context, query: Query): Promise<{ matches: Match[]; isComplete: boolean }> {
  const folded = foldText(query.term);
  if (folded === '') {
    const message = 'The search text has no character that can be found.';
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'search', code: 'INVALID_FORMAT', message }] }, message);
  }
  // Closes: a message that leaves the queue between the two reads is in neither. It is queued first and indexed later, so the queue is read first.
  const waiting = await findWaiting(reader, query.conditions, folded);
  const indexed = await findIndexed(reader, store, query, folded);
  const all = new Map([...waiting.matches, ...indexed].map((match) => [match.id, match]));
  // By id, like the places of the index: by another order, a match on a later place could belong before those that were cut.
  const sign = query.order === 'asc' ? 1 : -1;
  const matches = [...all.values()].sort((a, b) => sign * (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  return { matches: matches.slice(0, query.maxMatches), isComplete: waiting.isAll };
}

/** Returns the matches among those that are not indexed as they are now. */
async function findWaiting(
  reader: DataSource,
  conditions: readonly Condition[],
  folded: string,
): Promise<{ matches: Match[]; isAll: boolean }> {
  const { rows: queued } = await runStatement<{ messageId: string }>(
    reader,
    `SELECT "messageId" FROM search_queue ORDER BY n DESC LIMIT ${maxWaiting}`,
    [],
    { prepare: false },
  );
  const ids = [...new Set(queued.map(({ messageId }) => messageId))];
  const matches: Match[] = [];
  for (let start = 0; start < ids.length; start += 1_000) {
    if (start > 0) await sleep(0);
    const part = ids.slice(start, start + 1_000);
    const { condition, parameter } = among(reader, 'id', part);
    const from = `(SELECT * FROM messages WHERE ${condition}) waiting`;
    matches.push(...(await compareTexts(reader, from, parameter, conditions, folded)));
  }
  return { matches, isAll: queued.length < maxWaiting };
}

async function findIndexed(
  reader: DataSource,
  store: SearchStore,
  { conditions, facts, order, from, maxMatches }: Query,
  folded: string,
): Promise<Match[]> {
  const wanted = { all: [...facts.all, ...gramsIn(folded)], any: facts.any };
  const matches: Match[] = [];
  let after = from === null ? null : store.placeOf(from);
  while (matches.length < maxMatches) {
    const places = await store.places(wanted, order, after, Math.min(pageSize, maxMatches - matches.length + 16));
    if (places.length === 0) break;
    const { from: source, parameter } = store.at(places);
    matches.push(...(await compareTexts(reader, source, parameter, conditions, folded)));
    after = places.at(-1)!;
    await sleep(0);
  }
  return matches;
}

/** Returns the messages that meet the conditions and whose text, as it is now, contains the folded term. */
async function compareTexts(
  reader: DataSource,
  from: string,
  parameter: unknown,
  conditions: readonly Condition[],
  folded: string,
): Promise<Match[]> {
  const where = conditions.map(({ sql }) => sql).join(' AND ');
  const { rows } = await runStatement<{ id: string; createdAt: number | string; text: string | null }>(
    reader,
    `SELECT id, "createdAt", text FROM ${from} WHERE ${where || '1 = 1'}`,
    [parameter, ...conditions.flatMap(({ parameters }) => parameters)],
    { prepare: false },
  );
  return rows
    .filter(({ text }) => text !== null && foldText(text).includes(folded))
    .map(({ id, createdAt }) => ({ id, createdAt: Number(createdAt) }));
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
      context.log.warn('Messages could not be indexed for the search; it is retried.', errorFields(error));
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

/** Indexes a batch, one by one if it fails as a whole. Returns how many rows left the queue; null while another backend indexes. */
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

/** Indexes the newest that wait, in one transaction. Returns how many rows left the queue; null while another backend indexes. */
function indexNewest({ database, store }: Context, size: number): Promise<number | null> {
  return database.write.run(async (tx) => {
    if (!(await tryStep(tx, advisoryLocks.search))) return null;
    const { rows: queued } = await runStatement<{ n: number | string; messageId: string }>(
      tx.manager,
      'SELECT n, "messageId" FROM search_queue ORDER BY n DESC LIMIT ?',
      [size],
    );
    if (queued.length === 0) return 0;
    // Deleted before the rows are read: what changes a text afterwards queues it again.
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
