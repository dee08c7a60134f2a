import { defineRoute, eventTypes, messageTypes, type ErrorCode } from '@chasqui/shared';
import { z } from 'zod';
import {
  access,
  clearQuery,
  delivery,
  endpointErrors,
  listQuery,
  stats,
  statsQuery,
  webhookParams,
} from './deliveries.contract.js';
import { changeExamples, newExamples, previewExamples, tryExamples } from './examples.js';

/** Endpoints (their deliveries: deliveries.contract.ts). `S/webhook` acts on the first endpoint of a session. */

const time = z.iso.datetime();
const nullable = time.nullable();
const sessionParams = z.object({ sessionId: z.string().min(1).max(64) });

/** The deepest nesting of a template or a sample event: everything that walks through them is recursive. */
const maxDepth = 64;

/** JSON from outside, of bounded depth. Checked without recursion, before anything else looks at it. */
const boundedJson = z.unknown().superRefine((value, context) => {
  if (value === undefined || isDeeper(value, maxDepth))
    context.addIssue({ code: 'custom', message: `Use JSON that is nested at most ${maxDepth} levels deep.` });
});

function isDeeper(value: unknown, levels: number): boolean {
  let layer: unknown[] = [value];
  for (let depth = 0; layer.length > 0; depth += 1) {
    if (depth > levels) return true;
    layer = layer.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
  }
  return false;
}

const filter = z.strictObject({
  chats: z.array(z.string().max(80)).min(1).max(1_000).optional(),
  directions: z
    .array(z.enum(['inbound', 'outbound']))
    .min(1)
    .max(2)
    .optional(),
  types: z.array(z.string().max(20)).min(1).max(30).optional(),
});
/** A filter as it may be set: a type that no message has would never match. */
export const filterInput = filter.extend({ types: z.array(z.enum(messageTypes)).min(1).max(30).optional() });
export const transformInput = z.strictObject({
  template: boundedJson.optional(),
  fields: z.record(z.string().min(1).max(100), z.string().min(1).max(200)).optional(),
  rename: z.record(z.string().max(40), z.string().min(1).max(100)).optional(),
});
export const retryInput = z.strictObject({
  /** The whole schedule: milliseconds before each retry. */
  delaysMs: z.array(z.number().int().min(100).max(604_800_000)).max(100).optional(),
  maxRetries: z.number().int().min(0).max(100).optional(),
  timeoutMs: z.number().int().min(100).max(30_000).optional(),
});

export const circuits = ['closed', 'open', 'probing'] as const;

