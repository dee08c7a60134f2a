import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { newId, type SessionReason, type SessionStatus } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { createOverview, type OverviewReader, type Status } from '../src/admin/overview.js';
import type { BackupHealth } from '../src/backups/backups.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { jobTimes } from '../src/jobs/due.js';
import { JobRun, JobState } from '../src/jobs/job.entity.js';
import { createJobs } from '../src/jobs/jobs.js';
import { QuotaUsage } from '../src/messages/quotas/quota.entity.js';
import { Webhook } from '../src/webhooks/webhook.entity.js';
import { Worker } from '../src/whatsapp/worker.entity.js';
import { addLeader, addSession, addWebhook, addWorker } from './panel.rows.js';

/** What the panel calls wrong, from the rows alone. */

let folder: string;
let database: Database;
let accountId: string;
const started = Date.parse('2026-06-01T12:00:00Z');
let now = started;
const clock = { now: () => new Date(now), monotonic: () => now };
const times = { lateMs: 7_000, lostMs: 30_000 };
let backup: BackupHealth;
const backups = { health: () => Promise.resolve(backup) };
const calm: BackupHealth = { schedule: '0 3 * * *', hasKey: true, problem: null, lastReadyAt: new Date(started - 3_600_000) };

beforeEach(async () => {
  now = started;
  backup = calm;
  folder = mkdtempSync(join(tmpdir(), 'alerts-'));
  database = await openDatabase({ file: join(folder, 'alerts.sqlite') });
  accountId = newId();
  const at = new Date(now);
  const account = {
    id: accountId,
    username: 'bakery',
    email: 'a@b.c',
    passwordHash: 'x',
    jwtSecret: 'x',
    role: 'user' as const,
    isActive: true,
    mustChangePassword: false,
    timezone: 'UTC',
    storage: 'full' as const,
    uncertainPolicy: 'hold' as const,
    createdAt: at,
    updatedAt: at,
  };
  await database.write.run((tx) => insertRow(tx, Account, { ...account, maxMessagesPerDay: 10 }));
  await addLeader(database.write);
});
afterEach(async () => {
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});

const overviewNow = (): OverviewReader => {
  const jobs = createJobs({ database, clock }, { times: jobTimes({}, 'UTC'), wake: () => undefined });
  return createOverview({ reader: database.reader, clock, jobs, backups, times });
};

/** The status of an installation whose backend has run for a minute. */
async function status(): Promise<Status> {
  const overview = overviewNow();
  now += 60_000;
  return overview.status();
}
const beat = (id: string, ageMs: number): Promise<void> =>
  database.write.run(
    async (tx) => void (await updateRows(tx, Worker, { id }, { lastHeartbeatAt: new Date(started + 60_000 - ageMs) })),
  );
const linked = (name: string, state: SessionStatus, reasonCode: SessionReason | null, workerId = 'worker-1'): Promise<string> =>
  addSession(database.write, {
    accountId,
    name,
    status: state,
    reasonCode,
    workerId,
    desired: 'running',
    phoneNumber: '447400123101',
  });

test('nothing is wrong while the worker answers and phones are connected, stopped by a person, suspended or never linked', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await linked('up', 'connected', null);
  await linked('stopped', 'disconnected', 'USER_STOPPED');
  await linked('out', 'disconnected', 'USER_LOGGED_OUT');
  await linked('suspended', 'suspended', 'SUSPENDED_BY_STAFF');
  await addSession(database.write, { accountId, name: 'new', status: 'qr_pending', reasonCode: 'WAITING_FOR_SCAN' });
  expect(await status()).toMatchObject({ alerts: [], offline: 0, silentWorkers: [] });
});

