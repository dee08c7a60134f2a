import { randomBytes } from 'node:crypto';
import { AppError, newId } from '@chasqui/shared';
import { hash } from '@node-rs/argon2';
import type { DataSource, EntityManager } from 'typeorm';
import { recordAudit } from '../audit/audit.js';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import { advisoryLocks, lockStep } from '../db/locks.js';
import { lockRows, insertRow, isConflict, readBatch, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { createCredentialChanges, type CredentialChanges } from '../lib/credential-changes.js';
import { createLocalWindows, type Windows } from '../lib/windows.js';
import { Account, type Role } from './account.entity.js';
import type { ApiKeys } from './api-keys.js';
import type { Caller } from './caller.js';
import { createFirstLinks, makeFirstToken, type FirstLinks } from './first-link.js';
import { chooseFirstPassword, replaceOneTimePassword } from './first-password.js';
import { createLoginLimit, type LoginLimit } from './login-limit.js';
import { authenticatePassword, findReset } from './password-login.js';
import { createVerificationRoom, type VerificationRoom } from './verification-room.js';
import { Plan } from './plan.entity.js';
import { makeJwtSecret, makeOneTimePassword } from './secrets.js';
import type { Changes } from '../lib/changes.js';

/**
 * Manages accounts and their passwords. Each change commits together with its entry in the audit log. All verbs that name an account throw
 * `ACCOUNT_NOT_FOUND`.
 */
export interface Accounts {
  /**
   * Creates an account with its primary key. `caller` is null when a person registers. Throws `ALREADY_EXISTS` with the field, `PLAN_NOT_FOUND`,
   * and `VALIDATION_FAILED` for a password that is too short or too long.
   */
  create(caller: Caller | null, input: AccountInput): Promise<NewAccount>;
  /**
   * Creates the first admin if there is no account yet.
   *
   * Closes: two backends start on one empty database, and both see no account. The second one waits for the lock of the first one, looks
   * again and creates nothing. The database server ends a first one that freezes there (db/connections.ts).
   */
  ensureFirstAdmin(input: FirstAdminInput): Promise<void>;
  /** Null when it does not exist. Callers within one event-loop turn share the query. */
  find(id: string): Promise<Account | null>;
  /** The same with the hash of the password and the secret of tokens, for authentication alone. */
  findWithSecrets(id: string): Promise<Account | null>;
  /** Oldest first. */
  list(): Promise<Account[]>;
  /**
   * Verifies a password and returns its account, with its secrets. Throws `INVALID_CREDENTIALS`, the same for an unknown address and a wrong
   * password; `RATE_LIMITED` after too many wrong passwords (login-limit.ts); and `ACCOUNT_INACTIVE`.
   */
  authenticatePassword(email: string, password: string, ip: string | null): Promise<Account>;
  /**
   * Changes the caller's own password, which ends all tokens, streams and panel sessions of the account. Throws `INVALID_CREDENTIALS` and
   * `RATE_LIMITED` as a login does, and `VALIDATION_FAILED` for a new password that is too short or the same as the current one: otherwise
   * a one-time password would stay. Returns the new secrets of the account, which are never shown.
   */
  changePassword(caller: Caller, passwords: { current: string; next: string }): Promise<AccountSecrets>;
  /**
   * Sets the password of the account that the token of a link (first-link.ts) belongs to, which ends the link and the one-time password. Returns
   * the account with its new secrets. Throws `INVALID_CREDENTIALS` for a token that does not work, counted as a failed login of its address;
   * `RATE_LIMITED`; `VALIDATION_FAILED`. With `next` null the token is only looked at.
   */
  chooseFirstPassword(token: string, next: string | null, request: Pick<Caller, 'ip' | 'requestId'>): Promise<Account>;
  /** Replaces the one-time password of the caller, who has signed in with it. Throws `INVALID_CREDENTIALS` if it was replaced meanwhile. */
  replaceOneTimePassword(caller: Caller, next: string): Promise<AccountSecrets>;
  /** Sets a password for the owner, as staff. Ends all tokens, streams and panel sessions of the account. Throws `VALIDATION_FAILED`. */
  setPassword(caller: Caller, id: string, password: string, options: { mustChange: boolean }): Promise<void>;
  /** Ends all tokens, streams and panel sessions of the account. */
  logoutEverywhere(caller: Caller, id: string): Promise<void>;
  /** Throws `LAST_ADMIN` if no active admin would be left. */
  setRole(caller: Caller, id: string, role: Role): Promise<void>;
  /** Throws `LAST_ADMIN` if no active admin would be left. */
  setActive(caller: Caller, id: string, isActive: boolean): Promise<void>;
  /** Makes the changes of an account that only staff may make. Throws `LAST_ADMIN`, `PLAN_NOT_FOUND`. */
  govern(caller: Caller, id: string, changes: StaffChanges): Promise<Account>;
  /** Changes what the owner may change. Throws `ALREADY_EXISTS` with the field. */
  update(caller: Caller, id: string, changes: OwnerChanges): Promise<Account>;
}

export interface AccountInput {
  username: string;
  email: string;
  password: string;
  role: Role;
  /** 10 if omitted. Applies while the account has no plan. */
  maxSessions?: number;
  planId?: string | null;
  mustChangePassword?: boolean;
}

/** `apiKey` is the secret of the primary key, which is not stored. */
export interface NewAccount {
  account: Account;
  apiKey: string;
}

export interface FirstAdminInput {
  email: string;
  /** Undefined: a one-time password is created. */
  password: string | undefined;
  /** The number of sessions that a worker can run: the operator's own account may use all of them. */
  maxSessions: number;
  /**
   * Shows what is shown once, right before the commit. Closes: the process dies between the two. After the commit, the only password would
   * be one that was never shown; in this order, the next start makes another one.
   */
  show: (first: FirstAdmin) => void;
}

/** `password` and `linkToken` are null if the operator has set the password. */
export interface FirstAdmin {
  email: string;
  password: string | null;
  /** The token of a link that opens the panel at the choice of a password (first-link.ts). */
  linkToken: string | null;
  apiKey: string;
}

export type AccountSecrets = Pick<Account, 'passwordHash' | 'jwtSecret'>;
export type StaffChanges = Changes<Pick<Account, 'role' | 'isActive' | 'planId' | 'maxMessagesPerDay'>>;
export type OwnerChanges = Changes<Pick<Account, 'username' | 'email' | 'timezone' | 'language' | 'uncertainPolicy' | 'storage'>>;

type AccountCore = Pick<Core, 'database' | 'clock'>;

export interface AccountParts {
  keys: ApiKeys;
  credentials?: CredentialChanges;
  /** The counts of failed logins, shared by all backends if there can be several. */
  windows?: Windows;
  /** The time zone of new accounts. */
  timezone?: string;
  /** The secret of the installation, which signs links. Absent: no link works. */
  secret?: string;
  /** Removes the names of the account's contacts when the account stops storing content. */
  forgetNames?: Contacts['forgetNames'];
}

interface Context extends AccountCore, Required<Omit<AccountParts, 'windows'>> {
  limit: LoginLimit;
  verifications: VerificationRoom;
  links: FirstLinks;
}

export function createAccounts({ database, clock }: AccountCore, parts: AccountParts): Accounts {
  const { windows = createLocalWindows(clock), secret = randomBytes(32).toString('hex') } = parts;
  const context: Context = {
    database,
    clock,
    keys: parts.keys,
    credentials: parts.credentials ?? createCredentialChanges(),
    timezone: parts.timezone ?? 'UTC',
    secret,
    links: createFirstLinks({ database, clock }, { secret }),
    forgetNames: parts.forgetNames ?? (async () => undefined),
    verifications: createVerificationRoom(),
    limit: createLoginLimit(windows, {
      clock,
      findReset: (email, withinMs) => findReset(database, email, new Date(clock.now().getTime() - withinMs)),
    }),
  };
  const firstPassword = { database, limit: context.limit, links: context.links, set: setPassword.bind(null, context) };
  return {
    create: (caller, input) => createAccount(context, caller, input),
    ensureFirstAdmin: (input) => ensureFirstAdmin(context, input),
    find: async (id) => (await readBatch(database, Account, 'id = ?', [id]))[0] ?? null,
    findWithSecrets: async (id) => (await readBatch(database, Account, 'id = ?', [id], ['passwordHash', 'jwtSecret']))[0] ?? null,
    list: () => database.reader.getRepository(Account).find({ order: { createdAt: 'ASC' } }),
    authenticatePassword: (email, password, ip) => authenticatePassword(context, email, password, ip),
    replaceOneTimePassword: (caller, next) => replaceOneTimePassword(firstPassword, caller, next),
    chooseFirstPassword: (token, next, request) => chooseFirstPassword(firstPassword, token, next, request),
    changePassword: (caller, passwords) => changePassword(context, caller, passwords),
    async setPassword(caller, id, password, options) {
      await setPassword(context, caller, id, password, options);
    },
    logoutEverywhere: (caller, id) =>
      changeAccount(context, caller, id, { action: 'account.logout', changes: { jwtSecret: makeJwtSecret() }, shown: {} }),
    setRole: (caller, id, role) => changeAccount(context, caller, id, { action: 'account.role', changes: { role } }),
    setActive: (caller, id, isActive) => changeAccount(context, caller, id, { action: 'account.active', changes: { isActive } }),
    async govern(caller, id, changes) {
      await changeAccount(context, caller, id, { action: 'account.govern', changes });
      return readAccount(context, id);
    },
    update: (caller, id, changes) => updateAccount(context, caller, id, changes),
  };
}

const readAccount = ({ database }: Context, id: string): Promise<Account> =>
  database.reader.getRepository(Account).findOneByOrFail({ id });

async function createAccount(context: Context, caller: Caller | null, input: AccountInput): Promise<NewAccount> {
  requirePassword('password', input.password);
  const { username } = input;
  const email = input.email.toLowerCase();
  const passwordHash = await hash(input.password);
  return nameConflicts(context, { username, email }, null, () =>
    context.database.write.run((tx) => insertAccount(context, tx, caller, { ...input, email, passwordHash })),
  );
}

async function insertAccount(
  { clock, keys, timezone }: Context,
  tx: Transaction,
  caller: Caller | null,
  input: Omit<AccountInput, 'password'> & { passwordHash: string },
): Promise<NewAccount> {
  const now = clock.now();
  if (input.planId) await lockPlan(tx, input.planId, now);
  const account: Account = {
    id: newId(now.getTime()),
    username: input.username,
    email: input.email,
    passwordHash: input.passwordHash,
    mustChangePassword: input.mustChangePassword ?? false,
    jwtSecret: makeJwtSecret(),
    role: input.role,
    isActive: true,
    timezone,
    language: 'en',
    uncertainPolicy: 'hold',
    storage: 'full',
    maxSessions: input.maxSessions ?? 10,
    planId: input.planId ?? null,
    maxMessagesPerDay: 0,
    eventsKeptFrom: 0,
    messagesKeptFrom: 0,
    lastLoginAt: null,
    lastLoginIp: null,
    createdAt: now,
    updatedAt: now,
  };
  await insertRow(tx, Account, account);
  const primary = { accountId: account.id, name: 'Primary key', permissions: ['*'], isPrimary: true };
  const { key } = await keys.insert(tx, primary);
  await recordAudit(tx, caller, {
    action: 'account.create',
    objectType: 'account',
    objectId: account.id,
    accountId: account.id,
    changes: { username: input.username, role: input.role },
    at: now,
  });
  return { account, apiKey: key };
}

async function ensureFirstAdmin(context: Context, input: FirstAdminInput): Promise<void> {
  const { database } = context;
  if (await hasAccounts(database.reader)) return;
  const isOneTime = input.password === undefined;
  const password = input.password ?? makeOneTimePassword();
  requirePassword('password', password);
  const first = {
    username: 'admin',
    email: input.email.toLowerCase(),
    passwordHash: await hash(password),
    role: 'admin',
    mustChangePassword: isOneTime,
    maxSessions: input.maxSessions,
  } as const;
  await database.write.run(async (tx) => {
    await lockStep(tx, advisoryLocks.firstAdmin);
    if (await hasAccounts(tx.manager)) return; // Another backend has created the first admin.
    const { account, apiKey } = await insertAccount(context, tx, null, first);
    const linkToken = isOneTime ? makeFirstToken(context.secret, account, context.clock.now()) : null;
    input.show({ email: account.email, password: isOneTime ? password : null, linkToken, apiKey });
  });
}

async function hasAccounts(where: DataSource | EntityManager): Promise<boolean> {
  return (await runStatement(where, 'SELECT 1 AS one FROM accounts LIMIT 1')).rows.length > 0;
}

async function changePassword(
  context: Context,
  caller: Caller,
  { current, next }: { current: string; next: string },
): Promise<AccountSecrets> {
  const { email } = await readAccount(context, caller.accountId);
  const { id, passwordHash } = await authenticatePassword(context, email, current, caller.ip);
  // Closes: another account gets this address between the two reads.
  if (id !== caller.accountId) throw new AppError('INVALID_CREDENTIALS');
  if (next === current)
    throw invalidPassword('newPassword', 'SAME_AS_BEFORE', 'Choose a password that differs from the current one.');
  // Closes: two callers know the current password and change it at once. One of them is refused.
  return setPassword(context, caller, id, next, { mustChange: false }, { passwordHash });
}

/** Sets a password together with a new secret of the account, which ends its tokens, streams and panel sessions. */
async function setPassword(
  context: Context,
  caller: Caller,
  id: string,
  password: string,
  { mustChange }: { mustChange: boolean },
  condition?: Pick<Account, 'passwordHash'>,
): Promise<AccountSecrets> {
  requirePassword('newPassword', password);
  const changes = { passwordHash: await hash(password), jwtSecret: makeJwtSecret(), mustChangePassword: mustChange };
  await changeAccount(context, caller, id, { action: 'account.password', changes, shown: {}, condition });
  return changes;
}

async function updateAccount(context: Context, caller: Caller, id: string, changes: OwnerChanges): Promise<Account> {
  const { username } = changes;
  const email = changes.email?.toLowerCase();
  const unique = { ...(username ? { username } : {}), ...(email ? { email } : {}) };
  const stored = email ? { ...changes, email } : changes;
  await nameConflicts(context, unique, id, () =>
    changeAccount(context, caller, id, { action: 'account.update', changes: stored, shown: changes }),
  );
  return readAccount(context, id);
}

interface AccountChange {
  action: string;
  changes: Changes<Account>;
  /** The changes as the audit log shows them. Omitted: as they are. */
  shown?: Record<string, unknown>;
  /** The change is refused with `INVALID_CREDENTIALS` if the account has another password by now. */
  condition?: Pick<Account, 'passwordHash'> | undefined;
}

async function changeAccount(
  { database, clock, credentials, forgetNames }: Context,
  caller: Caller,
  id: string,
  { action, changes, shown = changes, condition }: AccountChange,
): Promise<void> {
  await database.write.run(async (tx) => {
    if ((changes.role ?? 'admin') !== 'admin' || changes.isActive === false) await requireOtherAdmin(tx, id);
    if (changes.planId) await lockPlan(tx, changes.planId, clock.now());
    await lockRows(tx, Account, [id]);
    const before = await tx.manager.findOneBy(Account, { id });
    const affected = await updateRows(tx, Account, { id, ...condition }, { ...changes, updatedAt: clock.now() });
    if (changes.storage === 'metadata') await forgetNames(tx, { accountId: id });
    if (affected === 0) throw new AppError(condition ? 'INVALID_CREDENTIALS' : 'ACCOUNT_NOT_FOUND');
    const about = { action, objectType: 'account', objectId: id, accountId: id };
    await recordAudit(tx, caller, { ...about, changes: shown, before: before ?? {}, at: clock.now() });
    tx.afterCommit(() => credentials.publish(id));
  });
}

/** Closes: the plan is deleted while an account gets it. Both transactions write the plan's row first (plans.ts). */
async function lockPlan(tx: Transaction, id: string, now: Date): Promise<void> {
  if ((await updateRows(tx, Plan, { id }, { updatedAt: now })) === 0) throw new AppError('PLAN_NOT_FOUND');
}

/** Closes: two admins demote each other at once, and each still sees the other one. The rows of all admins are locked first. */
async function requireOtherAdmin(tx: Transaction, id: string): Promise<void> {
  const before = await tx.manager.findBy(Account, { role: 'admin' });
  const ids = before.map((admin) => admin.id);
  await lockRows(tx, Account, ids);
  const admins = await tx.manager.findBy(Account, { role: 'admin', isActive: true });
  if (admins.length === 1 && admins[0]!.id === id) throw new AppError('LAST_ADMIN');
}

/**
 * Runs a write of unique fields. Throws `ALREADY_EXISTS` with the field that another account has. The unique index decides between two
 * concurrent writes; a read before the write could not.
 */
async function nameConflicts<T>(
  { database }: Context,
  unique: { username?: string; email?: string },
  ownId: string | null,
  write: () => Promise<T>,
): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!isConflict(error)) throw error;
    for (const [field, value] of Object.entries(unique)) {
      const owner = await database.reader.getRepository(Account).findOneBy({ [field]: value });
      if (owner && owner.id !== ownId) throw new AppError('ALREADY_EXISTS', { field });
    }
    throw error;
  }
}

function requirePassword(path: string, password: string): void {
  if (password.length >= 12 && password.length <= 128) return;
  throw invalidPassword(path, 'TOO_SMALL', 'A password has 12 to 128 characters.');
}

const invalidPassword = (path: string, code: string, message: string): AppError =>
  new AppError('VALIDATION_FAILED', { fields: [{ path, code, message }] }, message);
