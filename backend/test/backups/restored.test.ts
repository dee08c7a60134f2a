/* eslint-disable max-lines -- the rules of one life: made, restored, interrupted and deleted, with the same helpers */
import { afterEach, describe, expect, test } from '@jest/globals';
import { newId, type BulkJobDetails, type ScheduleResource } from '@chasqui/shared';
import Sqlite from 'better-sqlite3';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { postgresUrl } from '../../../bench/src/database.js';
import { newBackupKey, readBackupKey } from '../../src/backups/archive/key.js';
import type { Backup } from '../../src/backups/backup.entity.js';
import { makeBackup } from '../../src/backups/make.js';
import { restoreBackup, type RestoreRequest } from '../../src/backups/restore.js';
import { readConfig } from '../../src/config.js';
import { createBackups } from '../../src/backups/backups.js';
import { Restored } from '../../src/backups/restored.entity.js';
import { createRestoredQueue } from '../../src/backups/settle.js';
import { openDatabase, type Database } from '../../src/db/database.js';
import { insertRow, updateRows } from '../../src/db/rows.js';
import { systemClock } from '../../src/lib/clock.js';
import { Message } from '../../src/messages/message.entity.js';
import { Schedule } from '../../src/messages/recurring/schedule.entity.js';
import { databases, ownDatabase, serviceKey, startRig, type Rig } from '../support/backend.js';
import { peopleFor, phoneOfRow, rowsOf, startJob } from '../support/bulk.js';
import { dataOf, quick, startCore, type Core } from '../support/core.js';
import { eventually } from '../support/eventually.js';
import { coreOf } from '../support/parts.js';
import { silentLog } from '../support/silent-log.js';
import { thumbnail } from '../support/thumbnail.js';

/** Backups and restores of a whole backend with a stand-in worker: what comes back, and what is sent once at most. */

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-backup-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
const isoIn = (ms: number): string => new Date(Date.now() + ms).toISOString();

/** The folder of a stopped worker with one login, as the worker writes it. */
function addWorkerFolder(dataDir: string, workerId: string, sessionId: string): void {
  const copy = join(dataDir, 'worker/copies', sessionId, 'Default');
  mkdirSync(copy, { recursive: true });
  writeFileSync(join(copy, 'login'), 'the login');
  const store = new Sqlite(join(dataDir, 'worker/worker.sqlite'));
  store.exec(
    `CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL); INSERT INTO meta VALUES ('workerId', '${workerId}')`,
  );
  store.close();
}

interface Made {
  core: Core;
  identity: string;
  backup: Backup;
  dir: string;
}

async function backUp(core: Core, identity: string, dir: string): Promise<Backup> {
  const env = {
    DATA_DIR: core.rig.dataDir,
    SERVICE_API_KEY: serviceKey,
    BACKUP_KEY: identity,
    ...(core.rig.databaseUrl ? { DATABASE_URL: core.rig.databaseUrl } : {}),
  };
  const config = readConfig(env, core.rig.dataDir);
  const id = `b-${Math.random().toString(36).slice(2, 12)}`;
  const request = { id, trigger: 'command' as const, parts: ['database' as const, 'profiles' as const, 'media' as const] };
  return makeBackup({ config, database: core.rig.database, clock: systemClock, dir }, request);
}

interface Used {
  core: Core;
  ids: Record<string, string>;
  photo: string;
  jobs: Record<'begun' | 'waits' | 'paused' | 'later', string>;
  schedule: string;
}

