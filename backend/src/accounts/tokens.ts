import { createHash, hkdfSync } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import { decodeJwt, errors, jwtVerify, SignJWT } from 'jose';
import type { Core } from '../core.js';
import { createCredentialChanges, type CredentialChanges } from '../lib/credential-changes.js';
import { createTtlCache, type TtlCache } from '../lib/ttl-cache.js';
import { Account } from './account.entity.js';
import type { ApiKey } from './api-key.entity.js';
import { fingerprintOf } from './key-form.js';

/**
 * Tokens (JWT, HS256) of logins and of keys. The signing key of an account is derived from the installation's secret and the account's own: a
 * new secret of the account voids its tokens.
 */
export interface Tokens {
  /** Issues a token for a login. `account` was read with its secrets. */
  issue(account: Account): Promise<IssuedToken>;
  /**
   * Issues a token that names a key and the current secret of the key. The key's row is read at each use: the token never outlives that
   * secret, and never permits more than the key does at that moment. `key` was read with its hash.
   */
  issueForKey(key: ApiKey): Promise<IssuedToken>;
  /** Returns the account of a token, with its secrets, and the key for which it was issued. Throws `UNAUTHENTICATED`, `TOKEN_EXPIRED`. */
  verify(token: string): Promise<{ account: Account; key: TokenKey | null }>;
}

export interface IssuedToken {
  token: string;
  expiresAt: Date;
}

/** The key for which a token was issued, and which of its secrets was presented for it. */
export interface TokenKey {
  id: string;
  /** Null in tokens of earlier versions, which are not accepted any more. */
  fingerprint: string | null;
}

/** Returns a digest of the account's own secret, to find out later whether a token that was verified with it is void. */
export const secretDigestOf = ({ jwtSecret }: Pick<Account, 'jwtSecret'>): string =>
  createHash('sha256').update(jwtSecret).digest('base64url');

type TokenCore = Pick<Core, 'database' | 'clock'>;

export interface TokenParts {
  /** The secret of the installation. */
  secret: string;
  /** The lifetime of a token. A token for a key also ends with the key. */
  hours: number;
  credentials?: CredentialChanges;
}

interface Context extends TokenCore, Pick<TokenParts, 'secret' | 'hours'> {
  /** Accounts with their secrets, by id. */
  cache: TtlCache<Account>;
}

const cacheTtlMs = 1_000;
const maxCachedAccounts = 20_000;

export function createTokens(
  { database, clock }: TokenCore,
  { secret, hours, credentials = createCredentialChanges() }: TokenParts,
): Tokens {
  const cache = createTtlCache<Account>({ clock, ttlMs: cacheTtlMs, maxEntries: maxCachedAccounts });
  credentials.subscribe(cache.invalidate);
  const context: Context = { database, clock, secret, hours, cache };
  return {
    issue: (account) => sign(context, account, null),
    issueForKey: (key) => issueForKey(context, key),
    verify: (token) => verify(context, token),
  };
}

async function issueForKey(context: Context, key: ApiKey): Promise<IssuedToken> {
  const account = await findAccount(context, key.accountId);
  if (!account) throw new AppError('UNAUTHENTICATED');
  return sign(context, account, key);
}

async function sign(context: Context, account: Account, key: ApiKey | null): Promise<IssuedToken> {
  const issuedAt = Math.floor(context.clock.now().getTime() / 1000);
  const keyEnd = key?.expiresAt ? Math.floor(key.expiresAt.getTime() / 1000) : Infinity;
  const end = Math.min(issuedAt + context.hours * 3600, keyEnd);
  const token = await new SignJWT(key ? { key: key.id, secret: fingerprintOf(key) } : {})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(account.id)
    .setIssuedAt(issuedAt)
    .setExpirationTime(end)
    .sign(signingKeyOf(context, account));
  return { token, expiresAt: new Date(end * 1000) };
}

async function verify(context: Context, token: string): Promise<{ account: Account; key: TokenKey | null }> {
  try {
    const { sub } = decodeJwt(token);
    const account = sub ? await findAccount(context, sub) : null;
    if (!account) throw new AppError('UNAUTHENTICATED');
    const options = { algorithms: ['HS256'], currentDate: context.clock.now() };
    const { payload } = await jwtVerify(token, signingKeyOf(context, account), options);
    // The token of a login has no such claim. A claim of another type is refused; it never makes the token one of a login.
    const keyId = payload['key'];
    if (keyId !== undefined && typeof keyId !== 'string') throw new AppError('UNAUTHENTICATED');
    const fingerprint = payload['secret'];
    const key = keyId === undefined ? null : { id: keyId, fingerprint: typeof fingerprint === 'string' ? fingerprint : null };
    return { account, key };
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new AppError('TOKEN_EXPIRED');
    if (error instanceof errors.JOSEError) throw new AppError('UNAUTHENTICATED');
    throw error;
  }
}

const signingKeyOf = ({ secret }: Context, { jwtSecret }: Account): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secret, jwtSecret, 'chasqui token', 32));

async function findAccount({ database, cache }: Context, id: string): Promise<Account | null> {
  const cached = cache.get(id);
  if (cached) return cached;
  const { version } = cache;
  const account = await database.reader
    .getRepository(Account)
    .createQueryBuilder('a')
    .addSelect('a.jwtSecret')
    .where('a.id = :id', { id })
    .getOne();
  if (account) cache.set(id, account, version);
  return account;
}
