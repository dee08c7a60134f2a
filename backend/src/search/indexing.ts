import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { advisoryLocks, tryStep } from '../db/locks.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';
import type { SearchStore } from './store.js';

/** Keeps the search index up to date: takes messages out of `search_queue`, the newest first, a batch in each transaction. */
export interface Indexing extends Pick<Core, 'database' | 'log' | 'report'> {
  store: SearchStore;
  isStopped: boolean;
  /** Ends the pause between two batches. */
  wake: () => void;
}

/** How many messages one transaction indexes. A send in the meantime waits for at most one such transaction. */
const batchSize = 32;
/** The pause after a batch, as a multiple of its time: indexing takes a twentieth of a busy process, and most of an idle one. */
const restFactor = { busy: 19, idle: 0.2 };
/** The process counts as busy if its event loop was active for more than this share of the last pause. */
const busyAbove = 0.5;
const pollMs = 500;

/** Indexes everything that waits. */
export async function settle(context: Indexing): Promise<void> {
  for (;;) {
    const done = await indexBatch(context);
    if (done === 0) return;
    await sleep(done === null ? 50 : 0);
  }
}

/** Indexes until `isStopped` is set: everything that waits, then what arrives. */
export async function indexUntilStopped(context: Indexing): Promise<void> {
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
async function indexBatch(context: Indexing): Promise<number | null> {
  try {
    return await indexNewest(context, batchSize);
  } catch (error) {
    if (isSystemError(error)) throw error;
    for (let left = batchSize; left > 0; left -= 1) if (!(await indexOne(context))) return 0;
    return batchSize;
  }
}

/** Indexes the newest message alone. One that fails is reported and leaves the queue. */
async function indexOne(context: Indexing): Promise<number | null> {
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
function indexNewest({ database, store }: Indexing, size: number): Promise<number | null> {
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
