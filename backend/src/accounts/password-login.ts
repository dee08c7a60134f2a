import { AppError } from '@chasqui/shared';
import { verify } from '@node-rs/argon2';
import type { Core } from '../core.js';
import type { Database } from '../db/database.js';
import { readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { Account } from './account.entity.js';
import type { LoginLimit } from './login-limit.js';
import type { VerificationRoom } from './verification-room.js';

/** Verified when the account does not exist, so that both failures take equally long. */
const unknownAccountHash = '$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$H0bN0rGdHZJmh9ZqGvRkZ2bG8rY0Zq1tO6Jb0cE5i8s';

/** Resets by an operator or by staff. An owner who changes the own password was not locked out. */
const resetSql = `SELECT audit.id AS id FROM audit_logs audit JOIN accounts account ON account.id = audit."accountId"
  WHERE account.email = ? AND audit.action = 'account.password' AND audit."actorType" IN ('system', 'staff') AND audit.at > ?
  ORDER BY audit.at DESC LIMIT 1`;

/**
 * Verifies a password and returns its account, with its secrets. Throws `INVALID_CREDENTIALS`, the same for an unknown address and a wrong
 * password; `RATE_LIMITED` after too many wrong passwords (login-limit.ts); `OVERLOADED` during a flood of logins (verification-room.ts); and
 * `ACCOUNT_INACTIVE`, only to a caller with the right password.
 */
export async function authenticatePassword(
  parts: Pick<Core, 'database' | 'clock'> & { limit: LoginLimit; verifications: VerificationRoom },
  email: string,
  password: string,
  ip: string | null,
): Promise<Account> {
  const { database, clock, verifications } = parts;
  const found = await findWithSecrets(database, email);
  const isKnown = ip !== null && found?.lastLoginIp === ip;
  // Closes: each login of a flood costs transactions before it is refused, and the flood uses up the connections to the database.
  const account = await verifications.run({ email, ip, isKnown }, () => verifyCounted(parts, { email, password, ip }, found));
  const { id } = account;
  if (!account.isActive) throw new AppError('ACCOUNT_INACTIVE');
  await database.write.run((tx) => updateRows(tx, Account, { id }, { lastLoginAt: clock.now(), lastLoginIp: ip }));
  return account;
}

/** Counts the attempt, and then verifies the password. */
async function verifyCounted(
  { limit, verifications }: { limit: LoginLimit; verifications: VerificationRoom },
  { email, password, ip }: { email: string; password: string; ip: string | null },
  account: Account | null,
): Promise<Account> {
  const attempt = await limit.begin(email, ip);
  // A hash in an unknown format matches no password.
  const isRight = await verify(account?.passwordHash ?? unknownAccountHash, password).catch(() => false);
  if (!account || !isRight) {
    attempt.failed();
    throw new AppError('INVALID_CREDENTIALS');
  }
  verifications.remember({ email, ip });
  await attempt.succeeded();
  return account;
}

async function findWithSecrets({ reader }: Database, email: string): Promise<Account | null> {
  const [account = null] = await readRows(reader, Account, 'email = ?', [email.toLowerCase()], ['passwordHash', 'jwtSecret']);
  return account;
}

/** Returns the id of the latest reset of this account's password by another person since a time. Null: there was none. */
export async function findReset(database: Database, email: string, since: Date): Promise<string | null> {
  const values = [email.toLowerCase(), since];
  const { rows } = await runStatement<{ id: string }>(database.reader, resetSql, values, { prepare: false });
  return rows[0]?.id ?? null;
}
