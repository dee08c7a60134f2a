import { AppError } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { readLimits, type AccountLimits } from '../../accounts/plans.js';
import type { Database } from '../../db/database.js';
import { among, readRows, upsertRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Events } from '../../events/events.js';
import type { Clock } from '../../lib/clock.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';
import { dayOf, endOf, monthOf } from './periods.js';
import { QuotaUsage, type QuotaScope } from './quota.entity.js';

/** One limit, and how much of it is taken. */
export interface QuotaView {
  scope: QuotaScope;
  limit: number;
  used: number;
  reserved: number;
  remaining: number;
  resetAt: Date;
}

interface Place {
  scope: QuotaScope;
  ownerId: string;
  accountId: string;
  period: string;
  limit: number;
}

export type Quotas = ReturnType<typeof createQuotas>;

/**
 * Daily and monthly quotas. A message takes its places when it is accepted and gives them back when it definitely did not leave; the
 * counters are written in the same commit, by the transaction that holds the event log, so that parallel sends never take more than there is and
 * transactions do not wait for each other in a circle. The period is part of a counter's key: at midnight the next one begins at zero,
 * whether a job ran or not.
 *
 * | change of the message | its places |
 * | --- | --- |
 * | accepted | taken, or the whole refused |
 * | `failed`, `cancelled` | given back, of the day that they were taken from |
 * | `failed` → `queued` (retry) | taken again, of today, or refused |
 * | `failed` → `sent` and above (it left after all) | taken again, beyond the limit if need be: a count is the truth |
 */
export function createQuotas({
  database,
  events,
  clock,
  defaultDaily,
}: {
  database: Database;
  events: Events;
  clock: Clock;
  /** Of a session that has no limit of its own. 0: none. */
  defaultDaily: number;
}) {
  const placesOf = (session: Pick<Session, 'id' | 'accountId' | 'settings'>, limits: AccountLimits, day: string): Place[] => {
    const { accountId } = session;
    return [
      { scope: 'session.daily', ownerId: session.id, accountId, period: day, limit: session.settings.dailyLimit ?? defaultDaily },
      { scope: 'account.daily', ownerId: accountId, accountId, period: day, limit: limits.dailyMessages },
      { scope: 'plan.monthly', ownerId: accountId, accountId, period: monthOf(day), limit: limits.monthlyMessages },
    ];
  };

  /** Counters of these places, as they are now. The log is locked: no other transaction changes them meanwhile. */
  async function read(tx: Transaction, places: readonly Place[]): Promise<Map<string, number>> {
    const taken = new Map(places.map((place) => [nameOf(place), 0]));
    const owners = among(tx.manager, 'ownerId', [...new Set(places.map(({ ownerId }) => ownerId))]);
    const periods = among(tx.manager, 'period', [...new Set(places.map(({ period }) => period))]);
    const found = await readRows(tx.manager, QuotaUsage, `${owners.condition} AND ${periods.condition}`, [
      owners.parameter,
      periods.parameter,
    ]);
    for (const row of found) if (taken.has(nameOf(row))) taken.set(nameOf(row), row.taken);
    return taken;
  }

  const write = (tx: Transaction, counts: readonly QuotaUsage[]): Promise<void> =>
    upsertRows(
      tx,
      QuotaUsage,
      counts.map(({ scope, ownerId, period, accountId, taken }) => ({ scope, ownerId, period, accountId, taken })),
    );

  async function give(tx: Transaction, message: Message, by: 1 | -1, day: string): Promise<void> {
    const { sessionId, accountId } = message;
    const places: [QuotaScope, string, string][] = [
      ['session.daily', sessionId, day],
      ['account.daily', accountId, day],
      ['plan.monthly', accountId, monthOf(day)],
    ];
    for (const [scope, ownerId, period] of places) {
      const { affected } = await runStatement(tx.manager, addSql, [by, scope, ownerId, period]);
      if (affected === 0 && by === 1) await write(tx, [{ scope, ownerId, period, accountId, taken: 1 }]);
    }
  }

  return {
    /**
     * Takes the places of many messages at once, in their order, and notes the day on each. Gives why for those that found none, of all
     * limits that are used up the one that ends last. Also says what each one costs.
     */
    async reserve(
      tx: Transaction,
      wishes: readonly { session: Pick<Session, 'id' | 'accountId' | 'settings'>; message: Message }[],
    ): Promise<Map<Message, AppError>> {
      const refused = new Map<Message, AppError>();
      const now = clock.now();
      await events.lock(tx);
      const limits = new Map<string, AccountLimits>();
      for (const { session } of wishes)
        if (!limits.has(session.accountId)) limits.set(session.accountId, await readLimits(tx.manager, session.accountId));
      const wanted = wishes.map(({ session, message }) => {
        const its = limits.get(session.accountId)!;
        const day = dayOf(now, its.timezone);
        return { message, its, day, places: placesOf(session, its, day) };
      });
      const taken = await read(
        tx,
        wanted.flatMap(({ places }) => places),
      );
      const before = new Map(taken);
      const exhausted = new Map<string, Place & { resetAt: Date }>();
      for (const { message, its, day, places } of wanted) {
        const full = places.filter((place) => place.limit > 0 && taken.get(nameOf(place))! >= place.limit);
        if (full.length > 0) {
          refused.set(message, refusal(full, its.timezone, now));
          continue;
        }
        for (const place of places) {
          const count = taken.get(nameOf(place))! + 1;
          taken.set(nameOf(place), count);
          if (count === place.limit) exhausted.set(nameOf(place), { ...place, resetAt: endOf(place.period, its.timezone) });
        }
        message.quotaDay = day;
        message.cost = its.pricePerMessage;
      }
      const all = new Map(wanted.flatMap(({ places }) => places.map((place) => [nameOf(place), place])));
      const moved = [...all].filter(([name]) => taken.get(name) !== before.get(name));
      await write(
        tx,
        moved.map(([name, place]) => ({ ...place, taken: taken.get(name)! })),
      );
      for (const { scope, accountId, ownerId, limit, resetAt } of exhausted.values())
        await events.append(tx, {
          accountId,
          sessionId: scope === 'session.daily' ? ownerId : null,
          type: 'quota.exhausted',
          data: { scope, limit, resetAt: resetAt.toISOString() },
        });
      return refused;
    },

    /** It did not leave. Called after its event was written. */
    async release(tx: Transaction, message: Message): Promise<void> {
      if (message.quotaDay !== null) await give(tx, message, -1, message.quotaDay);
    },

    /** It left although its places were given back: counted, whatever the limit. Gives the day. Called after its event was written. */
    async recount(tx: Transaction, message: Message): Promise<string> {
      const day = dayOf(clock.now(), (await readLimits(tx.manager, message.accountId)).timezone);
      await give(tx, message, 1, day);
      return day;
    },

    /** How many messages of an account hold a place today and this month. */
    async usageOf(accountId: string): Promise<{ today: number; thisMonth: number }> {
      const day = dayOf(clock.now(), (await readLimits(database.reader, accountId)).timezone);
      const of = (scope: QuotaScope, period: string): Promise<number> =>
        takenOf(database.reader, { scope, ownerId: accountId, period });
      return { today: await of('account.daily', day), thisMonth: await of('plan.monthly', monthOf(day)) };
    },

    /** All limits of a session, the tightest first. */
    async view(session: Pick<Session, 'id' | 'accountId' | 'settings'>): Promise<QuotaView[]> {
      const limits = await readLimits(database.reader, session.accountId);
      const day = dayOf(clock.now(), limits.timezone);
      const places = placesOf(session, limits, day).filter(({ limit }) => limit > 0);
      const views: QuotaView[] = [];
      for (const place of places) {
        const { scope, ownerId, period, limit } = place;
        const taken = await takenOf(database.reader, { scope, ownerId, period });
        const reserved = Math.min(taken, await waiting(place));
        const resetAt = endOf(period, limits.timezone);
        views.push({ scope, limit, used: taken - reserved, reserved, remaining: Math.max(0, limit - taken), resetAt });
      }
      return views.sort((one, other) => one.remaining - other.remaining);
    },
  };

  /** Accepted in the period and not sent yet. */
  async function waiting({ scope, ownerId, period }: Place): Promise<number> {
    const column = scope === 'session.daily' ? 'sessionId' : 'accountId';
    const statement = `SELECT COUNT(*) AS n FROM messages WHERE "${column}" = ? AND status IN ('queued', 'sending', 'uncertain') AND "quotaDay" >= ? AND "quotaDay" <= ?`;
    const { rows } = await runStatement(database.reader, statement, [ownerId, period, `${period}~`]);
    return Number((rows[0] as { n: number | string }).n);
  }
}

