import {
  messageReasons,
  validationError,
  type MessageReason,
  type StatisticsOfDayResource,
  type StatisticsReportResource,
  type StatisticsResource,
} from '@chasqui/shared';
import type { AccountLimits, Plans } from '../accounts/plans.js';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { dayOf } from '../messages/quotas/periods.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import { addDays, dayNamed, daysBetween, endOfDay, mondayOf, startOfDay } from './calendar.js';
import { topChats } from './chats.js';
import {
  addTotals,
  noTotals,
  statusesIn,
  sumsBy,
  totalsByDay,
  totalsByHour,
  totalsIn,
  totalsOf,
  type Range,
  type Scope,
  type Sum,
  type Totals,
} from './counts.js';

/**
 * Statistics of an account's messages, from the counts of messages/usage. A message counts at the time at which it was accepted or recorded
 * (`createdAt`, by which `GET /messages` filters too), so a message that was sent while the session was offline counts when it is recorded.
 * All verbs throw `VALIDATION_FAILED` for a range that ends before it starts, and for a day outside of the years 1000 to 9998.
 */
export interface Statistics {
  /** Returns the statistics of an account, or of one of its sessions. */
  summary(accountId: string, session: Session | null, dates: Dates): Promise<StatisticsResource>;
  /** Returns each day of a range, oldest first. Throws `VALIDATION_FAILED` for more than 400 days; so does `report`. */
  daily(accountId: string, session: Session | null, dates: Dates): Promise<StatisticsOfDayResource[]>;
  /** Returns a report. `showsChats`: whether the caller may read with whom the account exchanges messages. */
  report(accountId: string, session: Session | null, dates: Dates, showsChats: boolean): Promise<StatisticsReportResource>;
  /** Returns the report and the days of one session, of one account or of all accounts, in a time zone. For staff. Without chats. */
  forStaff(scope: Scope, dates: Dates, timezone: string): Promise<StaffReport>;
}

export interface StaffReport {
  report: StatisticsReportResource;
  days: StatisticsOfDayResource[];
}

/** The range of a request. Each end is a day or an instant. */
export interface Dates {
  startDate?: string | undefined;
  endDate?: string | undefined;
}

/** Returns how many messages of an account count towards its quotas. */
export interface QuotaUse {
  usageOf(accountId: string): Promise<{ today: number; thisMonth: number }>;
}

interface StatisticsParts {
  plans: Pick<Plans, 'readLimits' | 'find'>;
  sessions: Pick<Sessions, 'present'>;
  contacts: Pick<Contacts, 'people'>;
  quotas: QuotaUse;
}
type StatisticsCore = Pick<Core, 'database' | 'clock'>;
type StatisticsContext = StatisticsCore & StatisticsParts;

export function createStatistics(core: StatisticsCore, parts: StatisticsParts): Statistics {
  const context: StatisticsContext = { ...core, ...parts };
  return {
    summary: (accountId, session, dates) => summarize(context, accountId, session, dates),
    daily: (accountId, session, dates) => listDays(context, accountId, session, dates),
    report: (accountId, session, dates, showsChats) => reportToCaller(context, accountId, session, dates, showsChats),
    forStaff: (scope, dates, timezone) => reportToStaff(context, scope, dates, timezone),
  };
}

const maxDays = 400;
const defaultDays = 30;
/** The range of all instants. Its ends are whole days in UTC. */
const always: Range = { from: 0, to: 8_640_000_000_000_000 };

