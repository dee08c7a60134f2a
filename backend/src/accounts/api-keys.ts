import { allows, AppError, isPermission, newId, permissionGroups } from '@chasqui/shared';
import { IsNull, LessThanOrEqual } from 'typeorm';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { lockRows, insertRow, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError } from '../failures/failures.js';
import { createCredentialChanges, type CredentialChanges } from '../lib/credential-changes.js';
import { Account } from './account.entity.js';
import { ApiKey } from './api-key.entity.js';
import type { Caller } from './caller.js';
import { makeKey, secretColumns } from './key-form.js';
import { createKeyLookup, type KeyLookup } from './key-lookup.js';

/**
 * Manages the API keys of accounts. A caller can only grant what it may do itself, so creating, changing and regenerating a key throw
 * `PERMISSION_DENIED` for a permission that the caller lacks. Every change takes effect with the next request and is in the audit log.
 * All verbs that name a key throw `KEY_NOT_FOUND`.
 */
export interface ApiKeys extends KeyLookup {
  find(accountId: string, ref: KeyRef): Promise<ApiKey>;
  /** Newest first. Returns all keys of the account, or those of one session, or only the active or the inactive ones. */
  list(accountId: string, filter?: { sessionId?: string; isActive?: boolean }): Promise<ApiKey[]>;
  /**
   * Throws `UNKNOWN_PERMISSION`, `SESSION_NOT_FOUND`, `KEY_LIMIT_REACHED`. Only this reply has the secret; it is not stored.
   */
  create(caller: Caller, input: KeyInput): Promise<IssuedKey>;
  /** Throws `UNKNOWN_PERMISSION`. */
  update(caller: Caller, accountId: string, ref: KeyRef, changes: KeyChange): Promise<ApiKey>;
  /** Replaces the secret; id and settings stay. The old secret ends with the commit, and with it its tokens and streams. */
  regenerate(caller: Caller, accountId: string, ref: KeyRef): Promise<IssuedKey>;
  /** Replaces the secret of the primary key, activates the key and removes its expiry. Creates the key if it was revoked. */
  regeneratePrimary(caller: Caller, accountId: string): Promise<string>;
  /**
   * Issues the secret of a successor that rotation has created. It can be claimed once: of two concurrent calls one succeeds, and the other throws
   * `KEY_ALREADY_CLAIMED`.
   */
  claim(caller: Caller, accountId: string, ref: KeyRef): Promise<IssuedKey>;
  revoke(caller: Caller, accountId: string, ref: KeyRef): Promise<void>;
  /** Revokes the keys of a session in the transaction that deletes it. Their tokens, tickets and streams end. */
  revokeOfSession(tx: Transaction, session: { accountId: string; sessionId: string }): Promise<void>;
  /** Inserts a key in the caller's transaction, without checks and without an audit entry. */
  insert(tx: Transaction, row: NewKey): Promise<IssuedKey>;
  /**
   * Emits `key.expiring` once for each key that expires within `noticeDays`, and creates a successor if the key has `autoRotation`. Returns the
   * number of keys that were announced. May run twice, on several backends: each key is announced by the backend that locks its row first.
   * A key that cannot be announced is reported; the others are announced.
   */
  announceEnding(): Promise<number>;
}

export interface KeyRules {
  /** The maximum number of keys of one session. */
  maxPerSession: number;
  /** The lifetime of a new key whose input does not set an expiry. 0: it does not expire. */
  expiryDays: number;
  autoRotation: boolean;
  /** How many days before its expiry a key is announced. */
  noticeDays: number;
}

export interface KeyInput {
  name: string;
  permissions: string[];
  sessionId?: string | null;
  rateLimit?: number | null;
  rateWindowMs?: number | null;
  /** Null: the key does not expire. Omitted: the rules decide. */
  expiresAt?: Date | null;
  autoRotation?: boolean;
}
export type KeyChange = Partial<Omit<KeyInput, 'sessionId'>> & { isActive?: boolean };
export type NewKey = Pick<ApiKey, 'accountId' | 'name' | 'permissions'> & Partial<ApiKey>;

/** A key of the account; with `sessionId`, a key of that session. */
export interface KeyRef {
  id: string;
  sessionId?: string;
}

/** `key` is the secret, which is shown once. */
export interface IssuedKey {
  row: ApiKey;
  key: string;
}

export const defaultKeyRules: KeyRules = { maxPerSession: 10, expiryDays: 365, autoRotation: false, noticeDays: 14 };

