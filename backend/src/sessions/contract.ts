import {
  commaList,
  defineRoute,
  isCallingCode,
  passkeyAnswer,
  passkeyRequest,
  qrCodeDoc,
  qrTextDoc,
  session,
  sessionHealth,
  sessionMetricsResource,
  sessionProxy,
  sessionSettings,
  sessionStatus,
  sessionStatuses,
  withAliases,
} from '@chasqui/shared';
import { z } from 'zod';

/** Other names under which a request may name its session. */
export const sessionAliases = {
  session_id: 'sessionId',
  instanceId: 'sessionId',
  instance_id: 'sessionId',
  phoneId: 'sessionId',
};
export const sessionRef = z.string().min(1).max(64);

const name = z.string().regex(/^[-_A-Za-z0-9]{1,64}$/, 'Letters, digits, - and _, at most 64.');
const params = z.object({ sessionId: sessionRef });
const start = [
  'SESSION_NOT_FOUND',
  'SESSION_LIMIT_REACHED',
  'SESSION_SUSPENDED',
  'WORKER_CAPACITY',
  'WORKER_MEMORY',
  'WORKER_UNAVAILABLE',
] as const;
/** A proxy as a request sets it. `hasPassword` is ignored: settings that were read can be sent back. */
export const proxyInput = z.strictObject({
  url: sessionProxy.shape.url.max(300),
  username: z.string().max(255).nullable().optional(),
  password: z
    .string()
    .max(255)
    .nullable()
    .describe('Never shown. Absent: the stored one stays, if url and username are the same. Null: none.')
    .optional(),
  hasPassword: z.boolean().describe('Ignored.').optional(),
});
const settings = sessionSettings
  .partial()
  .strict()
  .extend({
    countryCode: z
      .string()
      .refine(isCallingCode, 'This is no calling code. Write the digits of one, such as 55.')
      .nullable()
      .optional(),
    pacing: sessionSettings.shape.pacing.partial().strict().optional(),
    rejectCalls: sessionSettings.shape.rejectCalls.unwrap().partial().strict().optional(),
    proxy: proxyInput
      .nullable()
      .describe('The proxy through which this session connects. A change restarts its browser within seconds. Null: none.')
      .optional(),
  });
/** Parsed like a recipient's number, with the session's country, once the session is known. */
const phoneNumber = z.string().min(1).max(80);
const pairingDoc =
  'While the session waits to be linked, pairing codes for this number are requested. It is `pairingNumber` of the session.';
const none = z.strictObject({});

/** Why starts have no `Idempotency-Key`: a stored reply would contain an expired QR code. */
const joins = 'A repeat joins the start that is running, and returns the current code.';

