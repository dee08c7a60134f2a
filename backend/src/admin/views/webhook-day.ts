import type { DataSource } from 'typeorm';
import { among } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';

/** What became of the deliveries of one endpoint in the last 24 hours. `failing`: failed for good, or tried without success until now. */
export interface WebhookDay {
  delivered: number;
  failing: number;
  /** The oldest hour first. `at`: milliseconds. */
  hours: { at: number; delivered: number; failing: number }[];
}

const hourMs = 3_600_000;

/** Counts the deliveries of the last 24 hours of some endpoints, by hour. Every endpoint has an entry. */
export async function webhookDays(reader: DataSource, ids: readonly string[], now: number): Promise<Map<string, WebhookDay>> {
  const last = Math.floor(now / hourMs);
  const days = new Map(
    ids.map((id): [string, WebhookDay] => {
      const hours = Array.from({ length: 24 }, (_, index) => ({ at: (last - 23 + index) * hourMs, delivered: 0, failing: 0 }));
      return [id, { delivered: 0, failing: 0, hours }];
    }),
  );
  if (ids.length === 0) return days;
  const { condition, parameter } = among(reader, 'webhookId', ids);
  const sql = `SELECT "webhookId", "createdAt" / ${hourMs} AS hour,
      SUM(CASE WHEN status = 'delivered' THEN 1 ELSE 0 END) AS delivered,
      SUM(CASE WHEN status = 'failed' OR (status IN ('pending', 'sending', 'held') AND attempts > 0) THEN 1 ELSE 0 END) AS failing
    FROM webhook_deliveries WHERE ${condition} AND "createdAt" >= ? GROUP BY 1, 2`;
  type Found = { webhookId: string } & Record<'hour' | 'delivered' | 'failing', number | string>;
  const { rows } = await runStatement<Found>(reader, sql, [parameter, (last - 23) * hourMs], { prepare: false });
  for (const row of rows) {
    const day = days.get(row.webhookId);
    const hour = day?.hours[Number(row.hour) - (last - 23)];
    if (!day || !hour) continue;
    hour.delivered += Number(row.delivered);
    hour.failing += Number(row.failing);
    day.delivered += hour.delivered;
    day.failing += hour.failing;
  }
  return days;
}
