import type { StorageMode } from '@chasqui/shared';
import type { EntityManager } from 'typeorm';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { AccountLimits } from '../accounts/plans.js';
import type { Session } from './session.entity.js';

/** Returns how much of a session's messages is stored. Inside a transaction pass its manager. The account's mode may be a second old. */
export type StorageOf = (session: Pick<Session, 'accountId' | 'settings'>, inside?: EntityManager) => Promise<StorageMode>;

/**
 * Whether a name may be stored now: the account's mode is read from its row. The caller has locked the session's row, which `forgetNames` locks after it
 * has changed the mode. Damaged settings may have forbidden it.
 */
export async function mayStoreName(
  storageOf: StorageOf,
  session: Pick<Session, 'accountId' | 'settings'>,
  inside: EntityManager,
): Promise<boolean> {
  if (readable(session.settings, null) === null || (await storageOf(session, inside)) === 'metadata') return false;
  const { rows } = await runStatement<{ storage: StorageMode }>(inside, 'SELECT storage FROM accounts WHERE id = ?', [
    session.accountId,
  ]);
  return rows[0]?.storage !== 'metadata';
}

/**
 * The strictest storage mode of the installation, the account and the session applies. Where the settings of the session are damaged, the other two
 * apply: what arrives is recorded, and the worker still withholds what it was told to withhold.
 */
export function createStorageOf({
  installation,
  limitsOf,
}: {
  installation: StorageMode;
  limitsOf: (accountId: string, inside?: EntityManager) => Promise<Pick<AccountLimits, 'storage'>>;
}): StorageOf {
  return async ({ accountId, settings }, inside) => {
    if (installation === 'metadata' || readable(settings, null)?.storage === 'metadata') return 'metadata';
    return (await limitsOf(accountId, inside)).storage;
  };
}
