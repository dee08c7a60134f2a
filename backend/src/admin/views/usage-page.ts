import type { DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { among } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { dayOf } from '../../messages/quotas/periods.js';
import { addDays } from '../../statistics/calendar.js';
import { reportAsCsv } from '../../statistics/csv.js';
import type { StaffReport, Statistics } from '../../statistics/statistics.js';
import { quotaLeaders } from './quota-leaders.js';

export interface UsageQuery {
  /** The number of days, the last one today. */
  days: number;
  accountId?: string | undefined;
  sessionId?: string | undefined;
}

interface UsageParts {
  reader: DataSource;
  statistics: Pick<Statistics, 'forStaff'>;
  now: Date;
  /** Of the person at the panel. */
  timezone: string;
}

/** The statistics of one session, one account or all of them, and who has used most of a quota. */
export async function usageView(parts: UsageParts, query: UsageQuery) {
  const { report, days } = await readReport(parts, query);
  const owners = await ownersOf(
    parts.reader,
    report.bySession.map(({ sessionId }) => sessionId),
  );
  return {
    report: {
      ...report,
      bySession: report.bySession.slice(0, 10).map((row) => ({ ...row, account: owners.get(row.sessionId) ?? '' })),
    },
    days,
    leaders: await quotaLeaders(parts.reader, parts.now),
  };
}
export type UsageView = Awaited<ReturnType<typeof usageView>>;

/** The same figures as CSV, to be saved by the page. */
export async function usageTable(parts: UsageParts, query: UsageQuery): Promise<{ name: string; csv: string }> {
  const { report, days } = await readReport(parts, query);
  return { name: `usage-${report.startDate}-${report.endDate}.csv`, csv: reportAsCsv(report, days) };
}

/** Returns the first of so many days of a time zone, the last of which is today. */
export const firstDay = (now: Date, days: number, timezone: string): string => addDays(dayOf(now, timezone), 1 - days);

async function readReport({ reader, statistics, now, timezone }: UsageParts, query: UsageQuery): Promise<StaffReport> {
  const { days, accountId = null, sessionId = null } = query;
  const account = accountId === null ? null : await reader.getRepository(Account).findOneBy({ id: accountId });
  // The days of an account are those of its own time zone.
  const zone = account?.timezone ?? timezone;
  return statistics.forStaff({ accountId, sessionId }, { startDate: firstDay(now, days, zone) }, zone);
}

async function ownersOf(reader: DataSource, sessionIds: readonly string[]): Promise<Map<string, string>> {
  const { condition, parameter } = among(reader, 'id', sessionIds);
  const sql = `SELECT s.id, a.username FROM (SELECT id, "accountId" FROM sessions WHERE ${condition}) s JOIN accounts a ON a.id = s."accountId"`;
  const { rows } = await runStatement<{ id: string; username: string }>(reader, sql, [parameter]);
  return new Map(rows.map(({ id, username }) => [id, username]));
}
