import { AppError } from '@chasqui/shared';
import { In, type DataSource } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { countRanges, readRanges, type Condition } from '../db/ranges.js';
import { among, readAmong, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { nextCursorOf, readCursor, type Place } from '../lib/list-cursor.js';
import type { Subscriptions } from './subscriptions.js';
import { Webhook, WebhookDelivery, type DeliveryStatus } from './webhook.entity.js';

/** The deliveries of many endpoints: one list over all of them, and resending some of them. The caller has checked who may reach the endpoints. */
export interface DeliveryExplorer {
  /** Returns a page of deliveries in the order of their events, newest first. Throws `VALIDATION_FAILED` for a cursor that no page returned. */
  list(scope: Scope, filter: DeliveryFilter, page: { limit: number; cursor?: string | undefined }): Promise<ExplorerPage>;
  /** Counts the deliveries that meet the filter, up to `maxCounted`. */
  count(scope: Scope, filter: DeliveryFilter): Promise<{ total: number; isExact: boolean }>;
  /**
   * Sends deliveries again under their ids: at most `maxResent`, the oldest first. Only those that are delivered or failed start again; a repeat while
   * they wait changes nothing. One whose event retention has removed is left.
   */
  resend(caller: Caller, scope: Scope, which: { ids: readonly string[] } | { filter: DeliveryFilter }): Promise<Resent>;
}

/** The endpoints whose deliveries are meant. `all`: of every account, for staff. */
export type Scope = { endpoints: readonly Webhook[] } | { all: true };

export interface DeliveryFilter {
  webhookId?: string | undefined;
  event?: string | undefined;
  status?: DeliveryStatus | undefined;
  sessionId?: string | undefined;
  /** Our id of a message: deliveries of its events. */
  messageId?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
}

export interface ExplorerPage {
  found: WebhookDelivery[];
  nextCursor: string | null;
}

export interface Resent {
  /** Deliveries that start again. */
  queued: number;
  /** Deliveries that waited already, or were cancelled with their endpoint. */
  unchanged: number;
  /** Deliveries whose event is gone. */
  wiped: number;
  /** Ids of no delivery of these endpoints. */
  unknown: string[];
  /** Whether more deliveries meet the filter than one call resends. */
  isCut: boolean;
  endpoints: { webhook: Webhook; queued: number }[];
}

export const maxCounted = 10_000;
export const maxResent = 1_000;

type Context = Pick<Core, 'database' | 'clock'> & { subscriptions: Pick<Subscriptions, 'wake'> };

export function createDeliveryExplorer(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  { subscriptions }: Pick<Context, 'subscriptions'>,
): DeliveryExplorer {
  const context: Context = { database, clock, subscriptions };
  return {
    list: (scope, filter, page) => listDeliveries(database.reader, scope, filter, page),
    count: (scope, filter) => countDeliveries(database.reader, scope, filter),
    resend: (caller, scope, which) => resend(context, caller, scope, which),
  };
}

/** Each endpoint is a range of its own, read from its index in the order of events and no further than needed. */
interface Selection {
  ranges: Condition[];
  also: Condition[];
}

async function selectionOf(reader: DataSource, scope: Scope, filter: DeliveryFilter): Promise<Selection> {
  const also: Condition[] = [];
  const add = (sql: string, ...parameters: unknown[]): void => void also.push({ sql, parameters });
  const { webhookId, event, status, sessionId, messageId, from, to } = filter;
  if (event !== undefined) add('type = ?', event);
  if (status !== undefined) add('status = ?', status);
  if (sessionId !== undefined) add('"sessionId" = ?', sessionId);
  if (from !== undefined) add('"createdAt" >= ?', Date.parse(from));
  if (to !== undefined) add('"createdAt" <= ?', Date.parse(to));
  if (messageId !== undefined) {
    const cursors = among(reader, 'eventCursor', await cursorsOfMessage(reader, messageId));
    add(cursors.condition, cursors.parameter);
  }
  const named = (id: string): Condition => ({ sql: '"webhookId" = ?', parameters: [id] });
  const ids = 'endpoints' in scope ? scope.endpoints.map(({ id }) => id) : null;
  if (ids === null) return { ranges: [webhookId === undefined ? { sql: '1 = 1', parameters: [] } : named(webhookId)], also };
  return { ranges: ids.filter((id) => webhookId === undefined || id === webhookId).map(named), also };
}

async function cursorsOfMessage(reader: DataSource, messageId: string): Promise<number[]> {
  const sql = `SELECT e.cursor FROM events e JOIN messages m ON m."accountId" = e."accountId" AND m.id = e."messageId"
    WHERE m.id = ? ORDER BY e.cursor DESC LIMIT 1000`;
  const { rows } = await runStatement<{ cursor: number | string }>(reader, sql, [messageId]);
  return rows.map(({ cursor }) => Number(cursor));
}

/** Returns the places of deliveries in the order of events. */
async function placesOf(
  reader: DataSource,
  { ranges, also }: Selection,
  order: 'ASC' | 'DESC',
  limit: number,
  place: Place | null = null,
): Promise<Place[]> {
  const behind: Condition[] = place
    ? [{ sql: '"eventCursor" <= ? AND NOT ("eventCursor" = ? AND id >= ?)', parameters: [place.at, place.at, place.id] }]
    : [];
  const rows = await readRanges<{ id: string; eventCursor: number | string }>(
    reader,
    {
      table: 'webhook_deliveries',
      columns: 'id, "eventCursor"',
      ranges,
      also: [...behind, ...also],
      order: `"eventCursor" ${order}, id ${order}`,
      limit,
    },
    (one, other) =>
      (Number(one.eventCursor) - Number(other.eventCursor) || (one.id < other.id ? -1 : 1)) * (order === 'ASC' ? 1 : -1),
  );
  return rows.map(({ id, eventCursor }) => ({ at: Number(eventCursor), id }));
}

async function listDeliveries(
  reader: DataSource,
  scope: Scope,
  filter: DeliveryFilter,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<ExplorerPage> {
  const selection = await selectionOf(reader, scope, filter);
  const places = await placesOf(reader, selection, 'DESC', limit, cursor ? readCursor(cursor) : null);
  // Of the places, not of what is found there: a page that misses a deleted delivery is not the last one.
  return { found: await inOrder(reader, places), nextCursor: nextCursorOf(places, limit) };
}

/** A delivery that was deleted since is left out. */
async function inOrder(reader: DataSource, places: readonly Place[]): Promise<WebhookDelivery[]> {
  const ids = places.map(({ id }) => id);
  const rows = new Map((await readAmong(reader, WebhookDelivery, 'id', ids)).map((row) => [row.id, row]));
  return ids.flatMap((id) => rows.get(id) ?? []);
}

async function countDeliveries(
  reader: DataSource,
  scope: Scope,
  filter: DeliveryFilter,
): Promise<{ total: number; isExact: boolean }> {
  const { ranges, also } = await selectionOf(reader, scope, filter);
  const count = await countRanges(reader, {
    table: 'webhook_deliveries',
    ranges,
    also,
    order: '"eventCursor", id',
    limit: maxCounted + 1,
  });
  return { total: Math.min(count, maxCounted), isExact: count <= maxCounted };
}

async function resend(
  context: Context,
  caller: Caller,
  scope: Scope,
  which: { ids: readonly string[] } | { filter: DeliveryFilter },
): Promise<Resent> {
  const { reader } = context.database;
  const { found, unknown, isCut } =
    'ids' in which ? await named(reader, scope, which.ids) : await matching(reader, scope, which.filter);
  const cursors = among(reader, 'cursor', [...new Set(found.map(({ eventCursor }) => eventCursor))]);
  const sql = `SELECT cursor FROM events WHERE ${cursors.condition}`;
  const stored = await runStatement<{ cursor: number | string }>(reader, sql, [cursors.parameter]);
  const available = new Set(stored.rows.map(({ cursor }) => Number(cursor)));
  const sendable = found.filter(({ eventCursor }) => available.has(eventCursor));
  const webhooks = 'endpoints' in scope ? scope.endpoints : await endpointsOf(reader, sendable);
  const endpoints: Resent['endpoints'] = [];
  for (const webhook of webhooks) {
    const ids = sendable.filter(({ webhookId }) => webhookId === webhook.id).map(({ id }) => id);
    if (ids.length > 0) endpoints.push({ webhook, queued: await restart(context, caller, webhook, ids) });
  }
  const queued = endpoints.reduce((sum, one) => sum + one.queued, 0);
  const known =
    endpoints.length === 0 ? 0 : sendable.filter(({ webhookId }) => webhooks.some(({ id }) => id === webhookId)).length;
  return { queued, unchanged: known - queued, wiped: found.length - sendable.length, unknown, isCut, endpoints };
}

interface Chosen {
  found: WebhookDelivery[];
  unknown: string[];
  isCut: boolean;
}

async function named(reader: DataSource, scope: Scope, ids: readonly string[]): Promise<Chosen> {
  const reachable = 'endpoints' in scope ? new Set(scope.endpoints.map(({ id }) => id)) : null;
  const rows = await readAmong(reader, WebhookDelivery, 'id', [...new Set(ids)]);
  const found = rows.filter(({ webhookId }) => reachable === null || reachable.has(webhookId));
  const known = new Set(found.map(({ id }) => id));
  return { found, unknown: ids.filter((id) => !known.has(id)), isCut: false };
}

async function matching(reader: DataSource, scope: Scope, filter: DeliveryFilter): Promise<Chosen> {
  if (filter.status !== undefined && filter.status !== 'failed' && filter.status !== 'delivered')
    throw new AppError('VALIDATION_FAILED', {
      fields: [
        { path: 'filter.status', code: 'INVALID_VALUE', message: 'Only delivered and failed deliveries can be sent again.' },
      ],
    });
  // Without a status, those that failed: who wants the delivered ones again says so.
  const places = await placesOf(
    reader,
    await selectionOf(reader, scope, { ...filter, status: filter.status ?? 'failed' }),
    'ASC',
    maxResent + 1,
  );
  return { found: await inOrder(reader, places.slice(0, maxResent)), unknown: [], isCut: places.length > maxResent };
}

const endpointsOf = (reader: DataSource, deliveries: readonly WebhookDelivery[]): Promise<Webhook[]> =>
  readAmong(reader, Webhook, 'id', [...new Set(deliveries.map(({ webhookId }) => webhookId))]).then((rows) =>
    rows.filter(({ deletedAt }) => deletedAt === null),
  );

/** Starts the schedule of these deliveries again. May run twice: the second finds nothing that is over. Returns how many start. */
async function restart(
  { database, clock, subscriptions }: Context,
  caller: Caller,
  { id: webhookId, accountId }: Webhook,
  ids: readonly string[],
): Promise<number> {
  const now = clock.now();
  const queued = await database.write.run(async (tx) => {
    const over = { id: In([...ids]), webhookId, status: In(['delivered', 'failed'] satisfies DeliveryStatus[]) };
    const changes = { status: 'pending', nextAttemptAt: now, waitMs: 0, redeliveredAt: now, finishedAt: null } as const;
    const count = await updateRows(tx, WebhookDelivery, over, changes);
    const about = {
      action: 'webhook.redeliver',
      objectType: 'webhook',
      objectId: webhookId,
      accountId,
      changes: { queued: count },
    };
    await recordAudit(tx, caller, { ...about, at: now });
    return count;
  });
  subscriptions.wake(webhookId);
  return queued;
}