async function takenOf(
  where: DataSource | EntityManager,
  { scope, ownerId, period }: Pick<Place, 'scope' | 'ownerId' | 'period'>,
): Promise<number> {
  const { rows } = await runStatement(where, readSql, [scope, ownerId, period]);
  return (rows[0] as { taken: number } | undefined)?.taken ?? 0;
}

const nameOf = ({ scope, ownerId, period }: Pick<Place, 'scope' | 'ownerId' | 'period'>): string =>
  `${scope} ${ownerId} ${period}`;
const readSql = 'SELECT taken FROM quota_usage WHERE scope = ? AND "ownerId" = ? AND period = ?';
const addSql = 'UPDATE quota_usage SET taken = taken + ? WHERE scope = ? AND "ownerId" = ? AND period = ?';

const sentences: Record<QuotaScope, string> = {
  'session.daily': 'This session has sent as many messages today as it may.',
  'account.daily': 'The account has sent as many messages today as it may.',
  'plan.monthly': 'The account has sent as many messages this month as its plan allows.',
};

/** Of several that are used up the one that ends last: waiting for another would not help. */
function refusal(full: readonly Place[], timezone: string, now: Date): AppError {
  const [worst] = full
    .map(({ scope, limit, period }) => ({ scope, limit, resetAt: endOf(period, timezone) }))
    .sort((one, other) => other.resetAt.getTime() - one.resetAt.getTime());
  const { scope, limit, resetAt } = worst!;
  return new AppError(
    'QUOTA_EXCEEDED',
    { scope, limit, resetAt: resetAt.toISOString(), retryAfterSeconds: Math.ceil((resetAt.getTime() - now.getTime()) / 1000) },
    `${sentences[scope]} It resets at ${resetAt.toISOString()}.`,
  );
}
