import type { DataSource } from 'typeorm';
import { runStatement } from '../db/statement.js';
import { dayOf } from '../messages/quotas/periods.js';
import { addDays, endOfDay, startOfDay, stretchesOf, type Stretch } from '../statistics/calendar.js';
import { idFrom, knownZone } from './time.js';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The messages of the last hours or days. */
export interface Chart {
  range: '24h' | '14d';
  /** The time zone of the buckets. */
  timezone: string;
  /** Start of each bucket. */
  buckets: { at: number; sent: number; received: number; failed: number }[];
}

/** An outbound message with one of these states was sent. */
export const sentStatuses = `'sent','delivered','read','played'`;

/**
 * Returns where the hours or days of a chart begin by the clocks of a time zone, and the stretches of one offset from UTC in which messages are
 * counted. Where clocks are set back, an hour occurs twice and has two buckets; where they change by half an hour, one bucket is shorter. A day
 * is one bucket, however many hours it has.
 */
export function bucketsOf(now: Date, range: Chart['range'], timezone: string): { starts: number[]; stretches: Stretch[] } {
  if (range === '14d') {
    const today = dayOf(now, timezone);
    const starts = Array.from({ length: 14 }, (_, index) => startOfDay(addDays(today, index - 13), timezone));
    return { starts, stretches: stretchesOf(starts[0]!, endOfDay(today, timezone), timezone) };
  }
  const time = now.getTime();
  const starts: number[] = [];
  for (const { from, to, offsetMs } of stretchesOf(time - 25 * hourMs, time + 1, timezone)) {
    const first = Math.ceil((from + offsetMs) / hourMs);
    // A change of the clocks begins an hour, also where it is not the beginning of one.
    if (starts.length > 0 && first * hourMs - offsetMs > from) starts.push(from);
    for (let hour = first; hour * hourMs - offsetMs < to; hour += 1) starts.push(hour * hourMs - offsetMs);
  }
  const shown = starts.slice(-24);
  return { starts: shown, stretches: stretchesOf(shown[0]!, shown.at(-1)! + hourMs, timezone) };
}

/** Counts the messages of each hour or day. */
export async function readChart(reader: DataSource, now: Date, range: Chart['range'], timezone: string): Promise<Chart> {
  const { starts, stretches } = bucketsOf(now, range, timezone);
  const width = range === '24h' ? hourMs : dayMs;
  const buckets = starts.map((at) => ({ at, sent: 0, received: 0, failed: 0 }));
  for (const { from, to, offsetMs } of stretches) {
    const { rows } = await runStatement<Record<'bucket' | 'sent' | 'received' | 'failed', number | string>>(
      reader,
      `SELECT ("createdAt" + ${offsetMs}) / ${width} AS bucket,
              SUM(CASE WHEN direction = 'outbound' AND status IN (${sentStatuses}) THEN 1 ELSE 0 END) AS sent,
              SUM(CASE WHEN direction = 'inbound' THEN 1 ELSE 0 END) AS received,
              SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed
       FROM messages WHERE id >= ? AND "createdAt" >= ? AND "createdAt" < ? GROUP BY 1`,
      [idFrom(from), from, to],
      { prepare: false },
    );
    for (const row of rows) {
      const time = Math.max(from, Number(row.bucket) * width - offsetMs);
      const bucket = buckets.findLast(({ at }) => at <= time);
      if (!bucket) continue;
      bucket.sent += Number(row.sent);
      bucket.received += Number(row.received);
      bucket.failed += Number(row.failed);
    }
  }
  return { range, timezone: knownZone(timezone), buckets };
}
