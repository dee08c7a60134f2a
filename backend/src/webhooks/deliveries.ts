import { newId } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { among, insertRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { EventRow } from '../events/event.entity.js';
import { Session } from '../sessions/session.entity.js';
import type { Told } from './payload.js';
import { type Webhook, WebhookAttempt, WebhookDelivery, type DeliveryStatus } from './webhook.entity.js';

/** What became of one attempt, to be written. */
export interface Outcome {
  delivery: WebhookDelivery;
  attempt: WebhookAttempt | null;
  to: DeliveryStatus;
  nextAttemptAt: Date | null;
}

export type Deliveries = ReturnType<typeof createDeliveries>;

// Asked of each endpoint by itself: looking through all that waits would take as long as the queue is.
const dueSql = `SELECT w.id FROM webhooks w WHERE EXISTS
  (SELECT 1 FROM webhook_deliveries d WHERE d.status = 'pending' AND d."webhookId" = w.id AND d."nextAttemptAt" <= ?)`;
const settleSql = `UPDATE webhook_deliveries SET status = ?, attempts = ?, "nextAttemptAt" = ?, "leaseOwner" = NULL, "leaseExpiresAt" = NULL,
  "statusCode" = ?, error = ?, "finishedAt" = ? WHERE id = ? AND status = 'sending' AND "leaseOwner" = ?`;

/** Attempts after which an event is suspected itself. */
const suspectAfter = 4;

/** The rows of deliveries: written with their events, claimed, settled. */
export function createDeliveries({ database, owner }: { database: Database; owner: string }) {
  const sessions = new Map<string, string>();

  const pending = (which: string, parameters: readonly unknown[], most: number): Promise<WebhookDelivery[]> =>
    readRows(
      database.reader,
      WebhookDelivery,
      `status = 'pending' AND "webhookId" = ? AND ${which} ORDER BY "eventCursor" LIMIT ${most}`,
      parameters,
    );

  /** Many claimed at once: from here on they are this backend's until their lease runs out. */
  const claim = async (webhookId: string, now: Date, leaseMs: number, most: number): Promise<WebhookDelivery[]> =>
    take(await pending('"nextAttemptAt" <= ?', [webhookId, now.getTime()], most), now, leaseMs);

  /**
   * The oldest that waits, so that the others can follow it in order. One that has failed again and again is passed over: where it is
   * the event that cannot be taken, it would keep the circuit open for ever.
   */
  async function claimProbe(webhookId: string, now: Date, leaseMs: number): Promise<WebhookDelivery[]> {
    const oldest = await pending(`attempts < ${suspectAfter}`, [webhookId], 1);
    return take(oldest.length > 0 ? oldest : await pending('"nextAttemptAt" <= ?', [webhookId, now.getTime()], 1), now, leaseMs);
  }

  async function take(due: readonly WebhookDelivery[], now: Date, leaseMs: number): Promise<WebhookDelivery[]> {
    if (due.length === 0) return [];
    const lease = new Date(now.getTime() + leaseMs);
    return database.write.run(async (tx) => {
      const { condition, parameter } = among(
        tx.manager,
        'id',
        due.map(({ id }) => id),
      );
      // The status in a form that no index has: SQLite would look through all that is pending instead of these few ids.
      const sql = `UPDATE webhook_deliveries SET status = 'sending', "leaseOwner" = ?, "leaseExpiresAt" = ? WHERE ${condition} AND status || '' = 'pending'`;
      await runStatement(tx.manager, sql, [owner, lease.getTime(), parameter]);
      const mine = await readRows(tx.manager, WebhookDelivery, `${condition} AND status = 'sending' AND "leaseOwner" = ?`, [
        parameter,
        owner,
      ]);
      return mine.sort((one, other) => one.eventCursor - other.eventCursor);
    });
  }

  /** What is to be told, by cursor. An event that retention took is not there any more. */
  async function told(deliveries: readonly WebhookDelivery[]): Promise<Map<number, Told>> {
    const { condition, parameter } = among(
      database.reader,
      'cursor',
      deliveries.map(({ eventCursor }) => eventCursor),
    );
    const found = await readRows(database.reader, EventRow, `${condition} AND "accountId" = ?`, [
      parameter,
      deliveries[0]!.accountId,
    ]);
    await learnNames(found);
    return new Map(found.map((row) => [row.cursor, asTold(row)]));
  }

  async function learnNames(rows: readonly EventRow[]): Promise<void> {
    const unknown = [...new Set(rows.flatMap(({ sessionId }) => (sessionId && !sessions.has(sessionId) ? [sessionId] : [])))];
    if (unknown.length === 0) return;
    if (sessions.size > 5_000) sessions.clear();
    const { condition, parameter } = among(database.reader, 'id', unknown);
    for (const { id, name } of await readRows(database.reader, Session, condition, [parameter])) sessions.set(id, name);
  }

  const asTold = ({ id, cursor, type, sessionId, data, occurredAt }: EventRow): Told => ({
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
    /** The endpoint answers again: what waits for a later attempt goes now, in order. */
    async hasten(tx: Transaction, webhookId: string, now: Date): Promise<void> {
      const sql = `UPDATE webhook_deliveries SET "nextAttemptAt" = ? WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" > ?`;
      await runStatement(tx.manager, sql, [now.getTime(), webhookId, now.getTime()]);
    },
    told,
    /** The event of one delivery; null when retention took it. */
    async toldOf(delivery: WebhookDelivery): Promise<Told | null> {
      return (await told([delivery])).get(delivery.eventCursor) ?? null;
    },
    /** A session got another name. */
    forgetNames: (): void => sessions.clear(),

    /** Part of the event's own commit. */
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
    /** All that ended meanwhile in one commit: the attempts, what follows of them, and their endpoint. */
    async settle(outcomes: readonly Outcome[], also: (tx: Transaction) => Promise<void>): Promise<void> {
      await database.write.run(async (tx) => {
        for (const { delivery, attempt, to, nextAttemptAt } of outcomes) {
          const isOver = to === 'delivered' || to === 'failed';
          await runStatement(tx.manager, settleSql, [
            to,
            delivery.attempts + (attempt ? 1 : 0),
            nextAttemptAt?.getTime() ?? null,
            attempt?.statusCode ?? delivery.statusCode,
            attempt ? attempt.error : delivery.error,
            isOver ? (attempt?.at.getTime() ?? null) : null,
            delivery.id,
            owner,
          ]);
        }
        const attempts = outcomes.flatMap(({ attempt }) => (attempt ? [attempt] : []));
        if (attempts.length > 0) await insertRows(tx, WebhookAttempt, attempts);
        await also(tx);
      });
    },
    /** Claims of backends that are gone, and those whose lease ran out: to be tried again. */
    async release(now: Date, gone: readonly string[]): Promise<void> {
      const pending = { status: 'pending' as const, leaseOwner: null, leaseExpiresAt: null };
      await database.write.run(async (tx) => {
        const sql = `UPDATE webhook_deliveries SET status = 'pending', "leaseOwner" = NULL, "leaseExpiresAt" = NULL WHERE status = 'sending' AND "leaseExpiresAt" <= ?`;
        await runStatement(tx.manager, sql, [now.getTime()]);
        for (const leaseOwner of gone) await updateRows(tx, WebhookDelivery, { status: 'sending', leaseOwner }, pending);
      });
    },
    async owners(): Promise<string[]> {
      const sql = `SELECT DISTINCT "leaseOwner" AS name FROM webhook_deliveries WHERE status = 'sending' AND "leaseOwner" <> ?`;
      const { rows } = await runStatement(database.reader, sql, [owner]);
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
  leaseOwner: null,
  leaseExpiresAt: null,
  statusCode: null,
  error: null,
  createdAt: now,
  finishedAt: null,
});
