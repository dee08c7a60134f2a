import { AppError } from '@chasqui/shared';
import type { Request } from 'express';
import { decodeJwt } from 'jose';
import type { Caller, Mount } from './caller.js';
import type { CredentialChanges } from '../lib/credential-changes.js';
import type { BrowserSessions } from './browser-sessions.js';
import { credentialOf } from './credential.js';
import type { Account } from './account.entity.js';
import type { Accounts } from './accounts.js';
import type { ApiKeys } from './api-keys.js';
import * as contract from './contract.js';
import type { PresentAccount } from './present.js';
import type { Tokens } from './tokens.js';

export interface AccountRouteParts {
  accounts: Accounts;
  keys: ApiKeys;
  tokens: Tokens;
  browser: BrowserSessions;
  credentials: Pick<CredentialChanges, 'publish'>;
  present: PresentAccount;
  registration: 'open' | 'closed';
}

/** Mounts login, registration, and what callers do with their own account. */
export function mountAccounts(
  mount: Mount,
  { accounts, keys, tokens, browser, credentials, present, registration }: AccountRouteParts,
): void {
  mount(contract.login, async ({ body }, caller) => {
    const account = await accounts.authenticatePassword(body.email, body.password, caller.ip);
    const { token, expiresAt } = await tokens.issue(account);
    const { mustChangePassword } = account;
    // A one-time password permits nothing but to change it.
    const permissions = mustChangePassword ? [] : ['*'];
    return { token, expiresAt: expiresAt.toISOString(), permissions, sessionId: null, mustChangePassword };
  });
  mount(contract.register, async ({ body }) => {
    if (registration === 'closed') throw new AppError('REGISTRATION_CLOSED');
    const { account, apiKey } = await accounts.create(null, { ...body, role: 'user' });
    return { account: await present(account), apiKey };
  });
  mount(contract.exchangeKey, async ({ body }) => {
    const key = await keys.authenticate(body.apiKey).catch((error: unknown) => {
      throw error instanceof AppError ? new AppError('INVALID_CREDENTIALS') : error;
    });
    const account = await ownAccount(accounts, key.accountId);
    if (!account.isActive) throw new AppError('ACCOUNT_INACTIVE');
    const { token, expiresAt } = await tokens.issueForKey(key);
    return {
      token,
      expiresAt: expiresAt.toISOString(),
      permissions: key.permissions,
      sessionId: key.sessionId,
      mustChangePassword: false,
    };
  });
  mount(contract.signIn, async ({ body }, caller, { req, res }) => {
    const account = await accounts.authenticatePassword(body.email, body.password, caller.ip);
    const { expiresAt } = await browser.open(req, res, account);
    return { expiresAt: expiresAt.toISOString(), mustChangePassword: account.mustChangePassword };
  });
  mount(contract.signOut, async (_, caller, { req, res }) => {
    if (!caller.browserSession) throw new AppError('UNAUTHENTICATED', {}, 'This request has no cookie of a sign-in.');
    await browser.close(req, res, caller.browserSession.id);
    // Streams look at their credentials again.
    credentials.publish(caller.accountId);
    return { signedOut: true as const };
  });
  mount(contract.logout, async (_, caller) => {
    await accounts.logoutEverywhere(caller, caller.accountId);
    return { loggedOut: true as const };
  });
  mount(contract.me, async (_, caller, { req }) => {
    const account = await ownAccount(accounts, caller.accountId);
    const credential = {
      type: caller.credential.type,
      id: caller.credential.id,
      permissions: [...caller.permissions],
      sessionId: caller.sessionId,
      expiresAt: await expiryOf(keys, caller, req),
    };
    const resource = await present(account);
    // A session key learns no more of the account than it needs.
    return caller.sessionId ? { id: resource.id, limits: resource.limits, credential } : { ...resource, credential };
  });
  mount(contract.updateMe, async ({ body }, caller) => present(await accounts.update(caller, caller.accountId, body)));
  mount(contract.changePassword, async ({ body }, caller) => {
    await accounts.changePassword(caller, { current: body.currentPassword, next: body.newPassword });
    return { changed: true as const };
  });
  mount(contract.regenerateKey, async (_, caller) => ({ apiKey: await keys.regeneratePrimary(caller, caller.accountId) }));
}

/** Authentication has found the account a moment ago. */
async function ownAccount(accounts: Accounts, id: string): Promise<Account> {
  const account = await accounts.find(id);
  if (!account) throw new AppError('UNAUTHENTICATED');
  return account;
}

/** Returns when the credential of a request expires. Null: it does not. Authentication has verified it. */
async function expiryOf(keys: ApiKeys, { accountId, credential, browserSession }: Caller, req: Request): Promise<string | null> {
  if (credential.type === 'key')
    return (await keys.list(accountId)).find(({ id }) => id === credential.id)?.expiresAt?.toISOString() ?? null;
  if (browserSession) return browserSession.expiresAt.toISOString();
  const { exp } = credential.type === 'token' ? decodeJwt(credentialOf(req) ?? '') : {};
  return exp === undefined ? null : new Date(exp * 1000).toISOString();
}
