import { account, defineRoute, permissions, token } from '@chasqui/shared';
import { z } from 'zod';

const password = z.string().min(12).max(128);
const key = z
  .object({
    id: z.string(),
    sessionId: z.string().nullable(),
    name: z.string(),
    prefix: z.string(),
    lastFour: z.string(),
    permissions: z.array(z.string()),
    isActive: z.boolean(),
    expiresAt: z.iso.datetime().nullable(),
    lastUsedAt: z.iso.datetime().nullable(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Key' });
const grants = z.array(z.union([z.enum(permissions), z.literal('*'), z.string().regex(/^[a-z]+\.\*$/)])).max(50);

export const login = defineRoute({
  id: 'auth.login',
  method: 'post',
  path: '/auth/login',
  summary: 'Log in with e-mail address and password',
  auth: 'pub',
  body: z.strictObject({ email: z.string().min(3).max(254), password: z.string().min(1).max(128) }),
  reply: token,
  errors: ['INVALID_CREDENTIALS', 'ACCOUNT_INACTIVE'],
});
export const register = defineRoute({
  id: 'auth.register',
  method: 'post',
  path: '/auth/register',
  summary: 'Make an account; closed on this installation',
  auth: 'pub',
  body: z.strictObject({ username: z.string(), email: z.string(), password: z.string() }),
  status: 201,
  errors: ['REGISTRATION_CLOSED'],
});
export const logout = defineRoute({
  id: 'auth.logout',
  method: 'post',
  path: '/auth/logout',
  summary: 'Void all tokens of the account',
  auth: 'pwd',
  reply: z.object({ loggedOut: z.literal(true) }),
});
export const me = defineRoute({
  id: 'auth.me',
  method: 'get',
  path: '/auth/me',
  summary: 'Who am I',
  auth: 'key',
  reply: account.partial().extend({
    id: z.string(),
    credential: z.object({
      type: z.string(),
      id: z.string().nullable(),
      permissions: z.array(z.string()),
      sessionId: z.string().nullable(),
    }),
  }),
});
export const updateMe = defineRoute({
  id: 'auth.updateMe',
  method: 'patch',
  path: '/auth/me',
  summary: 'Change the own account',
  auth: 'pwd',
  body: z.strictObject({
    username: z.string().min(1).max(64).optional(),
    email: z.email().optional(),
    timezone: z.string().max(64).optional(),
    uncertainPolicy: z.enum(['hold', 'retry']).optional(),
  }),
  reply: account,
  errors: ['ALREADY_EXISTS'],
});
export const changePassword = defineRoute({
  id: 'auth.password',
  method: 'post',
  path: '/auth/me/password',
  summary: 'Change the own password; all tokens are void',
  auth: 'pwd',
  body: z.strictObject({ currentPassword: z.string(), newPassword: password }),
  reply: z.object({ changed: z.literal(true) }),
  errors: ['INVALID_CREDENTIALS'],
});
export const regenerateKey = defineRoute({
  id: 'auth.regenerateKey',
  method: 'post',
  path: '/auth/me/api-key/regenerate',
  summary: 'A new primary key; the old one dies',
  auth: 'pwd',
  reply: z.object({ apiKey: z.string() }),
});
export const listKeys = defineRoute({
  id: 'keys.list',
  method: 'get',
  path: '/keys',
  summary: 'Keys of the account',
  auth: 'acc',
  permission: 'keys.manage',
  reply: z.array(key),
});
export const createKey = defineRoute({
  id: 'keys.create',
  method: 'post',
  path: '/keys',
  summary: 'A new key; it is shown in this reply alone',
  auth: 'acc',
  permission: 'keys.manage',
  body: z.strictObject({
    name: z.string().min(1).max(100),
    permissions: grants,
    sessionId: z.string().nullable().optional(),
    expiresAt: z.iso.datetime().nullable().optional(),
  }),
  status: 201,
  reply: key.extend({ key: z.string() }),
  errors: ['PERMISSION_DENIED', 'SESSION_NOT_FOUND'],
});
export const deleteKey = defineRoute({
  id: 'keys.delete',
  method: 'delete',
  path: '/keys/:keyId',
  summary: 'Revoke a key',
  auth: 'acc',
  permission: 'keys.manage',
  params: z.object({ keyId: z.string() }),
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['KEY_NOT_FOUND'],
});
