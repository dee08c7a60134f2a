import { AppError } from '@chasqui/shared';
import { IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { ApiKey } from '../../accounts/api-key.entity.js';
import { readLimits } from '../../accounts/plans.js';
import { dayOf, monthOf } from '../../messages/quotas/periods.js';
import { Session } from '../../sessions/session.entity.js';
import { toMs } from './time.js';
import { acceptedOf } from './usage.js';

/** One account with its sessions, keys, limits and usage. */
export async function accountView(reader: DataSource, id: string, now: Date) {
  const row = await reader.getRepository(Account).findOneBy({ id });
  if (!row) throw new AppError('ACCOUNT_NOT_FOUND');
  const [sessions, keys] = await Promise.all([
    reader.getRepository(Session).find({ where: { accountId: id, deletedAt: IsNull() }, order: { name: 'ASC' }, take: 100 }),
    reader.getRepository(ApiKey).find({ where: { accountId: id, deletedAt: IsNull() }, order: { createdAt: 'DESC' }, take: 100 }),
  ]);
  const limits = await readLimits(reader, id);
  const day = dayOf(now, limits.timezone);
  return {
    id: row.id,
    username: row.username,
    email: row.email,
    role: row.role,
    isActive: row.isActive,
    mustChangePassword: row.mustChangePassword,
    timezone: row.timezone,
    storage: row.storage,
    plan: limits.plan,
    maxMessagesPerDay: row.maxMessagesPerDay,
    limits: { dailyMessages: limits.dailyMessages, monthlyMessages: limits.monthlyMessages, maxSessions: limits.maxSessions },
    usage: {
      today: await acceptedOf(reader, 'account.daily', id, day),
      thisMonth: await acceptedOf(reader, 'plan.monthly', id, monthOf(day)),
    },
    lastLoginAt: toMs(row.lastLoginAt),
    createdAt: toMs(row.createdAt),
    sessions: sessions.map((session) => ({ id: session.id, name: session.name, status: session.status })),
    keys: keys.map((key) => ({ id: key.id, name: key.name, prefix: key.prefix, lastFour: key.lastFour, isActive: key.isActive })),
  };
}
export type AccountView = Awaited<ReturnType<typeof accountView>>;
