import { afterEach, describe, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newBackupKey, readBackupKey } from '../../src/backups/archive/key.js';
import { createArchive } from '../../src/backups/archive/writer.js';
import type { Backup as BackupRow } from '../../src/backups/backup.entity.js';
import { createBackups } from '../../src/backups/backups.js';
import { makeBackup } from '../../src/backups/make.js';
import { restoreBackup, type RestoreRequest } from '../../src/backups/restore.js';
import { readConfig } from '../../src/config.js';
import { migrations } from '../../src/db/migrations/index.js';
import { updateRows } from '../../src/db/rows.js';
import { restoringFolder } from '../../src/lib/unfinished-restore.js';
import { systemClock } from '../../src/lib/clock.js';
import { loginOf } from '../support/account.js';
import { serviceKey } from '../support/backend.js';
import { startCore, type Core } from '../support/core.js';
import { silentLog } from '../support/silent-log.js';

/** Which files backups and restores touch: those that they have written, and none besides. */

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});
async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-files-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const { identity } = await newBackupKey();

async function start() {
  const core = await startCore({ linked: false });
  cleanups.push(() => core.close());
  const dir = await folder();
  const make = (id: string, file?: string, trigger: BackupRow['trigger'] = 'command') => {
    const env = { DATA_DIR: core.rig.dataDir, SERVICE_API_KEY: serviceKey, BACKUP_KEY: identity };
    const parts = { config: readConfig(env, core.rig.dataDir), database: core.rig.database, clock: systemClock, dir };
    return makeBackup(parts, { id, trigger, parts: ['database'], ...(file ? { file } : {}) });
  };
  const later = (days: number) => ({ ...systemClock, now: () => new Date(Date.now() + days * 86_400_000) });
  const backupsAt = (days = 0) =>
    createBackups(
      { database: core.rig.database, clock: later(days), log: silentLog },
      { rules: { hasKey: true, schedule: null, timezone: 'UTC', keep: 1 } },
    );
  const remove = async (id: string, options?: { force?: boolean }) => backupsAt().remove(await adminOf(core), id, options);
  const statusOf = async (id: string) => (await backupsAt().list()).find((row) => row.id === id)?.status ?? 'gone';
  return { core, dir, make, backupsAt, remove, statusOf };
}

async function adminOf(core: Core) {
  const [account] = await core.rig.database.reader.query<{ id: string }[]>('SELECT id FROM accounts');
  const credential = { type: 'token' as const, id: null, name: 'admin' };
  const rights = { role: 'admin' as const, permissions: ['*'], sessionId: null, isPasswordLogin: true };
  return { accountId: account!.id, credential, ...rights, requestId: 'r', ip: null };
}

describe('the file of a backup', () => {
  test.each(['removed', 'pruned', 'interrupted'])(
    'stays when a later backup was refused for its name and its row is %s',
    async (how) => {
      const { core, make, backupsAt, remove, statusOf } = await start();
      const file = join(await folder(), 'one.tar.gz.age');
      await make('b-good-0000001', file);
      await expect(make('b-refused-0001', file)).rejects.toMatchObject({ code: 'NOT_EMPTY' });
      expect(await statusOf('b-refused-0001')).toBe('failed');
      if (how === 'removed') await remove('b-refused-0001');
      if (how === 'pruned') await backupsAt(31).prune();
      if (how === 'interrupted') {
        const { Backup } = await import('../../src/backups/backup.entity.js');
        await core.rig.database.write.run((tx) => updateRows(tx, Backup, { id: 'b-refused-0001' }, { status: 'running' }));
        await make('b-other-000001');
        expect(await statusOf('b-refused-0001')).toBe('failed');
      } else expect(await statusOf('b-refused-0001')).toBe('gone');
      expect(existsSync(file)).toBe(true);
    },
  );

  test('stays when its name is that of an earlier backup, which is deleted', async () => {
    const { make, remove } = await start();
    const file = join(await folder(), 'one.tar.gz.age');
    await make('b-1', file);
    await rename(file, `${file}.moved`);
    await make('b-2', file);
    await remove('b-1');
    expect(existsSync(file)).toBe(true);
    await remove('b-2');
    expect(existsSync(file)).toBe(false);
  });

  test('of another machine is deleted there: here its row stays, unless a person removes the entry alone', async () => {
    const { core, dir, make, backupsAt, remove, statusOf } = await start();
    const { Backup } = await import('../../src/backups/backup.entity.js');
    for (const id of ['b-10000001', 'b-20000002']) {
      const { file } = await make(id, undefined, 'schedule');
      await rm(file);
      await core.rig.database.write.run((tx) => updateRows(tx, Backup, { id }, { host: 'another-machine' }));
    }
    expect(await backupsAt().prune()).toBe(0);
    await expect(remove('b-10000001')).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND', details: { host: 'another-machine' } });
    expect([await statusOf('b-10000001'), await statusOf('b-20000002')]).toEqual(['ready', 'ready']);
    await remove('b-10000001', { force: true });
    expect(await statusOf('b-10000001')).toBe('gone');
    expect(existsSync(dir)).toBe(true);
    const path = '/admin/backups/b-20000002';
    const admin = await loginOf(core.rig);
    expect((await core.rig.call('DELETE', path, admin)).status).toBe(404);
    expect((await core.rig.call('DELETE', `${path}?force=true`, admin)).status).toBe(200);
  });
});