type KeyCore = Pick<Core, 'database' | 'clock' | 'events' | 'report'>;

interface Context extends KeyCore {
  rules: KeyRules;
  credentials: CredentialChanges;
}

const dayMs = 86_400_000;

export function createApiKeys(
  { database, clock, events, report }: KeyCore,
  {
    rules = defaultKeyRules,
    credentials = createCredentialChanges(),
  }: { rules?: KeyRules; credentials?: CredentialChanges } = {},
): ApiKeys {
  const context: Context = { database, clock, events, report, rules, credentials };
  return {
    ...createKeyLookup({ database, clock }, { credentials }),
    find: (accountId, ref) => findKey(context, accountId, ref),
    list: (accountId, filter = {}) => listKeys(context, accountId, filter),
    create: (caller, input) => createKey(context, caller, input),
    update: (caller, accountId, ref, changes) => updateKey(context, caller, accountId, ref, changes),
    regenerate: (caller, accountId, ref) => regenerateKey(context, caller, accountId, ref),
    regeneratePrimary: (caller, accountId) => regeneratePrimary(context, caller, accountId),
    claim: (caller, accountId, ref) => claimKey(context, caller, accountId, ref),
    revoke: (caller, accountId, ref) =>
      changeKey(context, caller, accountId, ref, 'key.revoke', () => ({ isActive: false, deletedAt: clock.now() })),
    revokeOfSession: (tx, session) => revokeOfSession(context, tx, session),
    insert: (tx, row) => insertKey(context, tx, row),
    announceEnding: () => announceEnding(context),
  };
}

async function insertKey({ clock }: Context, tx: Transaction, input: NewKey): Promise<IssuedKey> {
  const key = makeKey();
  const row: ApiKey = {
    id: newId(clock.now().getTime()),
    sessionId: null,
    isPrimary: false,
    ...secretColumns(key),
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
    ...input,
  };
  await insertRow(tx, ApiKey, row);
  return { row, key };
}

async function findKey({ database }: Context, accountId: string, { id, sessionId }: KeyRef): Promise<ApiKey> {
  const where = { id, accountId, deletedAt: IsNull(), ...(sessionId ? { sessionId } : {}) };
  const key = await database.reader.getRepository(ApiKey).findOneBy(where);
  if (!key) throw new AppError('KEY_NOT_FOUND');
  return key;
}

function listKeys(
  { database }: Context,
  accountId: string,
  { sessionId, isActive }: { sessionId?: string; isActive?: boolean },
): Promise<ApiKey[]> {
  return database.reader.getRepository(ApiKey).find({
    where: {
      accountId,
      deletedAt: IsNull(),
      ...(sessionId === undefined ? {} : { sessionId }),
      ...(isActive === undefined ? {} : { isActive }),
    },
    order: { createdAt: 'DESC', id: 'DESC' },
  });
}

async function createKey(context: Context, caller: Caller, input: KeyInput): Promise<IssuedKey> {
  const { database, clock, rules } = context;
  requireKnown(input.permissions);
  requirePermissions(caller, input.permissions);
  const { accountId } = caller;
  const { sessionId = null, expiresAt = rules.expiryDays > 0 ? inDays(clock.now(), rules.expiryDays) : null } = input;
  return database.write.run(async (tx) => {
    if (sessionId !== null) await requireRoom(tx, rules, { accountId, sessionId });
    const { name, permissions, rateLimit = null, rateWindowMs = null, autoRotation = rules.autoRotation } = input;
    const row = { accountId, sessionId, name, permissions, rateLimit, rateWindowMs, expiresAt, autoRotation };
    const issued = await insertKey(context, tx, row);
    await recordAudit(tx, caller, {
      action: 'key.create',
      objectType: 'key',
      objectId: issued.row.id,
      changes: { name, permissions, sessionId },
      at: clock.now(),
    });
    return issued;
  });
}

/** Throws if the session does not exist or has all of its keys. */
async function requireRoom(
  tx: Transaction,
  { maxPerSession }: KeyRules,
  { accountId, sessionId }: { accountId: string; sessionId: string },
): Promise<void> {
  // Closes: two keys are created at the same time, and each finds room for one more.
  await lockRows(tx, Account, [accountId]);
  // Closes: the session is deleted, and its keys with it, while a key is created for it.
  if (!(await isSessionLive(tx, sessionId))) throw new AppError('SESSION_NOT_FOUND');
  const count = await tx.manager.countBy(ApiKey, { accountId, sessionId, deletedAt: IsNull() });
  if (count >= maxPerSession) throw new AppError('KEY_LIMIT_REACHED', { limit: maxPerSession });
}

