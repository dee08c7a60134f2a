import type { DataSource } from 'typeorm';
import { runStatement } from '../../db/statement.js';
import { dayOf } from '../../messages/quotas/periods.js';

/** The use of one daily quota. `limit` null: there is none. */
export interface QuotaLeader {
  id: string;
  name: string;
  account: string;
  used: number;
  limit: number | null;
}

const shown = 8;

/** Accounts and sessions that have used most of their daily quota, each on the day of its account's time zone. Those without a limit come last. */
export async function quotaLeaders(reader: DataSource, now: Date): Promise<{ accounts: QuotaLeader[]; sessions: QuotaLeader[] }> {
  // It is one of three days everywhere on earth.
  const days = [-1, 0, 1].map((days) => new Date(now.getTime() + days * 86_400_000).toISOString().slice(0, 10));
  const { rows: accounts } = await runStatement<Found>(reader, accountsSql, days);
  const { rows: sessions } = await runStatement<Found>(reader, sessionsSql, days);
  return { accounts: leadersOf(accounts, now), sessions: leadersOf(sessions, now) };
}

interface Found {
  id: string;
  name: string;
  account: string;
  period: string;
  timezone: string;
  used: number | string;
  /** Two limits, of which the stricter one applies. 0: none. */
  first: number | string | null;
  second: number | string | null;
  settings: string | null;
}

const accountsSql = `SELECT a.id, a.username AS name, a.username AS account, q.period, a.timezone, q.taken AS used,
    a."maxMessagesPerDay" AS first, p."dailyMessages" AS second, NULL AS settings
  FROM quota_usage q JOIN accounts a ON a.id = q."ownerId" LEFT JOIN plans p ON p.id = a."planId"
  WHERE q.scope = 'account.daily' AND q.period IN (?, ?, ?)`;
const sessionsSql = `SELECT s.id, s.name, a.username AS account, q.period, a.timezone, q.taken AS used,
    0 AS first, 0 AS second, s.settings
  FROM quota_usage q JOIN sessions s ON s.id = q."ownerId" JOIN accounts a ON a.id = s."accountId"
  WHERE q.scope = 'session.daily' AND q.period IN (?, ?, ?) AND s."deletedAt" IS NULL`;

function leadersOf(rows: readonly Found[], now: Date): QuotaLeader[] {
  return rows
    .filter(({ period, timezone }) => period === dayOf(now, timezone))
    .map(({ id, name, account, used, ...limits }) => ({ id, name, account, used: Number(used), limit: limitOf(limits) }))
    .filter(({ used }) => used > 0)
    .sort((one, other) => shareOf(other) - shareOf(one) || other.used - one.used)
    .slice(0, shown);
}

const shareOf = ({ used, limit }: QuotaLeader): number => (limit === null ? 0 : used / limit);

function limitOf({ first, second, settings }: Pick<Found, 'first' | 'second' | 'settings'>): number | null {
  const limits = [Number(first ?? 0), Number(second ?? 0), dailyLimitIn(settings)].filter((limit) => limit > 0);
  return limits.length > 0 ? Math.min(...limits) : null;
}

/** Damaged settings have no limit to show. */
function dailyLimitIn(settings: string | null): number {
  try {
    return Number((JSON.parse(settings ?? '{}') as { dailyLimit?: number | null }).dailyLimit ?? 0);
  } catch {
    return 0;
  }
}
