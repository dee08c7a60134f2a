import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, parseRecipient, sessionSettings, weekdays, type QuietHours, type SessionSettings } from '@chasqui/shared';
import fc from 'fast-check';
import { Account } from '../src/accounts/account.entity.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import type { Clock } from '../src/lib/clock.js';
import { newRow } from '../src/messages/accept/new-message.js';
import { Message } from '../src/messages/message.entity.js';
import { dayOf } from '../src/messages/quotas/periods.js';
import { quietUntil } from '../src/sessions/quiet-hours.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, migratedDatabase } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { createWorld, makeAccount, makeSession, startDispatcher } from './support/outbox.js';

/**
 * Scheduled messages on a clock that the test sets: random times, zones, changes of the clocks, quiet hours and quotas. Nothing leaves in quiet hours
 * unless it is urgent, nothing that is due and may leave waits longer than a minute, nothing leaves over the quota, and nothing leaves twice.
 */

const minute = 60_000;
const hour = 60 * minute;
let database: Database;

interface Plan {
  start: number;
  timezone: string;
  quietHours: QuietHours | null;
  dailyLimit: number | null;
  messages: { inMinutes: number; isUrgent: boolean; isScheduled: boolean }[];
}

const clockTime = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom(0, 15, 30))
  .map(([hours, minutes]) => `${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`);
const quietHours: fc.Arbitrary<QuietHours> = fc
  .record({ from: clockTime, to: clockTime, days: fc.option(fc.subarray([...weekdays], { minLength: 1 }), { nil: undefined }) })
  .filter((hours) => sessionSettings.shape.quietHours.safeParse(hours).success);
const plan: fc.Arbitrary<Plan> = fc.record({
  // Around changes of the clocks in Berlin and Lisbon, New York, Lord Howe and Casablanca, and on an ordinary day.
  start: fc
    .constantFrom(
      '2026-10-24T20:00:00Z',
      '2026-03-28T20:00:00Z',
      '2026-10-31T22:00:00Z',
      '2026-10-03T10:00:00Z',
      '2026-02-14T22:00:00Z',
      '2026-06-01T12:00:00Z',
    )
    .map(Date.parse),
  timezone: fc.constantFrom(
    ...['UTC', 'Europe/Berlin', 'Europe/Lisbon', 'Africa/Casablanca', 'America/New_York', 'America/Sao_Paulo'],
    ...['Australia/Lord_Howe', 'Asia/Kathmandu', 'Pacific/Apia'],
  ),
  quietHours: fc.option(quietHours),
  dailyLimit: fc.option(fc.integer({ min: 1, max: 4 })),
  messages: fc.array(
    fc.record({ inMinutes: fc.integer({ min: 1, max: 24 * 60 }), isUrgent: fc.boolean(), isScheduled: fc.boolean() }),
    { minLength: 2, maxLength: 8 },
  ),
});

