import { AsyncResource } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { onSqlite } from './statement.js';
import type { PendingSums } from './pending-sums.js';
import type { TransactionGuard } from './transaction-guard.js';
import { codeOf } from './database-errors.js';

/** One transaction as its work sees it. */
export interface Transaction {
  readonly manager: EntityManager;
  /** Runs the callback once the commit is on disk, and not when it fails. For wake-ups. It must not throw. */
  afterCommit(callback: () => void): void;
  /** Where `addToRows` collects numbers, if they are written together at the end (`withSums` of additions.ts). */
  readonly sums?: PendingSums;
}

export interface UnitOfWork {
  /**
   * Runs `work` in a transaction and resolves with its result once that is committed. Throws what `work` throws, with nothing
   * written. Inside, use only `tx.manager`, and await nothing but the database: the transaction owns locks and a connection.
   * Read everything else before. Using the reader, or another `run`, inside is an error (transaction-guard.ts).
   */
  run<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Resolves when nothing is queued or running. */
  idle(): Promise<void>;
}

interface Job {
  work: (tx: Transaction) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/** At most this many waiting transactions share one commit, so that the first of them does not wait long for the last. */
const maxGroupSize = 64;

/**
 * SQLite: one writer, so transactions queue, and those that wait at the same time share one commit (one fsync), each behind its
 * own savepoint. Interleaving that this closes: TypeORM has one connection here, and two async transactions on it would end each
 * other's. PostgreSQL: each transaction has a pooled connection.
 */
export function createUnitOfWork(
  source: DataSource,
  dialect: 'sqlite' | 'postgres',
  onCommit: () => void,
  guard: TransactionGuard,
): UnitOfWork {
  return dialect === 'sqlite' ? queued(source, onCommit, guard) : pooled(source, onCommit, guard);
}

const nested = 'another transaction was begun';

function pooled(source: DataSource, onCommit: () => void, guard: TransactionGuard): UnitOfWork {
  const running = new Set<Promise<unknown>>();

  async function runOne<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    guard.mustBeOutside(nested);
    const callbacks: (() => void)[] = [];
    const result = await inTransaction(source, ({ manager }) =>
      guard.insideSampled(() => work({ manager, afterCommit: (callback) => callbacks.push(callback) })),
    );
    onCommit();
    runCallbacks(callbacks);
    return result;
  }

  return {
    run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
      const done = runOne(work);
      running.add(done);
      const forget = (): void => void running.delete(done);
      done.then(forget, forget);
      return done;
    },
    async idle() {
      await Promise.allSettled(running);
    },
  };
}

/**
 * One transaction on one connection of the pool. When the connection breaks, the pool closes it and the server rolls back. It is
 * unknown whether a COMMIT without an answer happened; the error says that the database did not answer, and callers retry under the same ids.
 */
async function inTransaction<T>(source: DataSource, work: (runner: QueryRunner) => Promise<T>): Promise<T> {
  const runner = source.createQueryRunner();
  try {
    await runner.startTransaction();
    const result = await work(runner);
    await runner.commitTransaction();
    return result;
  } catch (error) {
    // A rollback only fails on a broken connection, which does not return to the pool.
    if (runner.isTransactionActive && !runner.isReleased) await runner.rollbackTransaction().catch(() => undefined);
    throw error;
  } finally {
    await runner.release();
  }
}

function queued(source: DataSource, onCommit: () => void, guard: TransactionGuard): UnitOfWork {
  const queue: Job[] = [];
  const idlers: (() => void)[] = [];
  let busy = false;

  // The check of the queue and the end of `busy` happen in one tick: a job that is pushed meanwhile always has a drain that sees it.
  async function drain(): Promise<void> {
    while (queue.length > 0) await settleGroup(source, queue.splice(0, maxGroupSize), onCommit);
    busy = false;
    for (const wake of idlers.splice(0)) wake();
  }

  return {
    run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        // The outer transaction would wait for the inner one, which is behind it in the queue, and every other writer for both.
        guard.mustBeOutside(nested, true);
        // The group runs in the context of its first job; each job runs in that of its caller, for traces.
        const caller = new AsyncResource('Transaction');
        const inside = (tx: Transaction): Promise<T> => caller.runInAsyncScope(() => guard.inside(() => work(tx)));
        queue.push({ work: inside, resolve: (value) => resolve(value as T), reject });
        if (busy) return;
        busy = true;
        // One tick of the event loop lets all requests that were already read join the same group.
        setImmediate(() => void drain());
      });
    },
    idle: () => new Promise<void>((resolve) => (busy ? void idlers.push(resolve) : resolve())),
  };
}

