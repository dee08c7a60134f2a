import { randomBytes } from 'node:crypto';
import { AppError, newId } from '@chasqui/shared';
import { hash, verify } from '@node-rs/argon2';
import type { DataSource, EntityManager } from 'typeorm';
import type { Contacts } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { advisoryLocks, lockStep } from '../db/locks.js';
import { lockRows, insertRow, isConflict, readBatch, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Caller } from './caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { createLocalWindows, type Windows } from '../lib/windows.js';
import { Account, type Role } from './account.entity.js';
import type { ApiKeys } from './api-keys.js';
import { createCredentialChanges, type CredentialChanges } from '../lib/credential-changes.js';
import { createLoginLimit } from './login-limit.js';
import { Plan } from './plan.entity.js';

/** The hash of an unknown password: a login to an unknown account takes as long to refuse as one with a wrong password. */
const unknownAccountHash = '$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$H0bN0rGdHZJmh9ZqGvRkZ2bG8rY0Zq1tO6Jb0cE5i8s';

const passwordProblem = 'A password has 12 to 128 characters.';
const isPassword = (text: string): boolean => text.length >= 12 && text.length <= 128;

/** `password` is null when the operator has set it. */
export interface FirstAdmin {
  email: string;
  password: string | null;
  apiKey: string;
}

type AccountSecrets = Pick<Account, 'passwordHash' | 'jwtSecret'>;

export type Accounts = ReturnType<typeof createAccounts>;

