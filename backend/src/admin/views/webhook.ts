import { AppError } from '@chasqui/shared';
import { In, IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { readable } from '../../db/unreadable.js';
import { Session } from '../../sessions/session.entity.js';
import { waitingSince } from '../../webhooks/deliveries.js';
import { Webhook, WebhookAttempt, WebhookDelivery } from '../../webhooks/webhook.entity.js';
import { toMs } from './time.js';

/** One endpoint with its newest deliveries, without its secret. */
export async function webhookView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Webhook).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('WEBHOOK_NOT_FOUND');
  const newest = { where: { webhookId: id }, order: { eventCursor: 'DESC' }, take: 30 } as const;
  const [account, session, deliveries, oldest, counts] = await Promise.all([
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    row.sessionId ? reader.getRepository(Session).findOneBy({ id: row.sessionId }) : null,
    reader.getRepository(WebhookDelivery).find(newest),
    reader
      .getRepository(WebhookDelivery)
      .findOne({ where: { webhookId: id, status: In(['pending', 'sending']) }, order: { eventCursor: 'ASC' } }),
    reader
      .getRepository(WebhookDelivery)
      .createQueryBuilder('d')
      .select('d.status', 'status')
      .addSelect('COUNT(*)', 'n')
      .where('d.webhookId = :id', { id })
      .groupBy('d.status')
      .getRawMany<{ status: string; n: number | string }>(),
  ]);
  const attempts = await reader
    .getRepository(WebhookAttempt)
    .find({ where: { deliveryId: In(deliveries.map((delivery) => delivery.id)) }, order: { at: 'DESC' }, take: 200 });
  const countOf = (...statuses: string[]): number =>
    counts.filter(({ status }) => statuses.includes(status)).reduce((sum, { n }) => sum + Number(n), 0);
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    events: readable(row.events, []),
    account: { id: row.accountId, name: account?.username ?? null },
    session: row.sessionId ? { id: row.sessionId, name: session?.name ?? null } : null,
    isActive: row.isActive,
    state: !row.isActive
      ? ('disabled' as const)
      : row.openUntil
        ? ('open' as const)
        : row.failures > 0
          ? ('failing' as const)
          : ('healthy' as const),
    disabledReason: row.disabledReason,
    failures: row.failures,
    failingSince: toMs(row.failingSince),
    openUntil: toMs(row.openUntil),
    lastDeliveredAt: toMs(row.lastDeliveredAt),
    oldestWaitingAt: toMs(oldest && waitingSince(oldest)),
    createdAt: toMs(row.createdAt),
    counts: {
      delivered: countOf('delivered'),
      failed: countOf('failed'),
      pending: countOf('pending', 'sending'),
      held: countOf('held'),
    },
    deliveries: deliveries.map((delivery) => ({
      id: delivery.id,
      type: delivery.type,
      status: delivery.status,
      attempts: delivery.attempts,
      statusCode: delivery.statusCode,
      error: delivery.error,
      createdAt: delivery.createdAt.getTime(),
      log: attempts
        .filter(({ deliveryId }) => deliveryId === delivery.id)
        .slice(0, 5)
        .map((attempt) => ({
          at: attempt.at.getTime(),
          durationMs: attempt.durationMs,
          statusCode: attempt.statusCode,
          error: attempt.error,
          request: attempt.requestBody,
          response: attempt.response,
        })),
    })),
  };
}
export type WebhookView = Awaited<ReturnType<typeof webhookView>>;