async function summarize(
  context: StatisticsContext,
  accountId: string,
  session: Session | null,
  dates: Dates,
): Promise<StatisticsResource> {
  const { database, clock, plans, sessions } = context;
  const scope: Scope = { accountId, sessionId: session?.id ?? null };
  const limits = await plans.readLimits(accountId);
  const { timezone } = limits;
  const today = dayOf(clock.now(), timezone);
  const { startDate, endDate } = namedDays(dates, timezone, { startDate: null, endDate: today });
  const since = (day: string): Promise<Totals> =>
    totalsOf(database.reader, scope, { from: startOfDay(day, timezone), to: always.to });
  const range = { from: startDate ? startOfDay(startDate, timezone) : always.from, to: endOfDay(endDate, timezone) };
  const [ofDay, ofWeek, ofMonth, total, sums] = await Promise.all([
    since(today),
    since(mondayOf(today)),
    since(`${today.slice(0, 7)}-01`),
    totalsOf(database.reader, scope, always),
    sumsBy(database.reader, scope, range, ['direction', 'type']),
  ]);
  const periods = { today: ofDay, thisWeek: ofWeek, thisMonth: ofMonth, total };
  const shown = session && sessions.present(session);
  return {
    timezone,
    sent: figureOf(periods, 'sent'),
    received: figureOf(periods, 'received'),
    failed: figureOf(periods, 'failed'),
    startDate,
    endDate,
    ...describeSums(sums),
    cost: await costOf(context, limits, costIn(sums)),
    quota: await quotaOf(context, accountId, limits),
    sessionId: scope.sessionId,
    uptimePercent: shown?.uptimePercent ?? null,
    errorCount: shown?.errorCount ?? null,
    lastError: shown?.lastError ?? null,
    lastSeen: shown?.lastSeen ?? null,
  };
}

const figureOf = (periods: Record<keyof StatisticsResource['sent'], Totals>, name: keyof Totals): StatisticsResource['sent'] => ({
  today: periods.today[name],
  thisWeek: periods.thisWeek[name],
  thisMonth: periods.thisMonth[name],
  total: periods.total[name],
});

async function listDays(
  context: StatisticsContext,
  accountId: string,
  session: Session | null,
  dates: Dates,
): Promise<StatisticsOfDayResource[]> {
  const { timezone } = await context.plans.readLimits(accountId);
  return readDays(context, { accountId, sessionId: session?.id ?? null }, boundedDays(dates, timezone, context.clock.now()));
}

async function reportToCaller(
  context: StatisticsContext,
  accountId: string,
  session: Session | null,
  dates: Dates,
  showsChats: boolean,
): Promise<StatisticsReportResource> {
  const limits = await context.plans.readLimits(accountId);
  const scope = { accountId, sessionId: session?.id ?? null };
  const days = boundedDays(dates, limits.timezone, context.clock.now());
  const [{ costUnits, ...report }, chats] = await Promise.all([
    readReport(context, scope, days),
    showsChats ? topChats(context, scope, rangeOf(days)) : null,
  ]);
  return {
    ...report,
    topChats: chats,
    cost: await costOf(context, limits, costUnits),
  };
}

async function reportToStaff(context: StatisticsContext, scope: Scope, dates: Dates, timezone: string): Promise<StaffReport> {
  const bounded = boundedDays(dates, timezone, context.clock.now());
  const { costUnits, ...report } = await readReport(context, scope, bounded);
  const limits = scope.accountId === null ? null : await context.plans.readLimits(scope.accountId);
  const cost = await costOf(context, limits, costUnits);
  return { report: { ...report, topChats: null, cost }, days: await readDays(context, scope, bounded) };
}

/** Whole days of a time zone, both included. */
interface Days {
  startDate: string;
  endDate: string;
  timezone: string;
}

const rangeOf = ({ startDate, endDate, timezone }: Days): Range => ({
  from: startOfDay(startDate, timezone),
  to: endOfDay(endDate, timezone),
});

async function readDays({ database }: StatisticsContext, scope: Scope, days: Days): Promise<StatisticsOfDayResource[]> {
  const entries = new Map<string, StatisticsOfDayResource>();
  const count = daysBetween(days.startDate, days.endDate) + 1;
  const dates = Array.from({ length: count }, (_, index) => addDays(days.startDate, index));
  for (const date of dates) entries.set(date, { date, ...noTotals(), byType: {} });
  for (const { day, type, ...totals } of await totalsByDay(database.reader, scope, rangeOf(days), days.timezone)) {
    const entry = entries.get(addDays('1970-01-01', day));
    if (!entry || totals.sent + totals.received + totals.failed === 0) continue;
    addTotals(entry, totals);
    addTotals((entry.byType[type] ??= noTotals()), totals);
  }
  return [...entries.values()];
}