test('a silent worker is told with the phones that it takes along, and those are not believed to be connected', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await addWorker(database.write, { id: 'worker-2' });
  await linked('one', 'connected', null);
  await linked('two', 'disconnected', 'WORKER_LOST');
  await linked('other', 'connected', null, 'worker-2');
  await beat('worker-1', 8_000);
  const { alerts, offline, silentWorkers } = await status();
  expect(silentWorkers).toEqual([{ id: 'worker-1', since: started + 52_000 }]);
  expect(offline).toBe(2);
  expect(alerts).toHaveLength(1);
  expect(alerts[0]).toMatchObject({
    kind: 'worker_silent',
    severity: 'bad',
    since: started + 52_000,
    what: 'Worker worker-1 is silent: 2 phones are offline.',
    code: 'WORKER_LOST',
  });
});

test('a heartbeat that is on its way is no alarm, and neither are those that this backend missed before it started', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await linked('one', 'connected', null);
  await beat('worker-1', 6_000);
  expect((await status()).alerts).toEqual([]);
  now = started;
  await beat('worker-1', 600_000);
  const overview = overviewNow();
  now += 5_000;
  expect((await overview.status()).alerts).toEqual([]);
  now += 5_000;
  expect((await overview.status()).alerts).toMatchObject([{ kind: 'worker_silent' }]);
});

test('a worker that was taken out of service is no alarm as long as another one runs', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await addWorker(database.write, { id: 'worker-2' });
  await beat('worker-1', 86_400_000);
  expect((await status()).alerts).toEqual([]);
  now = started;
  await beat('worker-2', 20_000);
  expect((await status()).alerts).toMatchObject([{ kind: 'no_worker', severity: 'bad' }]);
});

test('a phone that was unlinked is red and names the way back; one that reconnects by itself is amber, and comes after it', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await linked('back-soon', 'disconnected', 'RECONNECTING');
  const id = await linked('shop', 'disconnected', 'LOGGED_OUT_BY_PHONE');
  const { alerts, offline } = await status();
  expect(offline).toBe(2);
  expect(alerts).toMatchObject([
    {
      severity: 'bad',
      what: 'shop is offline. The phone unlinked this device.',
      next: 'Press “Start” and scan the new code. Messages wait meanwhile.',
      link: { to: `/resources/sessions/records/${id}/show` },
    },
    { severity: 'warn', what: 'back-soon is offline. The connection to WhatsApp was lost.' },
  ]);
});

test('many phones with one reason are one alert', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  for (let index = 0; index < 12; index += 1) await linked(`phone-${index}`, 'error', 'NETWORK_UNREACHABLE');
  expect((await status()).alerts).toMatchObject([
    { what: expect.stringMatching(/^12 phones are offline\./), code: 'NETWORK_UNREACHABLE' },
  ]);
});

test('a failing receiver is amber, red once its attempts pause, and red when it was switched off for it', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  const id = await addWebhook(database.write, accountId, 'https://shop.example/hooks?token=secret');
  const set = (changes: Partial<Webhook>): Promise<number> =>
    database.write.run((tx) => updateRows(tx, Webhook, { id }, changes));
  const open = (await status()).alerts;
  expect(open).toMatchObject([
    { kind: 'webhook_failing', severity: 'bad', what: expect.stringContaining('shop.example/hooks fails') },
  ]);
  expect(open[0]?.nextAt).not.toBeNull();
  expect(JSON.stringify(open)).not.toContain('secret');
  await set({ openUntil: null });
  expect((await status()).alerts).toMatchObject([{ kind: 'webhook_failing', severity: 'warn' }]);
  await set({ isActive: false, disabledReason: 'FAILING', disabledAt: new Date(now) });
  expect((await status()).alerts).toMatchObject([{ kind: 'webhook_disabled', severity: 'bad', code: 'FAILING' }]);
  await set({ disabledReason: 'BY_REQUEST' });
  expect((await status()).alerts).toEqual([]);
});

test('a daily quota that is used up is told with its owner', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  const quota = { scope: 'account.daily' as const, ownerId: accountId, accountId, period: '2026-06-01' };
  await database.write.run((tx) => insertRow(tx, QuotaUsage, { ...quota, taken: 10 }));
  expect((await status()).alerts).toMatchObject([
    { kind: 'quota_exhausted', what: 'The account bakery has used its daily quota: 10 of 10.', code: 'QUOTA_EXCEEDED' },
  ]);
});

