import { allows, AppError, isPermission, newId, permissionGroups, type Permission } from '@chasqui/shared';
import { IsNull, LessThanOrEqual } from 'typeorm';
import type { Database } from '../db/database.js';
import { lockRows, insertRow, readRows, readBatch, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Caller } from './caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { Account } from './account.entity.js';
import { ApiKey } from './api-key.entity.js';
import { createCredentialChanges, type CredentialChanges } from '../lib/credential-changes.js';
import { fingerprintOf, hashOf, isKeyForm, makeKey } from './key-form.js';

/** For how long a key is cached. A change by another backend is usually heard of within milliseconds; when its notice is lost, after this time. */
const cacheMs = 1_000;
const dayMs = 86_400_000;

export interface KeyRules {
  /** Most keys bound to one session. */
  maxPerSession: number;
  /** Of a new key that does not say when it ends. 0: never. */
  expiryDays: number;
  autoRotation: boolean;
  /** How long before its end a key is announced. */
  noticeDays: number;
}
export interface KeyInput {
  name: string;
  permissions: string[];
  sessionId?: string | null;
  rateLimit?: number | null;
  rateWindowMs?: number | null;
  /** Null: never. Left out: as the rules have it. */
  expiresAt?: Date | null;
  autoRotation?: boolean;
}
export type KeyChange = Partial<Omit<KeyInput, 'sessionId'>> & { isActive?: boolean };
/** A key of the account, and of this session when one is named. */
export interface KeyRef {
  id: string;
  sessionId?: string;
}

export const defaultKeyRules: KeyRules = { maxPerSession: 10, expiryDays: 365, autoRotation: false, noticeDays: 14 };

const idSql = 'id = ? AND "accountId" = ? AND "deletedAt" IS NULL';

export type ApiKeys = ReturnType<typeof createApiKeys>;

/** Whether who holds these grants may hand on this one: never more than it holds itself. */
const holds = (own: readonly string[], grant: string): boolean =>
  own.includes('*') || own.includes(grant) || (isPermission(grant) && allows(own, grant as Permission));

function requireKnown(grants: readonly string[]): void {
  const unknown = grants.find((grant) => grant !== '*' && !isPermission(grant) && !permissionGroups.has(grant));
  if (unknown !== undefined)
    throw new AppError('UNKNOWN_PERMISSION', { permission: unknown }, `There is no permission ${unknown}.`);
}
function requirePermissions(caller: Caller, grants: readonly string[]): void {
  const missing = grants.find((grant) => !holds(caller.permissions, grant));
  if (missing === undefined) return;
  throw new AppError('PERMISSION_DENIED', { permission: missing }, `Who does not hold ${missing} cannot give it to a key.`);
}