/** Returns a report without chats. `costUnits`: its cost in ten-thousandths of the currency. */
async function readReport(
  context: StatisticsContext,
  scope: Scope,
  days: Days,
): Promise<Omit<StatisticsReportResource, 'topChats' | 'cost'> & { costUnits: number }> {
  const { reader } = context.database;
  const { startDate, endDate, timezone } = days;
  const [sums, hours] = await Promise.all([
    sumsBy(reader, scope, rangeOf(days), ['sessionId', 'direction', 'type', 'reason']),
    totalsByHour(reader, scope, rangeOf(days), timezone),
  ]);
  const { inRange, ...described } = describeSums(sums);
  return {
    timezone,
    startDate,
    endDate,
    ...inRange,
    ...described,
    byHour: Array.from({ length: 24 }, (_, hour) => ({
      hour,
      ...sumOfHours(hours.filter((_hour, index) => index % 24 === hour)),
    })),
    byWeekday: Array.from({ length: 7 }, (_, weekday) => ({ weekday, ...sumOfHours(hoursOf(hours, weekday)) })),
    byWeekdayAndHour: Array.from({ length: 7 }, (_, weekday) =>
      hoursOf(hours, weekday).map(({ sent, received }) => sent + received),
    ),
    bySession: await sessionsIn(context, sums),
    failuresByReason: failuresIn(sums),
    responses: responsesIn(sums),
    costUnits: costIn(sums),
  };
}

const hoursOf = (hours: readonly Totals[], weekday: number): readonly Totals[] => hours.slice(weekday * 24, weekday * 24 + 24);
const sumOfHours = (hours: readonly Totals[]): { sent: number; received: number } => ({
  sent: hours.reduce((sum, { sent }) => sum + sent, 0),
  received: hours.reduce((sum, { received }) => sum + received, 0),
});

/**
 * Returns the day that a request names; null if it names none. Throws `VALIDATION_FAILED` for a day outside of the years 1000 to 9998: days are
 * compared as text, and their ends are written into replies, so both need years of four digits.
 */
function readDay(dates: Dates, path: keyof Dates, timezone: string): string | null {
  const input = dates[path];
  if (input === undefined) return null;
  const day = dayNamed(input, timezone);
  if (/^[1-9]\d{3}-\d\d-\d\d$/.test(day) && day < '9999') return day;
  throw validationError([{ path, code: 'OUT_OF_RANGE', message: 'Name a day of the years 1000 to 9998.' }]);
}

/**
 * Returns the days that a request names, or those of `absent` where it names none. Throws `VALIDATION_FAILED` for a range that ends before it starts.
 */
function namedDays<Start extends string | null>(
  dates: Dates,
  timezone: string,
  absent: { startDate: Start; endDate: string },
): { startDate: string | Start; endDate: string } {
  const endDate = readDay(dates, 'endDate', timezone) ?? absent.endDate;
  const first = readDay(dates, 'startDate', timezone);
  const startDate = first === null ? absent.startDate : first;
  if (startDate !== null && startDate > endDate)
    throw validationError([{ path: 'endDate', code: 'BEFORE_START', message: 'The range ends before it starts.' }]);
  return { startDate, endDate };
}

/** Returns a range of at most 400 days; the last 30 days if the request names none. */
function boundedDays(dates: Dates, timezone: string, now: Date): Days {
  const today = dayOf(now, timezone);
  const last = readDay(dates, 'endDate', timezone) ?? today;
  const named = namedDays(dates, timezone, { startDate: addDays(last, 1 - defaultDays), endDate: today });
  if (daysBetween(named.startDate, named.endDate) >= maxDays)
    throw validationError([{ path: 'startDate', code: 'TOO_LONG', message: `Name a range of at most ${maxDays} days.` }]);
  return { ...named, timezone };
}

