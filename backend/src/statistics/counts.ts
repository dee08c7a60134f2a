import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { messageStatuses, type MessageStatus } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { runStatement } from '../db/statement.js';
import { counters, periodMs, readCounts, startOf, type Counter } from '../messages/usage/counts.js';
import { spans, type Span, type UsageStats } from '../messages/usage/usage.entity.js';
import { stretchesOf } from './calendar.js';

/**
 * Reads sums of the counts of messages. A range is read from the counts of the UTC days that are completely inside it, and from the counts of
 * quarters of an hour at its two ends.
 */

/** Whose messages are counted. `accountId` null: those of all accounts. */
export interface Scope {
  accountId: string | null;
  sessionId: string | null;
}

/** A range of instants in milliseconds since 1970. `to` is exclusive. */
export interface Range {
  from: number;
  to: number;
}

const keys = ['accountId', 'sessionId', 'direction', 'type', 'reason'] as const;
export type Key = (typeof keys)[number];
export type Sum<K extends Key> = Pick<UsageStats, K> & Record<Counter, number>;

export interface Totals {
  sent: number;
  received: number;
  failed: number;
}

const hourMs = 3_600_000;
const dayMs = periodMs(spans.day);

/** Returns the sums of a range, grouped by some columns. */
export async function sumsBy<K extends Key>(reader: DataSource, scope: Scope, range: Range, by: readonly K[]): Promise<Sum<K>[]> {
  const names = by.map((name) => `"${name}"`).join(', ');
  const select = `${names}, ${counters.map((counter) => `SUM("${counter}") AS "${counter}"`).join(', ')}`;
  const sums = new Map<string, Sum<K>>();
  for (const part of partsOf(range))
    for (const raw of await readPart<Sum<K>>(reader, scope, part, select, names)) {
      const key = by.map((name) => raw[name]).join(' ');
      const counts = readCounts(raw);
      const known = sums.get(key);
      if (!known) sums.set(key, { ...raw, ...counts });
      else for (const counter of counters) (known as Record<Counter, number>)[counter] += counts[counter];
    }
  return [...sums.values()];
}

const acknowledged = 'sent + delivered + "read" + played';
const totalsSql = `SUM(CASE WHEN direction = 'outbound' THEN ${acknowledged} ELSE 0 END) AS sent,
  SUM(CASE WHEN direction = 'inbound' THEN ${acknowledged} ELSE 0 END) AS received,
  SUM(CASE WHEN direction = 'outbound' THEN failed ELSE 0 END) AS failed`;

/** Returns how many messages of a range were sent, received, and have failed. */
export async function totalsOf(reader: DataSource, scope: Scope, range: Range): Promise<Totals> {
  const totals = noTotals();
  for (const part of partsOf(range))
    for (const raw of await readPart<Totals>(reader, scope, part, totalsSql, null)) addTotals(totals, readTotals(raw));
  return totals;
}

/**
 * The totals of one type on one day of a time zone. There may be several rows for one day and type. `day`: the number of days since 1970 by the
 * clocks of the time zone.
 */
export interface DayTotals extends Totals {
  day: number;
  type: string;
}

/** Returns the totals of a range, grouped by day of a time zone and by type. */
export async function totalsByDay(reader: DataSource, scope: Scope, range: Range, timezone: string): Promise<DayTotals[]> {
  const rows: DayTotals[] = [];
  for (const stretch of stretchesOf(range.from, range.to, timezone)) {
    const { offsetMs } = stretch;
    const day = `(at + ${offsetMs}) / ${dayMs}`;
    // If the days of the zone begin as in UTC, the counts of UTC days can be read.
    const isUtc = offsetMs % dayMs === 0 && stretch.from % dayMs === 0 && stretch.to % dayMs === 0;
    const select = `${day} AS day, type, ${totalsSql}`;
    for await (const piece of piecesOf(reader, stretch)) {
      const part = { ...piece, span: isUtc ? spans.day : spans.quarter };
      const found = await readPart<DayTotals>(reader, scope, part, select, `${day}, type`);
      rows.push(...found.map((raw) => ({ day: Number(raw.day), type: raw.type, ...readTotals(raw) })));
    }
  }
  return rows;
}

