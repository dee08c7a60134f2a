import { createHash, timingSafeEqual } from 'node:crypto';
import { allows, AppError, type AnyRoute } from '@chasqui/shared';
import type { Request, Response } from 'express';
import type { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import { changePassword } from '../accounts/contract.js';
import type { ApiKey } from '../accounts/api-key.entity.js';
import type { CredentialChanges } from '../lib/credential-changes.js';
import { fingerprintOf, isKeyForm } from '../accounts/key-form.js';
import { secretDigestOf, type Tokens } from '../accounts/tokens.js';
import type { Caller } from '../accounts/caller.js';
import { credentialOf } from '../accounts/credential.js';

/** Authenticates callers in every scheme and checks that they may use the route. */
export function createAuthentication({
  accounts,
  keys,
  tokens,
  credentials,
  serviceKey,
}: {
  accounts: Accounts;
  keys: ApiKeys;
  tokens: Tokens;
  credentials: CredentialChanges;
  serviceKey: string;
}) {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const serviceDigest = digest(serviceKey);
  const isServiceKey = (text: string): boolean => timingSafeEqual(digest(text), serviceDigest);
  const active = new Map<string, AccountState & { until: number }>();
  let changes = 0;
  credentials.subscribe((id) => {
    changes += 1;
    if (id === null) active.clear();
    else active.delete(id);
  });

  /** Returns the state of an account. Cached for a second; a change clears the cache. */
  async function stateOf(accountId: string): Promise<AccountState> {
    const state = active.get(accountId);
    if (state && state.until > performance.now()) return state;
    const before = changes;
    const account = await accounts.find(accountId);
    if (!account) throw new AppError('UNAUTHENTICATED');
    const { isActive, role, mustChangePassword } = account;
    const now = { isActive, role, mustChangePassword, until: performance.now() + 1_000 };
    // Closes: the account is read while active, deactivated meanwhile, and then cached as active for a second.
    if (before === changes) active.set(accountId, now);
    return now;
  }

  async function identify(text: string): Promise<Identity> {
    if (text.startsWith('chq_') || isKeyForm(text)) {
      const key = await keys.authenticate(text);
      return ofKey('key', key, (await mayAct(key.accountId)).role);
    }
    if (text.split('.').length !== 3) throw new AppError('UNAUTHENTICATED');
    const { account, key: tokenKey } = await tokens.verify(text);
    const { role, mustChangePassword } = await mayAct(account.id);
    // The secret that verified the token, which may be a cached one: streams and tickets end when the account gets another one.
    const accountSecretDigest = secretDigestOf(account);
    if (tokenKey) {
      const key = await keys.authenticateId(account.id, tokenKey.id, tokenKey.fingerprint);
      return { ...ofKey('token', key, role), accountSecretDigest };
    }
    return {
      accountSecretDigest,
      accountId: account.id,
      role,
      credential: { type: 'token', id: account.id, name: account.username },
      permissions: ['*'],
      sessionId: null,
      isPasswordLogin: true,
      isOneTime: mustChangePassword,
    };
  }

  async function mayAct(accountId: string): Promise<AccountState> {
    const state = await stateOf(accountId);
    if (!state.isActive) throw new AppError('ACCOUNT_INACTIVE');
    return state;
  }

  return async function authenticate(route: AnyRoute, req: Request, res: Response): Promise<Caller> {
    res.locals['route'] = route.id;
    const about = { requestId: String(res.locals['requestId']), ip: req.ip ?? null };
    const anonymous: Caller = {
      accountId: '',
      role: 'user',
      credential: { type: 'none', id: null, name: null },
      permissions: [],
      sessionId: null,
      isPasswordLogin: false,
      ...about,
    };
    if (route.auth === 'pub') return anonymous;
    const text = credentialOf(req);
    if (text === null) throw new AppError('UNAUTHENTICATED');
    if (route.auth === 'svc') {
      if (!isServiceKey(text)) throw new AppError('UNAUTHENTICATED', {}, 'Send the service key in X-API-Key.');
      return { ...anonymous, credential: { type: 'service', id: null, name: 'worker' } };
    }
    const { isOneTime, ...identity } = await identify(text);
    if (isOneTime && route.id !== changePassword.id) throw new AppError('PASSWORD_CHANGE_REQUIRED');
    const caller: Caller = Object.assign(identity, about);
    checkLevel(route, caller);
    return caller;
  };
}

/** The fields of an account that every request needs. */
type AccountState = Pick<Account, 'isActive' | 'role' | 'mustChangePassword'>;

/** The authenticated caller. `isOneTime`: it logged in with a one-time password. */
type Identity = Omit<Caller, 'requestId' | 'ip'> & { isOneTime: boolean };

/** `key` was read with its hash. */
const ofKey = (type: 'key' | 'token', key: ApiKey, role: Account['role']): Identity => ({
  accountId: key.accountId,
  role,
  credential: { type, id: key.id, name: key.name },
  permissions: key.permissions,
  sessionId: key.sessionId,
  isPasswordLogin: false,
  isOneTime: false,
  keyFingerprint: fingerprintOf(key),
  keyLimit: { rateLimit: key.rateLimit, rateWindowMs: key.rateWindowMs },
});

function checkLevel(route: AnyRoute, caller: Caller): void {
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
