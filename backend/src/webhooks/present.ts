import type { z } from 'zod';
import { readable } from '../db/unreadable.js';
import { cursorText } from '../events/events.js';
import type { circuits, webhook as webhookSchema } from './contract.js';
import type { deliveryWithLog } from './deliveries.contract.js';
import type { Backlog } from './deliveries.js';
import type { Webhook, WebhookAttempt, WebhookDelivery } from './webhook.entity.js';
import { iso } from '../lib/iso.js';

/** Converts endpoints, deliveries and attempts to the API's form. Times are ISO 8601. */

export type Circuit = (typeof circuits)[number];

/** Closed: attempts are made. Open: they pause until `openUntil`. Probing: that time is over and none has succeeded yet. */
export function circuitOf({ openUntil }: Pick<Webhook, 'openUntil'>, now: Date): Circuit {
  if (openUntil === null) return 'closed';
  return openUntil > now ? 'open' : 'probing';
}

/** `headers` are names alone. */
export function presentWebhook(
  webhook: Webhook,
  { headers, secretPrefix, backlog, now }: { headers: string[]; secretPrefix: string | null; backlog: Backlog; now: Date },
): z.input<typeof webhookSchema> {
  const isOverlap = webhook.oldSecretUntil !== null && webhook.oldSecretUntil > now;
  return {
    id: webhook.id,
    sessionId: webhook.sessionId,
    url: webhook.url,
    description: webhook.description,
    events: readable(webhook.events, []),
    headers,
    active: webhook.isActive,
    includeContent: webhook.includeContent,
    filter: readable(webhook.filter, null),
    transform: readable(webhook.transform, null),
    retry: readable(webhook.retry, null),
    circuit: circuitOf(webhook, now),
    disabledAt: iso(webhook.disabledAt),
    disabledReason: webhook.disabledReason,
    health: {
      failures: webhook.failures,
      failingSince: iso(webhook.failingSince),
      openUntil: iso(webhook.openUntil),
      lastDeliveredAt: iso(webhook.lastDeliveredAt),
      backlog: { waiting: backlog.waiting, oldestAt: iso(backlog.oldestAt) },
    },
    secretPrefix,
    previousSecretUntil: isOverlap ? iso(webhook.oldSecretUntil) : null,
    createdAt: webhook.createdAt.toISOString(),
    updatedAt: webhook.updatedAt.toISOString(),
  };
}

export const presentDelivery = (delivery: WebhookDelivery) => ({
  id: delivery.id,
  webhookId: delivery.webhookId,
  sessionId: delivery.sessionId,
  eventId: delivery.eventId,
  cursor: cursorText(delivery.eventCursor),
  event: delivery.type,
  status: delivery.status,
  attempts: delivery.attempts,
  nextAttemptAt: delivery.status === 'pending' ? iso(delivery.nextAttemptAt) : null,
  lastStatusCode: delivery.statusCode,
  lastError: delivery.error,
  createdAt: delivery.createdAt.toISOString(),
  redeliveredAt: iso(delivery.redeliveredAt),
  deliveredAt: delivery.status === 'delivered' ? iso(delivery.finishedAt) : null,
});

/** The attempts of one delivery, oldest first. Attempts that are no longer in the log still count in `number`. */
export function presentAttempts(
  { attempts }: Pick<WebhookDelivery, 'attempts'>,
  log: readonly WebhookAttempt[],
): z.input<typeof deliveryWithLog>['attemptLog'] {
  return log.map((attempt, index) => ({
    number: Math.max(0, attempts - log.length) + index + 1,
    at: attempt.at.toISOString(),
    durationMs: attempt.durationMs,
    statusCode: attempt.statusCode,
    error: attempt.error,
    request: { headers: readable(attempt.requestHeaders, {}), body: attempt.requestBody },
    response: attempt.response,
  }));
}