/** A backend that was used: messages were sent, jobs have begun, and the rest waits for the session, which is stopped. */
async function used(database: 'sqlite' | 'postgres'): Promise<Used> {
  const core = await startCore({ database });
  const { id: sent } = dataOf(await core.send('sent before'));
  await core.reaches(sent, 'sent');
  const photo = dataOf(
    await core.post('/messages/send-media', { recipient: '5511999990001', type: 'image', mediaBase64: picture }),
  ).id;
  const { whatsappId, chat } = await core.reaches(photo, 'sent');
  const about = { whatsappId: whatsappId!, key: whatsappId!.split('_')[2]!, chat, fromMe: true, at: isoIn(0) };
  await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about, thumbnail });
  core.worker.script({ do: 'fail', reason: 'CONNECTION_LOST', retryable: true });
  const begun = await startJob(core, { recipients: peopleFor(2), gapMs: [600_000, 600_000] });
  await eventually('its first message to wait for a retry', async () => {
    const [row] = await rowsOf(core, begun.id);
    return row?.status === 'queued' && core.worker.puts.includes(row.messageId ?? '');
  });
  await core.post('/sessions/disconnect', { sessionId: core.sessionId });
  const jobs = {
    begun: begun.id,
    waits: (await startJob(core, { recipients: peopleFor(3, 10) })).id,
    paused: (await startJob(core, { recipients: peopleFor(1, 20) })).id,
    later: (await startJob(core, { recipients: peopleFor(1, 30), scheduledAt: isoIn(86_400_000) })).id,
  };
  await core.post(`/messages/bulk/${jobs.paused}/pause`, {});
  const yearly = { name: 'New Year', cron: '0 0 1 1 *', message: { type: 'text', recipient: phoneOfRow(40), message: 'Hi' } };
  const { id: schedule } = (await core.post('/schedules', yearly)).body.data as { id: string };
  const queue = async (text: string, more: object = {}) => dataOf(await core.send(text, { queueIfOffline: true, ...more })).id;
  const ids = {
    sent,
    leaves: await queue('leaves after the backup'),
    waits: await queue('never leaves'),
    sending: await queue('was being sent'),
    past: await queue('its time passes', { scheduledAt: isoIn(4_000) }),
    later: await queue('its time is tomorrow', { scheduledAt: isoIn(86_400_000) }),
  };
  addWorkerFolder(core.rig.dataDir, 'worker-a', core.sessionId);
  return { core, ids, photo, jobs, schedule };
}

const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

async function requestOf(
  { backup, identity }: Pick<Made, 'backup' | 'identity'>,
  more: Partial<RestoreRequest> = {},
): Promise<RestoreRequest> {
  return {
    file: backup.file,
    key: await readBackupKey(identity),
    dataDir: join(await folder(), 'data'),
    databaseUrl: undefined,
    encryptionKeys: undefined,
    mode: 'copy',
    startsSessions: true,
    workerId: undefined,
    ...more,
  };
}

const startOn = async (core: Core, dataDir: string, databaseUrl: string | undefined): Promise<Rig> => {
  const rig = await startRig({
    dataDir,
    ...(databaseUrl ? { databaseUrl } : {}),
    settings: { ...quick, WORKER_URLS: core.worker.url },
  });
  cleanups.push(() => rig.close());
  return rig;
};