async function isSessionLive(tx: Transaction, id: string): Promise<boolean> {
  const { rows } = await runStatement(tx.manager, 'SELECT 1 AS found FROM sessions WHERE id = ? AND "deletedAt" IS NULL', [id]);
  return rows.length > 0;
}

/** A key whose permissions are damaged may have had all. */
const permissionsOf = ({ permissions }: ApiKey): readonly string[] => readable(permissions, ['*']);

async function updateKey(context: Context, caller: Caller, accountId: string, ref: KeyRef, changes: KeyChange): Promise<ApiKey> {
  const { permissions } = changes;
  requireKnown(permissions ?? []);
  const changesOf = (key: ApiKey): Partial<ApiKey> => {
    requirePermissions(caller, [...permissionsOf(key), ...(permissions ?? [])]);
    // A key with another expiry is announced again.
    return { ...changes, ...(changes.expiresAt === undefined ? {} : { noticedAt: null }) };
  };
  await changeKey(context, caller, accountId, ref, 'key.update', changesOf, { ...changes });
  return findKey(context, accountId, ref);
}

async function regenerateKey(
  context: Context,
  caller: Caller,
  accountId: string,
  ref: KeyRef,
  changes: Partial<ApiKey> = {},
): Promise<IssuedKey> {
  const key = makeKey();
  await changeKey(context, caller, accountId, ref, 'key.regenerate', (stored) => {
    requirePermissions(caller, permissionsOf(stored));
    return { ...secretColumns(key), isClaimable: false, ...changes };
  });
  return { row: await findKey(context, accountId, ref), key };
}

async function regeneratePrimary(context: Context, caller: Caller, accountId: string): Promise<string> {
  const rows = context.database.reader.getRepository(ApiKey);
  for (;;) {
    const primary = await rows.findOneBy({ accountId, isPrimary: true, deletedAt: IsNull() });
    // One commit: an old secret of a deactivated key must not be valid in between.
    const changes = { isActive: true, expiresAt: null };
    if (primary) return (await regenerateKey(context, caller, accountId, { id: primary.id }, changes)).key;
    const key = await createPrimary(context, caller, accountId);
    if (key !== null) return key;
  }
}

/** Creates a primary key and returns its secret. Returns null if the account has one by now. */
async function createPrimary(context: Context, caller: Caller, accountId: string): Promise<string | null> {
  const { database, clock } = context;
  return database.write.run(async (tx) => {
    // Closes: two calls replace a revoked primary key at once, and each creates one.
    await lockRows(tx, Account, [accountId]);
    if (await tx.manager.existsBy(ApiKey, { accountId, isPrimary: true, deletedAt: IsNull() })) return null;
    const input = { accountId, name: 'Primary key', permissions: ['*'], isPrimary: true };
    const { key, row } = await insertKey(context, tx, input);
    const entry = { action: 'key.regenerate', objectType: 'key', objectId: row.id, accountId, at: clock.now() };
    await recordAudit(tx, caller, entry);
    return key;
  });
}

async function claimKey(context: Context, caller: Caller, accountId: string, ref: KeyRef): Promise<IssuedKey> {
  const key = makeKey();
  // Closes: two callers claim at once. The second one waits for the lock of the row, and then finds the key claimed.
  await changeKey(context, caller, accountId, ref, 'key.claim', ({ permissions, isClaimable }) => {
    requirePermissions(caller, permissions);
    if (!isClaimable) throw new AppError('KEY_ALREADY_CLAIMED');
    return { ...secretColumns(key), isClaimable: false };
  });
  return { row: await findKey(context, accountId, ref), key };
}

/**
 * Changes one key and writes the audit entry, in one transaction. `changesOf` receives the key as it is in that transaction: its row is locked
 * until the commit. It throws for a change that is not allowed.
 */
async function changeKey(
  context: Context,
  caller: Caller,
  accountId: string,
  ref: KeyRef,
  action: string,
  changesOf: (key: ApiKey) => Partial<ApiKey>,
  shown: Record<string, unknown> = {},
): Promise<void> {
  const { database, clock, credentials } = context;
  const { id } = await findKey(context, accountId, ref);
  await database.write.run(async (tx) => {
    await lockRows(tx, ApiKey, [id]);
    const key = await tx.manager.findOneBy(ApiKey, { id, accountId, deletedAt: IsNull() });
    if (!key) throw new AppError('KEY_NOT_FOUND');
    await updateRows(tx, ApiKey, { id, accountId }, changesOf(key));
    const about = { action, objectType: 'key', objectId: id, accountId };
    await recordAudit(tx, caller, { ...about, changes: shown, before: key, at: clock.now() });
    tx.afterCommit(() => credentials.publish(accountId));
  });
}

