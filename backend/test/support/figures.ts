import { messageReasons, type MessageReason, type StatisticsOfDayResource, type StatisticsReportResource } from '@chasqui/shared';
import type { Message } from '../../src/messages/message.entity.js';

/** What statistics must say of some messages, counted one by one. None of the product's counting is used. */

export type Figured = Pick<
  Message,
  'sessionId' | 'direction' | 'type' | 'status' | 'reasonCode' | 'createdAt' | 'cost' | 'responseMs' | 'chatId'
>;

export interface Clocks {
  date: string;
  weekday: number;
  hour: number;
}

export function clocksOf(timeZone: string): (at: Date) => Clocks {
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    ...{ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', weekday: 'short', hourCycle: 'h23' },
  });
  return (at) => {
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value])) as Record<string, string>;
    const weekday = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'].findIndex((day) => parts['weekday']!.startsWith(day));
    return { date: `${parts['year']}-${parts['month']}-${parts['day']}`, weekday, hour: Number(parts['hour']) };
  };
}

/** The number of the week since a Monday. */
const weekOf = (date: string): number => Math.floor((Date.parse(date) - Date.parse('2026-01-05')) / (7 * 86_400_000));

const isSent = ({ status }: Figured): boolean => ['sent', 'delivered', 'read', 'played'].includes(status);
const outbound = (messages: readonly Figured[]): Figured[] => messages.filter(({ direction }) => direction === 'outbound');
const totalsOf = (messages: readonly Figured[]) => ({
  sent: outbound(messages).filter(isSent).length,
  received: messages.length - outbound(messages).length,
  failed: outbound(messages).filter(({ status }) => status === 'failed').length,
});
const grouped = <T>(values: readonly T[], keyOf: (value: T) => string): Record<string, T[]> => {
  const groups: Record<string, T[]> = {};
  for (const value of values) (groups[keyOf(value)] ??= []).push(value);
  return groups;
};
const counted = <T>(values: readonly T[], keyOf: (value: T) => string): Record<string, number> =>
  Object.fromEntries(Object.entries(grouped(values, keyOf)).map(([key, group]) => [key, group.length]));
const byType = (messages: readonly Figured[]) =>
  Object.fromEntries(
    Object.entries(grouped(messages, ({ type }) => type))
      .map(([type, group]) => [type, totalsOf(group)] as const)
      .filter(([, { sent, received, failed }]) => sent + received + failed > 0),
  );
const share = (part: number, whole: number): number | null => (whole === 0 ? null : Math.round((part / whole) * 10_000) / 10_000);

/** Sent, received and failed: today, this week, this month and in total. */
export function periodsOf(messages: readonly Figured[], timezone: string, now: Date) {
  const clocks = clocksOf(timezone);
  const today = clocks(now).date;
  const on = (isIn: (date: string) => boolean) => totalsOf(messages.filter(({ createdAt }) => isIn(clocks(createdAt).date)));
  const periods = {
    today: on((date) => date === today),
    thisWeek: on((date) => weekOf(date) === weekOf(today)),
    thisMonth: on((date) => date.startsWith(today.slice(0, 7))),
    total: totalsOf(messages),
  };
  const figure = (name: 'sent' | 'received' | 'failed') => ({
    today: periods.today[name],
    thisWeek: periods.thisWeek[name],
    thisMonth: periods.thisMonth[name],
    total: periods.total[name],
  });
  return { sent: figure('sent'), received: figure('received'), failed: figure('failed') };
}

/** What the statistics and the report both say of messages. */
export function describeMessages(messages: readonly Figured[]) {
  const sent = outbound(messages).filter(isSent);
  const read = sent.filter(({ status }) => status === 'read' || status === 'played');
  const delivered = sent.filter(({ status }) => status !== 'sent');
  const paid = messages.filter(({ status }) => status !== 'failed' && status !== 'cancelled');
  return {
    inRange: totalsOf(messages),
    byType: byType(messages),
    byStatus: counted(outbound(messages), ({ status }) => status),
    deliveryRate: share(delivered.length, sent.length),
    readRate: share(read.length, sent.length),
    cost: { amount: paid.reduce((sum, { cost }) => sum + Number(cost), 0).toFixed(4), currency: 'EUR' },
  };
}