describe.each(await databases())('a restored backup on %s', (database) => {
  test('has the history, key and file; what may have been sent is found or held, and never sent twice', async () => {
    const { core, ids, photo, jobs, schedule } = await used(database);
    cleanups.push(() => core.worker.close());
    const { identity } = await newBackupKey();
    const dir = await folder();
    // A claim of a backend that is gone.
    await core.rig.database.write.run((tx) =>
      updateRows(
        tx,
        Message,
        { id: ids['sending']! },
        { status: 'sending', attempts: 1, leaseOwner: 'gone', leaseExpiresAt: new Date(Date.now() + 600_000) },
      ),
    );
    const backup = await backUp(core, identity, dir);
    expect(backup).toMatchObject({ status: 'ready', verified: true, host: hostname() });
    expect(backup.contents).toMatchObject({ messages: 8, sessions: 1, media: { files: 1 }, missingLogins: [] });
    expect(await readdir(dir)).toEqual(expect.arrayContaining([backup.file.slice(dir.length + 1)]));

    // The first installation goes on: one message leaves.
    await core.post('/sessions/init');
    await core.worker.link(core.sessionId);
    await core.reaches(ids['leaves']!, 'sent');
    const [first] = await rowsOf(core, jobs.begun);
    const { apiKey } = core.rig;
    await core.rig.close();
    // Whatever else left by now is forgotten, so that the lookups of the restored backend find only the one message.
    const forgotten = new Set([...['waits', 'sending', 'past'].map((name) => ids[name]), first!.messageId]);
    const remembered = core.worker.left.filter(({ messageId }) => !forgotten.has(messageId));
    core.worker.left.splice(0, core.worker.left.length, ...remembered);

    const target = database === 'postgres' ? await ownDatabase() : null;
    if (target) cleanups.push(target.drop);
    const request = await requestOf({ backup, identity }, { databaseUrl: target?.url });
    const plan = await restoreBackup(request);
    expect(plan.workerId).toBe('worker-a');
    expect(readFileSync(join(request.dataDir, 'worker/profiles', core.sessionId, 'Default/login'), 'utf8')).toBe('the login');
    expect(existsSync(join(request.dataDir, '.restoring'))).toBe(false);
    await eventually('the time of the scheduled message', async () => Date.parse(isoIn(0)) > backup.createdAt.getTime() + 5_000);

    // As if its time had passed since the backup was taken.
    const passed = await openDatabase(target ? { url: target.url } : { file: join(request.dataDir, 'chasqui.sqlite') });
    const hourAgo = new Date(Date.now() - 3_600_000);
    await passed.write.run((tx) => updateRows(tx, Schedule, { id: schedule }, { nextAt: hourAgo }));
    await passed.close();

    const rig = await startOn(core, request.dataDir, target?.url);
    const read = async (id: string) => {
      const { status, body } = await rig.call('GET', `/messages/${id}`, { key: apiKey });
      expect(status).toBe(200);
      return body.data as { status: string; reason: { code: string } | null };
    };
    const stateOf = async (name: string) => {
      const { status, reason } = await read(ids[name]!);
      return [status, reason?.code ?? null];
    };
    for (const name of ['leaves', 'waits', 'past'])
      expect([name, ...(await stateOf(name))]).toEqual([name, 'uncertain', 'RESTORED']);
    // Before the backup the first installation may have noticed that the owner of the claim is gone.
    expect([
      ['uncertain', 'RESTORED'],
      ['uncertain', 'CRASHED_DURING_SEND'],
    ]).toContainEqual(await stateOf('sending'));
    expect(await stateOf('later')).toEqual(['scheduled', null]);
    const jobOf = async (id: string) =>
      (await rig.call('GET', `/messages/bulk/${id}`, { key: apiKey })).body.data as BulkJobDetails;
    const requireJobs = async (): Promise<void> => {
      expect(await jobOf(jobs.begun)).toMatchObject({
        status: 'paused',
        reason: { code: 'RESTORED' },
        counts: { total: 2, uncertain: 1, pending: 1 },
      });
      for (const id of [jobs.waits, jobs.paused])
        expect(await jobOf(id)).toMatchObject({ status: 'paused', reason: { code: 'RESTORED' } });
      expect((await jobOf(jobs.waits)).counts).toMatchObject({ total: 3, pending: 3 });
      expect(await jobOf(jobs.later)).toMatchObject({ status: 'scheduled', reason: null, counts: { pending: 1 } });
    };
    await requireJobs();
    const planned = (await rig.call('GET', `/schedules/${schedule}`, { key: apiKey })).body.data as ScheduleResource;
    expect(planned).toMatchObject({ status: 'active', occurrences: 0 });
    expect(Date.parse(planned.next[0]!)).toBeGreaterThan(Date.now());
    expect((await read(ids['sent']!)).status).toBe('sent');
    for (const [path, bytes] of [
      [`/messages/${photo}/media`, picture],
      [`/messages/${photo}/thumbnail`, thumbnail],
    ]) {
      const file = await fetch(`${rig.url}/api/v1${path}`, { headers: { authorization: `ApiKey ${apiKey}` } });
      expect(Buffer.from(await file.arrayBuffer()).toString('base64')).toBe(bytes);
    }

    core.worker.report(rig.url);
    await core.worker.beat();
    await rig.call('POST', '/sessions/init', { key: apiKey });
    await core.worker.link(core.sessionId);
    await eventually('the one that left to be found', async () => (await stateOf('leaves'))[0] === 'sent');
    const rows = rig.database.reader.getRepository(Message);
    for (const name of ['waits', 'sending', 'past'])
      await eventually(
        `the lookups of ${name} to end`,
        async () => (await rows.findOneByOrFail({ id: ids[name]! })).nextAttemptAt === null,
      );
    for (const name of ['sending', 'past']) expect([name, ...(await stateOf(name))]).toEqual([name, 'uncertain', 'RESTORED']);
    const sentAgain = core.worker.left.slice(remembered.length).map(({ messageId }) => messageId);
    expect(sentAgain.filter((id) => Object.values(ids).includes(id))).toEqual([]);
    await requireJobs();
    const bulkMessages = core.worker.left.filter(({ command }) => command.recipient.startsWith('5511988'));
    expect(bulkMessages.filter((one) => !remembered.includes(one))).toEqual([]);
    expect(await rows.countBy({ scheduleId: schedule })).toBe(0);
    // New messages are sent as before.
    const again = await rig.call('POST', '/messages/send-text', {
      key: apiKey,
      body: { recipient: '5511999990001', message: 'new' },
    });
    expect((again.body.data as { status: string }).status).toBe('sent');
  }, 120_000);

  test('outlives the next backup into the same folder, and is not shown as one that is being made', async () => {
    const core = await startCore({ database, linked: false });
    cleanups.push(() => core.close());
    const { Backup } = await import('../../src/backups/backup.entity.js');
    const { identity } = await newBackupKey();
    const dir = await folder();
    const backup = await backUp(core, identity, dir);
    const own = database === 'postgres' ? await ownDatabase() : null;
    if (own) cleanups.push(own.drop);
    const databaseUrl = own ? { databaseUrl: own.url } : {};
    const request = await requestOf({ backup, identity }, databaseUrl);
    await restoreBackup(request);
    const rig = await startRig({ dataDir: request.dataDir, ...databaseUrl });
    cleanups.push(() => rig.close());
    expect(await rig.database.reader.getRepository(Backup).find()).toEqual([]);
    const next = await backUp({ ...core, rig }, identity, dir);
    expect([existsSync(backup.file), existsSync(next.file)]).toEqual([true, true]);
  }, 120_000);
});

