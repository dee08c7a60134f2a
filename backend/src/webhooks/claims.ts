import type { Database } from '../db/database.js';
import { among, notAmong, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Webhook, WebhookDelivery } from './webhook.entity.js';

/**
 * The claims of one backend: which deliveries it sends, and, on PostgreSQL, which endpoints it alone sends to (lanes). Both are leases. The
 * verbs are those of `Deliveries` (deliveries.ts).
 */

export interface ClaimContext {
  database: Database;
  /** The name under which this backend claims. */
  owner: string;
  /** Whether lanes are shared with other backends. */
  isShared: boolean;
  /** The current time in SQL. Leases are compared by the clock of the database: those of two backends may differ, or be set back. */
  nowSql: string;
}

export interface ClaimRequest {
  webhookId: string;
  now: Date;
  limit: number;
  /** Sessions whose deliveries have to wait; '' means events of the account. */
  without: readonly string[];
}

/** How long this backend owns a claim and the lane of an endpoint without renewing them. */
export const leaseMs = 90_000;
/** A lease that ends later than any can was written before the clock was set back. */
const maxLeaseMs = leaseMs + 1_000;
/** The number of deliveries that one query scans when some sessions are excluded. */
const scanLimit = 5_000;
/** The number of the oldest deliveries from which a probe is chosen. */
const probeScan = 200;
/** After this number of failed probes other events are tried as well: the receiver may refuse the oldest event itself. */
const suspectAfter = 6;
export function claimContext(database: Database, owner: string): ClaimContext {
  const isShared = database.dialect === 'postgres';
  const nowSql = isShared
    ? '(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint'
    : `CAST(unixepoch('subsec') * 1000 AS INTEGER)`;
  return { database, owner, isShared, nowSql };
}

// Checked for each endpoint separately: scanning all pending deliveries would take as long as the queue is.
// The deliveries of a deactivated account wait until it is activated.
const dueSql = `SELECT w.id FROM webhooks w JOIN accounts a ON a.id = w."accountId" WHERE a."isActive" AND EXISTS
  (SELECT 1 FROM webhook_deliveries d WHERE d.status = 'pending' AND d."webhookId" = w.id AND d."nextAttemptAt" <= ?)`;

export async function due({ reader }: Database, now: Date): Promise<string[]> {
  const { rows } = await runStatement<{ id: string }>(reader, dueSql, [now.getTime()]);
  return idsOf(rows);
}

const pending = (
  { reader }: Database,
  which: string,
  parameters: readonly unknown[],
  limit: number,
): Promise<WebhookDelivery[]> =>
  readRows(
    reader,
    WebhookDelivery,
    `status = 'pending' AND "webhookId" = ? AND ${which} ORDER BY "eventCursor" LIMIT ${limit}`,
    parameters,
  );

const partEndSql = `SELECT "eventCursor" FROM webhook_deliveries WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" <= ?
  AND "eventCursor" > ? ORDER BY "eventCursor" LIMIT 1 OFFSET ${scanLimit - 1}`;

