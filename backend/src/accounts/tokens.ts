import { hkdfSync } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import { decodeJwt, errors, jwtVerify, SignJWT } from 'jose';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';
import { Account } from './account.entity.js';

export type Tokens = ReturnType<typeof createTokens>;

/** JWTs (HS256). The key of an account is derived from the installation's secret and its own (D-29): a new one of its own voids its tokens. */
export function createTokens({
  database,
  clock,
  secret,
  hours,
}: {
  database: Database;
  clock: Clock;
  secret: string;
  hours: number;
}) {
  const secrets = new Map<string, { account: Account; until: number }>();
  const keyOf = (account: Account): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', secret, account.jwtSecret, 'chasqui token', 32));

  async function accountOf(id: string): Promise<Account | null> {
    const known = secrets.get(id);
    if (known && known.until > clock.now().getTime()) return known.account;
    const account = await database.reader
      .getRepository(Account)
      .createQueryBuilder('a')
      .addSelect('a.jwtSecret')
      .where('a.id = :id', { id })
      .getOne();
    if (account) secrets.set(id, { account, until: clock.now().getTime() + 5_000 });
    return account;
  }

  return {
    async issue(account: Account): Promise<{ token: string; expiresAt: Date }> {
      const issuedAt = Math.floor(clock.now().getTime() / 1000);
      const expiresAt = new Date((issuedAt + hours * 3600) * 1000);
      const token = await new SignJWT({})
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject(account.id)
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(keyOf(account));
      return { token, expiresAt };
    },
    async verify(token: string): Promise<Account> {
      try {
        const { sub } = decodeJwt(token);
        const account = sub ? await accountOf(sub) : null;
        if (!account) throw new AppError('UNAUTHENTICATED');
        await jwtVerify(token, keyOf(account), { algorithms: ['HS256'], currentDate: clock.now() });
        return account;
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw new AppError('TOKEN_EXPIRED');
        if (error instanceof errors.JOSEError) throw new AppError('UNAUTHENTICATED');
        throw error;
      }
    },
    forget: (accountId: string): void => void secrets.delete(accountId),
  };
}
