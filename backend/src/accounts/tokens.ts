import { createHash, hkdfSync } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import { decodeJwt, errors, jwtVerify, SignJWT } from 'jose';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import { Account } from './account.entity.js';
import type { ApiKey } from './api-key.entity.js';
import { createCredentialChanges, type CredentialChanges } from '../lib/credential-changes.js';
import { fingerprintOf } from './key-form.js';

/** The key for which a token was exchanged, and which of its secrets was shown then. */
export interface TokenKey {
  id: string;
  /** Null in tokens of earlier versions, which open nothing any more. */
  fingerprint: string | null;
}

/** Digest of the account's own secret, to tell later whether a token that was verified with it is void. */
export const secretDigestOf = ({ jwtSecret }: Pick<Account, 'jwtSecret'>): string =>
  createHash('sha256').update(jwtSecret).digest('base64url');

export type Tokens = ReturnType<typeof createTokens>;

/** JWTs (HS256). The key of an account is derived from the installation's secret and its own: a new one of its own voids its tokens. */
export function createTokens({
  database,
  clock,
  secret,
  hours,
  credentials = createCredentialChanges(),
}: {
  database: Database;
  clock: Clock;
  secret: string;
  hours: number;
  credentials?: CredentialChanges;
}) {
  const secrets = new Map<string, { account: Account; until: number }>();
  let changes = 0;
  credentials.subscribe((accountId) => {
    changes += 1;
    if (accountId === null) secrets.clear();
    else secrets.delete(accountId);
  });
  const keyOf = (account: Account): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', secret, account.jwtSecret, 'chasqui token', 32));

  async function accountOf(id: string): Promise<Account | null> {
    const known = secrets.get(id);
    if (known && known.until > clock.monotonic()) return known.account;
    const before = changes;
    const [account = null] = await readRows(database.reader, Account, 'id = ?', [id], ['jwtSecret']);
    // Closes: read before a logout everywhere, kept after it.
    if (account && before === changes) secrets.set(id, { account, until: clock.monotonic() + 1_000 });
    return account;
  }

  async function sign(account: Account, key: ApiKey | null): Promise<{ token: string; expiresAt: Date }> {
    const issuedAt = Math.floor(clock.now().getTime() / 1000);
    const end = Math.min(issuedAt + hours * 3600, key?.expiresAt ? Math.floor(key.expiresAt.getTime() / 1000) : Infinity);
    const token = await new SignJWT(key ? { key: key.id, secret: fingerprintOf(key) } : {})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(account.id)
      .setIssuedAt(issuedAt)
      .setExpirationTime(end)
      .sign(keyOf(account));
    return { token, expiresAt: new Date(end * 1000) };
  }

  return {
    issue: (account: Account) => sign(account, null),
    /**
     * Names the key and its present secret. The key's row is read at each use: the token never outlives that secret, and never holds more than
     * the key does then. `key` has its hash.
     */
    async issueForKey(key: ApiKey): Promise<{ token: string; expiresAt: Date }> {
      const account = await accountOf(key.accountId);
      if (!account) throw new AppError('UNAUTHENTICATED');
      return sign(account, key);
    },
    async verify(token: string): Promise<{ account: Account; key: TokenKey | null }> {
      try {
        const { sub } = decodeJwt(token);
        const account = sub ? await accountOf(sub) : null;
        if (!account) throw new AppError('UNAUTHENTICATED');
        const { payload } = await jwtVerify(token, keyOf(account), { algorithms: ['HS256'], currentDate: clock.now() });
        // A login's token has no such claim. A claim of another form is refused and never counts as a login's.
        const named = payload['key'];
        if (named !== undefined && typeof named !== 'string') throw new AppError('UNAUTHENTICATED');
        const fingerprint = payload['secret'];
        const key = named === undefined ? null : { id: named, fingerprint: typeof fingerprint === 'string' ? fingerprint : null };
        return { account, key };
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw new AppError('TOKEN_EXPIRED');
        if (error instanceof errors.JOSEError) throw new AppError('UNAUTHENTICATED');
        throw error;
      }
    },
  };
}