test.each(await databases())('a restore on %s that another backend has settled meanwhile is left alone', async (database) => {
  const rig = await startCore({ database });
  cleanups.push(() => rig.close());
  const { database: stored } = rig.rig;
  const row = { id: newId(), backupId: newId(), mode: 'copy' as const, startsSessions: true, appliedAt: null, counts: null };
  await stored.write.run((tx) => insertRow(tx, Restored, { ...row, takenAt: new Date(), restoredAt: new Date() }));
  const settled: string[] = [];
  const queueOf = (on: Database) =>
    createRestoredQueue(coreOf(on), {
      graceMs: 0,
      bulkState: { lock: async () => null, change: async () => undefined as never },
      state: { move: async (_tx, { id }) => settled.push(id) > 0 },
    });
  await rig.worker.move(rig.sessionId, 'connecting', 'RECONNECTING');
  const first = dataOf(await rig.send('before the restore', { queueIfOffline: true, async: true })).id;
  // The other backend has read that the restore is open, and gets no further until it is settled.
  const open = await stored.reader.getRepository(Restored).find();
  const stale = { getRepository: () => ({ findBy: async () => open }) } as never;
  await queueOf(stored).settle();
  expect(settled).toEqual([first]);
  dataOf(await rig.send('accepted since', { queueIfOffline: true, async: true }));
  await queueOf({ ...stored, reader: stale }).settle();
  expect(settled).toEqual([first]);
});

