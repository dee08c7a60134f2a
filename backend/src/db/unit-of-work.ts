import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { onSqlite } from './statement.js';
import type { TransactionGuard } from './transaction-guard.js';
import { codeOf } from './trouble.js';

/** One transaction as its work sees it. */
export interface Transaction {
  readonly manager: EntityManager;
  /** Runs once the commit is on disk; not at all when it fails. Wake-ups belong here. Must not throw. */
  afterCommit(callback: () => void): void;
}

export interface UnitOfWork {
  /**
   * Runs `work` in a transaction and resolves with its result once that is committed. Throws what `work` throws, with nothing
   * written. Inside, only `tx.manager` is used and nothing but the database is waited for: the transaction holds locks and a connection.
   * What else is needed is read before. The reader, or another `run`, inside is an error (transaction-guard.ts).
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

/** As many waiting transactions as join into one commit. Bounded, so that the first of them does not wait for the last. */
const groupLimit = 64;

/**
 * SQLite: one writer, so transactions queue, and those that wait together share one commit (one fsync), each behind a savepoint of
 * its own. Interleaving that this closes: TypeORM has one connection here, and two async transactions on it would end each
 * other's. PostgreSQL: one pooled connection each.
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
      guard.inside(() => work({ manager, afterCommit: (callback) => callbacks.push(callback) })),
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
 * One transaction on one connection of the pool. When the connection breaks, the pool closes it and the server rolls back. Of a COMMIT without an
 * answer nobody knows whether it happened; the error says that the database did not answer, and callers repeat under the same ids.
 */
async function inTransaction<T>(source: DataSource, work: (runner: QueryRunner) => Promise<T>): Promise<T> {
  const runner = source.createQueryRunner();
  try {
    await runner.startTransaction();
    const result = await work(runner);
    await runner.commitTransaction();
    return result;
  } catch (error) {
    // A rollback that fails was on a connection that is broken; it does not go back to the pool.
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

  // The check of the queue and the end of `busy` are one turn: a job that is pushed meanwhile always finds a drain that will see it.
  async function drain(): Promise<void> {
    while (queue.length > 0) await settleGroup(source, queue.splice(0, groupLimit), onCommit);
    busy = false;
    for (const wake of idlers.splice(0)) wake();
  }

  return {
    run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        // The outer transaction would wait for the inner one, which is behind it in the queue, and every other writer for both.
        guard.mustBeOutside(nested, true);
        // The group runs in the context of whoever came first; each job runs in one of its own.
        const inside = (tx: Transaction): Promise<T> => guard.inside(() => work(tx));
        queue.push({ work: inside, resolve: (value) => resolve(value as T), reject });
        if (busy) return;
        busy = true;
        // One turn of the event loop lets all requests that are already read join the same group.
        setImmediate(() => void drain());
      });
    },
    idle: () => new Promise<void>((resolve) => (busy ? void idlers.push(resolve) : resolve())),
  };
}

/**
 * Runs the callbacks of a commit. One that throws is a bug, which is told as a warning of the process: thrown here
 * it would reject transactions that are committed and, on SQLite, stop the queue of all writers for good.
 */
function runCallbacks(callbacks: readonly (() => void)[]): void {
  for (const callback of callbacks)
    try {
      callback();
    } catch (error) {
      process.emitWarning(`A callback after a commit failed: ${String(error)}`, { code: 'CHASQUI_AFTER_COMMIT' });
    }
}

/** How long a group waits for another process that writes to the file (a backup, a person with a shell), and how often it looks. */
const lockedAtMostMs = 5_000;
const lookAgainMs = 25;

/**
 * Begins the group's transaction. SQLite would wait for a locked file inside of one call, and the whole process with it: it is told to give up
 * at once, and the waiting is done here.
 */
async function begin(source: DataSource): Promise<void> {
  for (const until = performance.now() + lockedAtMostMs; ;) {
    try {
      // Closes: the ROLLBACK of an earlier group failed. What that group wrote must not be committed together with this one.
      if (isOpen(source)) onSqlite(source, 'ROLLBACK');
      return void onSqlite(source, 'BEGIN IMMEDIATE');
    } catch (error) {
      if (codeOf(error) !== 'SQLITE_BUSY' || performance.now() > until) throw error;
      await sleep(lookAgainMs);
    }
  }
}

/**
 * Settles every job of the group, whatever happens. Never rejects: a rejection would leave the queue `busy` without a drain, and no
 * writer would ever get its turn again.
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

/** Ends what a failed group left open. Does not throw: the next group tries again before it begins. */
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
    // Alone it needs no savepoint, for which SQLite would copy each page before it writes to it: what throws ends the whole.
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
