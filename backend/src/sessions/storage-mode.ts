import type { StorageMode } from '@chasqui/shared';
import type { EntityManager } from 'typeorm';
import type { AccountLimits } from '../accounts/plans.js';
import type { Session } from './session.entity.js';

/** Returns how much of a session's messages is stored. Inside a transaction pass its manager. */
export type StorageOf = (session: Pick<Session, 'accountId' | 'settings'>, inside?: EntityManager) => Promise<StorageMode>;

/** The strictest storage mode of the installation, the account and the session applies. */
export function createStorageOf({
  installation,
  limitsOf,
}: {
  installation: StorageMode;
  limitsOf: (accountId: string, inside?: EntityManager) => Promise<Pick<AccountLimits, 'storage'>>;
}): StorageOf {
  return async ({ accountId, settings }, inside) => {
    if (installation === 'metadata' || settings.storage === 'metadata') return 'metadata';
    return (await limitsOf(accountId, inside)).storage;
  };
}