describe('a restore', () => {
  test('refuses a folder or a database that holds something, a wrong kind of database, and a wrong key; nothing is changed', async () => {
    const core = await startCore({ linked: false });
    cleanups.push(() => core.close());
    const { identity } = await newBackupKey();
    const backup = await backUp(core, identity, await folder());
    const refusal = async (more: Partial<RestoreRequest>) =>
      restoreBackup(await requestOf({ backup, identity }, more)).then(
        () => 'restored',
        (error: { code?: unknown }) => error.code,
      );
    expect(await refusal({ databaseUrl: `${postgresUrl}/none` })).not.toBe('restored');
    expect(await refusal({ key: await readBackupKey((await newBackupKey()).identity) })).toBe('KEY_WRONG');
    expect(await refusal({ encryptionKeys: `k1:${Buffer.alloc(32, 7).toString('base64')}` })).toBe('KEY_WRONG');
    expect(await refusal({ mode: 'move' })).toBe('RUNNING');
    expect(await refusal({ workerId: 'another' })).toBe('ARCHIVE_REFUSED');
    const full = await folder();
    writeFileSync(join(full, 'secrets.json'), '{}');
    expect(await refusal({ dataDir: full })).toBe('NOT_EMPTY');
    expect(await readdir(full)).toEqual(expect.not.arrayContaining(['chasqui.sqlite', '.restoring']));
    const cut = join(await folder(), 'cut');
    writeFileSync(cut, readFileSync(backup.file).subarray(0, -100));
    const empty = await folder();
    expect(await refusal({ file: cut, dataDir: empty })).toBe('ARCHIVE_DAMAGED');
    expect(await readdir(empty)).toEqual(expect.not.arrayContaining(['chasqui.sqlite', 'secrets.json', '.restoring']));
    expect(await refusal({ dataDir: empty })).toBe('restored');
  }, 60_000);

  test('that is not finished keeps a backend from starting, and the same command continues it', async () => {
    const core = await startCore({ linked: false });
    const { identity } = await newBackupKey();
    const backup = await backUp(core, identity, await folder());
    await core.close();
    const request = await requestOf({ backup, identity });
    mkdirSync(join(request.dataDir, '.restoring/files'), { recursive: true });
    writeFileSync(join(request.dataDir, '.restoring/files/half'), 'x');
    await expect(startRig({ dataDir: request.dataDir })).rejects.toThrow('was not finished');
    expect(existsSync(join(request.dataDir, 'secrets.json'))).toBe(false);
    await restoreBackup(request);
    const rig = await startRig({ dataDir: request.dataDir });
    cleanups.push(() => rig.close());
    expect(rig.firstAdmin).toBeNull();
  }, 60_000);
});

test('a backup that was interrupted is called failed, and its remains are deleted', async () => {
  const core = await startCore({ linked: false });
  cleanups.push(() => core.close());
  const { identity } = await newBackupKey();
  const dir = await folder();
  const first = await backUp(core, identity, dir);
  const { Backup } = await import('../../src/backups/backup.entity.js');
  // As after a kill: the row runs, and a part of the file exists.
  await core.rig.database.write.run((tx) => updateRows(tx, Backup, { id: first.id }, { status: 'running' }));
  writeFileSync(`${first.file}.partial`, 'half');
  mkdirSync(join(dir, '.work-x'));
  const second = await backUp(core, identity, dir);
  const rows = await core.rig.database.reader.getRepository(Backup).find({ order: { createdAt: 'ASC' } });
  expect(rows.map(({ status, errorCode }) => [status, errorCode])).toEqual([
    ['failed', 'INTERRUPTED'],
    ['ready', null],
  ]);
  expect(
    (await readdir(dir)).filter((name) => name.endsWith('.age') || name.endsWith('.partial') || name.startsWith('.work')),
  ).toEqual([second.file.slice(dir.length + 1)]);
}, 60_000);

const adminOf = (accountId: string) => ({
  accountId,
  role: 'admin' as const,
  credential: { type: 'token' as const, id: null, name: 'admin' },
  permissions: ['*'],
  sessionId: null,
  isPasswordLogin: true,
  requestId: 'r',
  ip: null,
});

test('a container that is created again has another name, and deletes the backups of the earlier one with their files', async () => {
  const core = await startCore({ linked: false });
  cleanups.push(() => core.close());
  const { database } = core.rig;
  const { Backup } = await import('../../src/backups/backup.entity.js');
  const [account] = await database.reader.query<{ id: string }[]>('SELECT id FROM accounts');
  const { identity } = await newBackupKey();
  const dir = await folder();
  const host = 'an-earlier-container';
  const madeEarlier = async (changes: Partial<Backup> = {}): Promise<Backup> => {
    const made = await backUp(core, identity, dir);
    await database.write.run((tx) => updateRows(tx, Backup, { id: made.id }, { host, ...changes }));
    return made;
  };
  const rules = { hasKey: true, schedule: null, timezone: 'UTC', keep: 1 };
  const backups = createBackups({ database, clock: systemClock, log: silentLog }, { rules });
  const asked = await madeEarlier();
  await backups.remove(adminOf(account!.id), asked.id);
  expect(existsSync(asked.file)).toBe(false);
  const old = await madeEarlier({ trigger: 'schedule' });
  const kept = await madeEarlier({ trigger: 'schedule' });
  expect(await backups.prune()).toBe(1);
  expect([existsSync(old.file), existsSync(kept.file)]).toEqual([false, true]);
  const interrupted = await madeEarlier({ status: 'running' });
  // What another machine makes goes on.
  const elsewhere = await madeEarlier({ status: 'running', file: '/backups/elsewhere.tar.gz.age' });
  await backUp(core, identity, dir);
  expect([(await backups.find(interrupted.id)).errorCode, (await backups.find(elsewhere.id)).status]).toEqual([
    'INTERRUPTED',
    'running',
  ]);
  // The other machine has chosen the name, and here it is that of another file.
  const theirs = join(dir, 'theirs.tar.gz.age');
  writeFileSync(theirs, 'another backup');
  await database.write.run((tx) => updateRows(tx, Backup, { id: elsewhere.id }, { status: 'ready', file: theirs }));
  await backups.remove(adminOf(account!.id), elsewhere.id);
  expect(existsSync(theirs)).toBe(true);
}, 60_000);