async function play({ start, timezone, quietHours: quiet, dailyLimit, messages }: Plan): Promise<void> {
  let now = start;
  const clock: Clock = { now: () => new Date(now), monotonic: () => performance.now() };
  const world = createWorld();
  const leftAt = new Map<string, number>();
  const transport = { ...world.transport };
  const inner = transport.send.bind(transport);
  transport.send = async (session, message, isFirst) => {
    leftAt.set(message.id, now);
    return inner(session, message, isFirst);
  };
  const accountId = await makeAccount(database);
  await database.write.run((tx) => updateRows(tx, Account, { id: accountId }, { timezone }));
  const sessionId = await makeSession(database, accountId);
  const rows = database.reader.getRepository(Session);
  const { settings } = await rows.findOneByOrFail({ id: sessionId });
  // Messages live for longer than the play, and no grace time ends in it.
  const planned: SessionSettings = { ...settings, maxQueueAgeHours: 720, quietHours: quiet, dailyLimit };
  await database.write.run((tx) => updateRows(tx, Session, { id: sessionId }, { settings: planned }));
  const session = await rows.findOneByOrFail({ id: sessionId });
  const accepted = messages.filter(({ isScheduled }) => isScheduled || dailyLimit === null);
  const made = accepted.map(({ inMinutes, isUrgent, isScheduled }, index) => {
    const recipient = parseRecipient(`+5511999${String(index).padStart(6, '0')}`);
    if (!recipient.ok) throw new Error('A recipient.');
    const options = { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true };
    const content = { type: 'text' as const, message: 'x' };
    const due = start + inMinutes * minute;
    const scheduledAt = isScheduled ? new Date(due) : null;
    const input = { recipient: recipient.address, content, file: null, options, quotedMessageId: null, expiresAt: null };
    const row = newRow(newId(start), session, { ...input, origin: 'api', isUrgent, scheduledAt }, new Date(start));
    return { row, isUrgent, due: isScheduled ? due : start };
  });
  await database.write.run(async (tx) => {
    for (const { row } of made) await insertRow(tx, Message, row);
  });
  const dispatcher = startDispatcher({
    database,
    world: { ...world, transport },
    clock,
    times: { pollMs: 2, scheduleGraceMs: 1_000 * hour },
  });
  const quietAt = (at: number): Date | null => quietUntil({ quietHours: quiet, timezone }, new Date(at));
  let present: Message[] = [];
  const hasRoom = (): boolean => {
    const day = dayOf(new Date(now), timezone);
    return dailyLimit === null || present.filter(({ quotaDay }) => quotaDay === day).length < dailyLimit;
  };
  /** Until the statuses have not changed for a few scans. */
  const settle = async (): Promise<void> => {
    for (let [same, before] = [0, '']; same < 4; await sleep(12)) {
      present = await database.reader.getRepository(Message).findBy({ sessionId });
      const after = present
        .map(({ status, reasonCode, nextAttemptAt }) => `${status} ${reasonCode} ${nextAttemptAt?.getTime()}`)
        .join();
      same = after === before ? same + 1 : 0;
      before = after;
    }
  };
  /** A queued message has its quota, which counts from the time at which it was due. */
  const mayLeave = ({ row, due, isUrgent }: (typeof made)[number]): boolean => {
    const isQueued = present.some(({ id, status }) => id === row.id && status === 'queued');
    return !leftAt.has(row.id) && due <= now && (isUrgent || !quietAt(now)) && (isQueued || hasRoom());
  };
  try {
    const ends = [...Array(26)].map((_, index) => quietAt(start + index * hour)?.getTime() ?? 0);
    const midnights = [...Array(26)].map((_, index) => start + index * hour);
    const points = [...made.map(({ due }) => due), ...ends, ...midnights.filter((_, index) => index % 3 === 0)]
      .filter((at) => at >= start)
      .flatMap((at) => [at, at + 1_000]);
    for (const at of [...new Set(points)].sort((one, other) => one - other)) {
      if (at < now) continue;
      now = at;
      await settle();
      if (!made.some(mayLeave)) continue;
      now = Math.max(now, at + minute);
      // The clock stands still meanwhile.
      await eventually('what may leave to leave', async () => {
        await settle();
        return !made.some(mayLeave);
      });
    }
  } finally {
    await dispatcher.stop();
  }
  const ids = world.left.map(({ messageId }) => messageId);
  expect(new Set(ids).size).toBe(ids.length);
  const days = new Map<string, number>();
  for (const { row, due, isUrgent } of made) {
    const left = leftAt.get(row.id);
    if (left === undefined) continue;
    expect(left).toBeGreaterThanOrEqual(due);
    if (!isUrgent) expect([new Date(left), quietAt(left)]).toEqual([new Date(left), null]);
    const day = dayOf(new Date(left), timezone);
    days.set(day, (days.get(day) ?? 0) + 1);
  }
  // Quota is counted when a message becomes due; quiet hours may move what was counted to the next day.
  if (dailyLimit !== null && !quiet) for (const count of days.values()) expect(count).toBeLessThanOrEqual(dailyLimit);
}

describe.each(await databases())('on %s', (kind) => {
  let close = async (): Promise<unknown> => undefined;
  beforeAll(async () => {
    if (kind === 'postgres') {
      const own = await migratedDatabase();
      close = own.drop;
      database = await openDatabase({ url: own.url });
      return;
    }
    const dir = await mkdtemp(join(tmpdir(), 'chasqui-schedule-clock-'));
    close = () => rm(dir, { recursive: true, force: true });
    database = await openDatabase({ file: join(dir, 'clock.sqlite') });
  });
  afterAll(async () => {
    await database?.close();
    await close();
  });

  test('nothing leaves in quiet hours, waits longer than a minute outside them, or leaves twice', async () => {
    await fc.assert(fc.asyncProperty(plan, play), { numRuns: kind === 'sqlite' ? 8 : 4, endOnFailure: true });
  }, 240_000);
});
