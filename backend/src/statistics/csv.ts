import type { StatisticsOfDayResource, StatisticsReportResource } from '@chasqui/shared';
import { csvRecord } from '../lib/csv.js';

type Cell = string | number | null;
type Line = [section: string, key: Cell, metric: string, value: Cell];

/**
 * A report with its days as CSV (RFC 4180), one figure a line: `section,key,metric,value`. Null is an empty cell. The key of `dayType` is a date
 * and a type; that of `weekdayHour` is a weekday (0 is Monday) and an hour. All costs are in the currency of the summary.
 */
export function reportAsCsv(report: StatisticsReportResource, days: readonly StatisticsOfDayResource[]): string {
  const lines: readonly Cell[][] = [['section', 'key', 'metric', 'value'], ...linesOf(report, days)];
  return lines.map((cells) => `${csvRecord(cells)}\r\n`).join('');
}

function* linesOf(report: StatisticsReportResource, days: readonly StatisticsOfDayResource[]): Generator<Line> {
  const { responses, cost, topChats } = report;
  const summary: Record<string, Cell> = {
    timezone: report.timezone,
    startDate: report.startDate,
    endDate: report.endDate,
    ...totalsOf(report),
    deliveryRate: report.deliveryRate,
    readRate: report.readRate,
    cost: cost.amount,
    currency: cost.currency,
    responses: responses.count,
    meanResponseSeconds: responses.meanSeconds,
    responsesWithin5Minutes: responses.within5Minutes,
    responsesWithin1Hour: responses.within1Hour,
  };
  yield* figures('summary', '', summary);
  for (const day of days) yield* figures('day', day.date, totalsOf(day));
  for (const { date, byType } of days)
    for (const [type, totals] of Object.entries(byType)) yield* figures('dayType', `${date} ${type}`, totalsOf(totals));
  for (const { hour, sent, received } of report.byHour) yield* figures('hour', hour, { sent, received });
  for (const { weekday, sent, received } of report.byWeekday) yield* figures('weekday', weekday, { sent, received });
  for (const [weekday, hours] of report.byWeekdayAndHour.entries())
    for (const [hour, count] of hours.entries()) yield ['weekdayHour', `${weekday} ${hour}`, 'count', count];
  for (const [type, totals] of Object.entries(report.byType)) yield* figures('type', type, totalsOf(totals));
  for (const [status, count] of Object.entries(report.byStatus)) yield ['status', status, 'count', count];
  // Names of sessions are not unique: two deleted sessions may have had the same one.
  for (const { sessionId, name, ...totals } of report.bySession)
    yield* figures('session', sessionId, { name, ...totalsOf(totals) });
  for (const { code, count } of report.failuresByReason) yield ['failure', code, 'count', count];
  for (const { chat, inbound, outbound } of topChats?.chats ?? [])
    yield* figures('chat', chat.id, { name: chat.name, inbound, outbound });
}

const totalsOf = ({ sent, received, failed }: { sent: number; received: number; failed: number }): Record<string, number> => ({
  sent,
  received,
  failed,
});

function* figures(section: string, key: Cell, values: Record<string, Cell>): Generator<Line> {
  for (const [metric, value] of Object.entries(values)) yield [section, key, metric, value];
}