test('without a key no backup is made, and the row says so', async () => {
  const core = await startCore({ linked: false });
  cleanups.push(() => core.close());
  await expect(backUp(core, '', await folder())).rejects.toMatchObject({ code: 'KEY_MISSING' });
  expect((await core.rig.call('POST', '/admin/backups', { body: {} })).status).toBeGreaterThanOrEqual(400);
}, 60_000);

test('a backup whose program cannot begin, is killed or cannot write its end is failed with the reason, and another one may be made', async () => {
  const core = await startCore({ linked: false });
  cleanups.push(() => core.close());
  const { database } = core.rig;
  const { Backup } = await import('../../src/backups/backup.entity.js');
  const [account] = await database.reader.query<{ id: string }[]>('SELECT id FROM accounts');
  let failures = 0;
  const run: typeof database.write.run = (work) =>
    (failures -= 1) >= 0
      ? Promise.reject(Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' }))
      : database.write.run(work);
  const fullDisk = { ...database, write: { ...database.write, run } };
  const program = { end: async (_id: string): Promise<{ code: number | null; output: string }> => ({ code: 1, output: '' }) };
  const backups = createBackups(
    { database: fullDisk, clock: systemClock, log: silentLog },
    {
      rules: { hasKey: true, schedule: null, timezone: 'UTC', keep: 7 },
      run: (args) => program.end(args[args.indexOf('--id') + 1]!),
    },
  );
  const caller = adminOf(account!.id);
  const make = () => backups.create(caller, ['database']);
  const sentence = 'backup.lock cannot be locked (SQLITE_CANTOPEN).';

  program.end = async () => ({ code: 1, output: `${sentence}\n` });
  expect(await make()).toMatchObject({ status: 'failed', errorCode: 'FAILED', errorText: sentence });
  await expect(backups.runScheduled()).rejects.toThrow(sentence);
  program.end = () => Promise.reject(new Error('spawn EAGAIN'));
  expect(await make()).toMatchObject({ status: 'failed', errorCode: 'INTERRUPTED' });
  // Another process makes one: only then is this the answer.
  program.end = async () => ({ code: 3, output: '' });
  await expect(make()).rejects.toMatchObject({ code: 'BACKUP_RUNNING' });
  const sql = `SELECT COUNT(*) AS n FROM audit_logs WHERE action = 'backup.create'`;
  expect(Number((await database.reader.query<{ n: number }[]>(sql))[0]!.n)).toBe(2);
  // The disk fills while it is made, and has room again later.
  program.end = async (id) => {
    const row = { id, trigger: 'manual' as const, parts: ['database' as const], host: hostname(), file: '/nowhere' };
    const running = { ...row, verified: false, status: 'running' as const, createdAt: new Date() };
    await database.write.run((tx) => insertRow(tx, Backup, running));
    failures = 1;
    return { code: 1, output: 'The disk is full.' };
  };
  const { id } = await make();
  await eventually('its end to be written', async () => (await backups.find(id)).status === 'failed');
  expect(await backups.find(id)).toMatchObject({ errorText: 'The disk is full.' });
  await eventually('room for another one', async () => {
    program.end = async () => ({ code: 1, output: sentence });
    return make().then(
      () => true,
      () => false,
    );
  });
}, 60_000);