/** The days of a range, both ends included. */
export function daysOf(
  messages: readonly Figured[],
  { timezone, startDate, endDate }: { timezone: string; startDate: string; endDate: string },
): StatisticsOfDayResource[] {
  const clocks = clocksOf(timezone);
  const days: StatisticsOfDayResource[] = [];
  for (let at = Date.parse(startDate); at <= Date.parse(endDate); at += 86_400_000) {
    const date = new Date(at).toISOString().slice(0, 10);
    const ofDay = messages.filter(({ createdAt }) => clocks(createdAt).date === date);
    days.push({ date, ...totalsOf(ofDay), byType: byType(ofDay) });
  }
  return days;
}

/** What only the report says, but for the chats. `names`: the names of sessions by their ids. */
export function reportOf(messages: readonly Figured[], timezone: string, names: Readonly<Record<string, string>>) {
  const clocks = clocksOf(timezone);
  const hourly = Array.from({ length: 7 }, () => Array.from({ length: 24 }, () => [] as Figured[]));
  for (const message of messages) {
    const { weekday, hour } = clocks(message.createdAt);
    hourly[weekday]![hour]!.push(message);
  }
  const flow = (group: readonly Figured[]) => ({ sent: totalsOf(group).sent, received: totalsOf(group).received });
  const answers = messages.flatMap(({ responseMs }) => (responseMs === null ? [] : [responseMs]));
  const failed = messages.filter(({ status }) => status === 'failed');
  return {
    byHour: Array.from({ length: 24 }, (_, hour) => ({ hour, ...flow(hourly.flatMap((hours) => hours[hour]!)) })),
    byWeekday: hourly.map((hours, weekday) => ({ weekday, ...flow(hours.flat()) })),
    byWeekdayAndHour: hourly.map((hours) => hours.map((group) => flow(group).sent + flow(group).received)),
    responses: {
      count: answers.length,
      meanSeconds: answers.length ? Math.round(answers.reduce((sum, ms) => sum + ms, 0) / answers.length / 100) / 10 : null,
      within5Minutes: share(answers.filter((ms) => ms <= 300_000).length, answers.length),
      within1Hour: share(answers.filter((ms) => ms <= 3_600_000).length, answers.length),
    },
    failuresByReason: Object.entries(counted(outbound(failed), ({ reasonCode }) => reasonCode ?? ''))
      .map(([code, count]) => ({ code: code || null, message: messageReasons[code as MessageReason] ?? null, count }))
      .sort((one, other) => other.count - one.count || ((one.code ?? '') < (other.code ?? '') ? -1 : 1)),
    bySession: Object.entries(grouped(messages, ({ sessionId }) => sessionId))
      .map(([sessionId, group]) => ({ sessionId, name: names[sessionId] ?? '', ...totalsOf(group) }))
      .sort((one, other) => other.sent + other.received - one.sent - one.received || (one.sessionId < other.sessionId ? -1 : 1)),
  };
}

/** The busiest chats of the days in UTC, in the order of the report, which may list equally busy ones in any order. */
export function chatsOf(messages: readonly Figured[], { from, to, chats }: NonNullable<StatisticsReportResource['topChats']>) {
  const mine = messages.filter(({ createdAt }) => createdAt >= new Date(from) && createdAt < new Date(to));
  const groups = grouped(mine, ({ chatId }) => chatId);
  const sizes = chats.map(({ inbound, outbound: sent }) => inbound + sent);
  const entries = chats.map(({ chat, contact }) => {
    const group = groups[chat.id] ?? [];
    const sent = outbound(group).length;
    return { chat, contact, inbound: group.length - sent, outbound: sent };
  });
  return {
    ids: Object.keys(groups).sort(),
    sizes: [...sizes].sort((one, other) => other - one),
    chats: { from, to, chats: entries },
  };
}
