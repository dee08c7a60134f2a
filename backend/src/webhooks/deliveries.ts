import { newId } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { among, insertRows, notAmong, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { EventRow } from '../events/event.entity.js';
import { Session } from '../sessions/session.entity.js';
import { moveDeliveries } from './move-deliveries.js';
import type { OutgoingEvent } from './payload.js';
import { Webhook, WebhookAttempt, WebhookDelivery, type DeliveryStatus } from './webhook.entity.js';

/** The result of one attempt, or of a decision not to make one, as it is written. */
export interface Outcome {
  delivery: WebhookDelivery;
  /** How many attempts the row had before this outcome: the update applies only once, also when it is repeated. */
  attemptsBefore: number;
  attempt: WebhookAttempt | null;
  /** `sending` keeps the claim: the delivery is tried again at once, within its lane. */
  to: DeliveryStatus;
  nextAttemptAt: Date | null;
  /** The time until `nextAttemptAt` when it was set. */
  waitMs: number;
}

export interface ClaimRequest {
  webhookId: string;
  now: Date;
  limit: number;
  /** Sessions whose deliveries have to wait; '' means events of the account. */
  without: readonly string[];
}

/** The deliveries that wait for an endpoint. */
export interface Backlog {
  waiting: number;
  oldestAt: Date | null;
}

export type Deliveries = ReturnType<typeof createDeliveries>;

/** How long this backend owns a claim and the lane of an endpoint without renewing them. */
export const leaseMs = 90_000;

// Checked for each endpoint separately: scanning all pending deliveries would take as long as the queue is.
// The deliveries of a deactivated account wait until it is activated.
const dueSql = `SELECT w.id FROM webhooks w JOIN accounts a ON a.id = w."accountId" WHERE a."isActive" AND EXISTS
  (SELECT 1 FROM webhook_deliveries d WHERE d.status = 'pending' AND d."webhookId" = w.id AND d."nextAttemptAt" <= ?)`;
const settleSql = `UPDATE webhook_deliveries SET status = ?, attempts = ?, "nextAttemptAt" = ?, "waitMs" = ?, "leaseOwner" = ?,
  "leaseExpiresAt" = CASE WHEN ? = 'sending' THEN "leaseExpiresAt" END, "statusCode" = ?, error = ?, "finishedAt" = ?
  WHERE id = ? AND status = 'sending' AND "leaseOwner" = ? AND attempts = ?`;
const repairSql = `UPDATE webhook_deliveries SET "nextAttemptAt" = ? WHERE status = 'pending' AND "nextAttemptAt" > ? AND "nextAttemptAt" > ? + COALESCE("waitMs", 43200000)`;

const waitingSql = `SELECT COUNT(*) AS waiting FROM webhook_deliveries WHERE status IN ('pending', 'sending') AND "webhookId" = ?`;
const oldestSql = `SELECT COALESCE("redeliveredAt", "createdAt") AS since FROM webhook_deliveries WHERE status IN ('pending', 'sending') AND "webhookId" = ? ORDER BY "eventCursor" LIMIT 1`;
const oldestOfEachSql = `SELECT w.id, w."behindSince", (SELECT COALESCE(d."redeliveredAt", d."createdAt") FROM webhook_deliveries d
  WHERE d.status = 'pending' AND d."webhookId" = w.id ORDER BY d."eventCursor" LIMIT 1) AS "oldestAt"
  FROM webhooks w WHERE w."isActive" AND w."deletedAt" IS NULL`;

/** The number of deliveries that one query scans when some sessions are excluded. */
const scanLimit = 5_000;
const partEndSql = `SELECT "eventCursor" FROM webhook_deliveries WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" <= ?
  AND "eventCursor" > ? ORDER BY "eventCursor" LIMIT 1 OFFSET ${scanLimit - 1}`;
/** The number of the oldest deliveries from which a probe is chosen. */
const probeScan = 200;
/** After this number of failed probes other events are tried as well: the receiver may refuse the oldest event itself. */
const suspectAfter = 6;

/** The rows of deliveries: written with their events, claimed, settled. */
export function createDeliveries({ database, owner }: { database: Database; owner: string }) {
  const sessions = new Map<string, string>();
  const isShared = database.dialect === 'postgres';
  // Leases are compared by the clock of the database: those of two backends may differ, or be set back.
  const nowSql = isShared
    ? '(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint'
    : `CAST(unixepoch('subsec') * 1000 AS INTEGER)`;
  const laneSql = `UPDATE webhooks SET "laneOwner" = ?, "laneUntil" = ${nowSql} + ${leaseMs} WHERE id = ? AND "isActive" AND
    ("laneOwner" IS NULL OR "laneOwner" = ? OR "laneUntil" <= ${nowSql} OR "laneUntil" > ${nowSql} + ${leaseMs + 1_000})`;

  const pending = (which: string, parameters: readonly unknown[], limit: number): Promise<WebhookDelivery[]> =>
    readRows(
      database.reader,
      WebhookDelivery,
      `status = 'pending' AND "webhookId" = ? AND ${which} ORDER BY "eventCursor" LIMIT ${limit}`,
      parameters,
    );

  /** Returns the oldest due deliveries, without those of sessions that have to wait. */
  async function claimable({ webhookId, now, limit, without }: ClaimRequest): Promise<WebhookDelivery[]> {
    if (without.length === 0) return pending('"nextAttemptAt" <= ?', [webhookId, now.getTime()], limit);
    const { condition, parameter } = notAmong(database.reader, 'session', without);
    const idsSql = `SELECT id FROM (SELECT id, COALESCE("sessionId", '') AS session, "eventCursor" FROM webhook_deliveries
      WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" <= ? AND "eventCursor" > ?
      ORDER BY "eventCursor" LIMIT ${scanLimit}) AS oldest WHERE ${condition} ORDER BY "eventCursor" LIMIT ${limit}`;
    // In parts, so that a long queue of waiting sessions neither hides the others nor blocks the process.
    for (let after = -1; ;) {
      // The rows in a separate query: PostgreSQL may join a subquery with every delivery that is pending.
      const { rows: found } = await runStatement(database.reader, idsSql, [webhookId, now.getTime(), after, parameter]);
      if (found.length > 0) {
        const ids = among(
          database.reader,
          'id',
          (found as { id: string }[]).map(({ id }) => id),
        );
        return readRows(database.reader, WebhookDelivery, `${ids.condition} ORDER BY "eventCursor"`, [ids.parameter]);
      }
      const { rows } = await runStatement(database.reader, partEndSql, [webhookId, now.getTime(), after]);
      const end = (rows as { eventCursor: number | string }[])[0]?.eventCursor;
      if (end === undefined) return [];
      after = Number(end);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Claims a batch in one commit: this backend owns it until its lease ends. Returns null when another backend owns the lane. */
  const claim = async (request: ClaimRequest): Promise<WebhookDelivery[] | null> =>
    claimRows(request.webhookId, await claimable(request));

  /**
   * Claims one delivery to probe an endpoint with: the oldest of a session, of another session with each probe, so that the others can
   * follow it in order. After several probes every second one is the delivery with the fewest attempts: an event that the receiver
   * always refuses would otherwise keep the circuit open forever.
   */
  async function claimProbe(webhookId: string, probe: number): Promise<WebhookDelivery[] | null> {
    const oldest = await pending('1 = 1', [webhookId], probeScan);
    const heads = oldest.filter(({ sessionId }, index) => oldest.findIndex((other) => other.sessionId === sessionId) === index);
    const leastTried = [...oldest].sort((one, other) => one.attempts - other.attempts || one.eventCursor - other.eventCursor);
    const chosen = probe >= suspectAfter && probe % 2 === 1 ? leastTried[0] : heads[probe % heads.length];
    return claimRows(webhookId, chosen ? [chosen] : []);
  }

  /** Releases the lane of an endpoint, so that any backend may claim it. */
  async function leaveLane(tx: Transaction, webhookId: string): Promise<void> {
    if (isShared) await updateRows(tx, Webhook, { id: webhookId, laneOwner: owner }, { laneOwner: null, laneUntil: null });
  }

  async function claimRows(webhookId: string, list: readonly WebhookDelivery[]): Promise<WebhookDelivery[] | null> {
    if (list.length === 0) return [];
    return database.write.run(async (tx) => {
      // Closes: two backends that send to one endpoint at once, twice as many as allowed and two of one session.
      if (isShared && (await runStatement(tx.manager, laneSql, [owner, webhookId, owner])).affected === 0) return null;
      const { condition, parameter } = among(
        tx.manager,
        'id',
        list.map(({ id }) => id),
      );
      // The status in a form that no index has: SQLite would scan all pending rows instead of these few ids.
      const sql = `UPDATE webhook_deliveries SET status = 'sending', "leaseOwner" = ?, "leaseExpiresAt" = ${nowSql} + ${leaseMs} WHERE ${condition} AND status || '' = 'pending'`;
      await runStatement(tx.manager, sql, [owner, parameter]);
      const mine = await readRows(tx.manager, WebhookDelivery, `${condition} AND status = 'sending' AND "leaseOwner" = ?`, [
        parameter,
        owner,
      ]);
      if (mine.length === 0) await leaveLane(tx, webhookId);
      return mine.sort((one, other) => one.eventCursor - other.eventCursor);
    });
  }

  /**
   * Returns the events of deliveries, by cursor, without those that retention removed and, with `maxLength`, those whose data is longer than
   * that many characters.
   */
  async function eventsOf(deliveries: readonly WebhookDelivery[], maxLength?: number): Promise<Map<number, OutgoingEvent>> {
    const { condition, parameter } = among(
      database.reader,
      'cursor',
      deliveries.map(({ eventCursor }) => eventCursor),
    );
    const which = `${condition} AND "accountId" = ?${maxLength === undefined ? '' : ` AND LENGTH(data) <= ${maxLength}`}`;
    const found = await readRows(database.reader, EventRow, which, [parameter, deliveries[0]!.accountId]);
    await learnNames(found);
    return new Map(found.map((row) => [row.cursor, asOutgoingEvent(row)]));
  }

  async function learnNames(rows: readonly EventRow[]): Promise<void> {
    const unknown = [...new Set(rows.flatMap(({ sessionId }) => (sessionId && !sessions.has(sessionId) ? [sessionId] : [])))];
    if (unknown.length === 0) return;
    if (sessions.size > 5_000) sessions.clear();
    const { condition, parameter } = among(database.reader, 'id', unknown);
    for (const { id, name } of await readRows(database.reader, Session, condition, [parameter])) sessions.set(id, name);
  }

  const asOutgoingEvent = ({ id, cursor, type, sessionId, data, occurredAt }: EventRow): OutgoingEvent => ({
    id,
    cursor,
    type,
    session: sessionId ? { id: sessionId, name: sessions.get(sessionId) ?? '' } : null,
    data,
    occurredAt,
  });

  return {
    claim,
    claimProbe,
    /** Makes pending deliveries due now, in order: called when the endpoint answers again. */
    async hasten(tx: Transaction, webhookId: string, now: Date): Promise<void> {
      const sql = `UPDATE webhook_deliveries SET "nextAttemptAt" = ?, "waitMs" = 0 WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" > ?`;
      await runStatement(tx.manager, sql, [now.getTime(), webhookId, now.getTime()]);
    },
    eventsOf,
    /** Returns the event of one delivery; null when retention removed it. */
    async eventOf(delivery: WebhookDelivery): Promise<OutgoingEvent | null> {
      return (await eventsOf([delivery])).get(delivery.eventCursor) ?? null;
    },
    /** Called when a session was renamed. */
    forgetNames: (): void => sessions.clear(),

    /** Writes deliveries in the commit of their events. */
    async add(
      tx: Transaction,
      wanted: readonly { webhook: Pick<Webhook, 'id' | 'accountId'>; event: EventRow }[],
      now: Date,
    ): Promise<void> {
      if (wanted.length === 0) return;
      await insertRows(
        tx,
        WebhookDelivery,
        wanted.map(({ webhook, event }): WebhookDelivery => newDelivery(webhook, event, now)),
      );
    },
    async due(now: Date): Promise<string[]> {
      const { rows } = await runStatement(database.reader, dueSql, [now.getTime()]);
      return (rows as { id: string }[]).map(({ id }) => id);
    },
    /**
     * Writes several outcomes in one commit: the attempts, their deliveries, and the endpoint. May be repeated when it is unknown
     * whether the commit happened. An outcome applies only while the claim is still this backend's.
     */
    async settle(outcomes: readonly Outcome[], also: (tx: Transaction) => Promise<void>): Promise<void> {
      await database.write.run(async (tx) => {
        const attempts: WebhookAttempt[] = [];
        for (const { delivery, attemptsBefore, attempt, to, nextAttemptAt, waitMs } of outcomes) {
          const isOver = to === 'delivered' || to === 'failed';
          const { affected } = await runStatement(tx.manager, settleSql, [
            to,
            attemptsBefore + (attempt ? 1 : 0),
            nextAttemptAt?.getTime() ?? null,
            waitMs,
            to === 'sending' ? owner : null,
            to,
            attempt?.statusCode ?? delivery.statusCode,
            attempt ? attempt.error : delivery.error,
            isOver ? (attempt?.at.getTime() ?? null) : null,
            delivery.id,
            owner,
            attemptsBefore,
          ]);
          if (attempt && affected > 0) attempts.push(attempt);
        }
        if (attempts.length > 0) await insertRows(tx, WebhookAttempt, attempts);
        await also(tx);
      });
    },
    leaveLane,
    /** Whether anything could be claimed now. */
    hasClaimable: async (request: Omit<ClaimRequest, 'limit'>): Promise<boolean> =>
      (await claimable({ ...request, limit: 1 })).length > 0,
    /** Whether lanes are shared with other backends. */
    isShared,
    /** Prolongs all claims and lanes of this backend. Returns the endpoints whose lanes it still has; null: lanes are not shared. */
    async renew(): Promise<ReadonlySet<string> | null> {
      return database.write.run(async (tx) => {
        const sql = `UPDATE webhook_deliveries SET "leaseExpiresAt" = ${nowSql} + ${leaseMs} WHERE status = 'sending' AND "leaseOwner" = ?`;
        await runStatement(tx.manager, sql, [owner]);
        if (!isShared) return null;
        const lanes = `UPDATE webhooks SET "laneUntil" = ${nowSql} + ${leaseMs} WHERE "laneOwner" = ? RETURNING id`;
        const { rows } = await runStatement(tx.manager, lanes, [owner]);
        return new Set((rows as { id: string }[]).map(({ id }) => id));
      });
    },
    /** Holds the pending deliveries of an endpoint that is switched off; cancels those of a deleted one. */
    async park(webhookId: string): Promise<void> {
      await database.write.run(async (tx) => {
        const [webhook] = await readRows(tx.manager, Webhook, 'id = ?', [webhookId]);
        if (!webhook || webhook.isActive) return;
        const to: DeliveryStatus = webhook.deletedAt === null ? 'held' : 'cancelled';
        await moveDeliveries(tx, webhookId, ['pending'], { status: to });
      });
    },
    /** Makes claims pending again: of backends that are gone, and those whose lease expired. */
    async release(gone: readonly string[]): Promise<void> {
      const free = { status: 'pending' as const, leaseOwner: null, leaseExpiresAt: null };
      await database.write.run(async (tx) => {
        // A lease that ends later than any can was written before the clock went back.
        const sql = `UPDATE webhook_deliveries SET status = 'pending', "leaseOwner" = NULL, "leaseExpiresAt" = NULL WHERE status = 'sending' AND
          "leaseOwner" <> ? AND ("leaseExpiresAt" <= ${nowSql} OR "leaseExpiresAt" > ${nowSql} + ${leaseMs + 1_000})`;
        await runStatement(tx.manager, sql, [owner]);
        for (const leaseOwner of gone) {
          await updateRows(tx, WebhookDelivery, { status: 'sending', leaseOwner }, free);
          if (isShared) await updateRows(tx, Webhook, { laneOwner: leaseOwner }, { laneOwner: null, laneUntil: null });
        }
      });
    },
    /** All claims under this backend's own name. */
    async own(): Promise<{ id: string; webhookId: string }[]> {
      const sql = `SELECT id, "webhookId" FROM webhook_deliveries WHERE status = 'sending' AND "leaseOwner" = ?`;
      const { rows } = await runStatement(database.reader, sql, [owner]);
      return rows as { id: string; webhookId: string }[];
    },
    /** Makes claims under this backend's own name pending again that nothing in this process works on. */
    async releaseOwn(ids: readonly string[]): Promise<void> {
      await database.write.run(async (tx) => {
        const { condition, parameter } = among(tx.manager, 'id', ids);
        const sql = `UPDATE webhook_deliveries SET status = 'pending', "leaseOwner" = NULL, "leaseExpiresAt" = NULL WHERE ${condition} AND status || '' = 'sending' AND "leaseOwner" = ?`;
        await runStatement(tx.manager, sql, [parameter, owner]);
      });
    },
    /** Makes deliveries due whose time is further ahead than their delay, because the clock was set back. Returns their number. */
    async repairTimes(now: Date): Promise<number> {
      const time = now.getTime();
      return database.write.run(async (tx) => (await runStatement(tx.manager, repairSql, [time, time, time])).affected);
    },
    /** How many deliveries of each of these endpoints are not settled, and since when the oldest waits. */
    async backlogOf(webhookIds: readonly string[]): Promise<Map<string, Backlog>> {
      const backlogs = new Map<string, Backlog>();
      for (const id of webhookIds) {
        const { rows: counts } = await runStatement(database.reader, waitingSql, [id]);
        const { rows: oldest } = await runStatement(database.reader, oldestSql, [id]);
        const since = (oldest as { since: number | string }[])[0]?.since;
        const waiting = Number((counts as { waiting: number | string }[])[0]!.waiting);
        backlogs.set(id, { waiting, oldestAt: since === undefined ? null : new Date(Number(since)) });
      }
      return backlogs;
    },
    /** Since when the oldest delivery of each active endpoint waits, and whether that was reported. */
    async oldest(): Promise<{ id: string; behindSince: Date | null; oldestAt: Date | null }[]> {
      const { rows } = await runStatement(database.reader, oldestOfEachSql, []);
      const time = (value: number | string | null): Date | null => (value === null ? null : new Date(Number(value)));
      return (rows as { id: string; behindSince: number | string | null; oldestAt: number | string | null }[]).map(
        ({ id, behindSince, oldestAt }) => ({ id, behindSince: time(behindSince), oldestAt: time(oldestAt) }),
      );
    },
    async owners(): Promise<string[]> {
      const claims = `SELECT DISTINCT "leaseOwner" AS name FROM webhook_deliveries WHERE status = 'sending' AND "leaseOwner" <> ?`;
      const lanes = ` UNION SELECT "laneOwner" FROM webhooks WHERE "laneOwner" <> ?`;
      const { rows } = await runStatement(database.reader, claims + (isShared ? lanes : ''), isShared ? [owner, owner] : [owner]);
      return (rows as { name: string | null }[]).flatMap(({ name }) => name ?? []);
    },
  };
}

export const newDelivery = (webhook: Pick<Webhook, 'id' | 'accountId'>, event: EventRow, now: Date): WebhookDelivery => ({
  id: newId(now.getTime()),
  webhookId: webhook.id,
  accountId: webhook.accountId,
  sessionId: event.sessionId,
  eventCursor: event.cursor,
  eventId: event.id,
  type: event.type,
  status: 'pending',
  attempts: 0,
  nextAttemptAt: now,
  waitMs: 0,
  leaseOwner: null,
  leaseExpiresAt: null,
  statusCode: null,
  error: null,
  createdAt: now,
  redeliveredAt: null,
  finishedAt: null,
});

/** Since when a delivery is to be made: created, or asked for again. */
export const waitingSince = ({ createdAt, redeliveredAt }: WebhookDelivery): Date => redeliveredAt ?? createdAt;