/** A run of the cleanup of old messages that ended this many minutes before the start of the test. */
const ran = (minutes: number, status: 'succeeded' | 'failed' | 'interrupted'): Promise<unknown> => {
  const at = new Date(started - minutes * 60_000);
  const run = { job: 'messages.cleanup', status, trigger: 'schedule' as const, createdAt: at, startedAt: at, endedAt: at };
  const outcome = status === 'failed' ? { code: 'STORAGE_FULL', detail: 'The disk is full.' } : { code: null, detail: null };
  return database.write.run((tx) => insertRow(tx, JobRun, { ...run, ...outcome, id: newId(at.getTime()), steps: [] }));
};
const stateOf = (name: string, changes: Partial<JobState>): Promise<unknown> =>
  database.write.run((tx) =>
    insertRow(tx, JobState, { name, isStopped: false, handledUntil: new Date(started), failures: 0, retryAt: null, ...changes }),
  );

test('a job that fails is amber since its first failure, red after three, and says when it runs again', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await ran(90, 'failed');
  await ran(60, 'succeeded');
  await ran(30, 'interrupted');
  await ran(10, 'failed');
  await stateOf('messages.cleanup', { failures: 2, retryAt: new Date(started + 300_000) });
  await stateOf('media.cleanup', { isStopped: true });
  expect((await status()).alerts).toEqual([
    {
      kind: 'job_failing',
      severity: 'warn',
      since: started - 30 * 60_000,
      what: 'The job “Delete old messages” fails. Its last 2 runs did not succeed.',
      next: 'It runs again by itself. The page of jobs says what failed and runs it now.',
      nextAt: started + 300_000,
      code: 'STORAGE_FULL',
      link: { to: '/pages/jobs', label: 'Jobs' },
    },
  ]);
  expect((await overviewNow().overview('UTC')).jobs).toEqual({ failing: 1, running: 0, stopped: 1, hasLeader: true });
  now = started;
  await database.write.run((tx) => updateRows(tx, JobState, { name: 'messages.cleanup' }, { failures: 3 }));
  expect((await status()).alerts).toMatchObject([{ kind: 'job_failing', severity: 'bad' }]);
});

test('without a backend that runs the jobs there is an alert, but not while this backend starts', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await addLeader(database.write, new Date(started - 60_000));
  const overview = overviewNow();
  now += 10_000;
  expect((await overview.status()).alerts).toEqual([]);
  expect((await overview.overview('UTC')).jobs).toMatchObject({ hasLeader: false });
  now += 30_000;
  expect((await overview.status()).alerts).toMatchObject([
    { kind: 'jobs_unattended', severity: 'bad', what: 'No backend runs the jobs.', link: { to: '/pages/jobs' } },
  ]);
});

test('a failed or overdue backup is red and names the last good one; the job of backups has no second alert', async () => {
  await addWorker(database.write, { id: 'worker-1' });
  await stateOf('backup', { failures: 4 });
  backup = { ...calm, problem: 'failed' };
  expect((await status()).alerts).toMatchObject([
    {
      kind: 'backup_failing',
      severity: 'bad',
      what: 'The last scheduled backup failed. The last good backup is of 2026-06-01 11:00 UTC.',
      link: { to: '/pages/backups' },
    },
  ]);
  backup = { ...calm, problem: 'overdue' };
  expect((await status()).alerts).toMatchObject([{ severity: 'bad', what: expect.stringMatching(/^Backups are overdue\./) }]);
  backup = { ...calm, problem: 'overdue', lastReadyAt: null };
  expect((await status()).alerts).toMatchObject([{ severity: 'warn', what: 'No backup was made yet.' }]);
  backup = calm;
  expect((await status()).alerts).toMatchObject([{ kind: 'job_failing', severity: 'bad' }]);
});
