import { defineRoute, eventTypes, listCursor, paging, type ErrorCode } from '@chasqui/shared';
import { z } from 'zod';
import { deliveryStatuses } from './webhook.entity.js';

/** Routes of deliveries and of redelivery. */

const time = z.iso.datetime();
const nullable = time.nullable();
export const webhookParams = z.object({ webhookId: z.string().max(64) });
const deliveryParams = z.object({ webhookId: z.string().max(64), deliveryId: z.string().max(64) });

export const delivery = z
  .object({
    id: z.string(),
    webhookId: z.string(),
    sessionId: z.string().nullable(),
    eventId: z.string(),
    cursor: z.string(),
    event: z.string(),
    status: z.enum(deliveryStatuses),
    attempts: z.number().int(),
    nextAttemptAt: nullable,
    /** Of the last attempt. */
    lastStatusCode: z.number().int().nullable(),
    lastError: z.string().nullable(),
    createdAt: time,
    /** When a redelivery was last requested, which started the retry window again. Null: never. */
    redeliveredAt: nullable,
    deliveredAt: nullable,
  })
  .meta({ id: 'Delivery' });
export const deliveryWithLog = delivery.extend({
  attemptLog: z.array(
    z.object({
      /** Of the attempt, from 1, as in the header `X-Webhook-Attempt`. */
      number: z.number().int(),
      at: time,
      durationMs: z.number().int(),
      statusCode: z.number().int().nullable(),
      error: z.string().nullable(),
      request: z.object({ headers: z.record(z.string(), z.string()), body: z.string().nullable() }),
      response: z.string().nullable(),
    }),
  ),
});
export const stats = z
  .object({
    delivered: z.number().int(),
    failed: z.number().int(),
    pending: z.number().int(),
    held: z.number().int(),
    /** Part of the finished ones that were delivered; null while none is finished. */
    successRate: z.number().nullable(),
    meanMs: z.number().nullable(),
    p95Ms: z.number().nullable(),
    byEvent: z.record(z.string(), z.object({ delivered: z.number().int(), failed: z.number().int(), pending: z.number().int() })),
  })
  .meta({ id: 'WebhookStats' });

export const listQuery = z.strictObject({
  ...paging,
  cursor: listCursor.optional(),
  status: z.enum(deliveryStatuses).optional(),
  event: z.enum(eventTypes as [string, ...string[]]).optional(),
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
});
export const statsQuery = z.strictObject({
  startDate: z.iso.datetime({ offset: true }).optional(),
  endDate: z.iso.datetime({ offset: true }).optional(),
});
export const clearQuery = z.strictObject({ before: z.iso.datetime({ offset: true }).optional() });
export const access = { auth: 'key', permission: 'webhook.configure' } as const;
/** The errors of routes that name an endpoint. */
export const endpointErrors: readonly ErrorCode[] = ['WEBHOOK_NOT_FOUND'];

export const listDeliveries = defineRoute({
  ...access,
  id: 'webhooks.deliveries.list',
  method: 'get',
  path: '/webhooks/:webhookId/deliveries',
  summary: 'Deliveries, newest first',
  params: webhookParams,
  query: listQuery,
  reply: z.array(delivery),
  errors: endpointErrors,
});
export const clearDeliveries = defineRoute({
  ...access,
  id: 'webhooks.deliveries.clear',
  method: 'delete',
  path: '/webhooks/:webhookId/deliveries',
  summary: 'Delete finished deliveries',
  params: webhookParams,
  query: clearQuery,
  reply: z.object({ deleted: z.number().int() }),
  errors: endpointErrors,
});
export const readDelivery = defineRoute({
  ...access,
  id: 'webhooks.deliveries.read',
  method: 'get',
  path: '/webhooks/:webhookId/deliveries/:deliveryId',
  summary: 'One delivery with its attempts',
  params: deliveryParams,
  reply: deliveryWithLog,
  errors: [...endpointErrors, 'DELIVERY_NOT_FOUND'],
});
export const redeliverOne = defineRoute({
  ...access,
  id: 'webhooks.deliveries.redeliver',
  method: 'post',
  path: '/webhooks/:webhookId/deliveries/:deliveryId/redeliver',
  summary: 'Resend one delivery under the same id',
  params: deliveryParams,
  body: z.strictObject({}),
  status: 202,
  reply: delivery,
  errors: [...endpointErrors, 'DELIVERY_NOT_FOUND', 'CONTENT_WIPED'],
});
export const redeliver = defineRoute({
  ...access,
  id: 'webhooks.redeliver',
  method: 'post',
  path: '/webhooks/:webhookId/redeliver',
  summary: 'Resend a range: by time, from a cursor, or all failed deliveries',
  params: webhookParams,
  body: z.union([
    z.strictObject({ failed: z.literal(true) }),
    z.strictObject({
      from: z.iso.datetime({ offset: true }).optional(),
      after: z
        .string()
        .regex(/^\d{1,20}$/)
        .optional(),
      to: z.iso.datetime({ offset: true }).optional(),
      events: z.array(z.string().max(60)).max(100).optional(),
      onlyMissing: z.boolean().optional(),
    }),
  ]),
  status: 202,
  reply: z.object({ queued: z.number().int() }),
  errors: [...endpointErrors, 'CURSOR_EXPIRED', 'UNKNOWN_EVENT_TYPE'],
});
