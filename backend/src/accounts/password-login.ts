import { AppError } from '@chasqui/shared';
import { verify } from '@node-rs/argon2';
import type { Core } from '../core.js';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { Account } from './account.entity.js';
import type { LoginLimit } from './login-limit.js';

/** Verified when the account does not exist, so that both failures take equally long. */
const unknownAccountHash = '$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$H0bN0rGdHZJmh9ZqGvRkZ2bG8rY0Zq1tO6Jb0cE5i8s';

/** Resets by an operator or by staff. An owner who changes the own password was not locked out. */
const resetSql = `SELECT audit.id AS id FROM audit_logs audit JOIN accounts account ON account.id = audit."accountId"
  WHERE account.email = ? AND audit.action = 'account.password' AND audit."actorType" IN ('system', 'staff') AND audit.at > ?
  ORDER BY audit.at DESC LIMIT 1`;

/**
 * Verifies a password and returns its account, with its secrets. Throws `INVALID_CREDENTIALS`, the same for an unknown address and a wrong
 * password; `RATE_LIMITED` after too many wrong passwords (login-limit.ts); and `ACCOUNT_INACTIVE`, only to a caller with the right password.
 */
export async function authenticatePassword(
  { database, clock, limit }: Pick<Core, 'database' | 'clock'> & { limit: LoginLimit },
  email: string,
  password: string,
  ip: string | null,
): Promise<Account> {
  const attempt = await limit.begin(email, ip);
  let account: Account | null = null;
  let isRight = false;
  try {
    account = await findWithSecrets(database, email);
    // A hash in an unknown format matches no password.
    isRight = await verify(account?.passwordHash ?? unknownAccountHash, password).catch(() => false);
  } catch (error) {
    // The database is unavailable, so the password was not verified. If it also stores the windows, the attempt stays counted.
    await attempt.cancelled().catch(() => undefined);
    throw error;
  }
  if (!account || !isRight) {
    attempt.failed();
    throw new AppError('INVALID_CREDENTIALS');
  }
  await attempt.succeeded();
  const { id } = account;
  if (!account.isActive) throw new AppError('ACCOUNT_INACTIVE');
  await database.write.run((tx) => updateRows(tx, Account, { id }, { lastLoginAt: clock.now() }));
  return account;
}

const findWithSecrets = (database: Database, email: string): Promise<Account | null> =>
  database.reader
    .getRepository(Account)
    .createQueryBuilder('a')
    .addSelect(['a.passwordHash', 'a.jwtSecret'])
    .where('a.email = :email', { email: email.toLowerCase() })
    .getOne();

/** Returns the id of the latest reset of this account's password by another person since a time. Null: there was none. */
export async function findReset(database: Database, email: string, since: Date): Promise<string | null> {
  const values = [email.toLowerCase(), since];
  const { rows } = await runStatement<{ id: string }>(database.reader, resetSql, values, { prepare: false });
  return rows[0]?.id ?? null;
}