/** Returns the oldest due deliveries, without those of sessions that have to wait. */
export async function claimable(
  database: Database,
  { webhookId, now, limit, without }: ClaimRequest,
): Promise<WebhookDelivery[]> {
  const { reader } = database;
  if (without.length === 0) return pending(database, '"nextAttemptAt" <= ?', [webhookId, now.getTime()], limit);
  const { condition, parameter } = notAmong(reader, 'session', without);
  const idsSql = `SELECT id FROM (SELECT id, COALESCE("sessionId", '') AS session, "eventCursor" FROM webhook_deliveries
      WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" <= ? AND "eventCursor" > ?
      ORDER BY "eventCursor" LIMIT ${scanLimit}) AS oldest WHERE ${condition} ORDER BY "eventCursor" LIMIT ${limit}`;
  // In parts, so that a long queue of waiting sessions neither hides the others nor blocks the process.
  for (let after = -1; ;) {
    // The rows in a separate query: PostgreSQL may join a subquery with every delivery that is pending.
    const { rows: found } = await runStatement<{ id: string }>(reader, idsSql, [webhookId, now.getTime(), after, parameter]);
    if (found.length > 0) {
      const ids = among(reader, 'id', idsOf(found));
      return readRows(reader, WebhookDelivery, `${ids.condition} ORDER BY "eventCursor"`, [ids.parameter]);
    }
    const { rows } = await runStatement<{ eventCursor: number | string }>(reader, partEndSql, [webhookId, now.getTime(), after]);
    const end = rows[0]?.eventCursor;
    if (end === undefined) return [];
    after = Number(end);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const idsOf = (list: readonly { id: string }[]): string[] => list.map(({ id }) => id);

export const claim = async (context: ClaimContext, request: ClaimRequest): Promise<WebhookDelivery[] | null> =>
  claimRows(context, request.webhookId, await claimable(context.database, request));

export async function claimProbe(context: ClaimContext, webhookId: string, probe: number): Promise<WebhookDelivery[] | null> {
  const candidates = await pending(context.database, '1 = 1', [webhookId], probeScan);
  const heads = candidates.filter(
    ({ sessionId }, index) => candidates.findIndex((other) => other.sessionId === sessionId) === index,
  );
  const leastTried = [...candidates].sort((one, other) => one.attempts - other.attempts || one.eventCursor - other.eventCursor);
  const chosen = probe >= suspectAfter && probe % 2 === 1 ? leastTried[0] : heads[probe % heads.length];
  return claimRows(context, webhookId, chosen ? [chosen] : []);
}

async function claimRows(
  context: ClaimContext,
  webhookId: string,
  list: readonly WebhookDelivery[],
): Promise<WebhookDelivery[] | null> {
  const { database, owner, isShared, nowSql } = context;
  if (list.length === 0) return [];
  return database.write.run(async (tx) => {
    // Closes: two backends that send to one endpoint at once, twice as many as allowed and two of one session.
    if (isShared && !(await claimLane(context, tx, webhookId))) return null;
    const { condition, parameter } = among(tx.manager, 'id', idsOf(list));
    // The status in a form that no index has: SQLite would scan all pending rows instead of these few ids.
    const sql = `UPDATE webhook_deliveries SET status = 'sending', "leaseOwner" = ?, "leaseExpiresAt" = ${nowSql} + ${leaseMs} WHERE ${condition} AND status || '' = 'pending'`;
    await runStatement(tx.manager, sql, [owner, parameter]);
    const mine = await readRows(tx.manager, WebhookDelivery, `${condition} AND status || '' = 'sending' AND "leaseOwner" = ?`, [
      parameter,
      owner,
    ]);
    if (mine.length === 0) await leaveLane(context, tx, webhookId);
    return mine.sort((one, other) => one.eventCursor - other.eventCursor);
  });
}

/** Claims the lane of an endpoint, or prolongs it. Returns false when another backend owns it, or the endpoint is switched off. */
async function claimLane({ owner, nowSql }: ClaimContext, tx: Transaction, webhookId: string): Promise<boolean> {
  const sql = `UPDATE webhooks SET "laneOwner" = ?, "laneUntil" = ${nowSql} + ${leaseMs} WHERE id = ? AND "isActive" AND
    ("laneOwner" IS NULL OR "laneOwner" = ? OR "laneUntil" <= ${nowSql} OR "laneUntil" > ${nowSql} + ${maxLeaseMs})`;
  return (await runStatement(tx.manager, sql, [owner, webhookId, owner])).affected > 0;
}

export async function leaveLane({ isShared, owner }: ClaimContext, tx: Transaction, webhookId: string): Promise<void> {
  if (isShared) await updateRows(tx, Webhook, { id: webhookId, laneOwner: owner }, { laneOwner: null, laneUntil: null });
}

export async function renew({ database, owner, isShared, nowSql }: ClaimContext): Promise<ReadonlySet<string> | null> {
  return database.write.run(async (tx) => {
    const claims = `UPDATE webhook_deliveries SET "leaseExpiresAt" = ${nowSql} + ${leaseMs} WHERE status = 'sending' AND "leaseOwner" = ?`;
    await runStatement(tx.manager, claims, [owner]);
    if (!isShared) return null;
    const lanes = `UPDATE webhooks SET "laneUntil" = ${nowSql} + ${leaseMs} WHERE "laneOwner" = ? RETURNING id`;
    const { rows } = await runStatement<{ id: string }>(tx.manager, lanes, [owner]);
    return new Set(idsOf(rows));
  });
}

export async function owners({ database, owner, isShared }: ClaimContext): Promise<string[]> {
  const claims = `SELECT DISTINCT "leaseOwner" AS name FROM webhook_deliveries WHERE status = 'sending' AND "leaseOwner" <> ?`;
  const lanes = ` UNION SELECT "laneOwner" FROM webhooks WHERE "laneOwner" <> ?`;
  const sql = claims + (isShared ? lanes : '');
  const values = isShared ? [owner, owner] : [owner];
  const { rows } = await runStatement<{ name: string | null }>(database.reader, sql, values);
  return rows.flatMap(({ name }) => name ?? []);
}

export async function release({ database, owner, isShared, nowSql }: ClaimContext, gone: readonly string[]): Promise<number> {
  const free = { status: 'pending' as const, leaseOwner: null, leaseExpiresAt: null };
  return database.write.run(async (tx) => {
    const sql = `UPDATE webhook_deliveries SET status = 'pending', "leaseOwner" = NULL, "leaseExpiresAt" = NULL WHERE status = 'sending' AND
          "leaseOwner" <> ? AND ("leaseExpiresAt" <= ${nowSql} OR "leaseExpiresAt" > ${nowSql} + ${maxLeaseMs})`;
    let { affected: released } = await runStatement(tx.manager, sql, [owner]);
    for (const leaseOwner of gone) {
      released += await updateRows(tx, WebhookDelivery, { status: 'sending', leaseOwner }, free);
      if (isShared) await updateRows(tx, Webhook, { laneOwner: leaseOwner }, { laneOwner: null, laneUntil: null });
    }
    return released;
  });
}

export async function own({ database, owner }: ClaimContext): Promise<{ id: string; webhookId: string }[]> {
  const sql = `SELECT id, "webhookId" FROM webhook_deliveries WHERE status = 'sending' AND "leaseOwner" = ?`;
  const { rows } = await runStatement<{ id: string; webhookId: string }>(database.reader, sql, [owner]);
  return rows;
}

export async function releaseOwn({ database, owner }: ClaimContext, ids: readonly string[]): Promise<void> {
  await database.write.run(async (tx) => {
    const { condition, parameter } = among(tx.manager, 'id', ids);
    const sql = `UPDATE webhook_deliveries SET status = 'pending', "leaseOwner" = NULL, "leaseExpiresAt" = NULL WHERE ${condition} AND status || '' = 'sending' AND "leaseOwner" = ?`;
    await runStatement(tx.manager, sql, [parameter, owner]);
  });
}
