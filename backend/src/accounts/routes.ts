import { AppError, type AccountResource } from '@chasqui/shared';
import type { Mount } from '../http/server.js';
import type { Account } from './account.entity.js';
import type { Accounts } from './accounts.js';
import type { ApiKey } from './api-key.entity.js';
import type { ApiKeys } from './api-keys.js';
import * as contract from './contract.js';
import type { Tokens } from './tokens.js';

const presentAccount = (account: Account, apiKeyPrefix: string | null): AccountResource => ({
  id: account.id,
  username: account.username,
  email: account.email,
  role: account.role,
  isActive: account.isActive,
  timezone: account.timezone,
  uncertainPolicy: account.uncertainPolicy,
  apiKeyPrefix,
  createdAt: account.createdAt.toISOString(),
});

const presentKey = (key: ApiKey) => ({
  id: key.id,
  sessionId: key.sessionId,
  name: key.name,
  prefix: key.prefix,
  lastFour: key.lastFour,
  permissions: key.permissions,
  isActive: key.isActive,
  expiresAt: key.expiresAt?.toISOString() ?? null,
  lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
  createdAt: key.createdAt.toISOString(),
});

export function mountAccounts(
  mount: Mount,
  {
    accounts,
    keys,
    tokens,
    ownsSession,
  }: {
    accounts: Accounts;
    keys: ApiKeys;
    tokens: Tokens;
    ownsSession: (accountId: string, sessionId: string) => Promise<boolean>;
  },
): void {
  const primaryPrefix = async (accountId: string): Promise<string | null> =>
    (await keys.list(accountId)).find((key) => key.isPrimary)?.prefix ?? null;
  const mine = async (accountId: string): Promise<Account> => {
    const account = await accounts.find(accountId);
    if (!account) throw new AppError('UNAUTHENTICATED');
    return account;
  };

  mount(contract.login, async ({ body }, caller) => {
    const account = await accounts.authenticatePassword(body.email, body.password, caller.ip);
    const { token, expiresAt } = await tokens.issue(account);
    return { token, expiresAt: expiresAt.toISOString(), permissions: ['*'], sessionId: null };
  });
  mount(contract.register, async () => {
    throw new AppError('REGISTRATION_CLOSED');
  });
  mount(contract.logout, async (_, caller) => {
    await accounts.logoutEverywhere(caller, caller.accountId);
    return { loggedOut: true as const };
  });
  mount(contract.me, async (_, caller) => {
    const account = await mine(caller.accountId);
    const credential = {
      type: caller.credential.type,
      id: caller.credential.id,
      permissions: [...caller.permissions],
      sessionId: caller.sessionId,
    };
    // A session key learns of the account no more than it needs.
    return caller.sessionId
      ? { id: account.id, credential }
      : { ...presentAccount(account, await primaryPrefix(account.id)), credential };
  });
  mount(contract.updateMe, async ({ body }, caller) =>
    presentAccount(await accounts.update(caller, caller.accountId, body), await primaryPrefix(caller.accountId)),
  );
  mount(contract.changePassword, async ({ body }, caller) => {
    const account = await mine(caller.accountId);
    await accounts.authenticatePassword(account.email, body.currentPassword, caller.ip);
    await accounts.setPassword(caller, account.id, body.newPassword, { mustChange: false });
    return { changed: true as const };
  });
  mount(contract.regenerateKey, async (_, caller) => ({ apiKey: await keys.regeneratePrimary(caller, caller.accountId) }));
  mount(contract.listKeys, async (_, caller) => (await keys.list(caller.accountId)).map(presentKey));
  mount(contract.createKey, async ({ body }, caller) => {
    if (body.sessionId && !(await ownsSession(caller.accountId, body.sessionId))) throw new AppError('SESSION_NOT_FOUND');
    const { row, key } = await keys.create(caller, {
      name: body.name,
      permissions: body.permissions,
      sessionId: body.sessionId ?? null,
      expiresAt: body.expiresAt ? new Date(body.expiresAt) : null,
    });
    return { ...presentKey(row), key };
  });
  mount(contract.deleteKey, async ({ params }, caller) => {
    await keys.revoke(caller, caller.accountId, params.keyId);
    return { id: params.keyId, deleted: true as const };
  });
}
