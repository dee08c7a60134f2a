import { erased, messageStatuses, type MessageStatus } from '@chasqui/shared';
import { addToRows } from '../../db/additions.js';
import { among } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { addToChats } from '../conversations/track.js';
import type { Message } from '../message.entity.js';
import { ChatUsage, spans, UsageStats, type Span } from './usage.entity.js';

/**
 * Counts messages in `usage_stats` and `usage_chats`, in the transaction that changes them. Call each verb after the event of the change is
 * written: that locks the event log, so that two transactions never deadlock, and no counter is read while another transaction changes it.
 * WhatsApp's own notices are not counted.
 */

/** The columns on which the counters of a message depend. */
export type Counted = Pick<
  Message,
  'accountId' | 'sessionId' | 'createdAt' | 'direction' | 'type' | 'status' | 'reasonCode' | 'cost' | 'responseMs'
>;

export const periodMs = (span: Span): number => span * 60_000;
/** The start of the period that contains a time. */
export const startOf = (time: number, span: Span): number => time - (time % periodMs(span));

const measures = ['cost', 'responses', 'responseMs', 'responsesIn5Minutes', 'responsesIn1Hour'] as const;
/** The columns of `usage_stats` that are counted. */
export const counters = [...messageStatuses, ...measures] as const;
export type Counter = (typeof counters)[number];

/** Counts new messages, and adds them to their conversations. */
export async function countNew(tx: Transaction, messages: readonly Message[]): Promise<void> {
  const counted = messages.filter(({ type }) => type !== 'notice');
  await addToChats(tx, counted, [
    { entity: UsageStats, rows: statRows(counted.map((message) => [message, 1])) },
    { entity: ChatUsage, rows: chatRows(counted) },
  ]);
}

/** Counts the change of a message: `before` is subtracted, `after` is added. */
export async function countChange(tx: Transaction, before: Counted, after: Counted): Promise<void> {
  const rows = statRows([
    [before, -1],
    [after, 1],
  ]);
  await addToRows(tx, UsageStats, rows);
}

/** Deletes the counts of chats. For the erasure of a person, which has locked the event log. */
export async function eraseChats(tx: Transaction, accountId: string, chatIds: readonly string[]): Promise<void> {
  const theirs = among(tx.manager, 'chatId', chatIds);
  await runStatement(tx.manager, `DELETE FROM usage_chats WHERE "accountId" = ? AND ${theirs.condition}`, [
    accountId,
    theirs.parameter,
  ]);
}

/** Returns the numbers that these messages add to `usage_stats`, one row for each key. */
function statRows(changes: readonly (readonly [Counted, 1 | -1])[]): UsageStats[] {
  const rows = new Map<string, UsageStats>();
  for (const [message, factor] of changes) {
    if (message.type === 'notice') continue;
    for (const span of countedSpans) {
      const key = keyOf(placeOf(message, span));
      let row = rows.get(key);
      if (!row) rows.set(key, (row = emptyRow(message, span)));
      addMeasures(row, message, factor);
    }
  }
  return [...rows.values()].filter((row) => counters.some((counter) => row[counter] !== 0));
}

export const keyOf = (row: Pick<UsageStats, 'at' | 'sessionId' | 'direction' | 'type' | 'reason' | 'span'>): string =>
  `${row.span} ${row.at} ${row.sessionId} ${row.direction} ${row.type} ${row.reason}`;

const countedSpans = [spans.quarter, spans.day] as const;

/** The primary key of the row in which a message counts. */
function placeOf(
  { accountId, sessionId, createdAt, direction, type, status, reasonCode }: Counted,
  span: Span,
): Omit<UsageStats, Counter> {
  const at = startOf(createdAt.getTime(), span);
  return { accountId, span, at, sessionId, direction, type, reason: status === 'failed' ? (reasonCode ?? '') : '' };
}

/** Names each column: an object that is put together with `...` is stored as a dictionary, and this runs twice for each change of a message. */
function emptyRow(message: Counted, span: Span): UsageStats {
  const { accountId, at, sessionId, direction, type, reason } = placeOf(message, span);
  return {
    accountId,
    span,
    at,
    sessionId,
    direction,
    type,
    reason,
    scheduled: 0,
    queued: 0,
    sending: 0,
    sent: 0,
    delivered: 0,
    read: 0,
    played: 0,
    failed: 0,
    uncertain: 0,
    cancelled: 0,
    cost: 0,
    responses: 0,
    responseMs: 0,
    responsesIn5Minutes: 0,
    responsesIn1Hour: 0,
  };
}

