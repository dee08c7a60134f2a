import type { Core } from '../core.js';
import { runStatement } from '../db/statement.js';
import type { Heartbeats } from './heartbeats.js';

const countSql = `SELECT COUNT(*) AS "desired", SUM(CASE WHEN s.status = 'connected' THEN 1 ELSE 0 END) AS "connected",
  SUM(CASE WHEN s.status = 'error' THEN 1 ELSE 0 END) AS "failed"
  FROM sessions s JOIN accounts a ON a.id = s."accountId" WHERE s.desired = 'running' AND s."deletedAt" IS NULL AND a."isActive"`;

type Row = Record<'desired' | 'connected' | 'failed', number | string | null>;

/**
 * Compares the desired with the observed state of all sessions. Heartbeats reconcile them every few seconds; this finds leases that no backend has
 * expired. Returns how many sessions should run, and how many of them are connected or have failed, after it disconnected those that are `lost`.
 */
export async function monitorSessions(
  { database }: Pick<Core, 'database'>,
  { heartbeats }: { heartbeats: Pick<Heartbeats, 'expireLeases'> },
): Promise<{ desired: number; connected: number; failed: number; lost: number }> {
  const lost = await heartbeats.expireLeases();
  const { rows } = await runStatement<Row>(database.reader, countSql);
  const { desired, connected, failed } = rows[0]!;
  return { desired: Number(desired), connected: Number(connected ?? 0), failed: Number(failed ?? 0), lost };
}
