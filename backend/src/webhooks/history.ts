import { Between, LessThan, LessThanOrEqual, MoreThanOrEqual, type FindOptionsWhere } from 'typeorm';
import { AppError, eventTypes, pageMeta, typesNamed } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { attemptInHalves } from '../db/isolate.js';
import { among, deleteRows, lockRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { readable } from '../db/unreadable.js';
import { EventRow } from '../events/event.entity.js';
import type { EventLog } from '../events/log.js';
import { nextCursorOf, readCursor } from '../lib/list-cursor.js';
import { insertDeliveries } from './deliveries.js';
import { moveDeliveries } from './move-deliveries.js';
import { matches } from './payload.js';
import { chatIdsOf, type Subscriptions } from './subscriptions.js';
import { Webhook, WebhookAttempt, WebhookDelivery, type DeliveryStatus } from './webhook.entity.js';

/**
 * The history of deliveries: lists, redelivery, statistics and deletion. Each verb receives an endpoint that the caller has found, so that access is
 * checked in one place. Redelivery restarts the schedule of a delivery; its id and its number of attempts stay.
 */
export interface WebhookHistory {
  /** Throws `DELIVERY_NOT_FOUND`. */
  find(webhook: Webhook, id: string): Promise<WebhookDelivery>;
  /** Returns a page of deliveries, newest first. Throws `VALIDATION_FAILED` for a cursor that no page returned. */
  list(webhook: Webhook, query: DeliveryQuery): Promise<DeliveryPage>;
  /** Returns the first 200 logged attempts of a delivery, oldest first. */
  attempts(delivery: WebhookDelivery): Promise<WebhookAttempt[]>;
  /**
   * Starts the schedule of a finished delivery again; one that waits, is held or was cancelled stays as it is. Returns the delivery. Throws
   * `DELIVERY_NOT_FOUND`, and `CONTENT_WIPED` when retention removed the event.
   */
  redeliver(caller: Caller, webhook: Webhook, id: string): Promise<WebhookDelivery>;
  /** Sends everything again that has failed. Returns the number of deliveries. */
  redeliverFailed(caller: Caller, webhook: Webhook): Promise<number>;
  /**
   * Sends every event of a range that the endpoint's present settings match, also those from while it was off. Returns the number of deliveries.
   * Throws `UNKNOWN_EVENT_TYPE` and `CURSOR_EXPIRED`.
   */
  redeliverRange(caller: Caller, webhook: Webhook, range: RangeInput): Promise<number>;
  /** Queues deliveries of the matching events since a time that have none, such as those from while the endpoint was off. */
  recover(webhook: Webhook, since: Date): Promise<void>;
  /** Counts deliveries that were created, and attempts that were made, in a range of time. */
  stats(webhook: Webhook, from: Date | null, to: Date | null): Promise<DeliveryStats>;
  /** Deletes finished deliveries of an endpoint that are older than `before`. Returns their number. */
  clear(caller: Caller, webhook: Webhook, before: Date): Promise<number>;
  /** Deletes finished deliveries of all endpoints that are older than `before`. Returns their number. May end halfway, and runs again. */
  prune(before: Date): Promise<number>;
}

export interface DeliveryQuery {
  status?: DeliveryStatus | undefined;
  event?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  limit: number;
  offset: number;
  cursor?: string | undefined;
}
/** `meta` is the `meta` of the API's reply. Without a cursor it has the number of deliveries that match. */
export interface DeliveryPage {
  found: WebhookDelivery[];
  meta: object;
}
export interface RangeInput {
  from?: string | undefined;
  after?: string | undefined;
  to?: string | undefined;
  events?: string[] | undefined;
  onlyMissing?: boolean | undefined;
}
export interface DeliveryStats {
  delivered: number;
  failed: number;
  pending: number;
  held: number;
  /** Null before the first delivery has succeeded or failed. */
  successRate: number | null;
  meanMs: number | null;
  p95Ms: number | null;
  byEvent: Record<string, { delivered: number; failed: number; pending: number }>;
}

interface HistoryParts {
  eventLog: Pick<EventLog, 'head' | 'requireAvailable'>;
  subscriptions: Pick<Subscriptions, 'wake'>;
}
type Context = Core & HistoryParts;

export function createWebhookHistory(core: Core, parts: HistoryParts): WebhookHistory {
  const context: Context = { ...core, ...parts };
  return {
    find: (webhook, id) => findDelivery(context, webhook, id),
    list: (webhook, query) => listDeliveries(context, webhook, query),
    attempts: (delivery) => attemptsOf(context, delivery),
    redeliver: (caller, webhook, id) => redeliver(context, caller, webhook, id),
    redeliverFailed: (caller, webhook) => redeliverFailed(context, caller, webhook),
    async redeliverRange(caller, webhook, range) {
      const checked = await checkRange(context, webhook, range);
      await context.database.write.run((tx) => audit(context, tx, caller, webhook, 'webhook.redeliver', { ...range }));
      return queueRange(context, webhook, checked);
    },
    recover: async (webhook, since) =>
      void (await queueRange(
        context,
        webhook,
        await checkRange(context, webhook, { from: since.toISOString(), onlyMissing: true }),
      )),
    stats: (webhook, from, to) => statsOf(context, webhook, from, to),
    async clear(caller, webhook, before) {
      const changes = { before: before.toISOString() };
      await context.database.write.run((tx) => audit(context, tx, caller, webhook, 'webhook.clear_deliveries', changes));
      return deleteFinished(context, webhook.id, before);
    },
    prune: (before) => deleteFinished(context, null, before),
  };
}

/**
 * Records a change with the transaction of the change. A change of many transactions is recorded before the first of them, with what was asked for, so
 * that none is without an entry.
 */
const audit = (
  { clock }: Context,
  tx: Transaction,
  caller: Caller,
  { id: objectId, accountId }: Webhook,
  action: string,
  changes: Record<string, unknown>,
): Promise<void> => recordAudit(tx, caller, { action, objectType: 'webhook', objectId, accountId, changes, at: clock.now() });

async function findDelivery({ database }: Context, webhook: Webhook, id: string): Promise<WebhookDelivery> {
  const delivery = await database.reader.getRepository(WebhookDelivery).findOneBy({ id, webhookId: webhook.id });
  if (!delivery) throw new AppError('DELIVERY_NOT_FOUND');
  return delivery;
}

async function listDeliveries(
  { database }: Context,
  webhook: Webhook,
  { status, event, from, to, limit, offset, cursor }: DeliveryQuery,
): Promise<DeliveryPage> {
  const rows = database.reader.getRepository(WebhookDelivery);
  const where: FindOptionsWhere<WebhookDelivery> = {
    webhookId: webhook.id,
    ...(status ? { status } : {}),
    ...(event ? { type: event } : {}),
    ...(from && to ? { createdAt: Between(new Date(from), new Date(to)) } : {}),
    ...(from && !to ? { createdAt: MoreThanOrEqual(new Date(from)) } : {}),
    ...(to && !from ? { createdAt: LessThanOrEqual(new Date(to)) } : {}),
  };
  // An endpoint has one delivery of each event, so the event's cursor alone gives the order.
  const order = { eventCursor: 'DESC' } as const;
  const next = (found: readonly WebhookDelivery[]) =>
    nextCursorOf(
      found.map(({ eventCursor: at, id }) => ({ at, id })),
      limit,
    );
  if (cursor) {
    const found = await rows.find({ where: { ...where, eventCursor: LessThan(readCursor(cursor).at) }, order, take: limit });
    return { found, meta: { limit, nextCursor: next(found) } };
  }
  const [found, total] = await rows.findAndCount({ where, order, take: limit, skip: offset });
  return { found, meta: { ...pageMeta({ limit, offset }, total), nextCursor: next(found) } };
}

function attemptsOf({ database }: Context, { id: deliveryId }: WebhookDelivery): Promise<WebhookAttempt[]> {
  return database.reader.getRepository(WebhookAttempt).find({ where: { deliveryId }, order: { at: 'ASC' }, take: 200 });
}

/** The columns of a delivery whose schedule starts again. */
const restarted = (now: Date) => ({
  status: 'pending' as const,
  nextAttemptAt: now,
  waitMs: 0,
  redeliveredAt: now,
  finishedAt: null,
});

async function redeliver(context: Context, caller: Caller, webhook: Webhook, id: string): Promise<WebhookDelivery> {
  const { database, clock, subscriptions } = context;
  const { status, eventCursor: cursor } = await findDelivery(context, webhook, id);
  if (!(await database.reader.getRepository(EventRow).existsBy({ cursor }))) throw new AppError('CONTENT_WIPED');
  await database.write.run(async (tx) => {
    if (status === 'delivered' || status === 'failed')
      await updateRows(tx, WebhookDelivery, { id, status }, restarted(clock.now()));
    await audit(context, tx, caller, webhook, 'webhook.redeliver', { deliveryId: id });
  });
  subscriptions.wake(webhook.id);
  return findDelivery(context, webhook, id);
}

async function redeliverFailed(context: Context, caller: Caller, webhook: Webhook): Promise<number> {
  const { database, clock, subscriptions } = context;
  const queued = await database.write.run(async (tx) => {
    const moved = await moveDeliveries(tx, webhook.id, ['failed'], restarted(clock.now()));
    await audit(context, tx, caller, webhook, 'webhook.redeliver', { queued: moved });
    return moved;
  });
  subscriptions.wake(webhook.id);
  return queued;
}

const pageSize = 500;
const pageSql = `SELECT cursor FROM events WHERE "accountId" = ? AND cursor > ? ORDER BY cursor LIMIT ${pageSize}`;

interface CheckedRange {
  /** The events after this cursor, up to the head. */
  cursor: number;
  head: number;
  /** Milliseconds since 1970. */
  begin: number;
  end: number;
  types: ReadonlySet<string> | undefined;
  onlyMissing: boolean;
}

/** Throws `UNKNOWN_EVENT_TYPE` and `CURSOR_EXPIRED`. */
async function checkRange(context: Context, { accountId }: Webhook, range: RangeInput): Promise<CheckedRange> {
  const { eventLog } = context;
  const { from, after, to, onlyMissing = false } = range;
  const types = range.events && typesOf(range.events);
  const [begin, end] = [from ? Date.parse(from) : 0, to ? Date.parse(to) : Infinity];
  const cursor = after === undefined ? await cursorBefore(context, accountId, begin) : Number(after);
  if (after !== undefined) await eventLog.requireAvailable(accountId, cursor);
  return { cursor, head: await eventLog.head(accountId), begin, end, types, onlyMissing };
}

/** Goes through the log page by page, and queues the events that match. Returns the number of deliveries. */
async function queueRange(context: Context, webhook: Webhook, range: CheckedRange): Promise<number> {
  const { database, subscriptions } = context;
  const { head, begin, end, types, onlyMissing } = range;
  let { cursor } = range;
  let queued = 0;
  for (;;) {
    const { rows: page } = await runStatement<{ cursor: number | string }>(database.reader, pageSql, [webhook.accountId, cursor]);
    const cursors = page.map((row) => Number(row.cursor)).filter((one) => one <= head);
    if (cursors.length === 0) break;
    cursor = cursors.at(-1)!;
    const { condition, parameter } = among(database.reader, 'cursor', cursors);
    const found: EventRow[] = [];
    for (const row of await readRows(database.reader, EventRow, condition, [parameter])) {
      const at = row.occurredAt.getTime();
      if (at < begin || at > end || (types && !types.has(row.type))) continue;
      if (await isMatch(context, webhook, row)) found.push(row);
    }
    queued += await queue(context, webhook, found, onlyMissing);
    if (cursors.length < pageSize) break;
  }
  subscriptions.wake(webhook.id);
  return queued;
}

/** Whether an endpoint gets an event. One whose stored content cannot be read is delivered to no endpoint, and stops no other. */
async function isMatch({ database, log }: Context, webhook: Webhook, row: EventRow): Promise<boolean> {
  const data = readable(row.data, null);
  if (data) return matches(row, webhook, await chatIdsOf(database.reader, webhook, data));
  log.error('An event cannot be read and is not delivered again.', { eventId: row.id, webhookId: webhook.id });
  return false;
}

/** Resolves names to types. Throws `UNKNOWN_EVENT_TYPE`. */
function typesOf(names: readonly string[]): ReadonlySet<string> {
  const types = names.flatMap((name) => {
    const named = typesNamed(name);
    if (!named) throw new AppError('UNKNOWN_EVENT_TYPE', { event: name, known: eventTypes });
    return named;
  });
  return new Set(types);
}

/** Writes deliveries for events that have none, and restarts finished ones unless `onlyMissing`. Returns their number. */
async function queue(
  { database, clock }: Context,
  webhook: Webhook,
  events: readonly EventRow[],
  onlyMissing: boolean,
): Promise<number> {
  if (events.length === 0) return 0;
  const now = clock.now();
  return database.write.run(async (tx) => {
    // Closes: two calls queue one range at once, and each finds no delivery of an event.
    await lockRows(tx, Webhook, [webhook.id]);
    const { condition, parameter } = among(
      tx.manager,
      'eventCursor',
      events.map(({ cursor }) => cursor),
    );
    const present = await readRows(tx.manager, WebhookDelivery, `"webhookId" = ? AND ${condition}`, [webhook.id, parameter]);
    const cursors = new Set(present.map(({ eventCursor }) => eventCursor));
    const missing = events.filter(({ cursor }) => !cursors.has(cursor)).map((event) => ({ webhook, event }));
    if (missing.length > 0) await insertDeliveries(tx, missing, now);
    let queued = missing.length;
    if (!onlyMissing)
      for (const { id, status } of present)
        if (status === 'delivered' || status === 'failed')
          queued += await updateRows(tx, WebhookDelivery, { id, status }, restarted(now));
    return queued;
  });
}

/** Returns the last cursor before a time: cursors and times have the same order. */
async function cursorBefore({ database }: Context, accountId: string, time: number): Promise<number> {
  if (time === 0) return 0;
  const { rows } = await runStatement<{ first: number | string | null }>(
    database.reader,
    'SELECT MIN(cursor) AS first FROM events WHERE "accountId" = ? AND "occurredAt" >= ?',
    [accountId, time],
    { prepare: false },
  );
  const first = rows[0]?.first ?? null;
  return first === null ? Number.MAX_SAFE_INTEGER : Number(first) - 1;
}

const countsSql = `SELECT type, status, COUNT(*) AS n FROM webhook_deliveries
  WHERE "webhookId" = ? AND "createdAt" >= ? AND "createdAt" <= ? GROUP BY type, status`;
const timesSql = `SELECT COUNT(*) AS n, AVG("durationMs") AS mean FROM webhook_attempts WHERE "webhookId" = ? AND at >= ? AND at <= ?`;
const rankSql = `SELECT "durationMs" FROM webhook_attempts WHERE "webhookId" = ? AND at >= ? AND at <= ?
  ORDER BY "durationMs" LIMIT 1 OFFSET ?`;

async function statsOf({ database: { reader } }: Context, webhook: Webhook, from: Date | null, to: Date | null) {
  const range = [webhook.id, from?.getTime() ?? 0, to?.getTime() ?? Number.MAX_SAFE_INTEGER];
  const unprepared = { prepare: false };
  const { rows: counts } = await runStatement<{ type: string; status: DeliveryStatus; n: number | string }>(
    reader,
    countsSql,
    range,
    unprepared,
  );
  const {
    rows: [times],
  } = await runStatement<{ n: number | string; mean: number | string | null }>(reader, timesSql, range, unprepared);
  const rank = Math.max(0, Math.ceil(Number(times!.n) * 0.95) - 1);
  const {
    rows: [p95],
  } = await runStatement<{ durationMs: number }>(reader, rankSql, [...range, rank], unprepared);
  const sum = (...statuses: DeliveryStatus[]): number =>
    counts.filter(({ status }) => statuses.includes(status)).reduce((total, { n }) => total + Number(n), 0);
  const [delivered, failed] = [sum('delivered'), sum('failed')];
  const byEvent: DeliveryStats['byEvent'] = {};
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
}

/** Deletes finished deliveries of one endpoint, or of all. A row that cannot be deleted stays; its error is thrown after all others are deleted. */
async function deleteFinished({ database }: Context, webhookId: string | null, before: Date): Promise<number> {
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
    await attemptInHalves(old, remove, (_, error) => {
      if (isSystemError(error)) throw error;
      unwritable.push(error);
    });
    if (old.length === 0) break;
    after = old.at(-1)!.id;
  }
  if (unwritable.length > 0) throw unwritable[0];
  return total;
}