/** Returns the totals, types, statuses and rates of some sums. */
function describeSums(
  sums: readonly Sum<'direction' | 'type'>[],
): Pick<StatisticsResource, 'inRange' | 'byType' | 'byStatus' | 'deliveryRate' | 'readRate'> {
  const inRange = noTotals();
  const byType: Record<string, Totals> = {};
  for (const sum of sums) {
    const totals = totalsIn(sum);
    addTotals(inRange, totals);
    if (totals.sent + totals.received + totals.failed > 0) addTotals((byType[sum.type] ??= noTotals()), totals);
  }
  const outbound = sums.filter(({ direction }) => direction === 'outbound');
  const read = outbound.reduce((total, sum) => total + sum.read + sum.played, 0);
  const delivered = outbound.reduce((total, sum) => total + sum.delivered, read);
  const byStatus = statusesIn(outbound) as Record<string, number>;
  return { inRange, byType, byStatus, deliveryRate: shareOf(delivered, inRange.sent), readRate: shareOf(read, inRange.sent) };
}

const shareOf = (part: number, whole: number): number | null => (whole > 0 ? Math.round((part / whole) * 10_000) / 10_000 : null);

const costIn = (sums: readonly { cost: number }[]): number => sums.reduce((total, { cost }) => total + cost, 0);

/** Returns a cost with its currency. `limits` null: several accounts, which may have several currencies. */
async function costOf(
  { plans }: StatisticsContext,
  limits: AccountLimits | null,
  costUnits: number,
): Promise<StatisticsResource['cost']> {
  const currency = limits?.plan ? (await plans.find(limits.plan.id)).currency : null;
  return { amount: (costUnits / 10_000).toFixed(4), currency };
}

async function quotaOf(
  { quotas }: StatisticsContext,
  accountId: string,
  { dailyMessages, monthlyMessages }: AccountLimits,
): Promise<StatisticsResource['quota']> {
  const use = await quotas.usageOf(accountId);
  return {
    today: { used: use.today, limit: dailyMessages || null },
    thisMonth: { used: use.thisMonth, limit: monthlyMessages || null },
  };
}

/** Returns the sessions of the sums with their totals, busiest first, equally busy ones by id; deleted sessions too. */
async function sessionsIn(
  { database }: StatisticsContext,
  sums: readonly Sum<'sessionId' | 'direction'>[],
): Promise<StatisticsReportResource['bySession']> {
  const bySession = new Map<string, Totals>();
  for (const sum of sums) {
    const totals = bySession.get(sum.sessionId) ?? noTotals();
    bySession.set(sum.sessionId, totals);
    addTotals(totals, totalsIn(sum));
  }
  const { condition, parameter } = among(database.reader, 'id', [...bySession.keys()]);
  const sql = `SELECT id, name FROM sessions WHERE ${condition}`;
  const { rows } = await runStatement<{ id: string; name: string }>(database.reader, sql, [parameter]);
  const names = new Map(rows.map(({ id, name }) => [id, name]));
  const entries = [...bySession].map(([sessionId, totals]) => ({ sessionId, name: names.get(sessionId) ?? '', ...totals }));
  const orderOf = (one: { sessionId: string } & Totals, other: { sessionId: string } & Totals): number =>
    other.sent + other.received - one.sent - one.received || (one.sessionId < other.sessionId ? -1 : 1);
  return entries.sort(orderOf);
}

function failuresIn(sums: readonly Sum<'direction' | 'reason'>[]): StatisticsReportResource['failuresByReason'] {
  const counts = new Map<string, number>();
  for (const { direction, reason, failed } of sums)
    if (direction === 'outbound' && failed > 0) counts.set(reason, (counts.get(reason) ?? 0) + failed);
  return [...counts]
    .map(([code, count]) => ({ code: code || null, message: messageReasons[code as MessageReason] ?? null, count }))
    .sort((one, other) => other.count - one.count || ((one.code ?? '') < (other.code ?? '') ? -1 : 1));
}

function responsesIn(sums: readonly Sum<'direction'>[]): StatisticsReportResource['responses'] {
  const total = (name: 'responses' | 'responseMs' | 'responsesIn5Minutes' | 'responsesIn1Hour'): number =>
    sums.reduce((sum, row) => sum + row[name], 0);
  const count = total('responses');
  return {
    count,
    meanSeconds: count > 0 ? Math.round(total('responseMs') / count / 100) / 10 : null,
    within5Minutes: shareOf(total('responsesIn5Minutes'), count),
    within1Hour: shareOf(total('responsesIn1Hour'), count),
  };
}