export function createApiKeys({
  database,
  clock,
  events,
  rules = defaultKeyRules,
  report = () => undefined,
  credentials = createCredentialChanges(),
}: {
  database: Database;
  clock: Clock;
  events: Events;
  rules?: KeyRules;
  report?: ReportFailure;
  credentials?: CredentialChanges;
}) {
  const rows = database.reader.getRepository(ApiKey);
  const cache = new Map<string, { key: ApiKey; until: number }>();
  let changes = 0;
  credentials.subscribe((accountId) => {
    changes += 1;
    if (accountId === null) cache.clear();
    else for (const [hash, { key }] of cache) if (key.accountId === accountId) cache.delete(hash);
  });
  const inDays = (days: number): Date => new Date(clock.now().getTime() + days * dayMs);

  async function insert(
    tx: Transaction,
    row: Pick<ApiKey, 'accountId' | 'name' | 'permissions'> & Partial<ApiKey>,
  ): Promise<{ row: ApiKey; key: string }> {
    const key = makeKey();
    const full: ApiKey = {
      id: newId(clock.now().getTime()),
      sessionId: null,
      isPrimary: false,
      ...secretOf(key),
      isActive: true,
      rateLimit: null,
      rateWindowMs: null,
      expiresAt: null,
      autoRotation: false,
      successorId: null,
      isClaimable: false,
      noticedAt: null,
      deletedAt: null,
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
    if (known && known.until > clock.monotonic()) return known.key;
    if (!isKeyForm(key)) return null;
    const before = changes;
    // Asked once a second by all the requests that came with this key in one turn.
    const [row = null] = await readBatch(database, ApiKey, 'hash = ? AND "deletedAt" IS NULL', [hash], ['hash']);
    if (cache.size > 20_000) cache.clear();
    // An unknown key is not kept: a flood of made-up ones would push out the real ones. Closes: read before a key was revoked, kept after.
    if (row && before === changes) cache.set(hash, { key: row, until: clock.monotonic() + cacheMs });
    return row;
  }

  function requireLiving(key: ApiKey | null): ApiKey {
    if (!key?.isActive || key.isClaimable)
      throw new AppError('UNAUTHENTICATED', {}, 'The API key is not known. Check it, or create a new one in the panel.');
    if (key.expiresAt && key.expiresAt <= clock.now())
      throw new AppError('KEY_EXPIRED', { expiredAt: key.expiresAt.toISOString(), successorId: key.successorId });
    return key;
  }

  async function get(accountId: string, { id, sessionId }: KeyRef): Promise<ApiKey> {
    const key = await rows.findOneBy({ id, accountId, deletedAt: IsNull(), ...(sessionId ? { sessionId } : {}) });
    if (!key) throw new AppError('KEY_NOT_FOUND');
    return key;
  }

  /**
   * Changes one key in a transaction, with its entry in the audit log. `changesOf` gets the key as it is in that transaction, which no other request
   * can change until the commit, and throws for what may not be done to it.
   */
  async function change(
    caller: Caller,
    accountId: string,
    ref: KeyRef,
    action: string,
    changesOf: (key: ApiKey) => Partial<ApiKey>,
    shown: Record<string, unknown> = {},
  ): Promise<void> {
    const { id } = await get(accountId, ref);
    await database.write.run(async (tx) => {
      await lockRows(tx, ApiKey, [id]);
      const key = await tx.manager.findOneBy(ApiKey, { id, accountId, deletedAt: IsNull() });
      if (!key) throw new AppError('KEY_NOT_FOUND');
      await updateRows(tx, ApiKey, { id, accountId }, changesOf(key));
      await recordAudit(tx, caller, { action, objectType: 'key', objectId: id, accountId, changes: shown, at: clock.now() });
      tx.afterCommit(() => credentials.publish(accountId));
    });
  }

  /** A new secret for a key; the old secret ends with the commit, and with it tokens and streams. The caller must hold what the key holds. */
  async function regenerate(
    caller: Caller,
    accountId: string,
    ref: KeyRef,
    more: Partial<ApiKey> = {},
  ): Promise<{ row: ApiKey; key: string }> {
    const key = makeKey();
    await change(caller, accountId, ref, 'key.regenerate', ({ permissions }) => {
      requirePermissions(caller, permissions);
      return { ...secretOf(key), isClaimable: false, ...more };
    });
    return { row: await get(accountId, ref), key };
  }

  return {
    insert,
    /** A new secret for a key; id and settings stay. The caller must hold what the key holds. */
    regenerate: (caller: Caller, accountId: string, ref: KeyRef) => regenerate(caller, accountId, ref),
    find: get,
    /** The key behind what the caller showed; throws 401 in its different words. */
    async authenticate(text: string): Promise<ApiKey> {
      return requireLiving(await find(text));
    },
    /**
     * The key on which a token or stream stands, read from the database, so that both end with it. `fingerprint` is that of the secret that was
     * shown then. Throws 401, also when the key has got another secret since.
     */
    async authenticateId(accountId: string, id: string, fingerprint: string | null): Promise<ApiKey> {
      const [row = null] = await readRows(database.reader, ApiKey, idSql, [id, accountId], ['hash']);
      const key = requireLiving(row);
      if (fingerprintOf(key) === fingerprint) return key;
      throw new AppError('UNAUTHENTICATED', {}, 'The API key has a new secret, which ended this token. Use the new secret.');
    },
    /** Newest first; of one session, or only those that are switched on or off, when asked. */
    list: (accountId: string, { sessionId, isActive }: { sessionId?: string; isActive?: boolean } = {}): Promise<ApiKey[]> =>
      rows.find({
        where: {
          accountId,
          deletedAt: IsNull(),
          ...(sessionId === undefined ? {} : { sessionId }),
          ...(isActive === undefined ? {} : { isActive }),
        },
        order: { createdAt: 'DESC', id: 'DESC' },
      }),
    /** The plain key is in this reply alone. Throws `UNKNOWN_PERMISSION`, `PERMISSION_DENIED`, `KEY_LIMIT_REACHED`. */
    async create(caller: Caller, input: KeyInput): Promise<{ row: ApiKey; key: string }> {
      requireKnown(input.permissions);
      requirePermissions(caller, input.permissions);
      const { accountId } = caller;
      const { sessionId = null, expiresAt = rules.expiryDays > 0 ? inDays(rules.expiryDays) : null } = input;
      return database.write.run(async (tx) => {
        if (sessionId !== null) {
          // Closes: two keys made at once, each finding room for one more.
          await lockRows(tx, Account, [accountId]);
          // Closes: the session is deleted, and its keys with it, while one is made for it.
          if (!(await isSessionLive(tx, sessionId))) throw new AppError('SESSION_NOT_FOUND');
          const count = await tx.manager.countBy(ApiKey, { accountId, sessionId, deletedAt: IsNull() });
          if (count >= rules.maxPerSession) throw new AppError('KEY_LIMIT_REACHED', { limit: rules.maxPerSession });
        }
        const { name, permissions, rateLimit = null, rateWindowMs = null, autoRotation = rules.autoRotation } = input;
        const row = { accountId, sessionId, name, permissions, rateLimit, rateWindowMs, expiresAt, autoRotation };
        const made = await insert(tx, row);
        const about = { objectType: 'key', objectId: made.row.id, changes: { name, permissions, sessionId }, at: clock.now() };
        await recordAudit(tx, caller, { action: 'key.create', ...about });
        return made;
      });
    },
    /** Holds from the next request on. A key that grants more than the caller holds is not the caller's to change. */
    async update(caller: Caller, accountId: string, ref: KeyRef, changed: KeyChange): Promise<ApiKey> {
      const { permissions, isActive, name } = changed;
      requireKnown(permissions ?? []);
      const changesOf = (key: ApiKey): Partial<ApiKey> => {
        requirePermissions(caller, [...key.permissions, ...(permissions ?? [])]);
        // A key that ends at another time is announced again.
        return { ...changed, ...(changed.expiresAt === undefined ? {} : { noticedAt: null }) };
      };
      await change(caller, accountId, ref, 'key.update', changesOf, { name, permissions, isActive });
      return get(accountId, ref);
    },
    revoke: (caller: Caller, accountId: string, ref: KeyRef): Promise<void> =>
      change(caller, accountId, ref, 'key.revoke', () => ({ isActive: false, deletedAt: clock.now() })),
    /** In the transaction that deletes a session: its keys end with it, and with them their tokens, tickets and streams. */
    async revokeOfSession(tx: Transaction, { accountId, sessionId }: { accountId: string; sessionId: string }): Promise<void> {
      await lockRows(tx, Account, [accountId]);
      await updateRows(tx, ApiKey, { accountId, sessionId, deletedAt: IsNull() }, { isActive: false, deletedAt: clock.now() });
      tx.afterCommit(() => credentials.publish(accountId));
    },
    /** A new primary key, active and without an end; the old secret ends with the same commit, also that of one that was deactivated. */
    async regeneratePrimary(caller: Caller, accountId: string): Promise<string> {
      const primary = await rows.findOneBy({ accountId, isPrimary: true, deletedAt: IsNull() });
      if (primary) return (await regenerate(caller, accountId, { id: primary.id }, { isActive: true, expiresAt: null })).key;
      return database.write.run(async (tx) => {
        const { key, row } = await insert(tx, { accountId, name: 'Primary key', permissions: ['*'], isPrimary: true });
        const about = { objectType: 'key', objectId: row.id, accountId, at: clock.now() };
        await recordAudit(tx, caller, { action: 'key.regenerate', ...about });
        return key;
      });
    },
    /**
     * The secret of a successor that was made by rotation: it is made now, and shown once. Of two that collect it at once one gets it.
     * Throws `KEY_ALREADY_CLAIMED`.
     */
    async claim(caller: Caller, accountId: string, ref: KeyRef): Promise<{ row: ApiKey; key: string }> {
      const { id } = await get(accountId, ref);
      const key = makeKey();
      await database.write.run(async (tx) => {
        await lockRows(tx, ApiKey, [id]);
        // Closes: the key is revoked, or granted more than the caller has, between the read above and this transaction.
        const row = await tx.manager.findOneBy(ApiKey, { id, accountId, deletedAt: IsNull() });
        if (!row) throw new AppError('KEY_NOT_FOUND');
        requirePermissions(caller, row.permissions);
        const claimed = await updateRows(tx, ApiKey, { id, isClaimable: true }, { ...secretOf(key), isClaimable: false });
        if (claimed === 0) throw new AppError('KEY_ALREADY_CLAIMED');
        await recordAudit(tx, caller, { action: 'key.claim', objectType: 'key', objectId: id, accountId, at: clock.now() });
        tx.afterCommit(() => credentials.publish(accountId));
      });
      return { row: await get(accountId, ref), key };
    },
    /**
     * Announces keys that end soon, each once, and gives those that rotate a successor. May run twice, on several backends: the backend that notes
     * the notice on the row first does it.
     */
    async announceEnding(): Promise<number> {
      const ending = await rows.findBy({
        isActive: true,
        deletedAt: IsNull(),
        noticedAt: IsNull(),
        expiresAt: LessThanOrEqual(inDays(rules.noticeDays)),
      });
      let announced = 0;
      for (const key of ending)
        try {
          announced += (await database.write.run((tx) => announce(tx, key.id))) ? 1 : 0;
        } catch (error) {
          // One key that cannot be announced keeps neither the others from it nor the backend from starting.
          if (isSystemError(error)) throw error;
          const { id: subject, accountId, sessionId } = key;
          report({ kind: 'key_notice', subject, accountId, sessionId, ...describeError(error) });
        }
      return announced;
    },
  };

  /** Reads the key under its lock: it may have been revoked, changed or announced since the caller's read. Returns whether it was announced. */
  async function announce(tx: Transaction, id: string): Promise<boolean> {
    await lockRows(tx, ApiKey, [id]);
    const key = await tx.manager.findOneBy(ApiKey, { id, isActive: true, deletedAt: IsNull(), noticedAt: IsNull() });
    if (!key?.expiresAt || key.expiresAt > inDays(rules.noticeDays)) return false;
    const { accountId, sessionId, name, expiresAt } = key;
    await updateRows(tx, ApiKey, { id }, { noticedAt: clock.now() });
    let { successorId } = key;
    if (key.autoRotation && successorId === null && expiresAt > clock.now()) {
      const { permissions, rateLimit, rateWindowMs, isPrimary, autoRotation } = key;
      const limits = { rateLimit, rateWindowMs, isPrimary, autoRotation };
      const ends = rules.expiryDays > 0 ? new Date(expiresAt.getTime() + rules.expiryDays * dayMs) : null;
      // Its secret is thrown away here: the one that opens it is made when it is collected.
      const { row } = await insert(tx, {
        accountId,
        sessionId,
        name,
        permissions,
        ...limits,
        expiresAt: ends,
        isClaimable: true,
      });
      successorId = row.id;
      await updateRows(tx, ApiKey, { id: key.id }, { successorId });
    }
    await events.append(tx, {
      accountId,
      sessionId,
      type: 'key.expiring',
      data: { keyId: key.id, name, expiresAt: expiresAt.toISOString(), successorId },
    });
    tx.afterCommit(() => credentials.publish(accountId));
    return true;
  }
}

async function isSessionLive(tx: Transaction, id: string): Promise<boolean> {
  const { rows } = await runStatement(tx.manager, 'SELECT 1 AS found FROM sessions WHERE id = ? AND "deletedAt" IS NULL', [id]);
  return rows.length > 0;
}

const secretOf = (key: string): Pick<ApiKey, 'hash' | 'prefix' | 'lastFour'> => ({
  hash: hashOf(key),
  prefix: key.slice(0, 8),
  lastFour: key.slice(-4),
});
