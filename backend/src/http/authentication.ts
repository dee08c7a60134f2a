import { createHash, timingSafeEqual } from 'node:crypto';
import { allows, AppError, type AnyRoute } from '@chasqui/shared';
import { notesOf } from '@chasqui/shared/express';
import type { Request, Response } from 'express';
import type { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import type { ApiKey } from '../accounts/api-key.entity.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import { passwordFingerprint, type BrowserSessions } from '../accounts/browser-sessions.js';
import type { Authenticate, Caller } from '../accounts/caller.js';
import { changePassword, signOut } from '../accounts/contract.js';
import { credentialOf } from '../accounts/credential.js';
import { fingerprintOf, isKeyForm } from '../accounts/key-form.js';
import { secretDigestOf, type Tokens } from '../accounts/tokens.js';
import type { Core } from '../core.js';
import type { CredentialChanges } from '../lib/credential-changes.js';
import { createTtlCache, type TtlCache } from '../lib/ttl-cache.js';

export interface AuthenticationParts {
  accounts: Pick<Accounts, 'find' | 'findWithSecrets'>;
  keys: Pick<ApiKeys, 'authenticate' | 'authenticateId'>;
  tokens: Pick<Tokens, 'verify'>;
  browser: Pick<BrowserSessions, 'find'>;
  credentials: CredentialChanges;
  serviceKey: string;
}

interface Context extends Pick<AuthenticationParts, 'accounts' | 'keys' | 'tokens' | 'browser'> {
  serviceKeyDigest: Buffer;
  /** By account. */
  cache: TtlCache<AccountState>;
}

/** The fields of an account that every request needs. */
type AccountState = Pick<Account, 'isActive' | 'role' | 'mustChangePassword'>;

/** What a caller has of its request. */
type OfRequest = Pick<Caller, 'requestId' | 'ip'>;

/** The authenticated caller. `isOneTime`: it logged in with a one-time password. */
interface Identified {
  caller: Caller;
  isOneTime: boolean;
}

const cacheTtlMs = 1_000;
const maxCachedAccounts = 20_000;

/** Authenticates callers by key, token or service key, and checks that they may use the route. */
export function createAuthentication({ clock }: Pick<Core, 'clock'>, parts: AuthenticationParts): Authenticate {
  const { accounts, keys, tokens, browser, credentials, serviceKey } = parts;
  const cache = createTtlCache<AccountState>({ clock, ttlMs: cacheTtlMs, maxEntries: maxCachedAccounts });
  credentials.subscribe(cache.invalidate);
  const context: Context = { accounts, keys, tokens, browser, serviceKeyDigest: digestOf(serviceKey), cache };
  return (route, req, res) => authenticate(context, route, req, res);
}

async function authenticate(context: Context, route: AnyRoute, req: Request, res: Response): Promise<Caller> {
  const request = { requestId: String(res.locals['requestId']), ip: req.ip ?? null };
  if (route.auth === 'pub') return { ...anonymous, ...request };
  const credential = credentialOf(req);
  if (route.auth === 'svc') {
    if (credential === null) throw new AppError('UNAUTHENTICATED');
    if (!timingSafeEqual(digestOf(credential), context.serviceKeyDigest))
      throw new AppError('UNAUTHENTICATED', {}, 'Send the service key in X-API-Key.');
    return { ...anonymous, ...request, credential: { type: 'service', id: null, name: 'worker' } };
  }
  // A credential in a header is one that the client chose to send; the browser adds the cookie to every request.
  const { caller, isOneTime } =
    credential === null ? await identifyBrowser(context, req, request) : await identify(context, credential, request);
  const notes = notesOf(res);
  notes.accountId = caller.accountId;
  if (caller.keyFingerprint !== undefined) notes.keyId = caller.credential.id;
  const isAllowed = route.id === changePassword.id || (credential === null && route.id === signOut.id);
  if (isOneTime && !isAllowed) throw new AppError('PASSWORD_CHANGE_REQUIRED');
  requireAccess(route, caller);
  return caller;
}

const anonymous: Omit<Caller, 'requestId' | 'ip'> = {
  accountId: '',
  role: 'user',
  credential: { type: 'none', id: null, name: null },
  permissions: [],
  sessionId: null,
  isPasswordLogin: false,
};

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

async function identifyBrowser({ accounts, browser }: Context, req: Request, request: OfRequest): Promise<Identified> {
  const session = await browser.find(req);
  if (!session) throw new AppError('UNAUTHENTICATED');
  // Read for each request: a session is void at the moment when the password changes.
  const account = await accounts.findWithSecrets(session.accountId);
  if (!account || passwordFingerprint(account) !== session.fingerprint)
    throw new AppError('UNAUTHENTICATED', {}, 'The sign-in has ended. Sign in again.');
  if (!account.isActive) throw new AppError('ACCOUNT_INACTIVE');
  const caller: Caller = {
    accountId: account.id,
    // The routes of staff need a token: no cookie of another page of this host may reach them.
    role: 'user',
    credential: { type: 'token', id: account.id, name: account.username },
    permissions: ['*'],
    sessionId: null,
    isPasswordLogin: true,
    accountSecretDigest: secretDigestOf(account),
    browserSession: { id: session.id, expiresAt: session.expiresAt },
    ...request,
  };
  return { caller, isOneTime: account.mustChangePassword };
}

async function identify(context: Context, credential: string, request: OfRequest): Promise<Identified> {
  const { keys, tokens } = context;
  if (credential.startsWith('chq_') || isKeyForm(credential)) {
    const key = await keys.authenticate(credential);
    const { role } = await requireActive(context, key.accountId);
    return { caller: callerWithKey('key', key, role, request), isOneTime: false };
  }
  if (credential.split('.').length !== 3) throw new AppError('UNAUTHENTICATED');
  const { account, key: tokenKey } = await tokens.verify(credential);
  const { role, mustChangePassword } = await requireActive(context, account.id);
  // The secret that verified the token, which may be a cached one: streams and tickets end when the account gets another one.
  const accountSecretDigest = secretDigestOf(account);
  if (tokenKey) {
    const key = await keys.authenticateId(account.id, tokenKey.id, tokenKey.fingerprint);
    return { caller: { ...callerWithKey('token', key, role, request), accountSecretDigest }, isOneTime: false };
  }
  const caller: Caller = {
    accountSecretDigest,
    accountId: account.id,
    role,
    credential: { type: 'token', id: account.id, name: account.username },
    permissions: ['*'],
    sessionId: null,
    isPasswordLogin: true,
    ...request,
  };
  return { caller, isOneTime: mustChangePassword };
}

/** Names each field, because most requests have a key: an object that is put together with `...` is stored as a dictionary. `key` was read with its hash. */
const callerWithKey = (
  type: 'key' | 'token',
  key: ApiKey,
  role: Account['role'],
  { requestId, ip }: OfRequest,
): Caller & Required<Pick<Caller, 'keyFingerprint' | 'keyLimit'>> => ({
  accountId: key.accountId,
  role,
  credential: { type, id: key.id, name: key.name },
  permissions: key.permissions,
  sessionId: key.sessionId,
  isPasswordLogin: false,
  keyFingerprint: fingerprintOf(key),
  keyLimit: { rateLimit: key.rateLimit, rateWindowMs: key.rateWindowMs },
  requestId,
  ip,
});

async function requireActive(context: Context, accountId: string): Promise<AccountState> {
  const state = await stateOf(context, accountId);
  if (!state.isActive) throw new AppError('ACCOUNT_INACTIVE');
  return state;
}

async function stateOf({ accounts, cache }: Context, accountId: string): Promise<AccountState> {
  const cached = cache.get(accountId);
  if (cached) return cached;
  const { version } = cache;
  const account = await accounts.find(accountId);
  if (!account) throw new AppError('UNAUTHENTICATED');
  const { isActive, role, mustChangePassword } = account;
  const state = { isActive, role, mustChangePassword };
  cache.set(accountId, state, version);
  return state;
}

function requireAccess(route: AnyRoute, caller: Caller): void {
  if (route.auth === 'acc' && caller.sessionId !== null) throw new AppError('ACCOUNT_KEY_REQUIRED');
  if (['pwd', 'stf', 'adm'].includes(route.auth) && !caller.isPasswordLogin) throw new AppError('PASSWORD_LOGIN_REQUIRED');
  if (route.auth === 'stf' && caller.role === 'user') throw new AppError('STAFF_REQUIRED');
  if (route.auth === 'adm' && caller.role !== 'admin') throw new AppError('ADMIN_REQUIRED');
  if (route.permission && !allows(caller.permissions, route.permission)) {
    throw new AppError(
      'PERMISSION_DENIED',
      { permission: route.permission },
      `The key lacks the permission ${route.permission}.`,
    );
  }
}
