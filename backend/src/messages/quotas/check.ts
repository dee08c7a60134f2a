import { setTimeout as sleep } from 'node:timers/promises';
import type { Core } from '../../core.js';
import { insertIfAbsent, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { LessThan } from 'typeorm';
import { dayOf, monthOf } from './periods.js';
import { QuotaUsage, type QuotaScope } from './quota.entity.js';

/**
 * Checks of the quota counters. New periods begin by themselves (quotas.ts); these repair counters that are lower than what was counted, so that no limit
 * is exceeded, and delete those that are not read any more. A counter that is higher is left: messages that it counts may have been deleted.
 */

type CheckCore = Pick<Core, 'database' | 'events' | 'clock'>;

const dayMs = 86_400_000;
const hourMs = 3_600_000;
/** Messages that were made within this time are counted: today and yesterday in every time zone. */
const checkedMs = 2 * dayMs;
/** Counters of periods that ended longer ago are deleted. */
const keptDays = 400;

/** Ids begin with the time at which they are made (UUIDv7). Counts hour by hour, because SQLite answers synchronously. */
const countSql = `SELECT "accountId", "sessionId", "quotaDay" AS day, COUNT(*) AS n FROM messages
  WHERE id >= ? AND id < ? AND "quotaDay" IS NOT NULL GROUP BY "accountId", "sessionId", "quotaDay"`;
const recountSql = `SELECT COUNT(*) AS n FROM messages WHERE "sessionId" = ? AND "quotaDay" = ? AND id >= ?`;
const takenSql = 'SELECT taken FROM quota_usage WHERE scope = ? AND "ownerId" = ? AND period = ?';
const sumSql = `SELECT COALESCE(SUM(taken), 0) AS n FROM quota_usage WHERE scope = ? AND "accountId" = ? AND period >= ? AND period <= ?`;

const firstIdOf = (time: number): string => {
  const hex = Math.floor(time).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

interface Count {
  accountId: string;
  sessionId: string;
  day: string;
  n: number;
}

/** Compares the counters with the messages of the last two days. Returns how many it has raised. */
export async function repairQuotas(core: CheckCore): Promise<number> {
  const { database, clock } = core;
  const from = clock.now().getTime() - checkedMs;
  let repaired = 0;
  for (const count of await countMessages(core, from)) {
    const { rows } = await runStatement<{ taken: number }>(database.reader, takenSql, [
      'session.daily',
      count.sessionId,
      count.day,
    ]);
    const ofAccount = await totals(database.reader, count);
    if ((rows[0]?.taken ?? 0) >= count.n && ofAccount.every(({ taken, parts }) => taken >= parts)) continue;
    repaired += await database.write.run((tx) => repair(core, tx, count, firstIdOf(from)));
  }
  return repaired;
}

async function countMessages({ database, clock }: CheckCore, from: number): Promise<Count[]> {
  const counts = new Map<string, Count>();
  for (let at = from; at <= clock.now().getTime(); at += hourMs) {
    const { rows } = await runStatement<Count>(database.reader, countSql, [firstIdOf(at), firstIdOf(at + hourMs)]);
    for (const { n, ...of } of rows) {
      const key = `${of.sessionId} ${of.day}`;
      counts.set(key, { ...of, n: (counts.get(key)?.n ?? 0) + Number(n) });
    }
    await sleep(0);
  }
  return [...counts.values()];
}

/** The counters of the account: what each says, and what the smaller ones make together. */
async function totals(
  where: CheckCore['database']['reader'] | Transaction['manager'],
  { accountId, day }: Count,
): Promise<{ scope: QuotaScope; period: string; taken: number; parts: number }[]> {
  const month = monthOf(day);
  const number = async (sql: string, parameters: unknown[]): Promise<number> => {
    const { rows } = await runStatement<{ n?: number | string; taken?: number }>(where, sql, parameters);
    return Number(rows[0]?.taken ?? rows[0]?.n ?? 0);
  };
  return [
    {
      scope: 'account.daily',
      period: day,
      taken: await number(takenSql, ['account.daily', accountId, day]),
      parts: await number(sumSql, ['session.daily', accountId, day, day]),
    },
    {
      scope: 'plan.monthly',
      period: month,
      taken: await number(takenSql, ['plan.monthly', accountId, month]),
      parts: await number(sumSql, ['account.daily', accountId, month, `${month}~`]),
    },
  ];
}

/** Counts again under the lock of the log, which every change of a counter has. */
async function repair({ events }: CheckCore, tx: Transaction, count: Count, firstId: string): Promise<number> {
  await events.lock(tx);
  const { accountId, sessionId, day } = count;
  const { rows } = await runStatement<{ n: number | string }>(tx.manager, recountSql, [sessionId, day, firstId]);
  const raise = async (scope: QuotaScope, ownerId: string, period: string, taken: number): Promise<number> => {
    await insertIfAbsent(tx, QuotaUsage, { scope, ownerId, period, accountId, taken: 0 });
    return updateRows(tx, QuotaUsage, { scope, ownerId, period, taken: LessThan(taken) }, { taken });
  };
  let raised = await raise('session.daily', sessionId, day, Number(rows[0]!.n));
  // One after the other: the month is the sum of days, of which one may have been raised.
  for (const index of [0, 1]) {
    const { scope, period, parts } = (await totals(tx.manager, count))[index]!;
    raised += await raise(scope, accountId, period, parts);
  }
  return raised;
}

/** Deletes counters of periods that ended long ago. Returns their number. */
export async function pruneQuotas({ database, clock }: Pick<Core, 'database' | 'clock'>): Promise<number> {
  const day = dayOf(new Date(clock.now().getTime() - keptDays * dayMs), 'UTC');
  const sql = 'DELETE FROM quota_usage WHERE period < ?';
  // A month is a shorter text than its days, and sorts before them.
  return (await database.write.run((tx) => runStatement(tx.manager, sql, [monthOf(day)]))).affected;
}
