import type { StorageMode } from '@chasqui/shared';
import type { AccountLimits } from '../accounts/plans.js';
import type { Session } from '../sessions/session.entity.js';

export type StorageOf = (session: Pick<Session, 'accountId' | 'settings'>) => Promise<StorageMode>;

/** Of what installation, account and session say the stricter counts (HIS-10). */
export function createStorageOf({
  installation,
  limitsOf,
}: {
  installation: StorageMode;
  limitsOf: (accountId: string) => Promise<Pick<AccountLimits, 'storage'>>;
}): StorageOf {
  return async ({ accountId, settings }) => {
    if (installation === 'metadata' || settings.storage === 'metadata') return 'metadata';
    return (await limitsOf(accountId)).storage;
  };
}