/** Adds what one message counts to a row, or subtracts it. */
function addMeasures(row: UsageStats, { status, cost, responseMs }: Counted, factor: 1 | -1): void {
  row[status] += factor;
  const isFree = status === 'failed' || status === 'cancelled';
  if (!isFree) row.cost += factor * Math.round(Number(cost) * 10_000);
  if (responseMs == null) return;
  row.responses += factor;
  row.responseMs += factor * responseMs;
  if (responseMs <= 300_000) row.responsesIn5Minutes += factor;
  if (responseMs <= 3_600_000) row.responsesIn1Hour += factor;
}

const one = (condition: string): string => `SUM(CASE WHEN ${condition} THEN 1 ELSE 0 END)`;
const countSql: Record<Counter, string> = {
  ...(Object.fromEntries(messageStatuses.map((status) => [status, one(`status = '${status}'`)])) as Record<
    MessageStatus,
    string
  >),
  cost: `SUM(CASE WHEN status IN ('failed', 'cancelled') THEN 0 ELSE CAST(ROUND(CAST(cost AS decimal(20, 4)) * 10000) AS bigint) END)`,
  responses: one('"responseMs" IS NOT NULL'),
  responseMs: 'SUM(COALESCE("responseMs", 0))',
  responsesIn5Minutes: one('"responseMs" <= 300000'),
  responsesIn1Hour: one('"responseMs" <= 3600000'),
};
const reasonSql = `CASE WHEN status = 'failed' THEN COALESCE("reasonCode", '') ELSE '' END`;

/**
 * The rows of `usage_stats` that messages have, in SQL: the same figures as `addMeasures`. `where` is a condition on `messages`. The migration that
 * creates the tables and the reconciliation use it.
 */
export function messageCountsSql(span: Span, where: string): string {
  const at = `"createdAt" - "createdAt" % ${periodMs(span)}`;
  const key = ['"accountId"', at, '"sessionId"', 'direction', 'type', reasonSql];
  return `SELECT "accountId", ${span} AS span, ${at} AS at, "sessionId", direction, type, ${reasonSql} AS reason,
    ${counters.map((counter) => `${countSql[counter]} AS "${counter}"`).join(', ')}
    FROM messages WHERE type <> 'notice' AND ${where} GROUP BY ${key.join(', ')}`;
}

/** The rows of `usage_chats` that messages have, in SQL. */
export function chatCountsSql(where: string): string {
  const at = `"createdAt" - "createdAt" % ${periodMs(spans.day)}`;
  return `SELECT "accountId", ${at} AS at, "sessionId", "chatId", ${one(`direction = 'inbound'`)} AS inbound,
    ${one(`direction = 'outbound'`)} AS outbound FROM messages
    WHERE type <> 'notice' AND "chatType" IN ('private', 'group') AND "chatId" <> '${erased}' AND ${where}
    GROUP BY "accountId", ${at}, "sessionId", "chatId"`;
}

function chatRows(messages: readonly Message[]): ChatUsage[] {
  const rows = new Map<string, ChatUsage>();
  for (const { accountId, sessionId, chatId, chatType, createdAt, direction } of messages) {
    if ((chatType !== 'private' && chatType !== 'group') || chatId === erased) continue;
    const at = startOf(createdAt.getTime(), spans.day);
    const key = `${sessionId} ${at} ${chatId}`;
    let row = rows.get(key);
    if (!row) rows.set(key, (row = { accountId, at, sessionId, chatId, inbound: 0, outbound: 0 }));
    row[direction] += 1;
  }
  return [...rows.values()];
}

/** Numbers of PostgreSQL's aggregates arrive as texts. */
export function readCounts<Row extends object>(raw: Row): Record<Counter, number> {
  return Object.fromEntries(
    counters.map((counter) => [counter, Number((raw as Record<string, unknown>)[counter] ?? 0)]),
  ) as Record<Counter, number>;
}
