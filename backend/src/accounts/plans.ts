import { AppError, newId, type StorageMode } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { deleteRows, insertRow, isConflict, lockRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { guardOf, readerUsed } from '../db/transaction-guard.js';
import type { Transaction } from '../db/unit-of-work.js';
import { createTtlCache, type TtlCache } from '../lib/ttl-cache.js';
import { Account } from './account.entity.js';
import type { Caller } from './caller.js';
import { Plan } from './plan.entity.js';

/**
 * Manages plans, and computes the limits of accounts. A changed plan applies to the next request; on another backend within a second. All verbs
 * that name a plan throw `PLAN_NOT_FOUND`; `create` and `update` throw `ALREADY_EXISTS` for a name that another plan has.
 */
export interface Plans {
  find(id: string): Promise<Plan>;
  /** By name. */
  list(): Promise<Plan[]>;
  create(caller: Caller, input: PlanInput): Promise<Plan>;
  update(caller: Caller, id: string, changes: Partial<PlanInput>): Promise<Plan>;
  /** Throws `PLAN_IN_USE` while an account has the plan. */
  remove(caller: Caller, id: string): Promise<void>;
  /**
   * Returns the limits of an account, cached for a second: a change by another backend is not seen during this time. Inside a transaction pass
   * its manager. Throws `ACCOUNT_NOT_FOUND`.
   */
  limitsOf(accountId: string, where?: DataSource | EntityManager): Promise<AccountLimits>;
  /** Returns the limits of an account as the tables have them now. Throws `ACCOUNT_NOT_FOUND`. */
  readLimits(accountId: string): Promise<AccountLimits>;
  /** Empties the cache of limits. Called when an account has changed. */
  forget(): void;
}

export type PlanInput = Pick<
  Plan,
  'name' | 'dailyMessages' | 'monthlyMessages' | 'maxSessions' | 'apiLimit' | 'pricePerMessage' | 'currency'
>;

/**
 * The limits of an account. 0: no limit. For messages per day, the lower of the account's own limit and its plan's applies. All other limits come
 * from the plan if the account has one.
 */
export interface AccountLimits {
  plan: { id: string; name: string } | null;
  timezone: string;
  /** BCP 47. */
  language: string;
  storage: StorageMode;
  maxSessions: number;
  dailyMessages: number;
  monthlyMessages: number;
  /** Requests an hour, for each session. */
  apiLimit: number;
  pricePerMessage: string;
}

type PlanCore = Pick<Core, 'database' | 'clock'>;

interface Context extends PlanCore {
  /** By account. */
  cache: TtlCache<AccountLimits>;
}

const cacheTtlMs = 1_000;
const maxCachedAccounts = 10_000;

export function createPlans({ database, clock }: PlanCore): Plans {
  const cache = createTtlCache<AccountLimits>({ clock, ttlMs: cacheTtlMs, maxEntries: maxCachedAccounts });
  const context: Context = { database, clock, cache };
  return {
    find: (id) => findPlan(context, id),
    list: () => database.reader.getRepository(Plan).find({ order: { name: 'ASC' } }),
    create: (caller, input) => createPlan(context, caller, input),
    update: (caller, id, changes) => updatePlan(context, caller, id, changes),
    remove: (caller, id) => removePlan(context, caller, id),
    limitsOf: (accountId, where = database.reader) => limitsOf(context, accountId, where),
    readLimits: (accountId) => readLimits(database.reader, accountId),
    forget: () => cache.invalidate(null),
  };
}

async function findPlan({ database }: Context, id: string): Promise<Plan> {
  const plan = await database.reader.getRepository(Plan).findOneBy({ id });
  if (!plan) throw new AppError('PLAN_NOT_FOUND');
  return plan;
}

async function createPlan(context: Context, caller: Caller, input: PlanInput): Promise<Plan> {
  const now = context.clock.now();
  const plan: Plan = { ...input, id: newId(now.getTime()), createdAt: now, updatedAt: now };
  await changePlan(context, caller, 'plan.create', plan.id, input, (tx) => insertRow(tx, Plan, plan));
  return plan;
}

async function updatePlan(context: Context, caller: Caller, id: string, changes: Partial<PlanInput>): Promise<Plan> {
  await changePlan(context, caller, 'plan.update', id, changes, (tx) => writePlan(context, tx, id, changes));
  return findPlan(context, id);
}

async function removePlan(context: Context, caller: Caller, id: string): Promise<void> {
  await changePlan(context, caller, 'plan.delete', id, {}, async (tx) => {
    // Closes: an account gets the plan while it is deleted. Both transactions write the plan's row first.
    await writePlan(context, tx, id, {});
    if (await tx.manager.existsBy(Account, { planId: id })) throw new AppError('PLAN_IN_USE');
    await deleteRows(tx, Plan, { id });
  });
}

async function writePlan({ clock }: Context, tx: Transaction, id: string, changes: Partial<PlanInput>): Promise<void> {
  const affected = await updateRows(tx, Plan, { id }, { ...changes, updatedAt: clock.now() });
  if (affected === 0) throw new AppError('PLAN_NOT_FOUND');
}

/** Runs a write together with its entry in the audit log, and empties the cache after the commit. */
async function changePlan(
  { database, clock, cache }: Context,
  caller: Caller,
  action: string,
  id: string,
  changes: object,
  write: (tx: Transaction) => Promise<void>,
): Promise<void> {
  try {
    await database.write.run(async (tx) => {
      await lockRows(tx, Plan, [id]);
      const before = await tx.manager.findOneBy(Plan, { id });
      await write(tx);
      const about = { action, objectType: 'plan', objectId: id, accountId: null };
      await recordAudit(tx, caller, { ...about, changes: { ...changes }, before: before ?? {}, at: clock.now() });
      tx.afterCommit(() => cache.invalidate(null));
    });
  } catch (error) {
    throw isConflict(error) ? new AppError('ALREADY_EXISTS', { field: 'name' }) : error;
  }
}

async function limitsOf(context: Context, accountId: string, where: DataSource | EntityManager): Promise<AccountLimits> {
  const { cache, database } = context;
  const cached = cache.get(accountId);
  if (cached) return cached;
  const { version } = cache;
  const limits = where === database.reader ? await readShared(context, accountId) : await readLimits(where, accountId);
  cache.set(accountId, limits, version);
  return limits;
}

/** Every send reads the limits: when the cached ones expire, all requests of a tick share one query. */
async function readShared({ database: { coalescer, reader } }: Context, accountId: string): Promise<AccountLimits> {
  // Checked here as well: a query that another caller began would not be noticed.
  guardOf(reader)?.mustBeOutside(readerUsed);
  const [limits] = await coalescer.coalesce(`limits\0${accountId}`, async () => [await readLimits(reader, accountId)]);
  return limits!;
}

const limitsSql = `SELECT a.timezone, a.language, a.storage, a."maxSessions" AS own, a."maxMessagesPerDay" AS daily, p.id AS plan, p.name, p."maxSessions" AS sessions,
  p."dailyMessages" AS "planDaily", p."monthlyMessages" AS monthly, p."apiLimit" AS api, p."pricePerMessage" AS price
  FROM accounts a LEFT JOIN plans p ON p.id = a."planId" WHERE a.id = ?`;

interface LimitsRow {
  timezone: string;
  language: string;
  storage: StorageMode;
  own: number;
  daily: number;
  plan: string | null;
  name: string | null;
  sessions: number | null;
  planDaily: number | null;
  monthly: number | null;
  api: number | null;
  price: string | null;
}

/** Reads the limits of an account from the tables. Throws `ACCOUNT_NOT_FOUND`. */
export async function readLimits(where: DataSource | EntityManager, accountId: string): Promise<AccountLimits> {
  const [row] = (await runStatement(where, limitsSql, [accountId])).rows as LimitsRow[];
  if (!row) throw new AppError('ACCOUNT_NOT_FOUND');
  return {
    plan: row.plan === null ? null : { id: row.plan, name: row.name ?? '' },
    timezone: row.timezone,
    language: row.language,
    storage: row.storage,
    maxSessions: row.plan === null ? row.own : (row.sessions ?? 0),
    dailyMessages: stricter(row.daily, row.planDaily ?? 0),
    monthlyMessages: row.monthly ?? 0,
    apiLimit: row.api ?? 0,
    pricePerMessage: row.price ?? '0.0000',
  };
}

const stricter = (one: number, other: number): number => (one === 0 || other === 0 ? Math.max(one, other) : Math.min(one, other));
