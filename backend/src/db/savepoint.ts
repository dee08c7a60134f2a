import { runStatement } from './statement.js';
import { isSystemError } from './database-errors.js';
import { createPendingSums } from './pending-sums.js';
import type { Transaction } from './unit-of-work.js';

/**
 * Runs a part of a transaction behind a savepoint. When the part throws, what it wrote is undone, its callbacks and pending sums are dropped,
 * and the transaction continues; without the savepoint PostgreSQL would refuse every later statement. Throws what the part throws.
 *
 * `name` is part of the statement's text: a constant, one for each caller.
 */
export async function behindSavepoint<T>(tx: Transaction, name: string, part: (tx: Transaction) => Promise<T>): Promise<T> {
  const callbacks: (() => void)[] = [];
  const sums = tx.sums && createPendingSums(tx.manager.connection);
  await runStatement(tx.manager, `SAVEPOINT ${name}`, []);
  let result: T;
  try {
    const afterCommit = (callback: () => void): void => void callbacks.push(callback);
    result = await part({ manager: tx.manager, afterCommit, ...(sums ? { sums } : {}) });
  } catch (error) {
    try {
      await runStatement(tx.manager, `ROLLBACK TO SAVEPOINT ${name}`, []);
      await runStatement(tx.manager, `RELEASE SAVEPOINT ${name}`, []);
    } catch (lost) {
      // The connection is gone, or SQLite has rolled back by itself because the disk is full. The whole transaction ends, and the caller
      // must see the cause, not that the savepoint no longer exists.
      throw isSystemError(error) ? error : lost;
    }
    throw error;
  }
  await runStatement(tx.manager, `RELEASE SAVEPOINT ${name}`, []);
  for (const callback of callbacks) tx.afterCommit(callback);
  if (sums) tx.sums?.add(sums.additions());
  return result;
}
