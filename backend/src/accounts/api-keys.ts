import { createHash, randomBytes } from 'node:crypto';
import { AppError, newId } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { insertRow, updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Caller } from '../http/context.js';
import { recordAudit } from '../lib/audit.js';
import type { Clock } from '../lib/clock.js';
import { ApiKey } from './api-key.entity.js';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const checksumLength = 6;

/** Base 62 of a number of any size, filled up with zeros. */
function base62(bytes: Buffer, length: number): string {
  let value = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (; value > 0n; value /= 62n) text = alphabet[Number(value % 62n)]! + text;
  return text.padStart(length, '0');
}
const checksum = (body: string): string =>
  base62(createHash('sha256').update(`chq:${body}`).digest().subarray(0, 4), checksumLength).slice(-checksumLength);
const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex');

/** `chq_`, 32 random bytes in base 62 (43 characters), six of checksum: a mistyped key is refused without a look into the database. */
export function makeKey(): string {
  const body = base62(randomBytes(32), 43);
  return `chq_${body}${checksum(body)}`;
}
export function isKeyForm(text: string): boolean {
  const match = /^chq_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/.exec(text);
  return match !== null && checksum(match[1]!) === match[2];
}

/** How long another backend may go on believing in a key that was changed elsewhere. */
const cacheMs = 5_000;
const lastUsedEveryMs = 60_000;

export type ApiKeys = ReturnType<typeof createApiKeys>;

export function createApiKeys({ database, clock }: { database: Database; clock: Clock }) {
  const cache = new Map<string, { key: ApiKey | null; until: number }>();
  const used = new Map<string, number>();

  async function insert(
    tx: Transaction,
    row: Pick<ApiKey, 'accountId' | 'name' | 'permissions'> & Partial<ApiKey>,
  ): Promise<{ row: ApiKey; key: string }> {
    const key = makeKey();
    const full: ApiKey = {
      id: newId(clock.now().getTime()),
      sessionId: null,
      isPrimary: false,
      hash: hashOf(key),
      prefix: key.slice(0, 8),
      lastFour: key.slice(-4),
      isActive: true,
      expiresAt: null,
      lastUsedAt: null,
      createdAt: clock.now(),
      ...row,
    };
    await insertRow(tx, ApiKey, full);
    return { row: full, key };
  }

  async function find(key: string): Promise<ApiKey | null> {
    const hash = hashOf(key);
    const known = cache.get(hash);
    if (known && known.until > clock.now().getTime()) return known.key;
    const row = await database.reader.getRepository(ApiKey).findOneBy({ hash });
    if (cache.size > 20_000) cache.clear();
    // An unknown key is not kept: a flood of made-up ones would push out the real ones.
    if (row) cache.set(hash, { key: row, until: clock.now().getTime() + cacheMs });
    return row;
  }

  return {
    insert,
    /** The key behind what the caller showed; throws 401 in its different words. */
    async authenticate(text: string): Promise<ApiKey> {
      const key = isKeyForm(text) ? await find(text) : null;
      if (!key?.isActive)
        throw new AppError('UNAUTHENTICATED', {}, 'The API key is not known. Check it, or create a new one in the panel.');
      if (key.expiresAt && key.expiresAt <= clock.now())
        throw new AppError('KEY_EXPIRED', { expiredAt: key.expiresAt.toISOString() });
      touch(key);
      return key;
    },
    list: (accountId: string) =>
      database.reader.getRepository(ApiKey).find({ where: { accountId, isActive: true }, order: { createdAt: 'DESC' } }),
    async create(
      caller: Caller,
      wish: { name: string; permissions: string[]; sessionId?: string | null; expiresAt?: Date | null },
    ): Promise<{ row: ApiKey; key: string }> {
      const missing = wish.permissions.filter(
        (grant) => !caller.permissions.includes('*') && !caller.permissions.includes(grant),
      );
      if (missing.length > 0)
        throw new AppError(
          'PERMISSION_DENIED',
          { permission: missing[0] },
          `A key cannot grant ${missing[0]}, which its maker does not hold.`,
        );
      return database.write.run(async (tx) => {
        const made = await insert(tx, {
          accountId: caller.accountId,
          name: wish.name,
          permissions: wish.permissions,
          sessionId: wish.sessionId ?? null,
          expiresAt: wish.expiresAt ?? null,
        });
        await recordAudit(tx, caller, {
          action: 'key.create',
          objectType: 'key',
          objectId: made.row.id,
          changes: { name: wish.name, permissions: wish.permissions },
          at: clock.now(),
        });
        return made;
      });
    },
    async revoke(caller: Caller, accountId: string, id: string): Promise<void> {
      await database.write.run(async (tx) => {
        if ((await updateRows(tx, ApiKey, { id, accountId, isActive: true }, { isActive: false })) === 0)
          throw new AppError('KEY_NOT_FOUND');
        await recordAudit(tx, caller, { action: 'key.revoke', objectType: 'key', objectId: id, accountId, at: clock.now() });
        tx.afterCommit(() => cache.clear());
      });
    },
    /** A new primary key; the old one dies with the commit. */
    async regeneratePrimary(caller: Caller, accountId: string): Promise<string> {
      return database.write.run(async (tx) => {
        await updateRows(tx, ApiKey, { accountId, isPrimary: true, isActive: true }, { isActive: false });
        const { key, row } = await insert(tx, { accountId, name: 'Primary key', permissions: ['*'], isPrimary: true });
        await recordAudit(tx, caller, {
          action: 'key.regenerate',
          objectType: 'key',
          objectId: row.id,
          accountId,
          at: clock.now(),
        });
        tx.afterCommit(() => cache.clear());
        return key;
      });
    },
    forget: (): void => cache.clear(),
  };

  /** Off the path of the request, at most once a minute: it is for people to look at. */
  function touch(key: ApiKey): void {
    const now = clock.now();
    if ((used.get(key.id) ?? 0) > now.getTime() - lastUsedEveryMs) return;
    used.set(key.id, now.getTime());
    database.write.run((tx) => updateRows(tx, ApiKey, { id: key.id }, { lastUsedAt: now })).catch(() => used.delete(key.id));
  }
}
