import type { AccountResource } from '@chasqui/shared';
import type { Account } from './account.entity.js';
import type { ApiKeys } from './api-keys.js';
import type { Plan } from './plan.entity.js';
import type { Plans } from './plans.js';

/** The one place that decides which fields of an account leave. */
export function createAccountPresenter({ keys, plans }: { keys: ApiKeys; plans: Plans }) {
  return async function present(account: Account): Promise<AccountResource> {
    const [primary] = (await keys.list(account.id)).filter((key) => key.isPrimary);
    const limits = await plans.readLimits(account.id);
    return {
      id: account.id,
      username: account.username,
      email: account.email,
      role: account.role,
      isActive: account.isActive,
      timezone: account.timezone,
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
