import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, newId, type SessionSettings } from '@chasqui/shared';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BulkJob, BulkRecipient } from '../src/bulk/bulk.entity.js';
import type { CheckNumbers } from '../src/bulk/feed/context.js';
import { estimateEnds } from '../src/bulk/feed/estimate.js';
import { createFeeder } from '../src/bulk/feed/feeder.js';
import { outlookOf } from '../src/bulk/feed/outlook.js';
import { createBulkState } from '../src/bulk/state.js';
import { openDatabase } from '../src/db/database.js';
import { updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import type { Clock } from '../src/lib/clock.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { quietUntil } from '../src/sessions/quiet-hours.js';
import { Session } from '../src/sessions/session.entity.js';
import { feederParts, insertJob } from './support/bulk.js';
import { silentLog } from './support/silent-log.js';
import { makeAccount, makeSession } from './support/outbox.js';

/** The feeder under a clock that the test sets, with a stand-in for the acceptance of messages. */

const quietHours = { from: '21:00', to: '08:30', timezone: 'America/Sao_Paulo' };
const dayMs = 86_400_000;
const begin = Date.parse('2026-11-20T15:00:00Z');

interface Harness {
  database: Awaited<ReturnType<typeof openDatabase>>;
  session: Session;
  job: BulkJob;
  feeder: ReturnType<typeof createFeeder>;
  quiet: (at: Date) => Date | null;
  reported: string[];
  clock: { time: number };
}

async function withFeeder(
  options: {
    total: number;
    perMinute: number;
    settings?: Partial<SessionSettings>;
    accept: (time: number) => void;
    checkNumbers?: CheckNumbers;
  },
  run: (harness: Harness) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-bulk-'));
  const database = await openDatabase({ file: join(folder, 'bulk.sqlite') });
  const state = { time: begin };
  const clock: Clock = { now: () => new Date(state.time), monotonic: () => state.time };
  const reported: string[] = [];
  const quiet = (at: Date): Date | null => quietUntil({ quietHours: options.settings?.quietHours ?? null, timezone: 'UTC' }, at);
  try {
    const accountId = await makeAccount(database);
    const sessionId = await makeSession(database, accountId, { perMinute: options.perMinute });
    const [session] = await database.reader.getRepository(Session).findBy({ id: sessionId });
    Object.assign(session!.settings, options.settings ?? {});
    await database.write.run((tx) => updateRows(tx, Session, { id: sessionId }, { settings: session!.settings }));
    const job = await insertJob(database, session!, options.total, new Date(begin));
    const events = createEvents({ clock });
    const feeder = createFeeder(
      { database, events, clock, log: silentLog, report: ({ code }) => void reported.push(code) },
      {
        state: createBulkState({ events, clock }, { media: { remove: async () => undefined }, maxFailedPercent: 20 }),
        ...feederParts(() => {
          options.accept(state.time);
          return newId(state.time);
        }),
        quietUntil: (_, __, at) => quiet(at),
        ...(options.checkNumbers ? { checkNumbers: options.checkNumbers } : {}),
      },
    );
    await run({ database, session: session!, job, feeder, quiet, reported, clock: state });
    await feeder.stop();
  } finally {
    await database.close();
    await rm(folder, { recursive: true, force: true });
  }
}

test('10,000 recipients with quiet hours, a quota and a pace are queued exactly until the estimated end, each once', async () => {
  const limit = 3_000;
  const dayStart = Date.parse('2026-11-20T03:00:00Z');
  const handedOver: number[] = [];
  let counted = { day: 0, count: 0 };
  const accept = (time: number): void => {
    const day = Math.floor((time - dayStart) / dayMs);
    if (day !== counted.day) counted = { day, count: 0 };
    const resetAt = new Date(dayStart + (day + 1) * dayMs).toISOString();
    if (counted.count >= limit) throw new AppError('QUOTA_EXCEEDED', { resetAt });
    counted.count += 1;
    handedOver.push(time);
  };
  await withFeeder({ total: 10_000, perMinute: 20, settings: { quietHours }, accept }, async (harness) => {
    const { database, session, job, feeder, quiet, reported, clock } = harness;
    const estimated = estimateEnds(
      outlookOf({
        session,
        jobs: [job],
        now: new Date(begin),
        nextAt: null,
        quotas: [{ scope: 'session.daily', limit, used: 0, reserved: 0, remaining: limit, resetAt: new Date(dayStart + dayMs) }],
        resetAfter: (_, at) => new Date(at.getTime() + dayMs),
        warmUpAt: () => null,
        timezone: 'UTC',
      }),
    ).get(job.id);
    for (let idle = 0; handedOver.length < 10_000 && idle < 10;) {
      const inMs = await feeder.step(session.id);
      idle = inMs === null ? idle + 1 : 0;
      clock.time += inMs ?? 0;
    }
    expect(handedOver.at(-1)).toBe(estimated);
    expect(handedOver.some((at) => quiet(new Date(at)) !== null)).toBe(false);
    expect(await database.reader.getRepository(BulkRecipient).countBy({ jobId: job.id, status: 'queued' })).toBe(10_000);
    expect(reported).toEqual([]);
  });
}, 240_000);

test('with a warm-up plan that grows, begins later or ends, a job is queued exactly until the estimated end', async () => {
  const plan = fc.record({
    startsIn: fc.integer({ min: -3, max: 3 }),
    messagesPerDay: fc.integer({ min: 1, max: 30 }),
    growth: fc.constantFrom(1, 1.3, 2),
    days: fc.option(fc.integer({ min: 4, max: 9 }), { nil: undefined }),
    gapMinutes: fc.integer({ min: 1, max: 10 }),
  });
  const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10);
  await fc.assert(
    fc.asyncProperty(plan, async ({ startsIn, messagesPerDay, growth, days, gapMinutes }) => {
      const startedOn = dayOf(begin + startsIn * dayMs);
      const warmUp = { startedOn, messagesPerDay, growth, ...(days ? { until: dayOf(begin + days * dayMs) } : {}) };
      const handedOver: number[] = [];
      const counts = new Map<string, number>();
      const accept = (time: number): void => {
        const day = dayOf(time);
        const count = counts.get(day) ?? 0;
        const age = Math.round((Date.parse(day) - Date.parse(startedOn)) / dayMs);
        const isOver = age < 0 || (warmUp.until !== undefined && day > warmUp.until);
        const limit = isOver ? Infinity : Math.floor(messagesPerDay * growth ** age);
        if (count >= limit) throw new AppError('QUOTA_EXCEEDED', { resetAt: `${dayOf(Date.parse(day) + dayMs)}T00:00:00.000Z` });
        counts.set(day, count + 1);
        handedOver.push(time);
      };
      const settings = { warmUp };
      await withFeeder({ total: 120, perMinute: 0, settings, accept }, async (harness) => {
        const { database, session, job, feeder, clock } = harness;
        const gap = { gapMinMs: gapMinutes * 60_000, gapMaxMs: gapMinutes * 60_000 };
        await database.write.run((tx) => updateRows(tx, BulkJob, { id: job.id }, gap));
        const now = (): Date => new Date(clock.time);
        const core = { database, clock: { now, monotonic: () => clock.time } };
        const quotas = createQuotas({ ...core, events: createEvents(core) }, { defaultDaily: 0 });
        const estimated = estimateEnds(
          outlookOf({
            session,
            jobs: [{ ...job, ...gap }],
            now: now(),
            nextAt: null,
            quotas: await quotas.view(session),
            resetAfter: (scope, at) => quotas.resetAfter(scope, at, 'UTC'),
            warmUpAt: (at) => quotas.warmUpAt(session, at, 'UTC'),
            timezone: 'UTC',
          }),
        ).get(job.id);
        for (let idle = 0; handedOver.length < 120 && idle < 10;) {
          const inMs = await feeder.step(session.id);
          idle = inMs === null ? idle + 1 : 0;
          clock.time += inMs ?? 0;
        }
        expect(handedOver).toHaveLength(120);
        expect(handedOver.at(-1)).toBe(estimated);
      });
    }),
    { numRuns: 8 },
  );
}, 240_000);

