import { AppError, eventTypes, typesNamed } from '@chasqui/shared';
import { Between, LessThanOrEqual, MoreThanOrEqual, type FindOptionsWhere } from 'typeorm';
import type { Database } from '../db/database.js';
import { attemptInHalves } from '../db/isolate.js';
import { among, deleteRows, insertRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import { EventRow } from '../events/event.entity.js';
import type { EventLog } from '../events/log.js';
import type { Clock } from '../lib/clock.js';
import { newDelivery } from './deliveries.js';
import { moveDeliveries } from './move-deliveries.js';
import { matches } from './payload.js';
import type { Webhooks } from './webhooks.js';
import { WebhookAttempt, WebhookDelivery, type DeliveryStatus, type Webhook } from './webhook.entity.js';

export interface DeliveryQuery {
  status?: DeliveryStatus | undefined;
  event?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  limit: number;
  offset: number;
}
export interface RangeInput {
  from?: string | undefined;
  after?: string | undefined;
  to?: string | undefined;
  events?: string[] | undefined;
  onlyMissing?: boolean | undefined;
}

const pageSize = 500;
const pageSql = 'SELECT cursor FROM events WHERE "accountId" = ? AND cursor > ? ORDER BY cursor LIMIT 500';

export type WebhookHistory = ReturnType<typeof createWebhookHistory>;

/** The history of deliveries: lists, redelivery, statistics and deletion. */
export function createWebhookHistory({
  database,
  eventLog,
  clock,
  chatIdsOf,
  wake,
}: {
  database: Database;
  eventLog: Pick<EventLog, 'requireAvailable'>;
  clock: Clock;
  chatIdsOf: Webhooks['chatIdsOf'];
  wake: (webhookId: string) => void;
}) {
  const rows = database.reader.getRepository(WebhookDelivery);

  async function find(webhook: Webhook, id: string): Promise<WebhookDelivery> {
    const delivery = await rows.findOneBy({ id, webhookId: webhook.id });
    if (!delivery) throw new AppError('DELIVERY_NOT_FOUND');
    return delivery;
  }

  /** Restarts the schedule of a delivery; its attempt count and its id stay. */
  const again = (now: Date) => ({
    status: 'pending' as const,
    nextAttemptAt: now,
    waitMs: 0,
    redeliveredAt: now,
    finishedAt: null,
  });

  return {
    find,
    async list(
      webhook: Webhook,
      { status, event, from, to, limit, offset }: DeliveryQuery,
    ): Promise<{ found: WebhookDelivery[]; total: number }> {
      const where: FindOptionsWhere<WebhookDelivery> = {
        webhookId: webhook.id,
        ...(status ? { status } : {}),
        ...(event ? { type: event } : {}),
        ...(from && to ? { createdAt: Between(new Date(from), new Date(to)) } : {}),
        ...(from && !to ? { createdAt: MoreThanOrEqual(new Date(from)) } : {}),
        ...(to && !from ? { createdAt: LessThanOrEqual(new Date(to)) } : {}),
      };
      const [found, total] = await rows.findAndCount({ where, order: { eventCursor: 'DESC' }, take: limit, skip: offset });
      return { found, total };
    },
    attempts: (delivery: WebhookDelivery): Promise<WebhookAttempt[]> =>
      database.reader.getRepository(WebhookAttempt).find({ where: { deliveryId: delivery.id }, order: { at: 'ASC' }, take: 200 }),

    /** Throws `CONTENT_WIPED` when retention removed the event. */
    async redeliver(webhook: Webhook, id: string): Promise<WebhookDelivery> {
      const delivery = await find(webhook, id);
      const isKept = await database.reader.getRepository(EventRow).existsBy({ cursor: delivery.eventCursor });
      if (!isKept) throw new AppError('CONTENT_WIPED');
      const from = (['delivered', 'failed'] as const).find((status) => status === delivery.status);
      if (from) await database.write.run((tx) => updateRows(tx, WebhookDelivery, { id, status: from }, again(clock.now())));
      wake(webhook.id);
      return find(webhook, id);
    },
    async redeliverFailed(webhook: Webhook): Promise<number> {
      const queued = await database.write.run((tx) => moveDeliveries(tx, webhook.id, ['failed'], again(clock.now())));
      wake(webhook.id);
      return queued;
    },
    /** Queues every event of a range that the endpoint's present settings match, also those from while it was off. Throws `CURSOR_EXPIRED`. */
    async redeliverRange(webhook: Webhook, { from, after, to, events, onlyMissing = false }: RangeInput): Promise<number> {
      const named = events?.flatMap((name) => {
        const types = typesNamed(name);
        if (!types) throw new AppError('UNKNOWN_EVENT_TYPE', { event: name, known: eventTypes });
        return types;
      });
      const wanted = named && new Set<string>(named);
      const [begin, end] = [from ? Date.parse(from) : 0, to ? Date.parse(to) : Infinity];
      let cursor = after === undefined ? await cursorBefore(webhook.accountId, begin) : Number(after);
      if (after !== undefined) await eventLog.requireAvailable(webhook.accountId, cursor);
      const head = await headOf(webhook.accountId);
      let queued = 0;
      for (;;) {
        const { rows: page } = await runStatement(database.reader, pageSql, [webhook.accountId, cursor]);
        const cursors = (page as { cursor: number | string }[]).map((row) => Number(row.cursor)).filter((one) => one <= head);
        if (cursors.length === 0) break;
        cursor = cursors.at(-1)!;
        const { condition, parameter } = among(database.reader, 'cursor', cursors);
        const found: EventRow[] = [];
        for (const row of await readRows(database.reader, EventRow, condition, [parameter])) {
          const at = row.occurredAt.getTime();
          if (at < begin || at > end || (wanted && !wanted.has(row.type))) continue;
          if (matches(row, webhook, await chatIdsOf(webhook, row.data))) found.push(row);
        }
        queued += await queue(webhook, found, onlyMissing);
        if (cursors.length < pageSize) break;
      }
      wake(webhook.id);
      return queued;
    },

    async stats(webhook: Webhook, from: Date | null, to: Date | null) {
      const range = [webhook.id, from?.getTime() ?? 0, to?.getTime() ?? Number.MAX_SAFE_INTEGER];
      const { rows: counts } = await runStatement<{ type: string; status: DeliveryStatus; n: number | string }>(
        database.reader,
        'SELECT type, status, COUNT(*) AS n FROM webhook_deliveries WHERE "webhookId" = ? AND "createdAt" >= ? AND "createdAt" <= ? GROUP BY type, status',
        range,
        { prepare: false },
      );
      const sum = (...statuses: DeliveryStatus[]): number =>
        counts.filter(({ status }) => statuses.includes(status)).reduce((total, { n }) => total + Number(n), 0);
      const {
        rows: [times],
      } = await runStatement<{ n: number | string; mean: number | string | null }>(
        database.reader,
        'SELECT COUNT(*) AS n, AVG("durationMs") AS mean FROM webhook_attempts WHERE "webhookId" = ? AND at >= ? AND at <= ?',
        range,
        { prepare: false },
      );
      const {
        rows: [p95],
      } = await runStatement<{ durationMs: number }>(
        database.reader,
        'SELECT "durationMs" FROM webhook_attempts WHERE "webhookId" = ? AND at >= ? AND at <= ? ORDER BY "durationMs" LIMIT 1 OFFSET ?',
        [...range, Math.max(0, Math.ceil(Number(times!.n) * 0.95) - 1)],
        { prepare: false },
      );
      const [delivered, failed] = [sum('delivered'), sum('failed')];
      const byEvent: Record<string, { delivered: number; failed: number; pending: number }> = {};
      for (const { type, status, n } of counts) {
        const entry = (byEvent[type] ??= { delivered: 0, failed: 0, pending: 0 });
        if (status === 'delivered' || status === 'failed') entry[status] += Number(n);
        else if (status !== 'cancelled') entry.pending += Number(n);
      }
      return {
        delivered,
        failed,
        pending: sum('pending', 'sending'),
        held: sum('held'),
        successRate: delivered + failed === 0 ? null : delivered / (delivered + failed),
        meanMs: times!.mean === null ? null : Math.round(Number(times!.mean)),
        p95Ms: p95?.durationMs ?? null,
        byEvent,
      };
    },

    /** Deletes finished deliveries of one endpoint, or of all, that are older than `before`. Returns their number. */
    async clear(webhookId: string | null, before: Date): Promise<number> {
      let total = 0;
      const unwritable: unknown[] = [];
      const remove = async (some: readonly { id: string }[]): Promise<void> => {
        await database.write.run(async (tx) => {
          for (const { id } of some) {
            await deleteRows(tx, WebhookAttempt, { deliveryId: id });
            await deleteRows(tx, WebhookDelivery, { id });
          }
        });
        total += some.length;
      };
      for (let after = ''; ;) {
        const { rows: old } = await runStatement<{ id: string }>(
          database.reader,
          `SELECT id FROM webhook_deliveries WHERE "createdAt" < ? AND ("redeliveredAt" IS NULL OR "redeliveredAt" < ?)
            AND status IN ('delivered', 'failed', 'cancelled')${webhookId ? ' AND "webhookId" = ?' : ''} AND id > ? ORDER BY id LIMIT 500`,
          [before.getTime(), before.getTime(), ...(webhookId ? [webhookId] : []), after],
          { prepare: false },
        );
        // A row that cannot be deleted stays; all others are deleted, and the error is thrown at the end.
        await attemptInHalves(old, remove, (_, error) => {
          if (isSystemError(error)) throw error;
          unwritable.push(error);
        });
        if (old.length === 0) break;
        after = old.at(-1)!.id;
      }
      if (unwritable.length > 0) throw unwritable[0];
      return total;
    },
  };

  async function queue(webhook: Webhook, found: readonly EventRow[], onlyMissing: boolean): Promise<number> {
    if (found.length === 0) return 0;
    const now = clock.now();
    return database.write.run(async (tx) => {
      const { condition, parameter } = among(
        tx.manager,
        'eventCursor',
        found.map(({ cursor }) => cursor),
      );
      const there = await readRows(tx.manager, WebhookDelivery, `"webhookId" = ? AND ${condition}`, [webhook.id, parameter]);
      const have = new Set(there.map(({ eventCursor }) => eventCursor));
      const missing = found.filter(({ cursor }) => !have.has(cursor));
      if (missing.length > 0)
        await insertRows(
          tx,
          WebhookDelivery,
          missing.map((event) => newDelivery(webhook, event, now)),
        );
      let queued = missing.length;
      if (!onlyMissing)
        for (const { id, status } of there)
          if (status === 'delivered' || status === 'failed')
            queued += await updateRows(tx, WebhookDelivery, { id, status }, again(now));
      return queued;
    });
  }

  async function headOf(accountId: string): Promise<number> {
    const {
      rows: [row],
    } = await runStatement<{ last: number | string | null }>(
      database.reader,
      'SELECT MAX(cursor) AS last FROM events WHERE "accountId" = ?',
      [accountId],
      { prepare: false },
    );
    return Number(row?.last ?? 0);
  }

  /** The last cursor before a time: cursors and times have the same order, except for events that WhatsApp reports late. */
  async function cursorBefore(accountId: string, time: number): Promise<number> {
    if (time === 0) return 0;
    const {
      rows: [row],
    } = await runStatement<{ first: number | string | null }>(
      database.reader,
      'SELECT MIN(cursor) AS first FROM events WHERE "accountId" = ? AND "occurredAt" >= ?',
      [accountId, time],
      { prepare: false },
    );
    return row?.first === null || row?.first === undefined ? Number.MAX_SAFE_INTEGER : Number(row.first) - 1;
  }
}
