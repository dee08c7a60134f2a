import { AppError, validationError } from '@chasqui/shared';
import { verify } from '@node-rs/argon2';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import { Account } from './account.entity.js';
import type { Caller } from './caller.js';
import type { FirstLinks } from './first-link.js';
import type { LoginLimit } from './login-limit.js';

type AccountSecrets = Pick<Account, 'passwordHash' | 'jwtSecret'>;

/** How a one-time password is replaced by one that its owner chooses: through a link, or after a login with it. */

export interface FirstPasswordParts {
  database: Database;
  limit: LoginLimit;
  links: FirstLinks;
  /** Sets a password. With `condition`, only if the account still has that password; otherwise throws `INVALID_CREDENTIALS`. */
  set(
    caller: Caller,
    id: string,
    password: string,
    options: { mustChange: boolean },
    condition: Pick<Account, 'passwordHash'>,
  ): Promise<AccountSecrets>;
}

export async function replaceOneTimePassword(context: FirstPasswordParts, caller: Caller, next: string): Promise<AccountSecrets> {
  const [account] = await readRows(context.database.reader, Account, 'id = ?', [caller.accountId], ['passwordHash']);
  if (!account?.mustChangePassword) throw new AppError('INVALID_CREDENTIALS');
  const { passwordHash } = account;
  // Otherwise a one-time password would stay.
  if (await verify(passwordHash, next))
    throw validationError([{ path: 'newPassword', code: 'SAME_AS_BEFORE', message: 'Choose another password.' }]);
  return context.set(caller, account.id, next, { mustChange: false }, { passwordHash });
}

export async function chooseFirstPassword(
  context: FirstPasswordParts,
  token: string,
  next: string | null,
  request: Pick<Caller, 'ip' | 'requestId'>,
): Promise<Account> {
  const attempt = await context.limit.begin('first link', request.ip);
  const account = await context.links.find(token).catch(async (error: unknown) => {
    await attempt.cancelled();
    throw error;
  });
  if (!account) {
    attempt.failed();
    throw new AppError('INVALID_CREDENTIALS');
  }
  await attempt.cancelled();
  if (next === null) return account;
  const { id, role, username, passwordHash } = account;
  const credential = { type: 'panel', id: null, name: username } as const;
  const owner: Caller = { ...request, accountId: id, role, credential, permissions: [], sessionId: null, isPasswordLogin: true };
  // Closes: two people use one link at once. One of them is refused.
  const secrets = await context.set(owner, id, next, { mustChange: false }, { passwordHash });
  return { ...account, ...secrets, mustChangePassword: false };
}
