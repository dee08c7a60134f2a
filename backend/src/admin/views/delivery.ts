import { AppError } from '@chasqui/shared';
import { In, IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { readable } from '../../db/unreadable.js';
import { Session } from '../../sessions/session.entity.js';
import type { DeliveryFilter, Resent } from '../../webhooks/explorer.js';
import { circuitOf } from '../../webhooks/present.js';
import { Webhook, WebhookAttempt, WebhookDelivery } from '../../webhooks/webhook.entity.js';
import type { PanelVerbs } from '../verbs.js';
import { toMs } from './time.js';

const pageSize = 25;
const maxAttempts = 50;

/** A page of deliveries of all accounts, each with the state of its endpoint. */
export async function deliveriesView(
  reader: DataSource,
  webhooks: Pick<PanelVerbs['webhooks'], 'deliveries'>,
  { cursor, ...filter }: DeliveryFilter & { cursor?: string | undefined },
  now: Date,
) {
  const { found, nextCursor } = await webhooks.deliveries(filter, { limit: pageSize, cursor });
  return { deliveries: await withEndpoints(reader, found, now), nextCursor };
}
export type DeliveriesView = Awaited<ReturnType<typeof deliveriesView>>;

async function withEndpoints(reader: DataSource, found: readonly WebhookDelivery[], now: Date) {
  const unique = (ids: readonly (string | null)[]) => In([...new Set(ids.filter((one): one is string => one !== null))]);
  const [endpoints, accounts, sessions] = await Promise.all([
    reader.getRepository(Webhook).findBy({ id: unique(found.map(({ webhookId }) => webhookId)) }),
    reader.getRepository(Account).findBy({ id: unique(found.map(({ accountId }) => accountId)) }),
    reader.getRepository(Session).findBy({ id: unique(found.map(({ sessionId }) => sessionId)) }),
  ]);
  const endpointOf = new Map(endpoints.map((row) => [row.id, row]));
  const accountOf = new Map(accounts.map(({ id, username }) => [id, username]));
  const sessionOf = new Map(sessions.map(({ id, name }) => [id, name]));
  return found.map((row) => ({
    id: row.id,
    type: row.type,
    eventId: row.eventId,
    status: row.status,
    attempts: row.attempts,
    statusCode: row.statusCode,
    error: row.error,
    createdAt: row.createdAt.getTime(),
    nextAttemptAt: row.status === 'pending' ? toMs(row.nextAttemptAt) : null,
    account: { id: row.accountId, name: accountOf.get(row.accountId) ?? null },
    session: row.sessionId ? (sessionOf.get(row.sessionId) ?? row.sessionId) : null,
    endpoint: endpointView(row.webhookId, endpointOf.get(row.webhookId) ?? null, now),
  }));
}
export type DeliveryRow = DeliveriesView['deliveries'][number];

function endpointView(id: string, row: Webhook | null, now: Date) {
  const isOpen = row?.openUntil != null && row.openUntil > now;
  return {
    id,
    title: row ? titleOf(row) : id,
    isDeleted: row === null || row.deletedAt !== null,
    isActive: row?.isActive ?? false,
    circuit: row ? circuitOf(row, now) : ('closed' as const),
    openUntil: isOpen ? toMs(row.openUntil) : null,
  };
}

/** Several endpoints may have one host, so the path is shown too. */
const titleOf = ({ description, url }: Webhook): string => description ?? url.replace(/^https?:\/\//, '').slice(0, 80);

/** One delivery with its attempts, oldest first. */
export async function deliveryView(reader: DataSource, id: string, now: Date) {
  const row = await reader.getRepository(WebhookDelivery).findOneBy({ id });
  if (!row) throw new AppError('DELIVERY_NOT_FOUND');
  const order = { at: 'DESC' } as const;
  const attempts = await reader.getRepository(WebhookAttempt).find({ where: { deliveryId: id }, order, take: maxAttempts });
  const url = (await reader.getRepository(Webhook).findOneBy({ id: row.webhookId }))?.url ?? null;
  const [delivery] = await withEndpoints(reader, [row], now);
  return {
    ...delivery!,
    url,
    log: attempts.reverse().map((attempt, index) => ({
      number: Math.max(0, row.attempts - attempts.length) + index + 1,
      at: attempt.at.getTime(),
      durationMs: attempt.durationMs,
      statusCode: attempt.statusCode,
      error: attempt.error,
      headers: readable(attempt.requestHeaders, {}),
      request: attempt.requestBody,
      response: attempt.response,
    })),
  };
}
export type DeliveryView = Awaited<ReturnType<typeof deliveryView>>;

/** The endpoints to choose from. */
export async function endpointChoices(reader: DataSource) {
  const rows = await reader
    .getRepository(Webhook)
    .find({ where: { deletedAt: IsNull() }, order: { createdAt: 'DESC', id: 'DESC' }, take: 500 });
  return rows.map((row) => ({ id: row.id, title: titleOf(row) }));
}
export type EndpointChoices = Awaited<ReturnType<typeof endpointChoices>>;

/** What a resend has done, with what each endpoint waits for. */
export const resentView = ({ queued, unchanged, wiped, unknown, isCut, endpoints }: Resent) => ({
  queued,
  unchanged,
  wiped,
  unknown: unknown.length,
  isCut,
  endpoints: endpoints.map(({ webhook, queued: ofEndpoint }) => ({
    title: titleOf(webhook),
    queued: ofEndpoint,
    isActive: webhook.isActive,
    openUntil: toMs(webhook.openUntil),
  })),
});
export type ResentView = ReturnType<typeof resentView>;
