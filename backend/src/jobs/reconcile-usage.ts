import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager } from 'typeorm';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { deleteRows, upsertRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { describeError } from '../failures/failures.js';
import {
  chatCountsSql,
  counters,
  keyOf,
  messageCountsSql,
  periodMs,
  readCounts,
  type Counter,
} from '../messages/usage/counts.js';
import { ChatUsage, spans, UsageStats } from '../messages/usage/usage.entity.js';

/**
 * Compares the counts of the statistics with the stored messages, and repairs counts that differ. Each comparison is one statement, so that it
 * sees messages and counts of the same commits; a repair counts again under the lock of the event log, which every change of a count holds.
 * Messages that retention has deleted are not compared. May die halfway: each repair is complete in itself.
 */
export interface UsageReconciliation {
  /** Compares everything. Returns the number of periods that were repaired. */
  run(): Promise<number>;
}

type ReconcileCore = Pick<Core, 'database' | 'events' | 'clock' | 'log' | 'report'>;

const hourMs = 3_600_000;
const dayMs = periodMs(spans.day);

export const createUsageReconciliation = (core: ReconcileCore): UsageReconciliation => ({ run: () => reconcile(core) });

/** A period of one account that is compared as a whole. */
interface Period {
  accountId: string;
  from: number;
  to: number;
}

async function reconcile(core: ReconcileCore): Promise<number> {
  const sql = 'SELECT id, "messagesKeptFrom" AS "keptFrom" FROM accounts ORDER BY id';
  const { rows } = await runStatement<{ id: string; keptFrom: number | string }>(core.database.reader, sql);
  let repaired = 0;
  for (const { id, keptFrom } of rows) {
    const completeFrom = Number(keptFrom);
    repaired += await forEachPeriod(core, id, hourMs, completeFrom, hasQuarters, repairQuarters);
    repaired += await forEachPeriod(core, id, dayMs, completeFrom, hasQuarters, repairChats);
    repaired += await forEachPeriod(core, id, dayMs, 0, hasAnyCounts, repairDay);
  }
  if (repaired > 0)
    core.log.warn('Counts of the statistics differed from the messages and were repaired.', { periods: repaired });
  return repaired;
}

/** Returns the time of the first message or count at a time or later; null if there is none. */
type FindNext = (where: DataSource, accountId: string, from: number) => Promise<number | null>;
/** Compares one period. Returns whether it was repaired. */
type Repair = (core: ReconcileCore, period: Period) => Promise<boolean>;

/**
 * Repairs one period after another that has messages or counts, from the first period that begins at `completeFrom` or later. A period that fails is
 * reported, and the next ones follow. Returns the number of repaired periods.
 */
async function forEachPeriod(
  core: ReconcileCore,
  accountId: string,
  lengthMs: number,
  completeFrom: number,
  next: FindNext,
  repair: Repair,
): Promise<number> {
  let repaired = 0;
  for (let from = Math.ceil(completeFrom / lengthMs) * lengthMs; ; from += lengthMs) {
    const time = await next(core.database.reader, accountId, from);
    if (time === null) return repaired;
    from = time - (time % lengthMs);
    try {
      if (await repair(core, { accountId, from, to: from + lengthMs })) repaired += 1;
    } catch (error) {
      if (isSystemError(error)) throw error;
      const subject = `usage ${accountId} ${new Date(from).toISOString()}`;
      core.report({ kind: 'cleanup', subject, accountId, ...describeError(error) });
    }
    // Requests that arrived in the meantime are served.
    await sleep(0);
  }
}

const firstOf = (values: readonly unknown[]): number | null => {
  const times = values.filter((value) => value !== null && value !== undefined).map(Number);
  return times.length > 0 ? Math.min(...times) : null;
};

const hasQuarters: FindNext = async (where, accountId, from) => {
  const messages = 'SELECT MIN("createdAt") AS time FROM messages WHERE "accountId" = ? AND "createdAt" >= ?';
  return firstOf([
    await timeIn(where, messages, accountId, from),
    await timeIn(where, countsSql(spans.quarter), accountId, from),
  ]);
};
const hasAnyCounts: FindNext = async (where, accountId, from) =>
  firstOf([
    await timeIn(where, countsSql(spans.quarter), accountId, from),
    await timeIn(where, countsSql(spans.day), accountId, from),
  ]);
const countsSql = (span: number): string =>
  `SELECT MIN(at) AS time FROM usage_stats WHERE "accountId" = ? AND span = ${span} AND at >= ?`;

async function timeIn(where: DataSource, sql: string, accountId: string, from: number): Promise<unknown> {
  return (await runStatement<{ time: unknown }>(where, sql, [accountId, from])).rows[0]?.time;
}

type Found = UsageStats & { source: string };
const columnNames = ['accountId', 'span', 'at', 'sessionId', 'direction', 'type', 'reason', ...counters];
const columns = columnNames.map((name) => `"${name}"`).join(', ');
const inPeriod = '"accountId" = ? AND at >= ? AND at < ?';

/** Selects the counts of quarters that the messages of a period should have (`expected`), and the stored ones (`stored`). */
const quartersSql = `SELECT 'expected' AS source, expected.* FROM (
    ${messageCountsSql(spans.quarter, '"accountId" = ? AND "createdAt" >= ? AND "createdAt" < ?')}) expected
  UNION ALL SELECT 'stored', ${columns} FROM usage_stats WHERE span = ${spans.quarter} AND ${inPeriod}`;

/** Selects the counts of days that the quarters of a period should have (`expected`), and the stored ones (`stored`). */
const daysSql = `SELECT 'expected' AS source, expected.* FROM (SELECT "accountId", ${spans.day} AS span, at - at % ${dayMs} AS at,
    "sessionId", direction, type, reason, ${counters.map((name) => `SUM("${name}") AS "${name}"`).join(', ')}
    FROM usage_stats WHERE span = ${spans.quarter} AND ${inPeriod}
    GROUP BY "accountId", at - at % ${dayMs}, "sessionId", direction, type, reason) expected
  UNION ALL SELECT 'stored', ${columns} FROM usage_stats WHERE span = ${spans.day} AND ${inPeriod}`;

const repairQuarters: Repair = (core, period) => repairCounts(core, quartersSql, period);
const repairDay: Repair = (core, period) => repairCounts(core, daysSql, period);

async function repairCounts({ database, events }: ReconcileCore, sql: string, period: Period): Promise<boolean> {
  if ((await differences(database.reader, sql, period)).length === 0) return false;
  return database.write.run(async (tx) => {
    await events.lock(tx);
    const rows = await differences(tx.manager, sql, period);
    await upsertRows(tx, UsageStats, rows);
    return rows.length > 0;
  });
}

/** Returns the correct rows for those whose stored counts differ, or are missing. */
async function differences(
  where: DataSource | EntityManager,
  sql: string,
  { accountId, from, to }: Period,
): Promise<UsageStats[]> {
  const { rows } = await runStatement<Found>(where, sql, [accountId, from, to, accountId, from, to]);
  const expected = new Map<string, UsageStats>();
  const stored = new Map<string, UsageStats>();
  for (const { source, ...raw } of rows) {
    const row = { ...raw, span: Number(raw.span) as UsageStats['span'], at: Number(raw.at), ...readCounts(raw) };
    (source === 'expected' ? expected : stored).set(keyOf(row), row);
  }
  for (const [key, row] of stored) if (!expected.has(key)) expected.set(key, { ...row, ...noCounts });
  return [...expected].flatMap(([key, row]) => (isSame(row, stored.get(key) ?? noCounts) ? [] : [row]));
}

const noCounts = Object.fromEntries(counters.map((counter) => [counter, 0])) as Record<Counter, number>;
const isSame = (one: Record<Counter, number>, other: Record<Counter, number>): boolean =>
  counters.every((counter) => one[counter] === other[counter]);

type FoundChat = ChatUsage & { source: string };
const chatsSql = `SELECT 'expected' AS source, expected.* FROM (
    ${chatCountsSql('"accountId" = ? AND "createdAt" >= ? AND "createdAt" < ?')}) expected
  UNION ALL SELECT 'stored', "accountId", at, "sessionId", "chatId", inbound, outbound FROM usage_chats WHERE ${inPeriod}`;

const expectedChats = chatCountsSql('"accountId" = ? AND "createdAt" >= ? AND "createdAt" < ?');
const storedChats = `SELECT "sessionId", "chatId", inbound, outbound FROM usage_chats WHERE ${inPeriod}`;

/**
 * Compares the chats of a day, without a lock. It reads hour by hour, because SQLite runs a statement synchronously. Messages that arrive in the
 * meantime may appear as a difference, which the comparison under the lock does not confirm.
 */
async function areChatsEqual(reader: DataSource, { accountId, from, to }: Period): Promise<boolean> {
  const counts = new Map<string, number>();
  const add = ({ sessionId, chatId, inbound, outbound }: ChatUsage, factor: 1 | -1): void => {
    for (const [direction, count] of [['in', inbound] as const, ['out', outbound] as const]) {
      const key = `${sessionId} ${chatId} ${direction}`;
      counts.set(key, (counts.get(key) ?? 0) + factor * Number(count));
    }
  };
  for (const row of (await runStatement<ChatUsage>(reader, storedChats, [accountId, from, to])).rows) add(row, -1);
  for (let hour = from; hour < to; hour += hourMs) {
    for (const row of (await runStatement<ChatUsage>(reader, expectedChats, [accountId, hour, hour + hourMs])).rows) add(row, 1);
    await sleep(0);
  }
  return [...counts.values()].every((difference) => difference === 0);
}

const repairChats: Repair = async ({ database, events }, period) => {
  if (await areChatsEqual(database.reader, period)) return false;
  return database.write.run(async (tx) => {
    await events.lock(tx);
    const rows = await differentChats(tx.manager, period);
    const isCounted = ({ inbound, outbound }: ChatUsage): boolean => inbound + outbound > 0;
    await upsertRows(tx, ChatUsage, rows.filter(isCounted));
    for (const { accountId, at, sessionId, chatId } of rows.filter((row) => !isCounted(row)))
      await deleteRows(tx, ChatUsage, { accountId, at, sessionId, chatId });
    return rows.length > 0;
  });
};

/** Returns the correct rows for those whose stored counts differ, or are missing. Zeros: the row should not exist. */
async function differentChats(where: DataSource | EntityManager, { accountId: owner, from, to }: Period): Promise<ChatUsage[]> {
  const { rows } = await runStatement<FoundChat>(where, chatsSql, [owner, from, to, owner, from, to]);
  const expected = new Map<string, ChatUsage>();
  const stored = new Map<string, ChatUsage>();
  for (const { source, accountId, sessionId, chatId, ...raw } of rows) {
    const row = {
      accountId,
      at: Number(raw.at),
      sessionId,
      chatId,
      inbound: Number(raw.inbound),
      outbound: Number(raw.outbound),
    };
    (source === 'expected' ? expected : stored).set(`${row.at} ${sessionId} ${chatId}`, row);
  }
  for (const [key, row] of stored) if (!expected.has(key)) expected.set(key, { ...row, inbound: 0, outbound: 0 });
  return [...expected].flatMap(([key, row]) => {
    const known = stored.get(key);
    return known?.inbound === row.inbound && known.outbound === row.outbound ? [] : [row];
  });
}
