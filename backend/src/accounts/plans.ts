import { AppError, newId, type StorageMode } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import type { Database } from '../db/database.js';
import { deleteRows, insertRow, isConflict, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Caller } from './caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { Account } from './account.entity.js';
import { Plan } from './plan.entity.js';

export type PlanInput = Pick<
  Plan,
  'name' | 'dailyMessages' | 'monthlyMessages' | 'maxSessions' | 'apiLimit' | 'pricePerMessage' | 'currency'
>;

/**
 * What an account may use. Messages a day: the tighter of its own figure and its plan's. Everything else: the plan's figure, where there is a plan.
 * 0: no limit.
 */
export interface AccountLimits {
  plan: { id: string; name: string } | null;
  timezone: string;
  storage: StorageMode;
  maxSessions: number;
  dailyMessages: number;
  monthlyMessages: number;
  /** Requests an hour, for each session. */
  apiLimit: number;
  pricePerMessage: string;
}

const limitsSql = `SELECT a.timezone, a.storage, a."maxSessions" AS own, a."maxMessagesPerDay" AS daily, p.id AS plan, p.name, p."maxSessions" AS sessions,
  p."dailyMessages" AS "planDaily", p."monthlyMessages" AS monthly, p."apiLimit" AS api, p."pricePerMessage" AS price
  FROM accounts a LEFT JOIN plans p ON p.id = a."planId" WHERE a.id = ?`;

interface LimitsRow {
  timezone: string;
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

/** Read from the tables each time: a plan that was changed holds for the next request. Throws `ACCOUNT_NOT_FOUND`. */
export async function readLimits(where: DataSource | EntityManager, accountId: string): Promise<AccountLimits> {
  const [row] = (await runStatement(where, limitsSql, [accountId])).rows as LimitsRow[];
  if (!row) throw new AppError('ACCOUNT_NOT_FOUND');
  return {
    plan: row.plan === null ? null : { id: row.plan, name: row.name ?? '' },
    timezone: row.timezone,
    storage: row.storage,
    maxSessions: row.plan === null ? row.own : (row.sessions ?? 0),
    dailyMessages: tighter(row.daily, row.planDaily ?? 0),
    monthlyMessages: row.monthly ?? 0,
    apiLimit: row.api ?? 0,
    pricePerMessage: row.price ?? '0.0000',
  };
}

const tighter = (one: number, other: number): number => (one === 0 || other === 0 ? Math.max(one, other) : Math.min(one, other));

/** For how long the limit of every single request is believed; a change made here is heard of at once. */
const cacheTtlMs = 1_000;

export type Plans = ReturnType<typeof createPlans>;

export function createPlans({ database, clock }: { database: Database; clock: Clock }) {
  const rows = database.reader.getRepository(Plan);
  const known = new Map<string, { limits: AccountLimits; until: number }>();
  let changes = 0;

  async function change(
    caller: Caller,
    action: string,
    id: string,
    changed: object,
    write: (tx: Parameters<Parameters<Database['write']['run']>[0]>[0]) => Promise<void>,
  ): Promise<void> {
    try {
      await database.write.run(async (tx) => {
        await write(tx);
        const about = { action, objectType: 'plan', objectId: id, accountId: null, at: clock.now() };
        await recordAudit(tx, caller, { ...about, changes: { ...changed } });
        tx.afterCommit(forget);
      });
    } catch (error) {
      throw isConflict(error) ? new AppError('ALREADY_EXISTS', { field: 'name' }) : error;
    }
  }

  async function find(id: string): Promise<Plan> {
    const plan = await rows.findOneBy({ id });
    if (!plan) throw new AppError('PLAN_NOT_FOUND');
    return plan;
  }

  function forget(): void {
    changes += 1;
    known.clear();
  }

  return {
    find,
    list: (): Promise<Plan[]> => rows.find({ order: { name: 'ASC' } }),
    async create(caller: Caller, input: PlanInput): Promise<Plan> {
      const now = clock.now();
      const plan: Plan = { ...input, id: newId(now.getTime()), createdAt: now, updatedAt: now };
      await change(caller, 'plan.create', plan.id, input, (tx) => insertRow(tx, Plan, plan));
      return plan;
    },
    async update(caller: Caller, id: string, input: Partial<PlanInput>): Promise<Plan> {
      await change(caller, 'plan.update', id, input, async (tx) => {
        if ((await updateRows(tx, Plan, { id }, { ...input, updatedAt: clock.now() })) === 0)
          throw new AppError('PLAN_NOT_FOUND');
      });
      return find(id);
    },
    /** Throws `PLAN_IN_USE`. Closes: an account is put on a plan that is being removed; both write the plan's row first. */
    async remove(caller: Caller, id: string): Promise<void> {
      await change(caller, 'plan.delete', id, {}, async (tx) => {
        if ((await updateRows(tx, Plan, { id }, { updatedAt: clock.now() })) === 0) throw new AppError('PLAN_NOT_FOUND');
        if (await tx.manager.existsBy(Account, { planId: id })) throw new AppError('PLAN_IN_USE');
        await deleteRows(tx, Plan, { id });
      });
    },
    /**
     * Returns what `readLimits` returns, from a cache of one second: for so long a change made by another backend is not seen.
     * Inside a transaction pass its manager.
     */
    async limitsOf(accountId: string, where: DataSource | EntityManager = database.reader): Promise<AccountLimits> {
      const now = clock.monotonic();
      const found = known.get(accountId);
      if (found && found.until > now) return found.limits;
      const before = changes;
      const limits = await readLimits(where, accountId);
      if (known.size > 10_000) known.clear();
      // Closes: read before a change, kept after it.
      if (before === changes) known.set(accountId, { limits, until: now + cacheTtlMs });
      return limits;
    },
    readLimits: (accountId: string): Promise<AccountLimits> => readLimits(database.reader, accountId),
    forget,
  };
}
