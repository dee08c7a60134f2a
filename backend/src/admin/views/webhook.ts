import { AppError } from '@chasqui/shared';
import { In, IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { runStatement } from '../../db/statement.js';
import { readable } from '../../db/unreadable.js';
import { Session } from '../../sessions/session.entity.js';
import { waitingSince } from '../../webhooks/deliveries.js';
import { Webhook, WebhookDelivery } from '../../webhooks/webhook.entity.js';
import type { PanelVerbs } from '../verbs.js';
import { webhookTitle } from '../alerts.js';
import { toMs } from './time.js';
import { webhookDays } from './webhook-day.js';

/** The state of an endpoint in one word. `unproven`: nothing was delivered yet. */
export function webhookStateOf(row: Pick<Webhook, 'isActive' | 'openUntil' | 'failures' | 'lastDeliveredAt'>) {
  if (!row.isActive) return 'disabled' as const;
  if (row.openUntil) return 'open' as const;
  if (row.failures > 0) return 'failing' as const;
  return row.lastDeliveredAt ? ('healthy' as const) : ('unproven' as const);
}
export type WebhookState = ReturnType<typeof webhookStateOf>;

interface WebhookViewParts {
  reader: DataSource;
  webhooks: Pick<PanelVerbs['webhooks'], 'headerNames'>;
}

/** One endpoint with the counts of its deliveries, without its secret. */
export async function webhookView({ reader, webhooks }: WebhookViewParts, id: string, now: Date) {
  const row = await reader.getRepository(Webhook).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('WEBHOOK_NOT_FOUND');
  const countSql = 'SELECT status, COUNT(*) AS n FROM webhook_deliveries WHERE "webhookId" = ? GROUP BY status';
  const [account, session, oldest, { rows: counts }] = await Promise.all([
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    row.sessionId ? reader.getRepository(Session).findOneBy({ id: row.sessionId }) : null,
    reader
      .getRepository(WebhookDelivery)
      .findOne({ where: { webhookId: id, status: In(['pending', 'sending']) }, order: { eventCursor: 'ASC' } }),
    runStatement<{ status: string; n: number | string }>(reader, countSql, [id], { prepare: false }),
  ]);
  const countOf = (...statuses: string[]): number =>
    counts.filter(({ status }) => statuses.includes(status)).reduce((sum, { n }) => sum + Number(n), 0);
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    events: readable(row.events, []),
    filter: readable(row.filter, null),
    transform: readable(row.transform, null),
    retry: readable(row.retry, null),
    includeContent: row.includeContent,
    headerNames: await webhooks.headerNames(id),
    account: { id: row.accountId, name: account?.username ?? null },
    session: row.sessionId ? { id: row.sessionId, name: session?.name ?? null } : null,
    isActive: row.isActive,
    title: webhookTitle(row),
    state: webhookStateOf(row),
    disabledReason: row.disabledReason,
    failures: row.failures,
    failingSince: toMs(row.failingSince),
    openUntil: toMs(row.openUntil),
    lastDeliveredAt: toMs(row.lastDeliveredAt),
    oldestWaitingAt: toMs(oldest && waitingSince(oldest)),
    createdAt: toMs(row.createdAt),
    now: now.getTime(),
    day: (await webhookDays(reader, [id], now.getTime())).get(id)!,
    counts: {
      delivered: countOf('delivered'),
      failed: countOf('failed'),
      pending: countOf('pending', 'sending'),
      held: countOf('held'),
    },
  };
}
export type WebhookView = Awaited<ReturnType<typeof webhookView>>;