test('a job that waits for its quota notices within a minute that somebody has raised it', async () => {
  let isFull = true;
  const handedOver: number[] = [];
  const accept = (time: number): void => {
    if (isFull) throw new AppError('QUOTA_EXCEEDED', { resetAt: new Date(begin + dayMs).toISOString() });
    handedOver.push(time);
  };
  await withFeeder({ total: 1, perMinute: 0, accept }, async ({ database, session, job, feeder, clock }) => {
    await feeder.step(session.id);
    const stored = await database.reader.getRepository(BulkJob).findOneByOrFail({ id: job.id });
    expect([stored.status, stored.reasonCode, stored.waitingUntil]).toEqual([
      'waiting',
      'QUOTA_EXCEEDED',
      new Date(begin + dayMs),
    ]);
    isFull = false;
    clock.time += 30_000;
    await feeder.step(session.id);
    expect(handedOver).toEqual([]);
    clock.time += 31_000;
    await feeder.step(session.id);
    expect(handedOver).toEqual([begin + 61_000]);
  });
});

test('a job whose next message cannot be written is reported and paused, and does not stop the other jobs of its session', async () => {
  const accept = (): void => {
    throw new Error('This message cannot be written.');
  };
  await withFeeder({ total: 2, perMinute: 0, accept }, async ({ database, session, job, feeder, reported, clock }) => {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await feeder.step(session.id);
      clock.time += 2_000;
    }
    const stored = await database.reader.getRepository(BulkJob).findOneByOrFail({ id: job.id });
    expect([stored.status, stored.reasonCode, stored.pending]).toEqual(['paused', 'CONTENT_UNREADABLE', 2]);
    expect(reported).toHaveLength(3);
    expect(await feeder.step(session.id)).toBeNull();
  });
});

test('a job whose numbers cannot be checked because of a fault is reported and paused, and the next job of its session goes on', async () => {
  const handedOver: number[] = [];
  const checkNumbers: CheckNumbers = async () => {
    throw new TypeError('The answer of WhatsApp cannot be read.');
  };
  const accept = (time: number): void => void handedOver.push(time);
  await withFeeder({ total: 2, perMinute: 0, accept, checkNumbers }, async (harness) => {
    const { database, session, job, feeder, reported, clock } = harness;
    await database.write.run((tx) => updateRows(tx, BulkJob, { id: job.id }, { checkNumbers: true }));
    await insertJob(database, session, 1, new Date(begin + 1_000));
    for (let attempt = 0; attempt < 6; attempt += 1) {
      await feeder.step(session.id);
      clock.time += 2_000;
    }
    const stored = await database.reader.getRepository(BulkJob).findOneByOrFail({ id: job.id });
    expect([stored.status, stored.reasonCode, stored.pending]).toEqual(['paused', 'CONTENT_UNREADABLE', 2]);
    expect(reported).toHaveLength(3);
    expect(handedOver).toHaveLength(1);
  });
});