async function revokeOfSession(
  { clock, credentials }: Context,
  tx: Transaction,
  { accountId, sessionId }: { accountId: string; sessionId: string },
): Promise<void> {
  await lockRows(tx, Account, [accountId]);
  await updateRows(tx, ApiKey, { accountId, sessionId, deletedAt: IsNull() }, { isActive: false, deletedAt: clock.now() });
  tx.afterCommit(() => credentials.publish(accountId));
}

async function announceEnding(context: Context): Promise<number> {
  const { database, clock, rules, report } = context;
  const ending = await database.reader.getRepository(ApiKey).findBy({
    isActive: true,
    deletedAt: IsNull(),
    noticedAt: IsNull(),
    expiresAt: LessThanOrEqual(inDays(clock.now(), rules.noticeDays)),
  });
  let announced = 0;
  for (const key of ending)
    try {
      announced += (await database.write.run((tx) => announce(context, tx, key.id))) ? 1 : 0;
    } catch (error) {
      if (isSystemError(error)) throw error;
      const { id: subject, accountId, sessionId } = key;
      report({ kind: 'key_notice', subject, accountId, sessionId, ...describeError(error) });
    }
  return announced;
}

/** Reads the key under its lock: it may have been revoked, changed or announced since it was listed. Returns whether it was announced. */
async function announce(context: Context, tx: Transaction, id: string): Promise<boolean> {
  const { clock, rules, events, credentials } = context;
  await lockRows(tx, ApiKey, [id]);
  const key = await tx.manager.findOneBy(ApiKey, { id, isActive: true, deletedAt: IsNull(), noticedAt: IsNull() });
  if (!key?.expiresAt || key.expiresAt > inDays(clock.now(), rules.noticeDays)) return false;
  const { accountId, sessionId, name, expiresAt } = key;
  await updateRows(tx, ApiKey, { id }, { noticedAt: clock.now() });
  let { successorId } = key;
  if (key.autoRotation && successorId === null && expiresAt > clock.now()) {
    successorId = await insertSuccessor(context, tx, key, expiresAt);
    await updateRows(tx, ApiKey, { id }, { successorId });
  }
  await events.append(tx, {
    accountId,
    sessionId,
    type: 'key.expiring',
    data: { keyId: id, name, expiresAt: expiresAt.toISOString(), successorId },
  });
  tx.afterCommit(() => credentials.publish(accountId));
  return true;
}

/** Inserts the successor of a key. Its secret is discarded: `claim` issues the one that is used. Returns its id. */
async function insertSuccessor(context: Context, tx: Transaction, key: ApiKey, expiresAt: Date): Promise<string> {
  const { expiryDays } = context.rules;
  const { accountId, sessionId, name, permissions, rateLimit, rateWindowMs, isPrimary, autoRotation } = key;
  const { row } = await insertKey(context, tx, {
    accountId,
    sessionId,
    name,
    permissions,
    rateLimit,
    rateWindowMs,
    isPrimary,
    autoRotation,
    expiresAt: expiryDays > 0 ? inDays(expiresAt, expiryDays) : null,
    isClaimable: true,
  });
  return row.id;
}

const inDays = (from: Date, days: number): Date => new Date(from.getTime() + days * dayMs);

function requireKnown(permissions: readonly string[]): void {
  const unknown = permissions.find((name) => name !== '*' && !isPermission(name) && !permissionGroups.has(name));
  if (unknown !== undefined)
    throw new AppError('UNKNOWN_PERMISSION', { permission: unknown }, `There is no permission ${unknown}.`);
}

/** Throws `PERMISSION_DENIED` unless the caller has each of these permissions itself. */
function requirePermissions(caller: Caller, permissions: readonly string[]): void {
  const own = caller.permissions;
  const missing = permissions.find(
    (name) => !own.includes('*') && !own.includes(name) && !(isPermission(name) && allows(own, name)),
  );
  if (missing === undefined) return;
  throw new AppError('PERMISSION_DENIED', { permission: missing }, `A caller without ${missing} cannot grant it to a key.`);
}