/** Returns the totals of each of the 168 hours of the week by the clocks of a time zone, from the first hour of Monday on. */
export async function totalsByHour(reader: DataSource, scope: Scope, range: Range, timezone: string): Promise<Totals[]> {
  const hours = Array.from({ length: 168 }, noTotals);
  for (const stretch of stretchesOf(range.from, range.to, timezone)) {
    for await (const piece of piecesOf(reader, stretch)) {
      const part = { ...piece, span: spans.quarter };
      // The rows are stored in the order of this column. Grouping by an expression would sort all of them.
      for (const raw of await readPart<Totals & { at: number | string }>(reader, scope, part, `at, ${totalsSql}`, 'at'))
        // 1970 began on a Thursday, three days after a Monday.
        addTotals(hours[(Math.floor((Number(raw.at) + stretch.offsetMs) / hourMs) + 72) % 168]!, readTotals(raw));
    }
  }
  return hours;
}

export const noTotals = (): Totals => ({ sent: 0, received: 0, failed: 0 });

export function addTotals(into: Totals, { sent, received, failed }: Totals): void {
  into.sent += sent;
  into.received += received;
  into.failed += failed;
}

/** Returns the sent, received and failed messages of a sum. */
export function totalsIn(sum: Pick<UsageStats, 'direction'> & Record<MessageStatus, number>): Totals {
  const count = sum.sent + sum.delivered + sum.read + sum.played;
  return sum.direction === 'outbound'
    ? { sent: count, received: 0, failed: sum.failed }
    : { sent: 0, received: count, failed: 0 };
}

/** Returns the number of messages in each status that at least one message has. */
export function statusesIn(sums: readonly Record<MessageStatus, number>[]): Partial<Record<MessageStatus, number>> {
  const entries = messageStatuses.map((status) => [status, sums.reduce((total, sum) => total + sum[status], 0)] as const);
  return Object.fromEntries(entries.filter(([, count]) => count > 0));
}

const readTotals = ({ sent, received, failed }: Totals): Totals => ({
  sent: Number(sent ?? 0),
  received: Number(received ?? 0),
  failed: Number(failed ?? 0),
});

/**
 * The maximum range of quarters that one statement reads. SQLite runs a statement synchronously, so one for a whole year would block every other
 * request. Milliseconds.
 */
const maxPieceMs: number = 8 * dayMs;

/** Divides a range into parts, each of which is read by one statement. Other requests are served between them. PostgreSQL reads it in one. */
export async function* piecesOf(reader: DataSource, { from, to }: Range): AsyncGenerator<Range> {
  if (reader.options.type === 'postgres') return yield { from, to };
  for (let start = from; start < to; start += maxPieceMs) {
    yield { from: start, to: Math.min(start + maxPieceMs, to) };
    await yieldToEventLoop();
  }
}

interface Part extends Range {
  span: Span;
}

function partsOf({ from, to }: Range): Part[] {
  const firstDay = Math.ceil(from / dayMs) * dayMs;
  const lastDay = startOf(to, spans.day);
  if (firstDay >= lastDay) return [{ span: spans.quarter, from, to }];
  const parts: Part[] = [
    { span: spans.quarter, from, to: firstDay },
    { span: spans.day, from: firstDay, to: lastDay },
    { span: spans.quarter, from: lastDay, to },
  ];
  return parts.filter((part) => part.from < part.to);
}

async function readPart<Row>(
  reader: DataSource,
  { accountId, sessionId }: Scope,
  { span, from, to }: Part,
  select: string,
  groupBy: string | null,
): Promise<Row[]> {
  const conditions = ['span = ?', 'at >= ?', 'at < ?'];
  const parameters: unknown[] = [span, from, to];
  if (accountId !== null) {
    conditions.unshift('"accountId" = ?');
    parameters.unshift(accountId);
  }
  if (sessionId !== null) {
    conditions.push('"sessionId" = ?');
    parameters.push(sessionId);
  }
  const sql = `SELECT ${select} FROM usage_stats WHERE ${conditions.join(' AND ')}${groupBy ? ` GROUP BY ${groupBy}` : ''}`;
  return (await runStatement<Row>(reader, sql, parameters, { prepare: false })).rows;
}
