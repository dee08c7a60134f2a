import { AppError } from '@chasqui/shared';
import type { Core } from '../core.js';
import { readBatch, readRows } from '../db/rows.js';
import type { CredentialChanges } from '../lib/credential-changes.js';
import { createTtlCache, type TtlCache } from '../lib/ttl-cache.js';
import { ApiKey } from './api-key.entity.js';
import { fingerprintOf, hashOf, isKeyForm } from './key-form.js';

/** Finds the key behind a presented credential. Runs for every request. */
export interface KeyLookup {
  /**
   * Returns the key with this secret, with its hash. Cached for a second; a change by another backend usually invalidates the cache within
   * milliseconds. Throws `UNAUTHENTICATED` for an unknown, deactivated or unclaimed key, and `KEY_EXPIRED`.
   */
  authenticate(secret: string): Promise<ApiKey>;
  /**
   * Returns the key on which a token or a stream depends, with its hash. Reads the database, so that both end with the key. `fingerprint` is
   * that of the secret that was presented when the token was issued. Throws as `authenticate` does, also when the key has another secret now.
   */
  authenticateId(accountId: string, id: string, fingerprint: string | null): Promise<ApiKey>;
}

interface Context extends Pick<Core, 'database' | 'clock'> {
  /** The cached keys, by the hash of the secret. */
  cache: TtlCache<ApiKey>;
}

const cacheTtlMs = 1_000;
const maxCachedKeys = 20_000;
const byIdSql = 'id = ? AND "accountId" = ? AND "deletedAt" IS NULL';

export function createKeyLookup(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  { credentials }: { credentials: CredentialChanges },
): KeyLookup {
  const cache = createTtlCache<ApiKey>({ clock, ttlMs: cacheTtlMs, maxEntries: maxCachedKeys });
  credentials.subscribe((accountId) => {
    if (accountId === null) cache.invalidate(null);
    else cache.invalidateWhere((key) => key.accountId === accountId);
  });
  const context: Context = { database, clock, cache };
  return {
    authenticate: async (secret) => requireUsable(context, await findBySecret(context, secret)),
    authenticateId: (accountId, id, fingerprint) => authenticateId(context, accountId, id, fingerprint),
  };
}

async function findBySecret({ database, cache }: Context, secret: string): Promise<ApiKey | null> {
  const hash = hashOf(secret);
  const cached = cache.get(hash);
  if (cached) return cached;
  if (!isKeyForm(secret)) return null;
  const { version } = cache;
  // Requests with the same key within one event-loop turn share one query.
  const [key = null] = await readBatch(database, ApiKey, 'hash = ? AND "deletedAt" IS NULL', [hash], ['hash']);
  // An unknown key is not cached: a flood of invented keys would push out the real ones.
  if (key) cache.set(hash, key, version);
  return key;
}

async function authenticateId(context: Context, accountId: string, id: string, fingerprint: string | null): Promise<ApiKey> {
  const [row = null] = await readRows(context.database.reader, ApiKey, byIdSql, [id, accountId], ['hash']);
  const key = requireUsable(context, row);
  if (fingerprintOf(key) === fingerprint) return key;
  throw new AppError('UNAUTHENTICATED', {}, 'The API key has a new secret, which ended this token. Use the new secret.');
}

function requireUsable({ clock }: Context, key: ApiKey | null): ApiKey {
  if (!key?.isActive || key.isClaimable)
    throw new AppError('UNAUTHENTICATED', {}, 'The API key is not known. Check it, or create a new one in the panel.');
  if (key.expiresAt && key.expiresAt <= clock.now())
    throw new AppError('KEY_EXPIRED', { expiredAt: key.expiresAt.toISOString(), successorId: key.successorId });
  return key;
}
