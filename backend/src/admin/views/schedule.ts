import { digitsOf } from '@chasqui/shared';
import { In, type DataSource } from 'typeorm';
import { ContactForm, ContactRow } from '../../contacts/contact.entity.js';
import { among, readRows } from '../../db/rows.js';
import { instantsOf } from '../../lib/wall-time.js';
import { Message } from '../../messages/message.entity.js';
import { dayOf } from '../../messages/quotas/periods.js';
import { cronTimes, type CronTimes } from '../../lib/cron.js';
import { Schedule } from '../../messages/recurring/schedule.entity.js';
import { Session } from '../../sessions/session.entity.js';
import { toMs } from './time.js';

/** One thing on a day of the calendar. Of a schedule, the first occurrence of the day. */
export interface CalendarItem {
  kind: 'message' | 'schedule';
  id: string;
  at: number;
  label: string;
}

const maxRows = 500;
const maxMessages = 200;

/** Recurring schedules, the next scheduled messages, and what is planned on each day of a month (`2026-12`) in a time zone. */
export async function schedulesView(reader: DataSource, month: string | undefined, timezone: string, now: Date) {
  const shown = month ?? dayOf(now, timezone).slice(0, 7);
  const schedules = await readRows(reader, Schedule, `1 = 1 ORDER BY status, "nextAt", id LIMIT ${maxRows}`, []);
  const [first, end] = boundsOf(shown, timezone);
  const waiting = await readRows(reader, Message, `status = 'scheduled' ORDER BY "nextAttemptAt", id LIMIT ${maxMessages}`, []);
  const condition = `status = 'scheduled' AND "nextAttemptAt" >= ? AND "nextAttemptAt" < ? ORDER BY "nextAttemptAt", id LIMIT ${maxRows}`;
  const inMonth = await readRows(reader, Message, condition, [first, end]);
  const sessionIds = [...new Set([...schedules, ...waiting].map(({ sessionId }) => sessionId))];
  const sessions = sessionIds.length > 0 ? await reader.getRepository(Session).findBy({ id: In(sessionIds) }) : [];
  const nameOf = new Map(sessions.map(({ id, name }) => [id, name]));
  const sessionOf = ({ sessionId }: { sessionId: string }) => ({ id: sessionId, name: nameOf.get(sessionId) ?? null });
  const people = await namesOf(reader, [
    ...schedules.map(({ sessionId, recipient }) => ({ sessionId, chatId: recipient })),
    ...waiting,
    ...inMonth,
  ]);
  const chatOf = (one: Message): string => one.chatName ?? people(one.sessionId, one.chatId);
  const items = inMonth.map((one) => itemOfMessage(one, chatOf(one)));
  for (const schedule of schedules) {
    items.push(...itemsOfSchedule(schedule, first, end, timezone));
    // The days of one schedule take some milliseconds. Other requests have their turn before the next one.
    await new Promise(setImmediate);
  }
  const days: Record<string, CalendarItem[]> = {};
  for (const item of items.sort((one, other) => one.at - other.at)) (days[dayOf(new Date(item.at), timezone)] ??= []).push(item);
  return {
    timezone,
    month: shown,
    today: dayOf(now, timezone),
    days,
    schedules: schedules.map((schedule) => ({
      id: schedule.id,
      name: schedule.name,
      status: schedule.status,
      reason: schedule.reasonCode ? { code: schedule.reasonCode, message: schedule.reasonText } : null,
      cron: schedule.cron,
      timezone: schedule.timezone,
      recipient: schedule.recipient,
      recipientName: people(schedule.sessionId, schedule.recipient),
      type: schedule.type,
      session: sessionOf(schedule),
      occurrences: schedule.occurrences,
      missed: schedule.missed,
      nextAt: toMs(schedule.nextAt),
    })),
    messages: waiting.map((message) => ({
      id: message.id,
      at: toMs(message.scheduledAt),
      chat: chatOf(message),
      text: message.text,
      type: message.type,
      reason: message.reasonCode ? { code: message.reasonCode, message: message.reasonText } : null,
      session: sessionOf(message),
    })),
  };
}
export type SchedulesView = Awaited<ReturnType<typeof schedulesView>>;

