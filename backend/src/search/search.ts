import { AppError } from '@chasqui/shared';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../db/database.js';
import { advisoryLocks, tryStep } from '../db/locks.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import { errorFields, type Log } from '../lib/log.js';
import { foldText } from '../lib/fold.js';
import { gramsIn } from './grams.js';
import { createSearchStore, ensureTriggers, type Wanted } from './store.js';

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
  /** Look from this message on, the id of which begins with a time. Null: from the end. */
  from: string | null;
  /** As many matches are enough. */
  most: number;
}

export interface Match {
  id: string;
  createdAt: number;
}

export interface MessageSearch {
  /**
   * The first matches in the order of their ids, which is the order in which messages were accepted. `isComplete` is false while so many messages wait to be indexed, as after an upgrade, that only the newest
   * of them were looked at. Throws `VALIDATION_FAILED` for a term without any character that can be found.
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
/** Of the messages that wait to be indexed, as many are looked at one by one. */
const maxWaiting = 10_000;
/** Places that are looked at together. */
const pageSize = 256;

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
export function createMessageSearch({
  database,
  log,
  report,
}: {
  database: Database;
  log: Log;
  report: ReportFailure;
}): MessageSearch {
  const { reader, write } = database;
  const store = createSearchStore(database);
  let isStopped = false;
  let running: Promise<void> = Promise.resolve();
  let wake = (): void => undefined;

  /** Indexes the newest that wait. Returns how many rows left the queue; null while another backend does it. */
  const indexBatch = (size: number): Promise<number | null> =>
    write.run(async (tx) => {
      if (!(await tryStep(tx, advisoryLocks.search))) return null;
      const { rows } = await runStatement(tx.manager, 'SELECT n, "messageId" FROM search_queue ORDER BY n DESC LIMIT ?', [size]);
      const queued = rows as { n: number | string; messageId: string }[];
      if (queued.length === 0) return 0;
      // Deleted before the rows are read: what changes a text afterwards queues it again.
      const taken = among(
        tx.manager,
        'n',
        queued.map(({ n }) => Number(n)),
      );
      await runStatement(tx.manager, `DELETE FROM search_queue WHERE ${taken.condition}`, [taken.parameter]);
      await store.refresh(tx, [...new Set(queued.map(({ messageId }) => messageId))]);
      return queued.length;
    });

  /** After a batch failed: the first of it alone. One that fails again leaves the queue. */
  async function indexOne(): Promise<number | null> {
    try {
      return await indexBatch(1);
    } catch (error) {
      if (isSystemError(error)) throw error;
      return write.run(async (tx) => {
        const sql = 'DELETE FROM search_queue WHERE n = (SELECT MAX(n) FROM search_queue) RETURNING "messageId" AS id';
        const [row] = (await runStatement(tx.manager, sql, [])).rows as { id: string }[];
        if (row) report({ kind: 'search', subject: row.id, ...describeError(error) });
        return row ? 1 : 0;
      });
    }
  }

  async function indexSome(): Promise<number | null> {
    try {
      return await indexBatch(batchSize);
    } catch (error) {
      if (isSystemError(error)) throw error;
      for (let left = batchSize; left > 0; left -= 1) if (!(await indexOne())) return 0;
      return batchSize;
    }
  }

  async function work(): Promise<void> {
    let factor = restFactor.idle;
    while (!isStopped) {
      const started = performance.now();
      const done = await indexSome().catch((error: unknown) => {
        log.warn('Messages could not be indexed for the search; it is retried.', errorFields(error));
        return null;
      });
      const pause = Math.max(1, done ? (performance.now() - started) * factor : pollMs);
      const before = performance.eventLoopUtilization();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        timer.unref();
        wake = () => (clearTimeout(timer), resolve());
      });
      const { utilization } = performance.eventLoopUtilization(before);
      factor = utilization > busyAbove ? restFactor.busy : restFactor.idle;
    }
  }

  const isMatch = (folded: string, text: string | null): boolean => text !== null && foldText(text).includes(folded);

  async function look(from: string, parameter: unknown, conditions: readonly Condition[], folded: string): Promise<Match[]> {
    const where = conditions.map(({ sql }) => sql).join(' AND ');
    const { rows } = await runStatement<{ id: string; createdAt: number | string; text: string | null }>(
      reader,
      `SELECT id, "createdAt", text FROM ${from} WHERE ${where || '1 = 1'}`,
      [parameter, ...conditions.flatMap(({ parameters }) => parameters)],
      { prepare: false },
    );
    return rows.filter(({ text }) => isMatch(folded, text)).map(({ id, createdAt }) => ({ id, createdAt: Number(createdAt) }));
  }

  /** Matches among those that are not indexed as they are now. */
  async function amongWaiting(conditions: readonly Condition[], folded: string): Promise<{ matches: Match[]; isAll: boolean }> {
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
      matches.push(...(await look(`(SELECT * FROM messages WHERE ${condition}) waiting`, parameter, conditions, folded)));
    }
    return { matches, isAll: queued.length < maxWaiting };
  }

  async function amongIndexed({ conditions, facts, order, from, most }: Query, folded: string): Promise<Match[]> {
    const wanted = { all: [...facts.all, ...gramsIn(folded)], any: facts.any };
    const matches: Match[] = [];
    let after = from === null ? null : store.placeOf(from);
    while (matches.length < most) {
      const places = await store.places(wanted, order, after, Math.min(pageSize, most - matches.length + 16));
      if (places.length === 0) break;
      const { from: source, parameter } = store.at(places);
      matches.push(...(await look(source, parameter, conditions, folded)));
      after = places.at(-1)!;
      await sleep(0);
    }
    return matches;
  }

  return {
    async find(query) {
      const folded = foldText(query.term);
      if (folded === '') {
        const message = 'The search text has no character that can be found.';
        throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'search', code: 'INVALID_FORMAT', message }] }, message);
      }
      // Closes: a message that leaves the queue between the two reads is in neither. It is queued first and indexed later, so the queue is read first.
      const waiting = await amongWaiting(query.conditions, folded);
      const indexed = await amongIndexed(query, folded);
      const all = new Map([...waiting.matches, ...indexed].map((match) => [match.id, match]));
      // By id, like the places of the index: by another order, a match on a later place could belong before those that were cut.
      const sign = query.order === 'asc' ? 1 : -1;
      const matches = [...all.values()].sort((a, b) => sign * (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
      return { matches: matches.slice(0, query.most), isComplete: waiting.isAll };
    },
    async settle() {
      for (;;) {
        const done = await indexSome();
        if (done === 0) return;
        await sleep(done === null ? 50 : 0);
      }
    },
    async start() {
      await ensureTriggers(database);
      running = work();
    },
    async stop() {
      isStopped = true;
      wake();
      await running;
    },
  };
}
