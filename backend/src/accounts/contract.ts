import { account, defineRoute, isLanguage, isTimezone, storageModes, token } from '@chasqui/shared';
import { z } from 'zod';
import { hashedOnly } from './keys.contract.js';

const password = z.string().min(12).max(128);
const loginBody = z.strictObject({ email: z.string().min(3).max(254), password: z.string().min(1).max(128) });
export const login = defineRoute({
  id: 'auth.login',
  examples: { 'With a password': { email: 'ana@example.com', password: 'correct horse battery' } },
  method: 'post',
  path: '/auth/login',
  summary:
    'Log in with an e-mail address and a password. With a one-time password, the token permits only a change of the password (POST /auth/me/password)',
  auth: 'pub',
  body: loginBody,
  reply: token,
  errors: ['INVALID_CREDENTIALS', 'ACCOUNT_INACTIVE'],
});
export const register = defineRoute({
  id: 'auth.register',
  examples: { 'A new account': { username: 'ana', email: 'ana@example.com', password: 'correct horse battery' } },
  method: 'post',
  path: '/auth/register',
  summary: 'Register an account, if registration is open',
  auth: 'pub',
  body: z.strictObject({ username: z.string().min(1).max(64), email: z.email().max(254), password }),
  status: 201,
  reply: z.object({ account, apiKey: z.string() }),
  errors: ['REGISTRATION_CLOSED', 'ALREADY_EXISTS'],
});
export const exchangeKey = defineRoute({
  id: 'auth.exchangeKey',
  examples: { 'A key for a token': { apiKey: 'chq_…' } },
  method: 'post',
  path: '/auth/api-key',
  summary:
    'Exchange an API key for a token with the same permissions. The token ends with the key, or when the key gets another secret',
  auth: 'pub',
  body: z.strictObject({ apiKey: z.string().min(1).max(200) }),
  reply: token,
  errors: ['INVALID_CREDENTIALS', 'ACCOUNT_INACTIVE'],
});
export const signIn = defineRoute({
  id: 'auth.signIn',
  examples: { 'With a password': { email: 'ana@example.com', password: 'correct horse battery' } },
  method: 'post',
  path: '/auth/sign-in',
  summary:
    'Sign in with a cookie, for pages of the same origin: HttpOnly, SameSite=Strict. Changes with it must come from that origin. Shares its limit of attempts with POST /auth/login',
  auth: 'pub',
  body: loginBody,
  reply: z.object({ expiresAt: z.iso.datetime(), mustChangePassword: z.boolean() }),
  errors: ['INVALID_CREDENTIALS', 'ACCOUNT_INACTIVE', 'CSRF_REFUSED'],
});
export const signOut = defineRoute({
  id: 'auth.signOut',
  method: 'post',
  path: '/auth/sign-out',
  idempotency: { without: 'A repeat has no valid cookie.' },
  summary: 'End the sign-in of the cookie, and its streams. Other sign-ins of the account stay',
  auth: 'pwd',
  reply: z.object({ signedOut: z.literal(true) }),
  errors: ['CSRF_REFUSED'],
});
export const logout = defineRoute({
  id: 'auth.logout',
  method: 'post',
  path: '/auth/logout',
  idempotency: { without: 'A repeat has no valid token.' },
  summary: 'Log out everywhere. Ends all tokens, streams and panel sessions of the account',
  auth: 'pwd',
  reply: z.object({ loggedOut: z.literal(true) }),
});
export const me = defineRoute({
  id: 'auth.me',
  method: 'get',
  path: '/auth/me',
  summary: 'Read the account and the credential of the caller',
  auth: 'key',
  reply: account.partial().extend({
    id: z.string(),
    credential: z.object({
      type: z.string(),
      id: z.string().nullable(),
      permissions: z.array(z.string()),
      sessionId: z.string().nullable(),
      /** When the key or token expires. Null: it does not. */
      expiresAt: z.iso.datetime().nullable(),
    }),
  }),
});
export const updateMe = defineRoute({
  id: 'auth.updateMe',
  examples: { 'Time zone and language': { timezone: 'America/Lima', language: 'es-PE' } },
  method: 'patch',
  path: '/auth/me',
  summary: 'Change the account of the caller',
  auth: 'pwd',
  body: z.strictObject({
    username: z.string().min(1).max(64).optional(),
    email: z.email().optional(),
    timezone: z.string().max(64).refine(isTimezone, 'Use a time zone such as America/Lima.').optional(),
    language: z.string().max(35).refine(isLanguage, 'Use a language such as en or pt-BR.').optional(),
    uncertainPolicy: z.enum(['hold', 'retry']).optional(),
    storage: z.enum(storageModes).optional(),
  }),
  reply: account,
  errors: ['ALREADY_EXISTS'],
});
export const changePassword = defineRoute({
  id: 'auth.password',
  examples: { 'A new password': { currentPassword: 'correct horse battery', newPassword: 'a longer and better one' } },
  method: 'post',
  path: '/auth/me/password',
  idempotency: { without: 'A repeat has no valid token.' },
  summary: 'Change the password of the caller. Ends all tokens, streams and panel sessions of the account',
  auth: 'pwd',
  body: z.strictObject({ currentPassword: z.string(), newPassword: password }),
  reply: z.object({ changed: z.literal(true) }),
  errors: ['INVALID_CREDENTIALS'],
});
export const regenerateKey = defineRoute({
  id: 'auth.regenerateKey',
  method: 'post',
  path: '/auth/me/api-key/regenerate',
  idempotency: hashedOnly,
  summary: 'Replace the secret of the primary key. The old secret, its tokens and its streams end',
  auth: 'pwd',
  reply: z.object({ apiKey: z.string() }),
});
