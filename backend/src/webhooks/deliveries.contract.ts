import { defineRoute, eventTypes, instant, listCursor, paging, type ErrorCode } from '@chasqui/shared';
import { z } from 'zod';
import { sessionRef } from '../sessions/contract.js';
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
  from: instant.optional(),
  to: instant.optional(),
});
export const statsQuery = z.strictObject({
  startDate: instant.optional(),
  endDate: instant.optional(),
});
export const clearQuery = z.strictObject({ before: instant.optional() });
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
/** Which deliveries of all endpoints are meant. */
export const deliveryFilter = {
  webhookId: z.string().max(64).optional(),
  event: listQuery.shape.event,
  status: z.enum(deliveryStatuses).optional(),
  sessionId: sessionRef.optional(),
  messageId: z.string().max(64).optional().describe('Our id of a message: deliveries of its events.'),
  from: instant.optional(),
  to: instant.optional(),
};
export const listAllDeliveries = defineRoute({
  ...access,
  id: 'webhooks.deliveries.listAll',
  method: 'get',
  path: '/webhooks/deliveries',
  summary: 'Deliveries of all endpoints whose events the caller may read, newest first',
  query: z.strictObject({ ...deliveryFilter, limit: paging.limit, cursor: listCursor.optional() }),
  reply: z.array(delivery),
  errors: ['SESSION_NOT_FOUND'],
});
export const maxIds = 500;
export const resendDeliveries = defineRoute({
  ...access,
  id: 'webhooks.deliveries.resend',
  method: 'post',
  path: '/webhooks/deliveries/redeliver',
  summary:
    'Resend deliveries of any endpoints under their ids: those named, or those that meet a filter (without a status: the failed ones), at most 1,000, the oldest first. `dryRun` only counts them',
  body: z
    .union([
      z.strictObject({ ids: z.array(z.string().max(64)).min(1).max(maxIds) }),
      z.strictObject({ filter: z.strictObject(deliveryFilter), dryRun: z.boolean().optional() }),
    ])
    .meta({ examples: [{ filter: { status: 'failed', from: '2026-11-20T00:00:00Z' }, dryRun: true }] }),
  status: 202,
  reply: z.object({
    dryRun: z.boolean(),
    matching: z
      .number()
      .int()
      .nullable()
      .describe('How many deliveries meet the filter, up to 10,000. Null where ids were named.'),
    matchingExact: z.boolean(),
    queued: z.number().int().describe('Deliveries that start again.'),
    unchanged: z.number().int().describe('Deliveries that wait already, or were cancelled.'),
    wiped: z.number().int().describe('Deliveries whose event was removed by retention.'),
    unknown: z.array(z.string()).describe('Ids of no delivery that the caller can reach.'),
    remaining: z.boolean().describe('Whether more deliveries meet the filter: call again once these are sent.'),
    endpoints: z.array(
      z.object({
        webhookId: z.string(),
        queued: z.number().int(),
        active: z.boolean().describe('False: nothing is sent until the endpoint is switched on.'),
        circuit: z.enum(['closed', 'open', 'probing']),
        openUntil: nullable.describe('When the endpoint is tried again. Null: now.'),
      }),
    ),
  }),
  errors: ['SESSION_NOT_FOUND'],
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
  examples: {
    'All that failed': { failed: true },
    'A range of time': { from: '2026-05-01T00:00:00Z', to: '2026-05-02T00:00:00Z' },
  },
  method: 'post',
  path: '/webhooks/:webhookId/redeliver',
  summary: 'Resend a range: by time, from a cursor, or all failed deliveries',
  params: webhookParams,
  body: z.union([
    z.strictObject({ failed: z.literal(true) }),
    z.strictObject({
      from: instant.optional(),
      after: z
        .string()
        .regex(/^\d{1,20}$/)
        .optional(),
      to: instant.optional(),
      events: z.array(z.string().max(60)).max(100).optional(),
      onlyMissing: z.boolean().optional(),
    }),
  ]),
  status: 202,
  reply: z.object({ queued: z.number().int() }),
  errors: [...endpointErrors, 'CURSOR_EXPIRED', 'UNKNOWN_EVENT_TYPE'],
});
