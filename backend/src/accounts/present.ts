import type { AccountResource } from '@chasqui/shared';
import type { Account } from './account.entity.js';
import type { ApiKeys } from './api-keys.js';
import type { Plan } from './plan.entity.js';
import type { Plans } from './plans.js';

/** Converts an account to what the API shows of it. The only place that decides which fields are public. */
export type PresentAccount = (account: Account) => Promise<AccountResource>;

export function createAccountPresenter({ keys, plans }: { keys: ApiKeys; plans: Plans }): PresentAccount {
  return async function present(account) {
    const [primary] = (await keys.list(account.id)).filter((key) => key.isPrimary);
    const limits = await plans.readLimits(account.id);
    return {
      id: account.id,
      username: account.username,
      email: account.email,
      role: account.role,
      isActive: account.isActive,
      timezone: account.timezone,
      language: account.language,
      uncertainPolicy: account.uncertainPolicy,
      storage: account.storage,
      plan: limits.plan,
      limits: {
        maxMessagesPerDay: limits.dailyMessages,
        maxMessagesPerMonth: limits.monthlyMessages,
        maxSessions: limits.maxSessions,
      },
      apiKeyPrefix: primary?.prefix ?? null,
      createdAt: account.createdAt.toISOString(),
    };
  };
}

export const presentPlan = (plan: Plan) => ({
  ...plan,
  createdAt: plan.createdAt.toISOString(),
  updatedAt: plan.updatedAt.toISOString(),
});