describe('a restore', () => {
  async function archiveWith(contents: { workers?: object }, dir: string): Promise<RestoreRequest> {
    const key = await readBackupKey(identity);
    const file = join(dir, 'made-by-hand.age');
    const archive = await createArchive(file, key, join(dir, 'sums'));
    const header = { format: 1, backupId: 'b1', version: '1', takenAt: '2026-11-29T00:00:00.000Z', database: 'sqlite' };
    const rest = { migration: migrations.at(-1)!.name, serverVersion: null, parts: ['database'], isStopped: false };
    await archive.addText('backup.json', JSON.stringify({ ...header, ...rest }));
    await archive.addText('database.sqlite', 'no database');
    await archive.addText('secrets.json', JSON.stringify({ ENCRYPTION_KEYS: 'a:b' }));
    const numbers = { messages: 0, sessions: 0, media: { files: 0, bytes: 0 }, missingLogins: [] };
    await archive.addText('contents.json', JSON.stringify({ ...numbers, workers: {}, ...contents }));
    await archive.finish();
    const options = { databaseUrl: undefined, encryptionKeys: undefined, mode: 'copy' as const, startsSessions: true };
    return { file, key, dataDir: join(dir, 'data'), ...options, workerId: undefined };
  }

  test.each([
    ['../../../../victim', {}],
    ['worker-1', { '../../../victim': { savedAt: 1, fresh: true } }],
    ['.', {}],
    ['', {}],
  ])('of an archive whose table of contents names the worker %j touches nothing outside', async (id, logins) => {
    const base = await folder();
    const victim = join(base, 'victim');
    mkdirSync(victim);
    writeFileSync(join(victim, 'thesis.txt'), 'x');
    const request = await archiveWith({ workers: { [id]: { logins } } }, base);
    await expect(restoreBackup(request)).rejects.toMatchObject({ code: expect.stringMatching(/^ARCHIVE_/) });
    expect([existsSync(join(victim, 'thesis.txt')), existsSync(join(request.dataDir, restoringFolder))]).toEqual([true, false]);
  });

  test('that has begun is continued by the same command alone', async () => {
    const { make } = await start();
    const dir = await folder();
    const backup = await make('b-whole-000001', join(dir, 'whole.tar.gz.age'));
    const request = { ...(await archiveWith({}, dir)), file: backup.file, dataDir: join(dir, 'data') };
    const made = await restoreBackup(request);
    mkdirSync(join(dir, 'again', restoringFolder, 'files'), { recursive: true });
    writeFileSync(join(dir, 'again', restoringFolder, 'plan.json'), JSON.stringify(made));
    const again = { ...request, dataDir: join(dir, 'again') };
    for (const other of [
      { databaseUrl: 'postgres://127.0.0.1:1/none' },
      { file: join(dir, 'another.tar.gz.age') },
      { startsSessions: false },
      { workerId: 'worker-9' },
    ])
      await expect(restoreBackup({ ...again, ...other })).rejects.toMatchObject({
        code: expect.stringMatching(/^(NOT_EMPTY|WRONG_DATABASE)$/),
      });
    expect(existsSync(join(dir, 'again', restoringFolder, 'plan.json'))).toBe(true);
    expect((await restoreBackup(again)).header.backupId).toBe('b-whole-000001');
    const ofPostgres = { ...made, header: { ...made.header, database: 'postgres' } };
    mkdirSync(join(dir, 'third', restoringFolder, 'files'), { recursive: true });
    writeFileSync(join(dir, 'third', restoringFolder, 'plan.json'), JSON.stringify(ofPostgres));
    await expect(restoreBackup({ ...request, dataDir: join(dir, 'third') })).rejects.toMatchObject({ code: 'WRONG_DATABASE' });
  });
});
