import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import type { DataSource } from 'typeorm';
import { errorFields, type Log } from '../lib/log.js';

/**
 * Detects code that, inside a transaction, reads through the pool, opens a second transaction, or (in tests and in development) begins an
 * operation outside the database: a file, a request, compression.
 *
 * Closes: a deadlock of the connection pool. A transaction that holds row locks asks for a second connection; all others are in use by
 * transactions that wait for those locks; none can continue. On SQLite a transaction inside a transaction waits for itself.
 *
 * The guard follows the asynchronous context of the work passed to `write.run`. It ends with that work: callbacks after the commit, and
 * background work that is still running when the transaction has ended, are outside.
 */
export interface TransactionGuard {
  /** Runs a transaction's work inside its context. */
  inside<T>(work: () => Promise<T>): Promise<T>;
  /** The same for a transaction whose violations are bounded by time limits. In production only one in `sampleSize` of them is watched. */
  insideSampled<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Reports a violation when the caller is inside a transaction. `what` says what it is about to do: "the reader was used". With `wouldWaitForever`
   * it throws in every mode, because no time limit would end the wait.
   */
  mustBeOutside(what: string, wouldWaitForever?: boolean): void;
}

/** What a violation does. Throwing fails the test, or the request in development; reporting writes one log line for each place. */
export type GuardMode = { kind: 'throw' } | { kind: 'report'; report: (error: Error) => void };

/** A programming error: the transaction's own connection (`tx.manager`) has to be used, or the value has to be read before. */
export class OutsideOfTransactionOnly extends Error {
  constructor(what: string) {
    super(`Inside a transaction ${what}. Use tx.manager, or do it before the transaction begins.`);
    this.name = 'OutsideOfTransactionOnly';
  }
}

/** In development a violation fails at once. In production it is logged, and the connections' time limits bound what it can do. */
export const guardFor = (environment: 'production' | 'development' | 'test', log: Log): GuardMode =>
  environment === 'production'
    ? { kind: 'report', report: (error) => log.error('A programming error. Please report it.', errorFields(error)) }
    : { kind: 'throw' };

interface RunningTransaction {
  isRunning: boolean;
  /** The first operation outside the database, where those are detected. */
  waitedFor: Error | null;
}

const context = new AsyncLocalStorage<RunningTransaction>();
/** The number of transactions that are watched now, in all databases of this process. */
let watched = 0;

/** In production one of so many transactions on PostgreSQL is watched. The first is among them. */
const sampleSize = 64;

/**
 * Runs work in the context of a transaction. Before version 24 of Node.js, every promise of the process costs more while a context is
 * enabled, so it is disabled when no watched transaction runs.
 */
async function watch<T>(transaction: RunningTransaction, work: () => Promise<T>): Promise<T> {
  watched += 1;
  try {
    const result = await context.run(transaction, work);
    if (transaction.waitedFor) throw transaction.waitedFor;
    return result;
  } finally {
    transaction.isRunning = false;
    watched -= 1;
    if (watched === 0) context.disable();
  }
}

/** Node's names of the operations that do not belong in a transaction: files, compression, DNS, pipes, processes, requests. */
const foreignOperations = new Set([
  'FSREQCALLBACK',
  'FSREQPROMISE',
  'ZLIB',
  'GETADDRINFOREQWRAP',
  'GETNAMEINFOREQWRAP',
  'PIPECONNECTWRAP',
  'PROCESSWRAP',
  'HTTPCLIENTREQUEST',
  'WORKER',
]);

let isWatching = false;

/** Records the first operation outside the database that begins inside a transaction. Too expensive for production. */
function watchForeignOperations(): void {
  if (isWatching) return;
  isWatching = true;
  createHook({
    init(_id, type) {
      if (!foreignOperations.has(type)) return;
      const transaction = context.getStore();
      // Throwing here would end the process.
      if (transaction?.isRunning) transaction.waitedFor ??= new OutsideOfTransactionOnly(`${type} was begun`);
    },
  }).enable();
}

export function createTransactionGuard(mode: GuardMode): TransactionGuard {
  if (mode.kind === 'throw') watchForeignOperations();
  const reported = new Set<string>();
  let transactions = 0;
  const inside = <T>(work: () => Promise<T>): Promise<T> => watch({ isRunning: true, waitedFor: null }, work);

  function reportOnce(report: (error: Error) => void, error: Error): void {
    // Repeated violations at one place are one finding, not a thousand log lines.
    const place = error.stack ?? error.message;
    if (reported.has(place) || reported.size >= 100) return;
    reported.add(place);
    report(error);
  }

  return {
    inside,
    insideSampled(work) {
      if (mode.kind === 'throw') return inside(work);
      transactions += 1;
      return transactions % sampleSize === 1 ? inside(work) : work();
    },
    mustBeOutside(what, wouldWaitForever = false) {
      if (watched === 0 || !context.getStore()?.isRunning) return;
      const error = new OutsideOfTransactionOnly(what);
      if (mode.kind === 'report') reportOnce(mode.report, error);
      if (mode.kind === 'throw' || wouldWaitForever) throw error;
    },
  };
}

export const readerUsed = 'the reader was used';

const guards = new WeakMap<DataSource, TransactionGuard>();

/**
 * Guards every way of reading through a data source: repositories, query builders and `query` all get their connection from it. Statements that
 * bypass it (statement.ts) and reads that several callers share (rows.ts) call the guard themselves.
 */
export function guardReader(reader: DataSource, guard: TransactionGuard): void {
  guards.set(reader, guard);
  const createQueryRunner = reader.createQueryRunner.bind(reader);
  reader.createQueryRunner = (mode) => {
    guard.mustBeOutside(readerUsed);
    return createQueryRunner(mode);
  };
}

export const guardOf = (source: DataSource): TransactionGuard | undefined => guards.get(source);
