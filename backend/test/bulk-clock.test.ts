import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, newId, type SessionSettings } from '@chasqui/shared';
import { expect, test } from '@jest/globals';
import { createJobContents } from '../src/bulk/accept/content.js';
import { BulkJob, BulkRecipient } from '../src/bulk/bulk.entity.js';
import { estimateEnds } from '../src/bulk/feed/estimate.js';
import { createFeeder } from '../src/bulk/feed/feeder.js';
import { outlookOf } from '../src/bulk/feed/outlook.js';
import { createBulkState } from '../src/bulk/state.js';
import { openDatabase } from '../src/db/database.js';
import { insertRow, insertRows, updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import type { Clock } from '../src/lib/clock.js';
import { createSealer } from '../src/lib/sealer.js';
import { quietUntil } from '../src/sessions/quiet-hours.js';
import { Session } from '../src/sessions/session.entity.js';
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
  options: { total: number; perMinute: number; settings?: Partial<SessionSettings>; accept: (time: number) => void },
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
    const job = await insertJob(database, session!, options.total, begin);
    const events = createEvents({ clock });
    const feeder = createFeeder(
      { database, events, clock, log: silentLog, report: ({ code }) => void reported.push(code) },
      {
        state: createBulkState({ events, clock }, { media: { remove: async () => undefined }, maxFailedPercent: 20 }),
        messages: {
          acceptWithin: async () => {
            options.accept(state.time);
            return { id: newId(state.time) } as never;
          },
          contentColumns: async () => ({}),
          countryOf: () => undefined,
        },
        messageState: {} as never,
        quotas: {} as never,
        contents: createJobContents(createSealer(`k:${Buffer.alloc(32, 1).toString('base64')}`)),
        optOuts: { among: async () => new Set() },
        checkNumbers: async () => [],
        quietUntil: (_, __, at) => quiet(at),
        localeOf: async () => ({ language: 'en', timezone: 'UTC' }),
      },
    );
    await run({ database, session: session!, job, feeder, quiet, reported, clock: state });
    await feeder.stop();
  } finally {
    await database.close();
    await rm(folder, { recursive: true, force: true });
  }
}

test('10,000 recipients with quiet hours, a quota and a pace are handed over exactly until the estimated end, each once', async () => {
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
        quietUntil: quiet,
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

async function insertJob(
  database: Awaited<ReturnType<typeof openDatabase>>,
  { id: sessionId, accountId }: Session,
  total: number,
  now: number,
): Promise<BulkJob> {
  const id = newId(now);
  const none = {
    queued: 0,
    sent: 0,
    delivered: 0,
    read: 0,
    failed: 0,
    uncertain: 0,
    skipped: 0,
    cancelled: 0,
    outcomes: 0,
    failures: 0,
  };
  const unset = {
    name: null,
    reasonCode: null,
    waitingUntil: null,
    sealed: null,
    mediaId: null,
    templateId: null,
    finishedAt: null,
  };
  const job: BulkJob = {
    id,
    accountId,
    sessionId,
    ...none,
    ...unset,
    status: 'running',
    type: 'text',
    content: { type: 'text', fields: { message: 'Hello {{name}}' }, media: null },
    isSealed: false,
    gapMinMs: 2_000,
    gapMaxMs: 6_000,
    checkNumbers: false,
    linkedAccountNumber: 1,
    total,
    pending: total,
    fed: 0,
    nextAt: null,
    fedAt: null,
    scheduledAt: null,
    startedAt: new Date(now),
    createdAt: new Date(now),
  };
  await database.write.run(async (tx) => {
    await insertRow(tx, BulkJob, job);
    await insertRows(
      tx,
      BulkRecipient,
      Array.from({ length: total }, (_, position): BulkRecipient => {
        const phone = `55119${String(position).padStart(8, '0')}`;
        return {
          jobId: id,
          position,
          accountId,
          recipient: phone,
          address: `${phone}@c.us`,
          variables: { name: `Person ${position}` },
          sealed: null,
          status: 'pending',
          reasonCode: null,
          reasonText: null,
          messageId: null,
          isChecked: false,
        };
      }),
    );
  });
  return job;
}
