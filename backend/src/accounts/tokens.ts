import { hkdfSync } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import { decodeJwt, errors, jwtVerify, SignJWT } from 'jose';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';
import { Account } from './account.entity.js';
import type { ApiKey } from './api-key.entity.js';

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
  let changes = 0;
  const keyOf = (account: Account): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', secret, account.jwtSecret, 'chasqui token', 32));

  async function accountOf(id: string): Promise<Account | null> {
    const known = secrets.get(id);
    if (known && known.until > clock.monotonic()) return known.account;
    const before = changes;
    const account = await database.reader
      .getRepository(Account)
      .createQueryBuilder('a')
      .addSelect('a.jwtSecret')
      .where('a.id = :id', { id })
      .getOne();
    // Closes: read before a logout everywhere, kept after it.
    if (account && before === changes) secrets.set(id, { account, until: clock.monotonic() + 1_000 });
    return account;
  }

  async function sign(account: Account, keyId: string | null, latest: Date | null): Promise<{ token: string; expiresAt: Date }> {
    const issuedAt = Math.floor(clock.now().getTime() / 1000);
    const end = Math.min(issuedAt + hours * 3600, latest ? Math.floor(latest.getTime() / 1000) : Infinity);
    const token = await new SignJWT(keyId ? { key: keyId } : {})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(account.id)
      .setIssuedAt(issuedAt)
      .setExpirationTime(end)
      .sign(keyOf(account));
    return { token, expiresAt: new Date(end * 1000) };
  }

  return {
    issue: (account: Account) => sign(account, null, null),
    /** Names the key, whose row is asked at each use: the token never outlives the key nor holds more than it. */
    async issueForKey(key: ApiKey): Promise<{ token: string; expiresAt: Date }> {
      const account = await accountOf(key.accountId);
      if (!account) throw new AppError('UNAUTHENTICATED');
      return sign(account, key.id, key.expiresAt);
    },
    async verify(token: string): Promise<{ account: Account; keyId: string | null }> {
      try {
        const { sub } = decodeJwt(token);
        const account = sub ? await accountOf(sub) : null;
        if (!account) throw new AppError('UNAUTHENTICATED');
        const { payload } = await jwtVerify(token, keyOf(account), { algorithms: ['HS256'], currentDate: clock.now() });
        // A login's token has no such claim. One of another form is nobody's, never a login's.
        const named = payload['key'];
        if (named !== undefined && typeof named !== 'string') throw new AppError('UNAUTHENTICATED');
        return { account, keyId: named ?? null };
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw new AppError('TOKEN_EXPIRED');
        if (error instanceof errors.JOSEError) throw new AppError('UNAUTHENTICATED');
        throw error;
      }
    },
    forget(accountId: string): void {
      changes += 1;
      secrets.delete(accountId);
    },
  };
}
