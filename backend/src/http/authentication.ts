import { createHash, timingSafeEqual } from 'node:crypto';
import { allows, AppError, type AnyRoute } from '@chasqui/shared';
import type { Request, Response } from 'express';
import type { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import { isKeyForm } from '../accounts/key-form.js';
import type { Tokens } from '../accounts/tokens.js';
import type { Caller } from './context.js';
import { credentialOf } from './credential.js';

/** The one place that finds out who calls, in every scheme (AUT-05), and whether the route is for them. */
export function createAuthentication({
  accounts,
  keys,
  tokens,
  serviceKey,
}: {
  accounts: Accounts;
  keys: ApiKeys;
  tokens: Tokens;
  serviceKey: string;
}) {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const serviceDigest = digest(serviceKey);
  const isServiceKey = (text: string): boolean => timingSafeEqual(digest(text), serviceDigest);
  const active = new Map<string, { isActive: boolean; role: Account['role']; until: number }>();
  let changes = 0;
  accounts.onChanged((id) => {
    changes += 1;
    active.delete(id);
  });

  /** Whether the account may still act; at once for changes made here, within a second for those of another backend. */
  async function standing(accountId: string): Promise<{ isActive: boolean; role: Account['role'] }> {
    const known = active.get(accountId);
    if (known && known.until > performance.now()) return known;
    const before = changes;
    const account = await accounts.find(accountId);
    if (!account) throw new AppError('UNAUTHENTICATED');
    const now = { isActive: account.isActive, role: account.role, until: performance.now() + 1_000 };
    // Closes: read while active, switched off meanwhile, then kept as active for a second.
    if (before === changes) active.set(accountId, now);
    return now;
  }

  async function identify(text: string): Promise<Omit<Caller, 'requestId' | 'ip'>> {
    if (text.startsWith('chq_') || isKeyForm(text)) {
      const key = await keys.authenticate(text);
      const { role } = await mayAct(key.accountId);
      return {
        accountId: key.accountId,
        role,
        credential: { type: 'key', id: key.id, name: key.name },
        permissions: key.permissions,
        sessionId: key.sessionId,
        isPasswordLogin: false,
        keyLimit: { rateLimit: key.rateLimit, rateWindowMs: key.rateWindowMs },
      };
    }
    if (text.split('.').length !== 3) throw new AppError('UNAUTHENTICATED');
    const { account, keyId } = await tokens.verify(text);
    const { role } = await mayAct(account.id);
    if (keyId) {
      const key = await keys.authenticateId(account.id, keyId);
      return {
        accountId: account.id,
        role,
        credential: { type: 'token', id: key.id, name: key.name },
        permissions: key.permissions,
        sessionId: key.sessionId,
        isPasswordLogin: false,
        keyLimit: { rateLimit: key.rateLimit, rateWindowMs: key.rateWindowMs },
      };
    }
    return {
      accountId: account.id,
      role,
      credential: { type: 'token', id: account.id, name: account.username },
      permissions: ['*'],
      sessionId: null,
      isPasswordLogin: true,
    };
  }

  async function mayAct(accountId: string): Promise<{ role: Account['role'] }> {
    const { isActive, role } = await standing(accountId);
    if (!isActive) throw new AppError('ACCOUNT_INACTIVE');
    return { role };
  }

  return async function authenticate(route: AnyRoute, req: Request, res: Response): Promise<Caller> {
    res.locals['route'] = route.id;
    const about = { requestId: String(res.locals['requestId']), ip: req.ip ?? null };
    const nobody: Caller = {
      accountId: '',
      role: 'user',
      credential: { type: 'none', id: null, name: null },
      permissions: [],
      sessionId: null,
      isPasswordLogin: false,
      ...about,
    };
    if (route.auth === 'pub') return nobody;
    const text = credentialOf(req);
    if (text === null) throw new AppError('UNAUTHENTICATED');
    if (route.auth === 'svc') {
      if (!isServiceKey(text)) throw new AppError('UNAUTHENTICATED', {}, 'Send the service key in X-API-Key.');
      return { ...nobody, credential: { type: 'service', id: null, name: 'worker' } };
    }
    const caller: Caller = Object.assign(await identify(text), about);
    checkLevel(route, caller);
    return caller;
  };
}

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
