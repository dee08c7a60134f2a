import { newId } from '@chasqui/shared';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Account } from '../src/accounts/account.entity.js';
import { BulkJob } from '../src/bulk/bulk.entity.js';
import { createFeeder } from '../src/bulk/feed/feeder.js';
import { createBulkState } from '../src/bulk/state.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import type { Clock } from '../src/lib/clock.js';
import type { NewMessage } from '../src/messages/messages.js';
import { Message } from '../src/messages/message.entity.js';
import { createOccurrences } from '../src/messages/recurring/occurrences.js';
import { Schedule } from '../src/messages/recurring/schedule.entity.js';
import { pruneQuotas, repairQuotas } from '../src/messages/quotas/check.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { QuotaUsage } from '../src/messages/quotas/quota.entity.js';
import { removeExpiredCodes } from '../src/sessions/expired-codes.js';
import { Session } from '../src/sessions/session.entity.js';
import { createSessionState } from '../src/sessions/state.js';
import { createDeliveries } from '../src/webhooks/deliveries.js';
import { checkDeliveries } from '../src/webhooks/send/check.js';
import { WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { createHeartbeats } from '../src/whatsapp/heartbeats.js';
import { monitorSessions } from '../src/whatsapp/monitor.js';
import { databases, migratedDatabase } from './support/backend.js';
import { feederParts, insertJob } from './support/bulk.js';
import { eventually } from './support/eventually.js';
import { createWorld, makeAccount, makeSession, presenceOf, queue, startDispatcher } from './support/outbox.js';
import { coreOf } from './support/parts.js';

/** What jobs find and repair that the dispatchers have missed: rows are broken behind their back, and no dispatcher scans. */

const hourMs = 3_600_000;

describe.each(await databases())('jobs repair what was missed on %s', (name) => {
  const closers: (() => Promise<unknown>)[] = [];
  let database: Database;
  beforeAll(async () => {
    if (name === 'postgres') {
      const own = await migratedDatabase();
      closers.push(own.drop);
      database = await openDatabase({ url: own.url });
    } else {
      const folder = await mkdtemp(join(tmpdir(), 'chasqui-repairs-'));
      closers.push(() => rm(folder, { recursive: true, force: true }));
      database = await openDatabase({ file: join(folder, 'backend.sqlite') });
    }
    closers.push(database.close);
  });
  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  const change = (id: string, changes: Partial<Message>): Promise<number> =>
    database.write.run((tx) => updateRows(tx, Message, { id }, changes));
  const message = (id: string): Promise<Message> => database.reader.getRepository(Message).findOneByOrFail({ id });

  test('a retry that is later than its schedule allows is brought forward, and overdue messages of connected sessions are sent', async () => {
    const accountId = await makeAccount(database);
    const sessionId = await makeSession(database, accountId);
    const away = await makeSession(database, accountId, {}, { status: 'disconnected' });
    const world = createWorld();
    // It scans so seldom that it never does.
    const dispatcher = startDispatcher({ database, world, times: { pollMs: 1e9, retryIntervalMs: 60_000 } });
    closers.push(dispatcher.stop);
    expect(await dispatcher.checkRetries()).toEqual({ corrected: 0, woken: 0 });
    const [late] = await queue(database, sessionId, [1]);
    await change(late!, { attempts: 1, nextAttemptAt: new Date(Date.now() + 30 * 24 * hourMs) });
    expect(await dispatcher.checkRetries()).toEqual({ corrected: 1, woken: 0 });
    expect((await message(late!)).nextAttemptAt!.getTime()).toBeLessThan(Date.now() + 120_000);
    const hourAgo = new Date(Date.now() - hourMs);
    const [due, other, fresh] = [
      ...(await queue(database, sessionId, [2], hourAgo)),
      ...(await queue(database, away, [3], hourAgo)),
      ...(await queue(database, away, [4])),
    ];
    expect(await dispatcher.checkRetries()).toEqual({ corrected: 0, woken: 1 });
    await eventually('the overdue message to be sent', async () => (await message(due!)).status === 'sent');
    expect([(await message(other!)).status, (await message(fresh!)).status]).toEqual(['queued', 'queued']);
  });

  test('scheduled messages that have been due for more than a minute are queued, and counted', async () => {
    const sessionId = await makeSession(database, await makeAccount(database), {}, { status: 'disconnected' });
    const dispatcher = startDispatcher({ database, world: createWorld(), times: { pollMs: 1e9 } });
    closers.push(dispatcher.stop);
    const [missed, recent] = await queue(database, sessionId, [1, 2]);
    const schedule = (id: string, at: Date): Promise<number> =>
      change(id, { status: 'scheduled', scheduledAt: at, nextAttemptAt: at });
    await schedule(recent!, new Date(Date.now() - 10_000));
    expect(await dispatcher.checkScheduled()).toEqual({ queued: 0 });
    expect((await message(recent!)).status).toBe('scheduled');
    await schedule(missed!, new Date(Date.now() - 120_000));
    expect(await dispatcher.checkScheduled()).toEqual({ queued: 1 });
    expect((await message(missed!)).status).toBe('queued');
    expect(await dispatcher.checkScheduled()).toEqual({ queued: 0 });
  });

  test('an occurrence of a schedule that the scans have missed for a minute is made, once', async () => {
    const sessionId = await makeSession(database, await makeAccount(database));
    const { accountId } = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    const accepted: NewMessage[] = [];
    const core = coreOf(database);
    const content = { type: 'text' as const, message: 'Good morning' };
    const contents = { content, mentions: [], quotedMessageId: null, ignoreQuoteErrors: false };
    const occurrences = createOccurrences(core, {
      schedules: { contentsOf: () => contents },
      messages: {
        acceptWithin: async (_, __, input) => (accepted.push(input), {} as never),
        countryOf: () => undefined,
        known: async () => new Map() as never,
      },
      templates: {} as never,
      media: {} as never,
      storageOf: async () => 'full',
      graceMs: hourMs,
    });
    const insert = async (more: Partial<Schedule>): Promise<string> => {
      const id = newId();
      const now = new Date();
      const fields = {
        name: 'New Year',
        cron: '0 0 1 1 *',
        timezone: 'UTC',
        recipient: '5511999990001@c.us',
        type: 'text',
      } as const;
      const row = { id, accountId, sessionId, status: 'active' as const, ...fields, message: contents, ...more };
      await database.write.run((tx) => insertRow(tx, Schedule, { ...row, createdAt: now, updatedAt: now }));
      return id;
    };
    const recent = await insert({ nextAt: new Date(Date.now() - 10_000) });
    expect([await occurrences.check(), accepted]).toEqual([{ made: 0 }, []]);
    const at = new Date(Date.now() - 120_000);
    const missed = await insert({ nextAt: at });
    const paused = await insert({ status: 'paused', nextAt: at });
    expect(await occurrences.check()).toEqual({ made: 1 });
    expect(accepted.map(({ scheduleId }) => scheduleId).sort()).toEqual([recent, missed].sort());
    const rows = await database.reader.getRepository(Schedule).findBy({ accountId });
    const next = Object.fromEntries(rows.map(({ id, nextAt, occurrences: made }) => [id, [nextAt! > new Date(), made]]));
    expect(next).toEqual({ [recent]: [true, 1], [missed]: [true, 1], [paused]: [false, 0] });
    expect([await occurrences.check(), accepted.length]).toEqual([{ made: 0 }, 2]);
  });

  test('bulk jobs of connected sessions that have been due for a minute go on; those of others and of inactive accounts do not', async () => {
    const accountId = await makeAccount(database);
    const core = coreOf(database);
    const fed: string[] = [];
    // It was never started, so it scans nothing by itself.
    const feeder = createFeeder(core, {
      state: createBulkState(core, { media: { remove: async () => undefined }, maxFailedPercent: 0 }),
      ...feederParts((sessionId) => (fed.push(sessionId), newId())),
    });
    closers.push(feeder.stop);
    const ago = (ms: number): Date => new Date(Date.now() - ms);
    const job = async (startedAt: Date, changes: Partial<BulkJob> = {}, owner = accountId, session: Partial<Session> = {}) => {
      const sessionId = await makeSession(database, owner, {}, session);
      const row = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
      const { id } = await insertJob(database, row, 2, startedAt);
      if (Object.keys(changes).length > 0) await database.write.run((tx) => updateRows(tx, BulkJob, { id }, changes));
      return sessionId;
    };
    const inactive = await makeAccount(database);
    await database.write.run((tx) => updateRows(tx, Account, { id: inactive }, { isActive: false }));
    await job(ago(5_000));
    await job(ago(hourMs), { nextAt: new Date(Date.now() + hourMs) });
    await job(ago(hourMs), {}, accountId, { status: 'disconnected' });
    await job(ago(hourMs), {}, inactive);
    await job(ago(hourMs), { status: 'paused' });
    expect([await feeder.check(), fed]).toEqual([{ woken: 0 }, []]);
    const due = [
      await job(ago(hourMs)),
      await job(ago(hourMs), { nextAt: ago(120_000) }),
      await job(ago(hourMs), { status: 'scheduled', scheduledAt: ago(120_000), startedAt: null }),
      await job(ago(hourMs), { status: 'waiting', reasonCode: 'QUIET_HOURS', waitingUntil: ago(120_000) }),
    ];
    expect(await feeder.check()).toEqual({ woken: due.length });
    await eventually('each to hand over a message', async () => due.every((id) => fed.includes(id)));
    expect(new Set(fed)).toEqual(new Set(due));
    // The last hand-over is reported just before its row is written.
    await eventually('no job to be due', async () => (await feeder.check()).woken === 0);
  });

  test('a session whose lease nobody renews is disconnected, and what should run is counted', async () => {
    await database.write.run(async (tx) => void (await tx.manager.query("UPDATE sessions SET desired = 'stopped'")));
    const accountId = await makeAccount(database);
    const expired = { leaseExpiresAt: new Date(Date.now() - 60_000) };
    const sessionId = await makeSession(database, accountId, {}, expired);
    await makeSession(database, accountId, {}, { leaseExpiresAt: new Date(Date.now() + 20_000) });
    await makeSession(database, accountId, {}, { status: 'error', leaseExpiresAt: null });
    let monotonic = 0;
    const clock: Clock = { now: () => new Date(), monotonic: () => monotonic };
    const core = coreOf(database, clock);
    const parts = { state: createSessionState(core), leaseMs: 20_000, storageOf: async () => 'full' as const };
    const rest = { proxies: { open: async () => null }, optOuts: {} as never, database, wipePending: async () => undefined };
    const heartbeats = createHeartbeats(core, { ...parts, ...rest });
    // Until one lease after the start, missing heartbeats may be this process's fault.
    expect(await monitorSessions(core, { heartbeats })).toEqual({ desired: 3, connected: 2, failed: 1, lost: 0 });
    monotonic = 60_000;
    expect(await monitorSessions(core, { heartbeats })).toEqual({ desired: 3, connected: 1, failed: 1, lost: 1 });
    const row = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    expect(row).toMatchObject({ status: 'disconnected', reasonCode: 'WORKER_LOST' });
    expect(await monitorSessions(core, { heartbeats })).toMatchObject({ lost: 0 });
  });

  test('a QR code that expired and was not replaced is removed; one that may still be scanned stays', async () => {
    const accountId = await makeAccount(database);
    const code = (ms: number) => ({
      status: 'qr_pending' as const,
      qrText: 'code',
      qrId: newId(),
      qrExpiresAt: new Date(Date.now() + ms),
    });
    const old = await makeSession(database, accountId, {}, code(-60_000));
    const recent = await makeSession(database, accountId, {}, code(-5_000));
    const valid = await makeSession(database, accountId, {}, code(20_000));
    expect(await removeExpiredCodes(coreOf(database))).toBe(1);
    const texts = async (id: string) =>
      (
        await database.reader
          .getRepository(Session)
          .findOneOrFail({ where: { id }, select: { id: true, qrText: true, qrId: true } })
      ).qrText;
    expect([await texts(old), await texts(recent), await texts(valid)]).toEqual([null, 'code', 'code']);
    expect(await removeExpiredCodes(coreOf(database))).toBe(0);
  });

  test('quota counters that are lower than the messages that they count are raised, and those of long ago are deleted', async () => {
    const core = coreOf(database);
    const quotas = createQuotas(core, { defaultDaily: 0 });
    const accountId = await makeAccount(database);
    const sessionId = await makeSession(database, accountId, {}, { status: 'disconnected' });
    const ids = await queue(database, sessionId, [1, 2, 3]);
    const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    await database.write.run(async (tx) => {
      const items = await Promise.all(
        ids.map(async (id) => ({ session, message: await tx.manager.findOneByOrFail(Message, { id }) })),
      );
      await quotas.reserve(tx, items);
      for (const { message: row } of items) await updateRows(tx, Message, { id: row.id }, { quotaDay: row.quotaDay });
    });
    const taken = async (): Promise<Record<string, number>> =>
      Object.fromEntries(
        (await database.reader.getRepository(QuotaUsage).findBy({ accountId })).map((row) => [row.scope, row.taken]),
      );
    const right = { 'session.daily': 3, 'account.daily': 3, 'plan.monthly': 3 };
    expect(await taken()).toEqual(right);
    expect(await repairQuotas(core)).toBe(0);
    await database.write.run(async (tx) => {
      await updateRows(tx, QuotaUsage, { accountId, scope: 'session.daily' }, { taken: 1 });
      await updateRows(tx, QuotaUsage, { accountId, scope: 'account.daily' }, { taken: 0 });
      await tx.manager.delete(QuotaUsage, { accountId, scope: 'plan.monthly' });
    });
    expect(await repairQuotas(core)).toBe(3);
    expect(await taken()).toEqual(right);
    // Higher than the messages that are still there: they may have been deleted, and the limit counts them.
    await database.write.run((tx) => updateRows(tx, QuotaUsage, { accountId }, { taken: 9 }));
    expect(await repairQuotas(core)).toBe(0);
    await database.write.run(async (tx) => {
      for (const period of ['2020-01', '2020-01-31'])
        await insertRow(tx, QuotaUsage, { scope: 'account.daily', ownerId: accountId, accountId, period, taken: 1 });
    });
    expect(await pruneQuotas(core)).toBe(2);
    expect(Object.keys(await taken())).toHaveLength(3);
  });

  test('deliveries that a backend has claimed and that is gone are released', async () => {
    const accountId = await makeAccount(database);
    const core = coreOf(database);
    const [lost, present] = [newId(), newId()];
    const insert = (id: string, leaseOwner: string): Promise<void> =>
      database.write.run((tx) =>
        insertRow(tx, WebhookDelivery, {
          id,
          webhookId: newId(),
          accountId,
          eventCursor: 1,
          eventId: newId(),
          type: 'message.sent',
          status: 'sending',
          leaseOwner,
          leaseExpiresAt: new Date(Date.now() + 60_000),
          createdAt: new Date(),
        }),
      );
    await insert(lost, 'gone');
    await insert(present, 'there');
    const deliveries = createDeliveries({ database, owner: 'own', clock: core.clock });
    const presence = presenceOf('own', (owners) => owners.filter((owner) => owner === 'gone'));
    expect(await checkDeliveries(core, { deliveries, presence })).toEqual({ released: 1, repaired: 0, overdue: 0 });
    const rows = await database.reader.getRepository(WebhookDelivery).findBy({ accountId });
    expect(Object.fromEntries(rows.map(({ id, status }) => [id, status]))).toEqual({ [lost]: 'pending', [present]: 'sending' });
  });
});
