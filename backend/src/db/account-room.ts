import { AppError } from '@chasqui/shared';
import { runStatement } from './statement.js';
import type { Transaction } from './unit-of-work.js';

/** A limit of the rows that an account may have at the same time. */
export interface AccountLimit {
  /** The `scope` in the details of `QUOTA_EXCEEDED`, as in `account.templates`. */
  scope: string;
  table: 'media_files' | 'schedules' | 'templates';
  /** Of the rows that count, in SQL; beside `"accountId"`. */
  condition?: string;
  limit: number;
}

/** Throws `QUOTA_EXCEEDED` if the account has no room for one more row now. Two callers at once may both find room: see `reserveAccountRoom`. */
export async function requireAccountRoom(
  reader: Parameters<typeof runStatement>[0],
  accountId: string,
  { scope, table, condition = 'TRUE', limit }: AccountLimit,
): Promise<void> {
  const sql = `SELECT COUNT(*) AS n FROM ${table} WHERE "accountId" = ? AND ${condition}`;
  const { rows } = await runStatement<{ n: number | string }>(reader, sql, [accountId]);
  if (Number(rows[0]!.n) >= limit) throw new AppError('QUOTA_EXCEEDED', { scope, limit });
}

/**
 * Throws `QUOTA_EXCEEDED` if the account has no room for the row that this transaction inserts. It locks the account's row until its end, so that
 * no other transaction finds the same room. A transaction that also locks sessions calls this first.
 */
export async function reserveAccountRoom(tx: Transaction, accountId: string, limit: AccountLimit): Promise<void> {
  if (tx.manager.connection.options.type === 'postgres')
    await runStatement(tx.manager, 'SELECT id FROM accounts WHERE id = ? FOR UPDATE', [accountId]);
  await requireAccountRoom(tx.manager, accountId, limit);
}
