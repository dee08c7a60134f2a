import { account, defineRoute, isTimezone, storageModes, token } from '@chasqui/shared';
import { z } from 'zod';

const password = z.string().min(12).max(128);
export const login = defineRoute({
  id: 'auth.login',
  method: 'post',
  path: '/auth/login',
  summary:
    'Log in with e-mail address and password. The token of a one-time password can only be used to change it (POST /auth/me/password)',
  auth: 'pub',
  body: z.strictObject({ email: z.string().min(3).max(254), password: z.string().min(1).max(128) }),
  reply: token,
  errors: ['INVALID_CREDENTIALS', 'ACCOUNT_INACTIVE'],
});
export const register = defineRoute({
  id: 'auth.register',
  method: 'post',
  path: '/auth/register',
  summary: 'Make an account, where registration is open',
  auth: 'pub',
  body: z.strictObject({ username: z.string().min(1).max(64), email: z.email().max(254), password }),
  status: 201,
  reply: z.object({ account, apiKey: z.string() }),
  errors: ['REGISTRATION_CLOSED', 'ALREADY_EXISTS'],
});
export const exchangeKey = defineRoute({
  id: 'auth.exchangeKey',
  method: 'post',
  path: '/auth/api-key',
  summary: 'A token that holds what the key holds, and ends with the key or with its secret',
  auth: 'pub',
  body: z.strictObject({ apiKey: z.string().min(1).max(200) }),
  reply: token,
  errors: ['INVALID_CREDENTIALS', 'ACCOUNT_INACTIVE'],
});
export const logout = defineRoute({
  id: 'auth.logout',
  method: 'post',
  path: '/auth/logout',
  summary: 'Log out everywhere: tokens, streams and panel sessions of the account end',
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
    timezone: z.string().max(64).refine(isTimezone, 'Use a time zone such as America/Lima.').optional(),
    uncertainPolicy: z.enum(['hold', 'retry']).optional(),
    storage: z.enum(storageModes).optional(),
  }),
  reply: account,
  errors: ['ALREADY_EXISTS'],
});
export const changePassword = defineRoute({
  id: 'auth.password',
  method: 'post',
  path: '/auth/me/password',
  summary: 'Change the own password; tokens, streams and panel sessions of the account end',
  auth: 'pwd',
  body: z.strictObject({ currentPassword: z.string(), newPassword: password }),
  reply: z.object({ changed: z.literal(true) }),
  errors: ['INVALID_CREDENTIALS'],
});
export const regenerateKey = defineRoute({
  id: 'auth.regenerateKey',
  method: 'post',
  path: '/auth/me/api-key/regenerate',
  summary: 'A new primary key; the old secret ends, and with it its tokens and streams',
  auth: 'pwd',
  reply: z.object({ apiKey: z.string() }),
});