export function createAccounts({
  database,
  clock,
  keys,
  credentials = createCredentialChanges(),
  windows = createLocalWindows(clock),
  timezone = 'UTC',
  forgetNames = async () => undefined,
}: {
  database: Database;
  clock: Clock;
  keys: ApiKeys;
  credentials?: CredentialChanges;
  /** Where failed logins are counted; shared by all backends where there can be several. */
  windows?: Windows;
  /** Of new accounts. */
  timezone?: string;
  /** Removes the names of the account's contacts when it keeps none from now on. */
  forgetNames?: Contacts['forgetNames'];
}) {
  const limit = createLoginLimit(windows, {
    clock,
    findReset: (email, withinMs) => findReset(database, email, new Date(clock.now().getTime() - withinMs)),
  });
  const listeners = new Set<(accountId: string) => void>();
  const rows = database.reader.getRepository(Account);

  async function create(
    caller: Caller | null,
    input: {
      username: string;
      email: string;
      password: string;
      role: Role;
      maxSessions?: number;
      planId?: string | null;
      mustChangePassword?: boolean;
    },
    beforeCommit: (made: { account: Account; apiKey: string }) => void = () => undefined,
    begin: (tx: Transaction) => Promise<void> = async () => undefined,
  ): Promise<{ account: Account; apiKey: string }> {
    if (!isPassword(input.password)) throw invalidPassword('password', 'TOO_SMALL', passwordProblem);
    const email = input.email.toLowerCase();
    const passwordHash = await hash(input.password);
    return naming({ username: input.username, email }, null, () =>
      insertAccount(caller, { ...input, email, passwordHash }, beforeCommit, begin),
    );
  }

  /** Runs a write of unique fields; when one is taken, says which: two at once are told apart by the index, not by a look before. */
  async function naming<T>(
    unique: { username?: string; email?: string },
    own: string | null,
    write: () => Promise<T>,
  ): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!isConflict(error)) throw error;
      for (const [field, value] of Object.entries(unique)) {
        const taken = await rows.findOneBy({ [field]: value });
        if (taken && taken.id !== own) throw new AppError('ALREADY_EXISTS', { field });
      }
      throw error;
    }
  }

  function insertAccount(
    caller: Caller | null,
    input: {
      username: string;
      email: string;
      passwordHash: string;
      role: Role;
      maxSessions?: number;
      planId?: string | null;
      mustChangePassword?: boolean;
    },
    beforeCommit: (made: { account: Account; apiKey: string }) => void,
    begin: (tx: Transaction) => Promise<void>,
  ): Promise<{ account: Account; apiKey: string }> {
    const { email, passwordHash } = input;
    return database.write.run(async (tx) => {
      await begin(tx);
      const now = clock.now();
      if (input.planId) await lockPlan(tx, input.planId);
      const account: Account = {
        id: newId(now.getTime()),
        username: input.username,
        email,
        passwordHash,
        mustChangePassword: input.mustChangePassword ?? false,
        jwtSecret: newSecret(),
        role: input.role,
        isActive: true,
        timezone,
        uncertainPolicy: 'hold',
        storage: 'full',
        maxSessions: input.maxSessions ?? 10,
        planId: input.planId ?? null,
        maxMessagesPerDay: 0,
        eventsKeptFrom: 0,
        lastLoginAt: null,
        createdAt: now,
        updatedAt: now,
      };
      await insertRow(tx, Account, account);
      const { key } = await keys.insert(tx, { accountId: account.id, name: 'Primary key', permissions: ['*'], isPrimary: true });
      await recordAudit(tx, caller, {
        action: 'account.create',
        objectType: 'account',
        objectId: account.id,
        accountId: account.id,
        changes: { username: input.username, role: input.role },
        at: now,
      });
      beforeCommit({ account, apiKey: key });
      return { account, apiKey: key };
    });
  }

  async function change(
    caller: Caller,
    id: string,
    action: string,
    changes: Partial<Account>,
    shown: Record<string, unknown>,
    condition: Pick<Account, 'passwordHash'> | Record<never, never> = {},
  ): Promise<void> {
    await database.write.run(async (tx) => {
      if ((changes.role ?? 'admin') !== 'admin' || changes.isActive === false) await keepAnAdmin(tx, id);
      if (changes.planId) await lockPlan(tx, changes.planId);
      const affected = await updateRows(tx, Account, { id, ...condition }, { ...changes, updatedAt: clock.now() });
      if (changes.storage === 'metadata') await forgetNames(tx, { accountId: id });
      if (affected === 0) throw new AppError('passwordHash' in condition ? 'INVALID_CREDENTIALS' : 'ACCOUNT_NOT_FOUND');
      await recordAudit(tx, caller, {
        action,
        objectType: 'account',
        objectId: id,
        accountId: id,
        changes: shown,
        at: clock.now(),
      });
      tx.afterCommit(() => credentials.publish(id));
    });
    for (const listener of listeners) listener(id);
  }

  async function authenticatePassword(email: string, password: string, ip: string | null): Promise<Account> {
    const attempt = await limit.begin(email, ip);
    let account: Account | null = null;
    let isRight = false;
    try {
      const secrets = ['passwordHash', 'jwtSecret'] as const;
      [account = null] = await readRows(database.reader, Account, 'email = ?', [email.toLowerCase()], secrets);
      isRight = await verify(account?.passwordHash ?? unknownAccountHash, password).catch(() => false); // An unknown form of hash matches no password.
    } catch (error) {
      // The database did not answer: the password was not checked. Where the windows are in it too, the attempt stays counted.
      await attempt.cancelled().catch(() => undefined);
      throw error;
    }
    if (!account || !isRight) {
      attempt.failed();
      throw new AppError('INVALID_CREDENTIALS');
    }
    await attempt.succeeded();
    const { id } = account;
    if (!account.isActive) throw new AppError('ACCOUNT_INACTIVE');
    await database.write.run((tx) => updateRows(tx, Account, { id }, { lastLoginAt: clock.now() }));
    return account;
  }

  /** A password and, with it, a new secret of the account: every token, stream and panel session of it ends. */
  async function setPassword(
    caller: Caller,
    id: string,
    password: string,
    { mustChange }: { mustChange: boolean },
    condition: Pick<Account, 'passwordHash'> | Record<never, never> = {},
  ): Promise<AccountSecrets> {
    if (!isPassword(password)) throw invalidPassword('newPassword', 'TOO_SMALL', passwordProblem);
    const changes = { passwordHash: await hash(password), jwtSecret: newSecret(), mustChangePassword: mustChange };
    await change(caller, id, 'account.password', changes, {}, condition);
    return changes;
  }

  return {
    create,
    /** Called on this backend after each committed change of an account. Must not throw. Gives the way to stop listening. */
    onChanged(listener: (accountId: string) => void): () => void {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    find: async (id: string): Promise<Account | null> => (await readBatch(database, Account, 'id = ?', [id]))[0] ?? null,
    list: (): Promise<Account[]> => rows.find({ order: { createdAt: 'ASC' } }),

    /**
     * Creates the first admin if there is no account yet.
     *
     * Closes: two backends start on one empty database. Both see no account; the second one waits for the first one's lock, looks again and
     * creates nothing. A first one that freezes there is ended by the server (connections.ts), which is waited for.
     */
    async ensureFirstAdmin(input: {
      email: string;
      password: string | undefined;
      /** The operator's own account may use what the worker holds. */
      maxSessions: number;
      /**
       * Shows what is shown once, right before the commit. Closes: the process dies between the two, and a password that was never shown
       * is the only one there is; this way round the next start makes another.
       */
      tell: (first: FirstAdmin) => void;
    }): Promise<void> {
      if (await hasAccounts(database.reader)) return;
      const password = input.password ?? randomBytes(15).toString('base64url');
      const isOneTime = input.password === undefined;
      const first = {
        username: 'admin',
        email: input.email,
        password,
        role: 'admin',
        mustChangePassword: isOneTime,
        maxSessions: input.maxSessions,
      } as const;
      try {
        await create(
          null,
          first,
          ({ account, apiKey }) => input.tell({ email: account.email, password: isOneTime ? password : null, apiKey }),
          async (tx) => {
            await lockStep(tx, advisoryLocks.firstAdmin);
            if (await hasAccounts(tx.manager)) throw new AccountsExist();
          },
        );
      } catch (error) {
        if (!(error instanceof AccountsExist)) throw error;
      }
    },

    /**
     * Verifies a password. Throws `INVALID_CREDENTIALS`, the same for an unknown address and a wrong password, and `RATE_LIMITED` after too
     * many that were wrong. The attempt is counted before the password is verified; see login-limit.ts.
     */
    authenticatePassword,

    /**
     * Changes the caller's own password, which ends all tokens, streams and panel sessions of the account. Throws `INVALID_CREDENTIALS` and
     * `RATE_LIMITED` as a login does, and `VALIDATION_FAILED` for a new password that is too short or the same as the present one: otherwise
     * a one-time password would stay. Returns the new secrets of the account, which are never shown.
     */
    async changePassword(caller: Caller, { current, next }: { current: string; next: string }): Promise<AccountSecrets> {
      const { email } = await rows.findOneByOrFail({ id: caller.accountId });
      const { id, passwordHash } = await authenticatePassword(email, current, caller.ip);
      // Closes: the address was given to another account between the two reads.
      if (id !== caller.accountId) throw new AppError('INVALID_CREDENTIALS');
      if (next === current)
        throw invalidPassword('newPassword', 'SAME_AS_BEFORE', 'Choose a password that differs from the present one.');
      // Closes: of two that know the present password and change it at once, one is refused.
      return setPassword(caller, id, next, { mustChange: false }, { passwordHash });
    },
    async setPassword(caller: Caller, id: string, password: string, options: { mustChange: boolean }): Promise<void> {
      await setPassword(caller, id, password, options);
    },
    logoutEverywhere: (caller: Caller, id: string) => change(caller, id, 'account.logout', { jwtSecret: newSecret() }, {}),
    async setRole(caller: Caller, id: string, role: Role): Promise<void> {
      await change(caller, id, 'account.role', { role }, { role });
    },
    async setActive(caller: Caller, id: string, isActive: boolean): Promise<void> {
      await change(caller, id, 'account.active', { isActive }, { isActive });
    },
    /** What staff decide of an account; throws `LAST_ADMIN`, `PLAN_NOT_FOUND`. */
    async govern(
      caller: Caller,
      id: string,
      changes: Partial<Pick<Account, 'role' | 'isActive' | 'planId' | 'maxMessagesPerDay'>>,
    ): Promise<Account> {
      await change(caller, id, 'account.govern', changes, changes);
      return rows.findOneByOrFail({ id });
    },
    async update(
      caller: Caller,
      id: string,
      changes: Partial<Pick<Account, 'username' | 'email' | 'timezone' | 'uncertainPolicy' | 'storage'>>,
    ): Promise<Account> {
      const lower = changes.email ? { ...changes, email: changes.email.toLowerCase() } : changes;
      await naming(
        { ...(lower.username ? { username: lower.username } : {}), ...(lower.email ? { email: lower.email } : {}) },
        id,
        () => change(caller, id, 'account.update', lower, changes),
      );
      return rows.findOneByOrFail({ id });
    },
  };

  /** Closes: the plan is removed while an account is put on it; see plans.ts. */
  async function lockPlan(tx: Transaction, id: string): Promise<void> {
    if ((await updateRows(tx, Plan, { id }, { updatedAt: clock.now() })) === 0) throw new AppError('PLAN_NOT_FOUND');
  }

  /** Closes: two admins demote each other at once, each seeing the other still there. All admins' rows are held first. */
  async function keepAnAdmin(tx: Transaction, id: string): Promise<void> {
    const before = await tx.manager.findBy(Account, { role: 'admin' });
    await lockRows(
      tx,
      Account,
      before.map((one) => one.id),
    );
    const admins = await tx.manager.findBy(Account, { role: 'admin', isActive: true });
    if (admins.length === 1 && admins[0]!.id === id) throw new AppError('LAST_ADMIN');
  }
}

const invalidPassword = (path: string, code: string, message: string): AppError =>
  new AppError('VALIDATION_FAILED', { fields: [{ path, code, message }] }, message);

/** Another backend has created the first admin meanwhile. */
class AccountsExist extends Error {}

async function hasAccounts(where: DataSource | EntityManager): Promise<boolean> {
  return (await runStatement(where, 'SELECT 1 AS one FROM accounts LIMIT 1')).rows.length > 0;
}

/** By an operator or by staff; an owner who changes the own password has not been locked out. */
const resetSql = `SELECT audit.id AS id FROM audit_logs audit JOIN accounts account ON account.id = audit."accountId"
  WHERE account.email = ? AND audit.action = 'account.password' AND audit."actorType" IN ('system', 'staff') AND audit.at > ?
  ORDER BY audit.at DESC LIMIT 1`;

async function findReset(database: Database, email: string, since: Date): Promise<string | null> {
  const {
    rows: [row],
  } = await runStatement<{ id: string }>(database.reader, resetSql, [email.toLowerCase(), since], { prepare: false });
  return row?.id ?? null;
}

const newSecret = (): string => randomBytes(32).toString('hex');
