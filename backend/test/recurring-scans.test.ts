import { describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import type { Caller } from '../src/accounts/caller.js';
import { schedulesView } from '../src/admin/views/schedule.js';
import type { Database } from '../src/db/database.js';
import { insertRows, updateRows } from '../src/db/rows.js';
import { createSealer } from '../src/lib/sealer.js';
import { newRow, type NewMessage } from '../src/messages/accept/new-message.js';
import { Message } from '../src/messages/message.entity.js';
import { createOccurrences, stepOf } from '../src/messages/recurring/occurrences.js';
import { Schedule, type ScheduledContents } from '../src/messages/recurring/schedule.entity.js';
import { createSchedules, type ScheduleFields } from '../src/messages/recurring/schedules.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { makeAccount, makeSession } from './support/outbox.js';
import { client, closeAfterEach, describeOnPostgres, openOwn } from './support/own-database.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { coreOf } from './support/parts.js';

/** Recurring schedules without HTTP and without a timer: the test decides when they are scanned. */

closeAfterEach();

const minute = 60_000;
const day = 24 * 60 * minute;
const contents: ScheduledContents = {
  content: { type: 'text', message: 'Hello' },
  mentions: [],
  quotedMessageId: null,
  ignoreQuoteErrors: false,
};
const media = { attach: async () => undefined, discard: async () => undefined, remove: async () => undefined };

const callerOf = (accountId: string): Caller => ({
  accountId,
  role: 'user',
  credential: { type: 'none', id: null, name: null },
  permissions: ['*'],
  sessionId: null,
  isPasswordLogin: false,
  requestId: '',
  ip: null,
});

async function open(kind: 'sqlite' | 'postgres') {
  const { opened: database, url } = await openOwn(kind);
  const core = coreOf(database);
  const accountId = await makeAccount(database);
  const session = await database.reader.getRepository(Session).findOneByOrFail({ id: await makeSession(database, accountId) });
  const sealer = createSealer(`k:${Buffer.alloc(32, 1).toString('base64')}`);
  const limitsOf = async () => ({ timezone: 'UTC' }) as never;
  const schedules = createSchedules(core, { media, storageOf: async () => 'full', limitsOf, sealer });
  return { database, url, core, session, schedules, caller: callerOf(accountId) };
}

/** Writes schedules of a session. Their ids are in this order. */
async function insert(database: Database, session: Session, all: readonly Partial<Schedule>[]): Promise<string[]> {
  const now = new Date();
  const rows = all.map((more, index) =>
    Object.assign(new Schedule(), {
      ...{ id: newId(now.getTime() + index), accountId: session.accountId, sessionId: session.id, name: 'x', status: 'active' },
      ...{ reasonCode: null, reasonText: null, cron: '* * * * *', timezone: 'UTC', endsAt: null, maxOccurrences: null },
      ...{ occurrences: 0, missed: 0, nextAt: now, lastAt: null, recipient: '5511999990001@c.us', type: 'text' },
      ...{ message: contents, sealed: null, mediaId: null, isUrgent: false, linkedAccountNumber: 1, version: 1 },
      ...{ createdAt: now, updatedAt: now, ...more },
    }),
  );
  await database.write.run((tx) => insertRows(tx, Schedule, rows));
  return rows.map(({ id }) => id);
}

/** Processor time in milliseconds: other work on the machine does not count. */
/** Returns how often others had their turn during the work. On SQLite, where a read waits for nothing, only the work gives turns. */
async function turnsDuring(work: () => Promise<void>): Promise<number> {
  let [turns, isOver] = [0, false];
  const turn = (): void => {
    turns += 1;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  isOver = true;
  return turns;
}

describe.each(await databases())('scans of schedules on %s', (kind) => {
  test('schedules that are on time go before those that catch up, of which each has one step in turn', async () => {
    const { database, core, session } = await open(kind);
    const start = Date.now();
    const late = await insert(
      database,
      session,
      Array.from({ length: 60 }, () => ({ nextAt: new Date(start - 30 * day) })),
    );
    const other = await database.reader
      .getRepository(Session)
      .findOneByOrFail({ id: await makeSession(database, await makeAccount(database)) });
    const yearly = { cron: '0 0 1 1 *' };
    // One is due at the start, the other one after 15 steps: each step takes a second here.
    const [atOnce, soon] = await insert(database, other, [
      { ...yearly, nextAt: new Date(start - 1_000) },
      { ...yearly, nextAt: new Date(start + 15_000) },
    ]);
    const steps: string[] = [];
    const clock = { ...core.clock, now: () => new Date(start + steps.length * 1_000) };
    const contentsOf = ({ id }: Schedule): ScheduledContents => {
      steps.push(id);
      if (steps.length === 140) void occurrences.stop();
      return contents;
    };
    const occurrences = createOccurrences(
      { ...core, clock },
      {
        schedules: { contentsOf },
        messages: { acceptWithin: async () => ({}) as never } as never,
        templates: {} as never,
        media: {} as never,
        storageOf: async () => 'full',
        graceMs: 60 * minute,
      },
    );
    await occurrences.run();
    expect(steps).toHaveLength(140);
    expect(steps[0]).toBe(atOnce);
    expect(steps.indexOf(soon!)).toBeGreaterThan(14);
    expect(steps.indexOf(soon!)).toBeLessThan(30);
    const ofLate = steps.filter((id) => late.includes(id));
    expect(ofLate).toEqual([...late, ...late, ...late.slice(0, 18)]);
  }, 120_000);

  /** One scan with messages that are written, and a file for each occurrence. `onCopy` runs between the reading of a schedule and its step. */
  async function scanOnce(
    { core }: Pick<Awaited<ReturnType<typeof open>>, 'core'>,
    onCopy: () => Promise<unknown> = async () => 0,
  ) {
    const made: Date[] = [];
    const discarded: string[] = [];
    const reports: unknown[] = [];
    const image = { type: 'image', media: { id: 'f', mimetype: 'image/png', size: 1, filename: null, sha256: null } } as const;
    const occurrences = createOccurrences(
      { ...core, report: (failure) => void reports.push(failure) },
      {
        schedules: { contentsOf: () => ({ ...contents, content: image }) },
        messages: {
          async acceptWithin(tx: Transaction, session: Session, input: NewMessage) {
            const row = newRow(newId(), session, input, new Date());
            await insertRows(tx, Message, [row]);
            made.push(input.scheduledAt!);
            return row;
          },
        } as never,
        templates: {} as never,
        media: {
          async copy() {
            await onCopy();
            return { ...image.media, kind: 'image', isSealed: false, uploadId: null, warnings: [], sha256: '', size: 1 };
          },
          discard: async ({ id }) => void discarded.push(id),
        },
        storageOf: async () => 'full',
        graceMs: 60 * minute,
      },
    );
    await occurrences.run();
    return { made, discarded, reports };
  }

  test('an occurrence that has a message already gets no second one after the clock was set back, and the schedule goes on', async () => {
    const opened = await open(kind);
    const due = new Date(Date.now() - 2_000);
    const yearly = { cron: '0 0 1 1 *', nextAt: due, mediaId: 'f' };
    const [id] = await insert(opened.database, opened.session, [yearly]);
    expect((await scanOnce(opened)).made).toEqual([due]);
    await opened.database.write.run((tx) => updateRows(tx, Schedule, { id: id! }, { nextAt: due }));
    expect(await scanOnce(opened)).toEqual({ made: [], discarded: ['f'], reports: [] });
    const { nextAt } = await opened.database.reader.getRepository(Schedule).findOneByOrFail({ id: id! });
    expect(nextAt!.getTime()).toBeGreaterThan(Date.now());
  });

  test.each<[string, Partial<Schedule>]>([
    ['changed', { version: 2 }],
    ['paused', { status: 'paused', nextAt: null }],
    ['stepped by another backend', { nextAt: new Date(Date.now() + day) }],
  ])('a schedule that is %s after it was read makes no message, and stays as it is', async (_what, change) => {
    const opened = await open(kind);
    const due = new Date(Date.now() - 2_000);
    const [id] = await insert(opened.database, opened.session, [{ cron: '0 0 1 1 *', nextAt: due, mediaId: 'f' }]);
    let copies = 0;
    const onCopy = async () => {
      const more = (copies += 1) === 1 ? change : { status: 'ended' as const };
      await opened.database.write.run((tx) => updateRows(tx, Schedule, { id: id! }, more));
    };
    const { made, reports } = await scanOnce(opened, onCopy);
    expect([made, reports]).toEqual([[], []]);
    const stored = await opened.database.reader.getRepository(Schedule).findOneByOrFail({ id: id! });
    expect(stored).toMatchObject({ occurrences: 0, nextAt: due, ...change, ...(copies > 1 ? { status: 'ended' } : {}) });
  });

  test('the times of many schedules are computed while other requests have their turns', async () => {
    const { database, session, schedules, caller } = await open(kind);
    await insert(
      database,
      session,
      Array.from({ length: 300 }, () => ({ cron: '30 9 * * 1-5', timezone: 'America/New_York' })),
    );
    const turns = await turnsDuring(async () => {
      expect((await schedules.list(caller, { limit: 300 })).schedules).toHaveLength(300);
    });
    expect(turns).toBeGreaterThanOrEqual(30);
  });

  test('the calendar of the panel shows the occurrences that are left, and no more', async () => {
    const { database, session } = await open(kind);
    const nextAt = new Date('2026-05-03T09:00:00Z');
    const daily = { cron: '0 9 * * *', nextAt };
    const [few, , many] = await insert(database, session, [
      { ...daily, maxOccurrences: 5, occurrences: 2 },
      { ...daily, status: 'paused', nextAt: null },
      { ...daily, maxOccurrences: 100_000 },
    ]);
    const now = new Date('2026-05-01T00:00:00Z');
    const daysOf = async (id: string, month: string): Promise<string[]> => {
      const { days } = await schedulesView(database.reader, month, 'UTC', now);
      return Object.keys(days).filter((day) => days[day]!.some((item) => item.id === id));
    };
    expect(await daysOf(few!, '2026-05')).toEqual(['2026-05-03', '2026-05-04', '2026-05-05']);
    expect(await daysOf(few!, '2026-06')).toEqual([]);
    expect([(await daysOf(many!, '2026-05')).length, (await daysOf(many!, '2026-06')).length]).toEqual([29, 30]);
  });

  test('the calendar of many schedules is computed while other requests have their turns', async () => {
    const { database, session } = await open(kind);
    const now = new Date('2026-05-01T00:00:00Z');
    await insert(
      database,
      session,
      Array.from({ length: 100 }, () => ({ cron: '0 9 * * *', timezone: 'Europe/Berlin', nextAt: now })),
    );
    const turns = await turnsDuring(async () => {
      expect((await schedulesView(database.reader, undefined, 'Europe/Berlin', now)).schedules).toHaveLength(100);
    });
    expect(turns).toBeGreaterThanOrEqual(100);
  });

  test('a change that leaves the times as they are keeps an occurrence that is due and not made yet', async () => {
    const { database, session, schedules, caller } = await open(kind);
    const nextAt = new Date(Date.now() - 2_000);
    const hourly = { cron: '0 * * * *', nextAt };
    const changed = async (changes: Partial<ScheduleFields>): Promise<Date | undefined> => {
      const [id] = await insert(database, session, [hourly]);
      return (await schedules.update(caller, id!, changes, null)).next[0];
    };
    expect(await changed({ name: 'other', cron: hourly.cron, timezone: 'UTC' })).toEqual(nextAt);
    expect(await changed({ maxOccurrences: 5 })).toEqual(nextAt);
    expect(await changed({ endsAt: new Date(Date.now() + day) })).toEqual(nextAt);
    expect(+(await changed({ cron: '30 * * * *' }))!).toBeGreaterThan(Date.now());
    expect(+(await changed({ timezone: 'Asia/Kathmandu' }))!).toBeGreaterThan(Date.now());
    // The end comes before it.
    const endsAt = new Date(nextAt.getTime() - 1);
    await expect(changed({ endsAt })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });
});

test('one step passes a limited number of missed occurrences', () => {
  const schedule = { cron: '* * * * *', timezone: 'America/New_York', endsAt: null, maxOccurrences: null, occurrences: 0 };
  const due = new Date('2026-10-30T00:00:00Z');
  expect(stepOf(schedule, due, new Date('2026-11-29T00:00:00Z'), 60 * minute)).toMatchObject({
    at: null,
    passed: 100,
    missed: 100,
  });
});

describeOnPostgres('retention of schedules', () => {
  test('keeps a schedule that a person lets begin again after it was read', async () => {
    const { database, url, session, schedules } = await open('postgres');
    const ended = { status: 'ended', nextAt: null, updatedAt: new Date(Date.now() - 40 * day) } as const;
    const [begun] = await insert(database, session, [ended, ended]);
    const other = await client(url);
    await other.query('BEGIN');
    await other.query(`UPDATE schedules SET status = 'active', version = 2, "updatedAt" = $2 WHERE id = $1`, [begun, Date.now()]);
    const pruned = schedules.prune(new Date(Date.now() - 30 * day));
    const sql = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await eventually('retention to wait', async () => (await database.reader.query<unknown[]>(sql)).length > 0);
    await other.query('COMMIT');
    await pruned;
    const rows = await database.reader.getRepository(Schedule).find();
    expect(rows.map(({ id, status }) => [id, status])).toEqual([[begun, 'active']]);
  });
});
