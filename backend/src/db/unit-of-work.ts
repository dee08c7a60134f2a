import type { DataSource, EntityManager, QueryRunner } from 'typeorm';

/** One transaction as its work sees it. */
export interface Transaction {
  readonly manager: EntityManager;
  /** Runs once the commit is on disk; not at all when it fails. Wake-ups belong here. Must not throw. */
  afterCommit(callback: () => void): void;
}

export interface UnitOfWork {
  /**
   * Runs `work` in a transaction and resolves with its result once that is committed. Throws what `work` throws, with nothing
   * written. No network call inside: on SQLite everybody else waits.
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
export function createUnitOfWork(source: DataSource, dialect: 'sqlite' | 'postgres'): UnitOfWork {
  return dialect === 'sqlite' ? queued(source) : pooled(source);
}

function pooled(source: DataSource): UnitOfWork {
  const running = new Set<Promise<unknown>>();
  return {
    run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
      const callbacks: (() => void)[] = [];
      const done = source
        .transaction((manager) => work({ manager, afterCommit: (callback) => callbacks.push(callback) }))
        .then((result) => {
          for (const callback of callbacks) callback();
          return result;
        });
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

function queued(source: DataSource): UnitOfWork {
  const queue: Job[] = [];
  const idlers: (() => void)[] = [];
  let busy = false;

  // The check of the queue and the end of `busy` are one turn: a job that is pushed meanwhile always finds a drain that will see it.
  async function drain(): Promise<void> {
    while (queue.length > 0) await commitGroup(source, queue.splice(0, groupLimit));
    busy = false;
    for (const wake of idlers.splice(0)) wake();
  }

  return {
    run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        queue.push({ work, resolve: (value) => resolve(value as T), reject });
        if (busy) return;
        busy = true;
        // One turn of the event loop lets all requests that are already read join the same group.
        setImmediate(() => void drain());
      });
    },
    idle: () => new Promise<void>((resolve) => (busy ? void idlers.push(resolve) : resolve())),
  };
}

/** Commits a group of jobs. A job that throws is undone alone; a commit that fails fails them all, none of them written. */
async function commitGroup(source: DataSource, jobs: Job[]): Promise<void> {
  const runner = source.createQueryRunner();
  const callbacks: (() => void)[] = [];
  const finished: { job: Job; value: unknown }[] = [];
  const refused: { job: Job; error: unknown }[] = [];
  try {
    await runner.query('BEGIN IMMEDIATE');
    for (const job of jobs) {
      const own: (() => void)[] = [];
      const result = await runBehindSavepoint(runner, job, own);
      if ('error' in result) refused.push({ job, error: result.error });
      else {
        finished.push({ job, value: result.value });
        callbacks.push(...own);
      }
    }
    await runner.query('COMMIT');
  } catch (error) {
    await runner.query('ROLLBACK').catch(() => undefined); // The error that counts is the first one; SQLite may have rolled back already.
    for (const job of jobs) job.reject(error);
    return;
  }
  for (const callback of callbacks) callback();
  for (const { job, value } of finished) job.resolve(value);
  for (const { job, error } of refused) job.reject(error);
}

async function runBehindSavepoint(
  runner: QueryRunner,
  job: Job,
  callbacks: (() => void)[],
): Promise<{ value: unknown } | { error: unknown }> {
  await runner.query('SAVEPOINT job');
  try {
    const value = await job.work({ manager: runner.manager, afterCommit: (callback) => callbacks.push(callback) });
    await runner.query('RELEASE job');
    return { value };
  } catch (error) {
    await runner.query('ROLLBACK TO job');
    await runner.query('RELEASE job');
    return { error };
  }
}