/**
 * Runs the callbacks of a commit. One that throws is a bug, which is reported as a process warning: thrown here
 * it would reject transactions that are committed and, on SQLite, stop the queue of all writers permanently.
 */
function runCallbacks(callbacks: readonly (() => void)[]): void {
  for (const callback of callbacks)
    try {
      callback();
    } catch (error) {
      process.emitWarning(`A callback after a commit failed: ${String(error)}`, { code: 'CHASQUI_AFTER_COMMIT' });
    }
}

/** How long a group waits for another process that writes to the file (a backup, a person with a shell), and how often it polls. */
const maxLockedMs = 5_000;
const pollIntervalMs = 25;

/**
 * Begins the group's transaction. SQLite would wait for a locked file inside one call and block the whole process: it is configured to fail at
 * once, and the waiting is done here.
 */
async function begin(source: DataSource): Promise<void> {
  for (const until = performance.now() + maxLockedMs; ;) {
    try {
      // Closes: the ROLLBACK of an earlier group failed. What that group wrote must not be committed together with this one.
      if (isOpen(source)) onSqlite(source, 'ROLLBACK');
      return void onSqlite(source, 'BEGIN IMMEDIATE');
    } catch (error) {
      if (codeOf(error) !== 'SQLITE_BUSY' || performance.now() > until) throw error;
      await sleep(pollIntervalMs);
    }
  }
}

/**
 * Settles every job of the group, whatever happens. Never rejects: a rejection would leave the queue `busy` without a drain, and
 * no later transaction would run.
 */
async function settleGroup(source: DataSource, jobs: readonly Job[], onCommit: () => void): Promise<void> {
  try {
    await commitGroup(source, jobs, onCommit);
  } catch (error) {
    rollBack(source);
    // Without effect on jobs that are settled already.
    for (const job of jobs) job.reject(error);
  }
}

/** Rolls back what a failed group left open. Does not throw: the next group retries before it begins. */
function rollBack(source: DataSource): void {
  try {
    if (isOpen(source)) onSqlite(source, 'ROLLBACK');
  } catch (error) {
    process.emitWarning(`A rollback failed: ${String(error)}`, { code: 'CHASQUI_ROLLBACK' });
  }
}

/** Commits a group of jobs. A job that throws is undone alone. Throws when the whole group failed and nothing of it is written. */
async function commitGroup(source: DataSource, jobs: readonly Job[], onCommit: () => void): Promise<void> {
  const runner = source.createQueryRunner();
  const callbacks: (() => void)[] = [];
  const finished: { job: Job; value: unknown }[] = [];
  const refused: { job: Job; error: unknown }[] = [];
  await begin(source);
  for (const job of jobs) {
    const own: (() => void)[] = [];
    // A single job needs no savepoint, for which SQLite would copy each page before writing to it: an error ends the whole transaction.
    const result =
      jobs.length === 1 ? await runJob(runner.manager, job, own) : await runBehindSavepoint(source, runner.manager, job, own);
    if ('error' in result) refused.push({ job, error: result.error });
    else {
      finished.push({ job, value: result.value });
      callbacks.push(...own);
    }
  }
  onSqlite(source, 'COMMIT');
  runCallbacks([onCommit, ...callbacks]);
  for (const { job, value } of finished) job.resolve(value);
  for (const { job, error } of refused) job.reject(error);
}

/** A full disk, for example, makes SQLite roll back by itself; then there is nothing left to end. */
const isOpen = (source: DataSource): boolean =>
  (source.driver as unknown as { databaseConnection: { inTransaction: boolean } }).databaseConnection.inTransaction;

const runJob = async (manager: EntityManager, job: Job, callbacks: (() => void)[]): Promise<{ value: unknown }> => ({
  value: await job.work({ manager, afterCommit: (callback) => callbacks.push(callback) }),
});

async function runBehindSavepoint(
  source: DataSource,
  manager: EntityManager,
  job: Job,
  callbacks: (() => void)[],
): Promise<{ value: unknown } | { error: unknown }> {
  onSqlite(source, 'SAVEPOINT job');
  try {
    const result = await runJob(manager, job, callbacks);
    onSqlite(source, 'RELEASE job');
    return result;
  } catch (error) {
    // Without a transaction the whole group is lost, and the savepoint with it.
    if (!isOpen(source)) throw error;
    onSqlite(source, 'ROLLBACK TO job');
    onSqlite(source, 'RELEASE job');
    return { error };
  }
}