export const webhook = z
  .object({
    id: z.string(),
    sessionId: z.string().nullable(),
    url: z.string(),
    description: z.string().nullable(),
    events: z.array(z.string()),
    /** Names alone; the values are not shown again. */
    headers: z.array(z.string()),
    active: z.boolean(),
    includeContent: z.boolean(),
    filter: filter.nullable(),
    transform: transformInput.nullable(),
    retry: retryInput.nullable(),
    /** `open`: attempts pause until `health.openUntil`. `probing`: the pause is over, and single deliveries are tried. */
    circuit: z.enum(circuits),
    disabledAt: nullable,
    /** `GONE`: the receiver answered 410. `FAILING`: nothing but failures for days. `BY_REQUEST`: switched off by a caller. */
    disabledReason: z.string().nullable(),
    health: z.object({
      /** Attempts that failed in a row. */
      failures: z.number().int(),
      failingSince: nullable,
      openUntil: nullable,
      lastDeliveredAt: nullable,
      /** Deliveries that are not settled, and since when the oldest of them waits. */
      backlog: z.object({ waiting: z.number().int(), oldestAt: nullable }),
    }),
    /** The first characters of the secret, to distinguish two secrets. Null: it cannot be decrypted. */
    secretPrefix: z.string().nullable(),
    /** Until when the previous secret signs too. Null: it does not sign. */
    previousSecretUntil: nullable,
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Webhook' });
export const withSecret = webhook.extend({ secret: z.string() });
const tried = z.object({
  ok: z.boolean(),
  statusCode: z.number().int().nullable(),
  durationMs: z.number().int(),
  response: z.string().nullable(),
  error: z.string().nullable(),
});

const fields = {
  url: z.string().min(1).max(2_048),
  events: z.array(z.string().min(1).max(60)).min(1).max(100),
  secret: z.string().max(200).optional(),
  headers: z.record(z.string().regex(/^[A-Za-z0-9-]{1,100}$/), z.string().max(2_000)).optional(),
  active: z.boolean().optional(),
  description: z.string().max(200).nullable().optional(),
  includeContent: z.boolean().optional(),
  filter: filterInput.nullable().optional(),
  transform: transformInput.nullable().optional(),
  retry: retryInput.nullable().optional(),
};
export const newWebhook = z.strictObject({ ...fields, sessionId: z.string().max(64).nullable().optional() });
const change = z.strictObject(fields).partial();
const wrong: readonly ErrorCode[] = [
  'INVALID_RECIPIENT',
  'URL_NOT_ALLOWED',
  'UNKNOWN_EVENT_TYPE',
  'TRANSFORM_INVALID',
  'PERMISSION_DENIED',
];
const tryBody = z.strictObject({ event: z.enum(eventTypes as [string, ...string[]]).optional() });
const ofSession: readonly ErrorCode[] = ['SESSION_NOT_FOUND', 'WEBHOOK_NOT_FOUND'];

export const list = defineRoute({
  ...access,
  id: 'webhooks.list',
  method: 'get',
  path: '/webhooks',
  summary: 'Endpoints that the credential can see',
  query: z.strictObject({ sessionId: z.string().max(64).optional(), active: z.stringbool().optional() }),
  reply: z.array(webhook),
  errors: ['SESSION_NOT_FOUND'],
});
export const listOfSession = defineRoute({
  ...access,
  id: 'sessionWebhooks.list',
  method: 'get',
  path: '/sessions/:sessionId/webhooks',
  summary: 'Endpoints of one session',
  params: sessionParams,
  reply: z.array(webhook),
  errors: ['SESSION_NOT_FOUND'],
});
export const newErrors: readonly ErrorCode[] = ['SESSION_NOT_FOUND', 'ACCOUNT_KEY_REQUIRED', 'WEBHOOK_LIMIT_REACHED', ...wrong];
export const create = defineRoute({
  ...access,
  id: 'webhooks.create',
  examples: newExamples,
  method: 'post',
  path: '/webhooks',
  summary: 'Create an endpoint; only this reply shows its secret',
  body: newWebhook,
  status: 201,
  reply: withSecret,
  errors: newErrors,
});
export const createOfSession = defineRoute({
  ...access,
  id: 'sessionWebhooks.create',
  examples: newExamples,
  method: 'post',
  path: '/sessions/:sessionId/webhooks',
  summary: 'Create an endpoint for one session',
  params: sessionParams,
  body: newWebhook.omit({ sessionId: true }),
  status: 201,
  reply: withSecret,
  errors: newErrors,
});
export const preview = defineRoute({
  ...access,
  id: 'webhooks.preview',
  examples: previewExamples,
  idempotency: { without: 'It has no effect.' },
  method: 'post',
  path: '/webhooks/preview',
  summary: 'Try a filter and a transformation on an event, without saving them',
  body: z.strictObject({
    filter: filterInput.nullable().optional(),
    transform: transformInput.nullable().optional(),
    includeContent: z.boolean().optional(),
    eventId: z.string().max(64).optional(),
    event: z
      .strictObject({ type: z.enum(eventTypes as [string, ...string[]]), data: z.record(z.string(), boundedJson) })
      .optional(),
  }),
  reply: z.object({ matches: z.boolean(), event: z.string(), body: z.string() }),
  errors: ['EVENT_NOT_FOUND', 'TRANSFORM_INVALID', 'INVALID_RECIPIENT'],
});
export const read = defineRoute({
  ...access,
  id: 'webhooks.read',
  method: 'get',
  path: '/webhooks/:webhookId',
  summary: 'One endpoint and its health',
  params: webhookParams,
  reply: webhook,
  errors: endpointErrors,
});
export const update = defineRoute({
  ...access,
  id: 'webhooks.update',
  examples: changeExamples,
  method: 'put',
  path: '/webhooks/:webhookId',
  summary: 'Change an endpoint',
  params: webhookParams,
  body: change,
  reply: webhook,
  errors: [...endpointErrors, ...wrong],
});
export const remove = defineRoute({
  ...access,
  id: 'webhooks.delete',
  method: 'delete',
  path: '/webhooks/:webhookId',
  summary: 'Delete an endpoint; its pending deliveries are cancelled',
  params: webhookParams,
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: endpointErrors,
});
export const tryOut = defineRoute({
  auth: 'key',
  permission: 'webhook.test',
  id: 'webhooks.test',
  examples: tryExamples,
  method: 'post',
  path: '/webhooks/:webhookId/test',
  summary: 'Send a test event now and return the receiver’s reply',
  params: webhookParams,
  body: tryBody,
  reply: tried,
  errors: endpointErrors,
});
export const statsOf = defineRoute({
  ...access,
  id: 'webhooks.stats',
  method: 'get',
  path: '/webhooks/:webhookId/stats',
  summary: 'Statistics of an endpoint',
  params: webhookParams,
  query: statsQuery,
  reply: stats,
  errors: endpointErrors,
});
export const rotate = defineRoute({
  ...access,
  id: 'webhooks.rotateSecret',
  examples: { 'Both sign for a day': { overlapHours: 24 } },
  method: 'post',
  path: '/webhooks/:webhookId/rotate-secret',
  summary: 'Replace the secret; the old one also signs for a while',
  params: webhookParams,
  body: z.strictObject({ overlapHours: z.number().min(0).max(720).optional() }),
  reply: withSecret,
  errors: endpointErrors,
});
export const enable = defineRoute({
  ...access,
  id: 'webhooks.enable',
  examples: { 'Send what was missed': { recover: true } },
  method: 'post',
  path: '/webhooks/:webhookId/enable',
  summary: 'Switch an endpoint on; `recover` sends the events that it missed',
  params: webhookParams,
  body: z.strictObject({ recover: z.boolean().optional() }),
  reply: webhook,
  errors: endpointErrors,
});
/** The same on the first endpoint of a session. */
export const first = {
  read: defineRoute({
    ...access,
    id: 'sessionWebhook.read',
    method: 'get',
    path: '/sessions/:sessionId/webhook',
    summary: 'The session’s first endpoint',
    params: sessionParams,
    reply: webhook,
    errors: ofSession,
  }),
  create: defineRoute({
    ...access,
    id: 'sessionWebhook.create',
    examples: newExamples,
    method: 'post',
    path: '/sessions/:sessionId/webhook',
    summary: 'Create the session’s first endpoint',
    params: sessionParams,
    body: newWebhook.omit({ sessionId: true }),
    status: 201,
    reply: withSecret,
    errors: [...newErrors, 'ALREADY_EXISTS'],
  }),
  update: defineRoute({
    ...access,
    id: 'sessionWebhook.update',
    examples: changeExamples,
    method: 'put',
    path: '/sessions/:sessionId/webhook',
    summary: 'Change the session’s first endpoint',
    params: sessionParams,
    body: change,
    reply: webhook,
    errors: [...ofSession, ...wrong],
  }),
  remove: defineRoute({
    ...access,
    id: 'sessionWebhook.delete',
    method: 'delete',
    path: '/sessions/:sessionId/webhook',
    summary: 'Delete the session’s first endpoint',
    params: sessionParams,
    reply: z.object({ id: z.string(), deleted: z.literal(true) }),
    errors: ofSession,
  }),
  tryOut: defineRoute({
    auth: 'key',
    permission: 'webhook.test',
    id: 'sessionWebhook.test',
    examples: tryExamples,
    method: 'post',
    path: '/sessions/:sessionId/webhook/test',
    summary: 'Test the session’s first endpoint',
    params: sessionParams,
    body: tryBody,
    reply: tried,
    errors: ofSession,
  }),
  stats: defineRoute({
    ...access,
    id: 'sessionWebhook.stats',
    method: 'get',
    path: '/sessions/:sessionId/webhook/stats',
    summary: 'Statistics of the session’s first endpoint',
    params: sessionParams,
    query: statsQuery,
    reply: stats,
    errors: ofSession,
  }),
  logs: defineRoute({
    ...access,
    id: 'sessionWebhook.logs',
    method: 'get',
    path: '/sessions/:sessionId/webhook/logs',
    summary: 'Deliveries to the session’s first endpoint',
    params: sessionParams,
    query: listQuery,
    reply: z.array(delivery),
    errors: ofSession,
  }),
  clear: defineRoute({
    ...access,
    id: 'sessionWebhook.clear',
    method: 'delete',
    path: '/sessions/:sessionId/webhook/logs',
    summary: 'Delete finished deliveries',
    params: sessionParams,
    query: clearQuery,
    reply: z.object({ deleted: z.number().int() }),
    errors: ofSession,
  }),
  retryOne: defineRoute({
    ...access,
    id: 'sessionWebhook.retry',
    method: 'post',
    path: '/sessions/:sessionId/webhook/logs/:deliveryId/retry',
    summary: 'Resend one delivery',
    params: sessionParams.extend({ deliveryId: z.string().max(64) }),
    body: z.strictObject({}),
    status: 202,
    reply: delivery,
    errors: [...ofSession, 'DELIVERY_NOT_FOUND', 'CONTENT_WIPED'],
  }),
  retryAll: defineRoute({
    ...access,
    id: 'sessionWebhook.retryAll',
    method: 'post',
    path: '/sessions/:sessionId/webhook/logs/retry',
    summary: 'Resend all failed deliveries',
    params: sessionParams,
    body: z.strictObject({}),
    status: 202,
    reply: z.object({ queued: z.number().int() }),
    errors: ofSession,
  }),
};
