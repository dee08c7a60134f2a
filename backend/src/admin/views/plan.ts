import { AppError } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { Plan } from '../../accounts/plan.entity.js';

/** One plan and the accounts on it. */
export async function planView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Plan).findOneBy({ id });
  if (!row) throw new AppError('PLAN_NOT_FOUND');
  const accounts = await reader.getRepository(Account).find({ where: { planId: id }, order: { username: 'ASC' }, take: 100 });
  return {
    id: row.id,
    name: row.name,
    dailyMessages: row.dailyMessages,
    monthlyMessages: row.monthlyMessages,
    maxSessions: row.maxSessions,
    apiLimit: row.apiLimit,
    pricePerMessage: row.pricePerMessage,
    currency: row.currency,
    updatedAt: row.updatedAt.getTime(),
    accounts: accounts.map(({ id: accountId, username }) => ({ id: accountId, name: username })),
  };
}
export type PlanView = Awaited<ReturnType<typeof planView>>;