export const init = defineRoute({
  id: 'sessions.init',
  examples: { 'The default session': {}, 'A named session': { name: 'second' } },
  idempotency: { without: joins },
  headers: ['X-Session-Id'],
  method: 'post',
  path: '/sessions/init',
  summary: 'Start the session, or create it first, and return its QR code',
  auth: 'key',
  permission: 'session.control',
  body: withAliases(
    z.strictObject({ sessionId: sessionRef.optional(), name: name.optional(), phoneNumber: phoneNumber.optional() }),
    sessionAliases,
  ),
  status: [200, 202],
  reply: sessionStatus,
  errors: start,
});
export const status = defineRoute({
  id: 'sessions.status',
  headers: ['X-Session-Id'],
  method: 'get',
  path: '/sessions/status',
  summary: 'Status of the default or the named session',
  auth: 'key',
  permission: 'instance.info',
  query: withAliases(z.strictObject({ sessionId: sessionRef.optional() }), sessionAliases),
  reply: sessionStatus,
  errors: ['SESSION_NOT_FOUND', 'SESSION_REQUIRED'],
});
export const disconnect = defineRoute({
  id: 'sessions.disconnect',
  examples: { 'Keep the login': {}, 'Unlink the device too': { logout: true } },
  headers: ['X-Session-Id'],
  method: 'post',
  path: '/sessions/disconnect',
  summary: 'Stop the session; `logout` also unlinks the device',
  auth: 'key',
  permission: 'session.control',
  body: withAliases(z.strictObject({ sessionId: sessionRef.optional(), logout: z.boolean().optional() }), sessionAliases),
  reply: sessionStatus,
  errors: ['SESSION_NOT_FOUND', 'SESSION_REQUIRED', 'WORKER_UNAVAILABLE'],
});
export const list = defineRoute({
  id: 'sessions.list',
  method: 'get',
  path: '/sessions',
  summary: 'Sessions of the account',
  auth: 'acc',
  permission: 'instance.info',
  query: z.strictObject({ status: commaList(sessionStatuses), search: z.string().max(64).optional() }),
  reply: z.array(session),
});
/** A session as `POST /sessions` creates it. The route is in `webhooks/new-session.contract.ts`, because it creates the session's webhooks too. */
export const newSession = z.strictObject({
  name,
  deviceName: z.string().min(1).max(64).optional(),
  phoneNumber: phoneNumber.describe(pairingDoc).optional(),
  isDefault: z.boolean().optional(),
  settings: settings.optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
});
export const read = defineRoute({
  id: 'sessions.read',
  method: 'get',
  path: '/sessions/:sessionId',
  summary: 'One session; `current` is the session of the key, or the default session',
  auth: 'key',
  permission: 'instance.info',
  params,
  reply: session,
  errors: ['SESSION_NOT_FOUND'],
});
export const update = defineRoute({
  id: 'sessions.update',
  examples: {
    'Slower sends': { settings: { pacing: { perMinute: 10 } } },
    'Another name': { name: 'support' },
    'Pairing codes for a number': { phoneNumber: '+5511988887777' },
    'Through a proxy': {
      settings: { proxy: { url: 'socks5://proxy.example.com:1080', username: 'shop', password: 'the password of the proxy' } },
    },
  },
  method: 'put',
  path: '/sessions/:sessionId',
  summary: 'Change name, settings, metadata',
  auth: 'acc',
  permission: 'sessions.manage',
  params,
  body: z.strictObject({
    name: name.optional(),
    phoneNumber: phoneNumber.nullable().describe(`${pairingDoc} Null: none are requested.`).optional(),
    isDefault: z.boolean().optional(),
    settings: settings.optional(),
    metadata: z.record(z.string(), z.unknown()).optional(),
  }),
  reply: session,
  errors: ['SESSION_NOT_FOUND', 'ALREADY_EXISTS', 'PROXY_INVALID'],
});
export const remove = defineRoute({
  id: 'sessions.delete',
  method: 'delete',
  path: '/sessions/:sessionId',
  summary: 'Delete a session and its login; the history stays',
  auth: 'acc',
  permission: 'sessions.manage',
  params,
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['SESSION_NOT_FOUND'],
});
export const connect = defineRoute({
  id: 'sessions.connect',
  idempotency: { without: joins },
  method: 'post',
  path: '/sessions/:sessionId/connect',
  summary: 'Start the session and return its QR code',
  auth: 'key',
  permission: 'session.control',
  params,
  body: none,
  status: [200, 202],
  reply: sessionStatus,
  errors: start,
});
export const qr = defineRoute({
  id: 'sessions.qr',
  method: 'get',
  path: '/sessions/:sessionId/qr',
  summary: 'The current QR code',
  auth: 'key',
  permission: 'session.control',
  params,
  query: z.strictObject({
    format: z
      .enum(['json', 'png', 'svg', 'terminal'])
      .default('json')
      .describe('`terminal`: the code as text of block characters, for `curl`.'),
  }),
  reply: z.object({
    qrCode: z.string().describe(qrCodeDoc),
    qrText: z.string().describe(qrTextDoc),
    expiresAt: z.iso.datetime(),
  }),
  files: ['image/png', 'image/svg+xml', 'text/plain'],
  errors: ['SESSION_NOT_FOUND', 'SESSION_STATE_CONFLICT'],
});
export const pairingCode = defineRoute({
  id: 'sessions.pairingCode',
  examples: { 'The number of the phone': { phoneNumber: '+5511988887777' } },
  idempotency: { without: 'A code expires, so a repeat returns another one.' },
  method: 'post',
  path: '/sessions/:sessionId/pairing-code',
  summary: 'A code to type on the phone instead of scanning a QR code',
  auth: 'key',
  permission: 'session.control',
  params,
  body: z.strictObject({ phoneNumber }),
  reply: z.object({ code: z.string(), expiresAt: z.iso.datetime() }),
  errors: ['SESSION_NOT_FOUND', 'SESSION_STATE_CONFLICT', 'WHATSAPP_ERROR', 'WORKER_UNAVAILABLE'],
});
export const passkey = defineRoute({
  id: 'sessions.passkey',
  method: 'get',
  path: '/sessions/:sessionId/passkey',
  summary: 'WhatsApp’s request for the passkey of the account: to link it, or because WhatsApp checks a linked account',
  auth: 'key',
  permission: 'session.control',
  params,
  query: z.strictObject({
    format: z
      .enum(['json', 'script'])
      .default('json')
      .describe(
        '`script`: JavaScript for the console of web.whatsapp.com in the owner’s browser. It signs the request and shows the answer.',
      ),
  }),
  reply: z.object({ request: passkeyRequest, expiresAt: z.iso.datetime() }),
  files: ['text/javascript'],
  errors: [
    'SESSION_NOT_FOUND',
    'SESSION_STATE_CONFLICT',
    'NOT_SUPPORTED_BY_WHATSAPP',
    'WHATSAPP_ERROR',
    'WORKER_UNAVAILABLE',
    'OPERATION_TIMEOUT',
  ],
});
export const answerPasskey = defineRoute({
  id: 'sessions.answerPasskey',
  idempotency: { without: 'WhatsApp accepts one answer to each request.' },
  method: 'post',
  path: '/sessions/:sessionId/passkey',
  summary:
    'Send the passkey’s answer. An account that is being linked is then `connecting`, or `qr_pending` again if WhatsApp refuses; a linked one is `connected`, and a refusal is an error',
  auth: 'key',
  permission: 'session.control',
  params,
  body: passkeyAnswer,
  status: 202,
  reply: z.object({ answered: z.literal(true) }),
  errors: [
    'SESSION_NOT_FOUND',
    'SESSION_STATE_CONFLICT',
    'WHATSAPP_REFUSED',
    'NOT_SUPPORTED_BY_WHATSAPP',
    'WHATSAPP_ERROR',
    'WORKER_UNAVAILABLE',
    'OPERATION_TIMEOUT',
  ],
});
export const stop = defineRoute({
  id: 'sessions.stop',
  examples: { 'Keep the login': {}, 'Unlink the device too': { logout: true } },
  method: 'post',
  path: '/sessions/:sessionId/disconnect',
  summary: 'Stop the session; the login is kept unless `logout`',
  auth: 'key',
  permission: 'session.control',
  params,
  body: z.strictObject({ logout: z.boolean().optional() }),
  reply: sessionStatus,
  errors: ['SESSION_NOT_FOUND', 'WORKER_UNAVAILABLE'],
});
export const logout = defineRoute({
  id: 'sessions.logout',
  method: 'post',
  path: '/sessions/:sessionId/logout',
  summary: 'Unlink the device and delete the login',
  auth: 'key',
  permission: 'session.control',
  params,
  body: none,
  reply: sessionStatus,
  errors: ['SESSION_NOT_FOUND', 'WORKER_UNAVAILABLE'],
});
export const restart = defineRoute({
  id: 'sessions.restart',
  method: 'post',
  path: '/sessions/:sessionId/restart',
  summary: 'Restart the browser; the login is kept',
  auth: 'key',
  permission: 'session.control',
  params,
  body: none,
  status: 202,
  reply: sessionStatus,
  errors: start,
});
export const statusOf = defineRoute({
  id: 'sessions.statusOf',
  method: 'get',
  path: '/sessions/:sessionId/status',
  summary: 'Status of one session',
  auth: 'key',
  permission: 'instance.info',
  params,
  reply: sessionStatus,
  errors: ['SESSION_NOT_FOUND'],
});
export const health = defineRoute({
  id: 'sessions.health',
  method: 'get',
  path: '/sessions/:sessionId/health',
  summary: 'Round trip, canary, repairs, restrictions, linked devices and the check of WhatsApp Web',
  auth: 'key',
  permission: 'instance.info',
  params,
  reply: sessionHealth,
  errors: ['SESSION_NOT_FOUND'],
});
export const metrics = defineRoute({
  id: 'sessions.metrics',
  method: 'get',
  path: '/sessions/:sessionId/metrics',
  summary: 'Memory, processor time and sends of a session',
  auth: 'key',
  permission: 'instance.stats',
  params,
  reply: sessionMetricsResource,
  errors: ['SESSION_NOT_FOUND'],
});
export const unthrottle = defineRoute({
  id: 'sessions.unthrottle',
  method: 'delete',
  path: '/sessions/:sessionId/throttle',
  summary: 'Send at the session’s own pace again, after a restriction has slowed it down',
  auth: 'key',
  permission: 'session.control',
  params,
  reply: sessionHealth,
  errors: ['SESSION_NOT_FOUND'],
});
