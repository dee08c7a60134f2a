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

/** The feeder under a clock that the test sets: a job ends at the millisecond that the estimate said before it began. */

const quietHours = { from: '21:00', to: '08:30', timezone: 'America/Sao_Paulo' };
const dayMs = 86_400_000;

test('10,000 recipients with quiet hours, a quota and a pace are handed over exactly until the estimated end, each once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-bulk-'));
  const database = await openDatabase({ file: join(folder, 'bulk.sqlite') });
  try {
    let time = Date.parse('2026-11-20T15:00:00Z');
    const clock: Clock = { now: () => new Date(time), monotonic: () => time };
    const accountId = await makeAccount(database);
    const settings = { quietHours } as SessionSettings;
    const sessionId = await makeSession(database, accountId, { perMinute: 20 });
    const [session] = await database.reader.getRepository(Session).findBy({ id: sessionId });
    Object.assign(session!.settings, settings);
    await database.write.run((tx) => updateRows(tx, Session, { id: sessionId }, { settings: session!.settings }));
    const job = await insertJob(database, session!, 10_000, time);

    const limit = 3_000;
    const dayStart = Date.parse('2026-11-20T03:00:00Z');
    const resetAfter = (at: number): number => at + dayMs;
    const quiet = (at: Date): Date | null => quietUntil({ quietHours, timezone: 'UTC' }, at);
    const estimated = estimateEnds(
      outlookOf({
        session: session!,
        jobs: [job],
        now: clock.now(),
        nextAt: null,
        quotas: [{ scope: 'session.daily', limit, used: 0, reserved: 0, remaining: limit, resetAt: new Date(dayStart + dayMs) }],
        resetAfter: (_, at) => new Date(resetAfter(at.getTime())),
        quietUntil: quiet,
      }),
    ).get(job.id);

    const events = createEvents({ clock });
    const state = createBulkState({ events, clock }, { media: { remove: async () => undefined }, maxFailedPercent: 20 });
    const handedOver: number[] = [];
    let counted = { day: 0, count: 0 };
    const feeder = createFeeder(
      { database, events, clock, log: silentLog, report: (failure) => expect(failure).toBe('none') },
      {
        state,
        messages: {
          acceptWithin: async () => {
            const day = Math.floor((time - dayStart) / dayMs);
            if (day !== counted.day) counted = { day, count: 0 };
            const resetAt = new Date(dayStart + (day + 1) * dayMs).toISOString();
            if (counted.count >= limit) throw new AppError('QUOTA_EXCEEDED', { resetAt });
            counted.count += 1;
            handedOver.push(time);
            return { id: newId(time) } as never;
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
    for (let idle = 0; handedOver.length < 10_000 && idle < 10;) {
      const inMs = await feeder.step(sessionId);
      idle = inMs === null ? idle + 1 : 0;
      time += inMs ?? 0;
    }
    await feeder.stop();
    expect(handedOver.at(-1)).toBe(estimated);
    expect(handedOver.some((at) => quiet(new Date(at)) !== null)).toBe(false);
    expect(await database.reader.getRepository(BulkRecipient).countBy({ jobId: job.id, status: 'queued' })).toBe(10_000);
  } finally {
    await database.close();
    await rm(folder, { recursive: true, force: true });
  }
}, 240_000);

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
