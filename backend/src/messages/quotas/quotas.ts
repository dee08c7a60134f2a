import { AppError } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { readLimits, type AccountLimits } from '../../accounts/plans.js';
import type { Core } from '../../core.js';
import { among, readRows, upsertRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { readable } from '../../db/unreadable.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { noSettings, type Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';
import { dayOf, endOf, monthOf } from './periods.js';
import { warmUpLimit } from './warm-up.js';
import { quotaScopes, QuotaUsage, type LimitScope, type QuotaScope } from './quota.entity.js';

/** One limit and its use. Numbers of messages. */
export interface QuotaView {
  scope: LimitScope;
  limit: number;
  /** Messages that were sent in the period. */
  used: number;
  /** Messages that were accepted in the period and are not sent yet. */
  reserved: number;
  remaining: number;
  resetAt: Date;
}

/** The fields of a session on which its quotas depend. */
export type QuotaSession = Pick<Session, 'id' | 'accountId' | 'settings'>;

/**
 * Daily and monthly quotas. Accepting a message reserves its quota; a message that was certainly not sent releases it. The counters are written
 * in the same commit, while the event log is locked. So parallel sends never exceed a limit, and transactions cannot deadlock. The period is
 * part of a counter's key: a new period starts at zero without a job.
 *
 * | change of the message | its quota |
 * | --- | --- |
 * | accepted | reserved; refused if any limit is reached |
 * | accepted for a later time | nothing; it is reserved when the message becomes due |
 * | `failed`, `cancelled` | released, on the day on which it was reserved |
 * | `failed` → `queued` (retry) | reserved again, today; refused if any limit is reached |
 * | `failed` → `sent` and above (it was sent after all) | counted again, even over the limit, because it was sent |
 */
export interface Quotas {
  /**
   * Reserves quota for a batch of messages in order and sets `quotaDay` and `cost` of each. Returns a `QUOTA_EXCEEDED` error for each message over a
   * limit; if several limits are reached, the error names the one that resets last. Locks the event log.
   */
  reserve(tx: Transaction, items: readonly { session: QuotaSession; message: Message }[]): Promise<Map<Message, AppError>>;
  /** Releases the quota of a message that was not sent. Call it after the event of the change is written: that locks the log. */
  release(tx: Transaction, message: Message): Promise<void>;
  /**
   * Counts a message that was sent although its quota was released, even over the limit. Returns the day on which it counts. Call it after the event
   * of the change is written.
   */
  recount(tx: Transaction, message: Message): Promise<string>;
  /** Returns how many messages of an account count today and this month, whether they are sent yet or not. */
  usageOf(accountId: string): Promise<{ today: number; thisMonth: number }>;
  /** Returns all limits of a session; the one with the fewest messages remaining comes first. */
  view(session: QuotaSession): Promise<QuotaView[]>;
  /**
   * Returns the warm-up limit of a session in the day that this instant is in; null without one. It grows each day, and other limits stay as `view`
   * shows them. `timezone`: of the account.
   */
  warmUpAt(session: QuotaSession, at: Date, timezone: string): number | null;
  /** Returns when the period of a limit resets after the one that resets at this instant. `timezone`: of the account. */
  resetAfter(scope: LimitScope, resetAt: Date, timezone: string): Date;
}

type QuotaCore = Pick<Core, 'database' | 'events' | 'clock'>;
interface Context extends QuotaCore {
  /** Messages a day of a session without a limit of its own. 0: no limit. */
  defaultDaily: number;
}

export function createQuotas(core: QuotaCore, { defaultDaily }: { defaultDaily: number }): Quotas {
  const context: Context = { ...core, defaultDaily };
  return {
    reserve: (tx, items) => reserve(context, tx, items),
    release: async (tx, message) => {
      if (message.quotaDay !== null) await addToCounters(tx, message, -1, message.quotaDay);
    },
    recount: (tx, message) => recount(context, tx, message),
    usageOf: (accountId) => usageOf(context, accountId),
    // Of damaged settings no limit is known; nothing can be sent with them.
    view: (session) => view(context, { ...session, settings: readable(session.settings, noSettings) }),
    warmUpAt({ settings: { warmUp } }, at, timezone) {
      const limit = warmUp ? warmUpLimit(warmUp, dayOf(at, timezone)) : null;
      return limit !== null && limit > 0 ? limit : null;
    },
    resetAfter(scope, resetAt, timezone) {
      const day = dayOf(resetAt, timezone);
      return endOf(scope === 'plan.monthly' ? monthOf(day) : day, timezone);
    },
  };
}

/** One counter that a message counts in, with its limit (0: no limit). `limitedBy`: which limit that is. */
interface Counter {
  scope: QuotaScope;
  limitedBy: LimitScope;
  ownerId: string;
  accountId: string;
  period: string;
  limit: number;
  /** See `nameOf`. */
  name: string;
}

/** The counters of a message of this session on this day, with their limits. */
function countersOf({ defaultDaily }: Context, session: QuotaSession, limits: AccountLimits, day: string): Counter[] {
  const { id, accountId } = session;
  const counter = (scope: QuotaScope, ownerId: string, period: string, { limit, limitedBy }: SessionLimit): Counter => {
    return { scope, limitedBy, ownerId, accountId, period, limit, name: nameOf({ scope, ownerId, period }) };
  };
  const daily: SessionLimit = { limit: limits.dailyMessages, limitedBy: 'account.daily' };
  const monthly: SessionLimit = { limit: limits.monthlyMessages, limitedBy: 'plan.monthly' };
  return [
    counter('session.daily', id, day, tighterOf(sessionLimits(session, defaultDaily, day))),
    counter('account.daily', accountId, day, daily),
    counter('plan.monthly', accountId, monthOf(day), monthly),
  ];
}

type SessionLimit = Pick<Counter, 'limit' | 'limitedBy'>;

/** The limits of what a session sends in a day: its daily limit, and its warm-up plan. */
function sessionLimits({ settings }: QuotaSession, defaultDaily: number, day: string): SessionLimit[] {
  const daily: SessionLimit = { limitedBy: 'session.daily', limit: settings.dailyLimit ?? defaultDaily };
  const planned = settings.warmUp ? warmUpLimit(settings.warmUp, day) : null;
  return planned === null ? [daily] : [daily, { limitedBy: 'session.warm_up', limit: planned }];
}

/** 0 is no limit, and so never the tighter one. */
const tighterOf = (limits: readonly SessionLimit[]): SessionLimit =>
  limits.reduce((tightest, other) =>
    tightest.limit === 0 || (other.limit > 0 && other.limit < tightest.limit) ? other : tightest,
  );

async function reserve(
  context: Context,
  tx: Transaction,
  items: readonly { session: QuotaSession; message: Message }[],
): Promise<Map<Message, AppError>> {
  const { events, clock } = context;
  const now = clock.now();
  await events.lock(tx);
  const limitsOf = await readAllLimits(tx, items);
  const places = new Map<QuotaSession, Place>();
  for (const { session } of items) {
    if (places.has(session)) continue;
    const limits = limitsOf.get(session.accountId)!;
    const day = dayOf(now, limits.timezone);
    places.set(session, { limits, day, counters: countersOf(context, session, limits, day) });
  }
  const counters = [...places.values()].flatMap((place) => place.counters);
  const before = await readCounters(tx, counters);
  const reservations = items.map(({ session, message }) => ({ message, place: places.get(session)! }));
  const { counts, refused, reached } = countReservations(reservations, before, now);
  const changed = new Map(counters.map((counter) => [counter.name, counter]));
  for (const name of [...changed.keys()]) if (counts.get(name) === before.get(name)) changed.delete(name);
  await writeCounters(
    tx,
    [...changed].map(([name, counter]) => ({ ...counter, taken: counts.get(name)! })),
  );
  for (const { scope, limitedBy, accountId, ownerId, limit, resetAt } of reached)
    await events.append(tx, {
      accountId,
      sessionId: scope === 'session.daily' ? ownerId : null,
      type: 'quota.exhausted',
      data: { scope: limitedBy, limit, resetAt: resetAt.toISOString() },
    });
  return refused;
}

/** Where the messages of a session count. */
interface Place {
  limits: AccountLimits;
  day: string;
  counters: readonly Counter[];
}

/** Counts the messages in order and sets `quotaDay` and `cost` of each that fits. `reached`: the limits that the last of their messages used up. */
function countReservations(
  reservations: readonly { message: Message; place: Place }[],
  before: ReadonlyMap<string, number>,
  now: Date,
): { counts: Map<string, number>; refused: Map<Message, AppError>; reached: (Counter & { resetAt: Date })[] } {
  const counts = new Map(before);
  const refused = new Map<Message, AppError>();
  const reached = new Map<string, Counter & { resetAt: Date }>();
  for (const {
    message,
    place: { limits, day, counters },
  } of reservations) {
    const full = counters.filter(({ name, limit }) => limit > 0 && counts.get(name)! >= limit);
    if (full.length > 0) {
      refused.set(message, refusal(full, limits.timezone, now));
      continue;
    }
    for (const counter of counters) {
      const count = counts.get(counter.name)! + 1;
      counts.set(counter.name, count);
      if (count === counter.limit) reached.set(counter.name, { ...counter, resetAt: endOf(counter.period, limits.timezone) });
    }
    message.quotaDay = day;
    message.cost = limits.pricePerMessage;
  }
  return { counts, refused, reached: [...reached.values()] };
}

async function readAllLimits(tx: Transaction, items: readonly { session: QuotaSession }[]): Promise<Map<string, AccountLimits>> {
  const limits = new Map<string, AccountLimits>();
  for (const { session } of items)
    if (!limits.has(session.accountId)) limits.set(session.accountId, await readLimits(tx.manager, session.accountId));
  return limits;
}

const scopesCondition = `scope IN (${quotaScopes.map((scope) => `'${scope}'`).join(', ')})`;

/** The current counts, by name of the counter. The log is locked, so no other transaction changes them. */
async function readCounters(tx: Transaction, counters: readonly Counter[]): Promise<Map<string, number>> {
  const counts = new Map(counters.map(({ name }) => [name, 0]));
  const owners = among(tx.manager, 'ownerId', [...new Set(counters.map(({ ownerId }) => ownerId))]);
  const periods = among(tx.manager, 'period', [...new Set(counters.map(({ period }) => period))]);
  // The primary key begins with the scope: without it SQLite would read the counters of all owners and days.
  const condition = `${scopesCondition} AND ${owners.condition} AND ${periods.condition}`;
  const found = await readRows(tx.manager, QuotaUsage, condition, [owners.parameter, periods.parameter]);
  for (const row of found) if (counts.has(nameOf(row))) counts.set(nameOf(row), row.taken);
  return counts;
}

const writeCounters = (tx: Transaction, rows: readonly QuotaUsage[]): Promise<void> =>
  upsertRows(
    tx,
    QuotaUsage,
    rows.map(({ scope, ownerId, period, accountId, taken }) => ({ scope, ownerId, period, accountId, taken })),
  );

async function recount({ clock }: Context, tx: Transaction, message: Message): Promise<string> {
  const day = dayOf(clock.now(), (await readLimits(tx.manager, message.accountId)).timezone);
  await addToCounters(tx, message, 1, day);
  return day;
}

async function addToCounters(tx: Transaction, message: Message, by: 1 | -1, day: string): Promise<void> {
  const { sessionId, accountId } = message;
  const counters: [QuotaScope, string, string][] = [
    ['session.daily', sessionId, day],
    ['account.daily', accountId, day],
    ['plan.monthly', accountId, monthOf(day)],
  ];
  for (const [scope, ownerId, period] of counters) {
    const { affected } = await runStatement(tx.manager, addSql, [by, scope, ownerId, period]);
    if (affected === 0 && by === 1) await writeCounters(tx, [{ scope, ownerId, period, accountId, taken: 1 }]);
  }
}

async function usageOf({ database, clock }: Context, accountId: string): Promise<{ today: number; thisMonth: number }> {
  const day = dayOf(clock.now(), (await readLimits(database.reader, accountId)).timezone);
  const countOf = (scope: QuotaScope, period: string): Promise<number> =>
    readCount(database.reader, { scope, ownerId: accountId, period });
  return { today: await countOf('account.daily', day), thisMonth: await countOf('plan.monthly', monthOf(day)) };
}

async function view(context: Context, session: QuotaSession): Promise<QuotaView[]> {
  const { database, clock } = context;
  const limits = await readLimits(database.reader, session.accountId);
  const day = dayOf(clock.now(), limits.timezone);
  const views: QuotaView[] = [];
  const counters = countersOf(context, session, limits, day);
  const ofSession = sessionLimits(session, context.defaultDaily, day).map((limit) => ({ ...counters[0]!, ...limit }));
  for (const counter of [...ofSession, ...counters.slice(1)]) {
    const { limitedBy: scope, period, limit } = counter;
    if (limit <= 0) continue;
    const count = await readCount(database.reader, counter);
    const reserved = Math.min(count, await countUnsent(context, counter));
    const resetAt = endOf(period, limits.timezone);
    views.push({ scope, limit, used: count - reserved, reserved, remaining: Math.max(0, limit - count), resetAt });
  }
  return views.sort((one, other) => one.remaining - other.remaining);
}

/** The number of messages that were accepted in the period and are not sent yet. */
async function countUnsent({ database }: Context, { scope, ownerId, period }: Counter): Promise<number> {
  const column = scope === 'session.daily' ? 'sessionId' : 'accountId';
  const statement = `SELECT COUNT(*) AS n FROM messages WHERE "${column}" = ? AND status IN ('queued', 'sending', 'uncertain') AND "quotaDay" >= ? AND "quotaDay" <= ?`;
  const { rows } = await runStatement(database.reader, statement, [ownerId, period, `${period}~`]);
  return Number((rows[0] as { n: number | string }).n);
}

async function readCount(
  where: DataSource | EntityManager,
  { scope, ownerId, period }: Pick<Counter, 'scope' | 'ownerId' | 'period'>,
): Promise<number> {
  const { rows } = await runStatement(where, readSql, [scope, ownerId, period]);
  return (rows[0] as { taken: number } | undefined)?.taken ?? 0;
}

const nameOf = ({ scope, ownerId, period }: Pick<Counter, 'scope' | 'ownerId' | 'period'>): string =>
  `${scope} ${ownerId} ${period}`;
const readSql = 'SELECT taken FROM quota_usage WHERE scope = ? AND "ownerId" = ? AND period = ?';
const addSql = 'UPDATE quota_usage SET taken = taken + ? WHERE scope = ? AND "ownerId" = ? AND period = ?';

const sentences: Record<LimitScope, string> = {
  'session.warm_up': 'This session has sent as many messages as its warm-up plan allows today.',
  'session.daily': 'This session has sent as many messages today as it may.',
  'account.daily': 'The account has sent as many messages today as it may.',
  'plan.monthly': 'The account has sent as many messages this month as its plan allows.',
};

/** The error of a message over these limits. It names the limit that resets last: before that, the message cannot be accepted. */
function refusal(full: readonly Counter[], timezone: string, now: Date): AppError {
  const [last] = full
    .map(({ limitedBy: scope, limit, period }) => ({ scope, limit, resetAt: endOf(period, timezone) }))
    .sort((one, other) => other.resetAt.getTime() - one.resetAt.getTime());
  const { scope, limit, resetAt } = last!;
  return new AppError(
    'QUOTA_EXCEEDED',
    { scope, limit, resetAt: resetAt.toISOString(), retryAfterSeconds: Math.ceil((resetAt.getTime() - now.getTime()) / 1000) },
    `${sentences[scope]} It resets at ${resetAt.toISOString()}.`,
  );
}