/** The first instants of a month and of the next one. */
function boundsOf(month: string, timezone: string): [number, number] {
  const [year = 0, number = 1] = month.split('-').map(Number);
  const startOf = (index: number): number => {
    const first = new Date(Date.UTC(year, index, 1));
    const wall = { year: first.getUTCFullYear(), month: first.getUTCMonth() + 1, day: 1, hour: 0, minute: 0 };
    return instantsOf(wall, timezone).earliest.getTime();
  };
  return [startOf(number - 1), startOf(number)];
}

/**
 * Returns a function that names a chat of a session as a person knows it: by the contact's name, or else the number. Everything else keeps its id.
 */
async function namesOf(
  reader: DataSource,
  chats: readonly { sessionId: string; chatId: string }[],
): Promise<(sessionId: string, chatId: string) => string> {
  const [sessionIds, chatIds] = [
    [...new Set(chats.map(({ sessionId }) => sessionId))],
    [...new Set(chats.map(({ chatId }) => chatId))],
  ];
  const [sessions, ids] = [among(reader, 'sessionId', sessionIds), among(reader, 'waId', chatIds)];
  const condition = `${sessions.condition} AND ${ids.condition}`;
  const forms = await readRows(reader, ContactForm, condition, [sessions.parameter, ids.parameter]);
  const contacts = await readRows(reader, ContactRow, ...inIds(reader, [...new Set(forms.map(({ contactId }) => contactId))]));
  const byId = new Map(contacts.map(({ id, name }) => [id, name]));
  const names = new Map(forms.map((form) => [`${form.sessionId} ${form.waId}`, byId.get(form.contactId) ?? null]));
  return (sessionId, chatId) => {
    const digits = digitsOf(chatId);
    return names.get(`${sessionId} ${chatId}`) ?? (digits ? `+${digits}` : chatId);
  };
}

function inIds(reader: DataSource, ids: readonly string[]): [string, unknown[]] {
  const { condition, parameter } = among(reader, 'id', ids);
  return [condition, [parameter]];
}

const itemOfMessage = ({ id, nextAttemptAt }: Message, label: string): CalendarItem => ({
  kind: 'message',
  id,
  at: nextAttemptAt!.getTime(),
  label,
});

/** A schedule with fewer occurrences left is shown up to the last of them. Each of them is computed for that. */
const maxCounted = 1_000;

/** The first occurrence of each day: a schedule of every minute would fill the page. */
function itemsOfSchedule(schedule: Schedule, first: number, end: number, timezone: string): CalendarItem[] {
  const { id, name, nextAt, cron, endsAt, maxOccurrences, occurrences } = schedule;
  if (!nextAt) return [];
  const times = cronTimes(cron, schedule.timezone);
  const last = Math.min(end, endsAt?.getTime() ?? Infinity);
  const left = maxOccurrences === null ? Infinity : maxOccurrences - occurrences;
  const found = left < maxCounted ? countedTimes(times, nextAt, last, left) : firstTimes(times, nextAt, first, last, timezone);
  const days = new Map<string, number>();
  for (const at of found) {
    const day = dayOf(at, timezone);
    if (at.getTime() >= first && !days.has(day)) days.set(day, at.getTime());
  }
  return [...days.values()].map((at) => ({ kind: 'schedule', id, at, label: name }));
}

/** Yields the next `left` times before `last`. */
function* countedTimes(times: CronTimes, nextAt: Date, last: number, left: number): Generator<Date> {
  let at: Date | null = nextAt;
  for (let count = 0; count < left && at && at.getTime() < last; count += 1) {
    yield at;
    at = times.after(at);
  }
}

/** Yields the first time of each day from `first` on that is before `last`, and not before `nextAt`. */
function* firstTimes(times: CronTimes, nextAt: Date, first: number, last: number, timezone: string): Generator<Date> {
  let at: Date | null = nextAt.getTime() >= first ? nextAt : times.after(new Date(first - 1));
  while (at && at.getTime() < last) {
    yield at;
    const [year = 0, month = 1, day = 1] = dayOf(at, timezone).split('-').map(Number);
    const next = new Date(Date.UTC(year, month - 1, day + 1));
    const midnight = { year: next.getUTCFullYear(), month: next.getUTCMonth() + 1, day: next.getUTCDate(), hour: 0, minute: 0 };
    at = times.after(new Date(Math.max(at.getTime(), instantsOf(midnight, timezone).earliest.getTime() - 1)));
  }
}
