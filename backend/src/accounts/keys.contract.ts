import { defineRoute, instant, type ErrorCode, type IdempotencyRule, type Method } from '@chasqui/shared';
import { z } from 'zod';

/** Each verb has two routes: `/keys` for all keys of the account, and one below a session for the keys of that session. */

const time = z.iso.datetime();
const key = z
  .object({
    id: z.string(),
    sessionId: z.string().nullable(),
    name: z.string(),
    prefix: z.string(),
    lastFour: z.string(),
    permissions: z.array(z.string()),
    rateLimit: z.object({ limit: z.number().int(), windowMs: z.number().int() }),
    isActive: z.boolean(),
    isPrimary: z.boolean(),
    autoRotation: z.boolean(),
    isClaimable: z.boolean(),
    expiresAt: time.nullable(),
    successorId: z.string().nullable(),
    lastUsedAt: time.nullable(),
    createdAt: time,
  })
  .meta({ id: 'Key' });
const keyWithSecret = key.extend({ key: z.string() });
const usage = z
  .object({
    total: z.number().int(),
    successful: z.number().int(),
    failed: z.number().int(),
    rateLimit: key.shape.rateLimit,
    remaining: z.number().int().nullable(),
    resetAt: time.nullable(),
    lastUsedAt: time.nullable(),
    createdAt: time,
  })
  .meta({ id: 'KeyUsage' });

const request = z
  .object({
    at: time,
    method: z.string(),
    route: z.string().describe('The pattern of the route, without the ids and the query of the request.'),
    status: z.number().int().describe('499: the caller disconnected before the reply began.'),
    code: z.string().nullable().describe('The code of an error reply.'),
    ms: z.number().int(),
    requestId: z.string(),
  })
  .meta({ id: 'KeyRequest' });

const fields = {
  name: z.string().min(1).max(100),
  permissions: z.array(z.string().max(64)).max(100),
  rateLimit: z
    .strictObject({
      limit: z.number().int().min(0).max(100_000_000),
      windowMs: z.number().int().min(1_000).max(86_400_000).optional(),
    })
    .nullable()
    .optional(),
  expiresAt: instant.nullable().optional(),
  autoRotation: z.boolean().optional(),
};
const keyParams = z.object({ keyId: z.string().max(64) });
const sessionParams = z.object({ sessionId: z.string().min(1).max(64) });
const grantErrors: readonly ErrorCode[] = ['PERMISSION_DENIED', 'UNKNOWN_PERMISSION'];

/** The routes whose reply contains a secret that is not stored. */
export const hashedOnly: IdempotencyRule = {
  without:
    'Only a hash of the key is stored, so the reply cannot be repeated: after a lost reply, list the keys and regenerate the key.',
};

/**
 * Defines both routes of one verb: `all` for the keys of the account, `ofSession` for those of one session. `{of}` in the summary becomes
 * " of one session" in the second.
 */
function both<P extends z.ZodRawShape, Q extends z.ZodType, B extends z.ZodType, O extends z.ZodType>(spec: {
  id: string;
  method: Method;
  path: string;
  summary: string;
  params: z.ZodObject<P>;
  query?: Q;
  body?: B;
  examples?: Record<string, z.input<B>>;
  reply: O;
  status?: number;
  errors: readonly ErrorCode[];
  idempotency?: IdempotencyRule;
}) {
  const { id, path, params, summary, errors, query, body, ...rest } = spec;
  const more = {
    ...rest,
    ...(query ? { query } : {}),
    ...(body ? { body } : {}),
    auth: 'acc',
    permission: 'keys.manage',
  } as const;
  return {
    all: defineRoute({ ...more, id: `keys.${id}`, path: `/keys${path}`, summary: summary.replace('{of}', ''), params, errors }),
    ofSession: defineRoute({
      ...more,
      id: `sessionKeys.${id}`,
      path: `/sessions/:sessionId/keys${path}`,
      summary: summary.replace('{of}', ' of one session'),
      params: params.extend(sessionParams.shape),
      errors: ['SESSION_NOT_FOUND', ...errors],
    }),
  };
}

const none = z.strictObject({});
export const list = both({
  id: 'list',
  method: 'get',
  path: '',
  summary: 'List keys{of}',
  params: none,
  query: z.strictObject({ active: z.stringbool().optional() }),
  reply: z.array(key),
  errors: [],
});
export const create = both({
  id: 'create',
  examples: {
    'Send and receive': { name: 'Shop', permissions: ['messages.send', 'messages.receive', 'events.read'] },
    'Limited in time and rate': {
      name: 'Campaign',
      permissions: ['messages.send'],
      expiresAt: '2099-12-31T23:59:59Z',
      rateLimit: { limit: 60, windowMs: 60_000 },
    },
  },
  method: 'post',
  path: '',
  idempotency: hashedOnly,
  summary: 'Create a key{of}. Only this reply contains the key',
  params: none,
  body: z.strictObject({ ...fields, sessionId: z.string().max(64).nullable().optional() }),
  status: 201,
  reply: keyWithSecret,
  errors: [...grantErrors, 'SESSION_NOT_FOUND', 'KEY_LIMIT_REACHED'],
});
export const read = both({
  id: 'read',
  method: 'get',
  path: '/:keyId',
  summary: 'Read a key{of}',
  params: keyParams,
  reply: key,
  errors: ['KEY_NOT_FOUND'],
});
export const update = both({
  id: 'update',
  examples: { 'Fewer permissions': { permissions: ['messages.send'] }, 'Switched off': { isActive: false } },
  method: 'put',
  path: '/:keyId',
  summary: 'Change a key{of}. The change applies to the next request',
  params: keyParams,
  body: z.strictObject({ ...fields, isActive: z.boolean() }).partial(),
  reply: key,
  errors: ['KEY_NOT_FOUND', ...grantErrors],
});
export const remove = both({
  id: 'delete',
  method: 'delete',
  path: '/:keyId',
  summary: 'Revoke a key{of}',
  params: keyParams,
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['KEY_NOT_FOUND'],
});
export const regenerate = both({
  id: 'regenerate',
  method: 'post',
  path: '/:keyId/regenerate',
  idempotency: hashedOnly,
  summary: 'Replace the secret of a key{of}. The old secret, its tokens and its streams end',
  params: keyParams,
  reply: keyWithSecret,
  errors: ['KEY_NOT_FOUND', 'PERMISSION_DENIED'],
});
export const claim = both({
  id: 'claim',
  method: 'post',
  path: '/:keyId/claim',
  idempotency: hashedOnly,
  summary: 'Claim the secret of a successor{of} that rotation made. A secret can be claimed once',
  params: keyParams,
  reply: keyWithSecret,
  errors: ['KEY_NOT_FOUND', 'PERMISSION_DENIED', 'KEY_ALREADY_CLAIMED'],
});
export const usageOf = both({
  id: 'usage',
  method: 'get',
  path: '/:keyId/usage',
  summary: 'Count the requests made with a key{of}, and read what is left of its rate limit',
  params: keyParams,
  reply: usage,
  errors: ['KEY_NOT_FOUND'],
});
export const requestsOf = both({
  id: 'requests',
  method: 'get',
  path: '/:keyId/requests',
  summary: 'The last requests made with a key{of}, at most 100 and not older than a week, latest first',
  params: keyParams,
  reply: z.array(request),
  errors: ['KEY_NOT_FOUND'],
});
