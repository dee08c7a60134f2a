import { afterEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { FailPoint } from '@chasqui/shared/fail-point';
import { freePort } from '../../../bench/src/ports.js';
import { newBackupKey } from '../../src/backups/archive/key.js';
import { Backup } from '../../src/backups/backup.entity.js';
import { openDatabase } from '../../src/db/database.js';
import { Message } from '../../src/messages/message.entity.js';
import { databases, ownDatabase, serviceKey, startRig } from '../support/backend.js';
import { dataOf, startCore, type Core } from '../support/core.js';

/** The program of backups is killed at each of its fail points; the next one finishes what it left, or deletes it. */

const program = resolve(import.meta.dirname, '../../dist/backup.js');
const backend = resolve(import.meta.dirname, '../../dist/main.js');
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'chasqui-killed-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs the program of backups, or the one in `args`, which dies at a fail point if one is given, when it passes it for the `pass`th time. */
function run(
  args: string[],
  env: NodeJS.ProcessEnv,
  point?: FailPoint,
  pass = 1,
): Promise<{ code: number | null; signal: string | null; output: string }> {
  const orders = join(folder(), 'order.json');
  if (point) writeFileSync(orders, JSON.stringify({ id: point, point, pass, victims: ['self'] }));
  const child = spawn(process.execPath, args[0] === backend ? args : [program, ...args], {
    env: { ...env, ...(point ? { CHASQUI_FAIL_POINTS: orders } : {}) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  return new Promise((done) => child.once('close', (code, signal) => done({ code, signal, output })));
}

async function installation(database: 'sqlite' | 'postgres', texts: readonly string[] = ['one', 'two', 'three']) {
  const core = await startCore({ database });
  cleanups.push(() => core.close());
  await core.post('/sessions/disconnect', { sessionId: core.sessionId });
  for (const text of texts) dataOf(await core.send(text, { queueIfOffline: true, async: true }));
  const { identity } = await newBackupKey();
  const backups = folder();
  const env = {
    PATH: process.env['PATH'],
    DATA_DIR: core.rig.dataDir,
    SERVICE_API_KEY: serviceKey,
    BACKUP_KEY: identity,
    BACKUP_DIR: backups,
    ...(core.rig.databaseUrl ? { DATABASE_URL: core.rig.databaseUrl } : {}),
  };
  return { core, identity, backups, env };
}

/** Returns an empty place to restore to: the environment of the program, and the options of `startRig`. */
async function emptyInstallation(database: 'sqlite' | 'postgres', identity: string) {
  const target = database === 'postgres' ? await ownDatabase() : null;
  if (target) cleanups.push(target.drop);
  const dataDir = folder();
  return {
    bare: { PATH: process.env['PATH'], DATA_DIR: dataDir, BACKUP_KEY: identity, ...(target ? { DATABASE_URL: target.url } : {}) },
    place: { dataDir, ...(target ? { databaseUrl: target.url } : {}) },
  };
}

const rowsOf = (core: Core) => core.rig.database.reader.getRepository(Backup).find({ order: { createdAt: 'ASC' } });

test('a check of a backup without a file, of a folder, and of a file that is not there says so', async () => {
  const { identity } = await newBackupKey();
  const dir = folder();
  const env = { PATH: process.env['PATH'], DATA_DIR: dir, SERVICE_API_KEY: serviceKey, BACKUP_KEY: identity };
  for (const [args, sentence] of [
    [[], /Name the file/],
    [[dir], /A folder is named where a file is expected/],
    [[join(dir, 'nothing')], /There is no file/],
  ] as const) {
    const { code, output } = await run(['verify', ...args], env);
    expect([code, output]).toEqual([1, expect.stringMatching(sentence)]);
    expect(output).not.toMatch(/ at .*\.js/);
  }
});

describe.each(await databases())('on %s', (database) => {
  test.each(['backup.snapshot', 'backup.written', 'backup.named'] as const)(
    'a backup that is killed at %s leaves nothing that looks whole and is not, and the next one is made',
    async (point) => {
      const { core, backups, env } = await installation(database);
      expect(await run(['create'], env, point)).toMatchObject({ signal: 'SIGKILL' });
      expect(await run(['create'], env)).toMatchObject({ code: 0 });
      const rows = await rowsOf(core);
      expect(rows.map(({ status }) => status).filter((status) => status === 'running')).toEqual([]);
      expect(rows.at(-1)!.status).toBe('ready');
      const ready = rows.filter(({ status }) => status === 'ready').map(({ file }) => file);
      const files = readdirSync(backups).filter((name) => !name.startsWith('.') || name.startsWith('.work'));
      expect(files.filter((name) => name.endsWith('.age')).sort()).toEqual(
        ready.map((file) => file.slice(backups.length + 1)).sort(),
      );
      expect(files.filter((name) => /partial|work/.test(name))).toEqual([]);
      for (const file of ready) expect(await run(['verify', file], env)).toMatchObject({ code: 0 });
    },
    120_000,
  );

  const points = [
    'restore.extracted',
    'restore.checked',
    ...(database === 'postgres' ? ['restore.loaded'] : []),
    'restore.moved',
  ] as FailPoint[];
  test.each(points)(
    'a restore that is killed at %s keeps a backend from starting, and the same command finishes it',
    async (point) => {
      const { core, backups, env, identity } = await installation(database);
      const file = join(backups, 'one.age');
      expect(await run(['create', '--to', file], env)).toMatchObject({ code: 0 });
      const count = await core.rig.database.reader.getRepository(Message).count();
      expect(count).toBe(3);
      const { bare, place } = await emptyInstallation(database, identity);
      expect(await run(['restore', file], bare, point)).toMatchObject({ signal: 'SIGKILL' });
      await expect(startRig(place)).rejects.toThrow('was not finished');
      expect(await run(['restore', file], bare)).toMatchObject({ code: 0 });
      expect(existsSync(join(place.dataDir, '.restoring'))).toBe(false);
      const rig = await startRig(place);
      cleanups.push(() => rig.close());
      expect(await rig.database.reader.getRepository(Message).count()).toBe(count);
      // What waited is settled once, and not sent.
      expect((await rig.database.reader.getRepository(Message).find()).map(({ status }) => status)).toEqual(
        Array(count).fill('uncertain'),
      );
    },
    120_000,
  );

  test('a backend that is killed while it settles the messages of a restored backup settles the rest at its next start', async () => {
    // More than two batches of a hundred.
    const texts = Array.from({ length: 230 }, (_, number) => `message ${number}`);
    const { backups, env, identity } = await installation(database, texts);
    const file = join(backups, 'one.age');
    expect(await run(['create', '--to', file], env)).toMatchObject({ code: 0 });
    const { bare, place } = await emptyInstallation(database, identity);
    expect(await run(['restore', file], bare)).toMatchObject({ code: 0 });
    const started = { ...bare, NODE_ENV: 'production', PORT: String(await freePort()), WORKER_URLS: 'http://127.0.0.1:9' };
    expect(await run([backend], started, 'restore.settled', 2)).toMatchObject({ signal: 'SIGKILL' });
    const open = await openDatabase(
      place.databaseUrl ? { url: place.databaseUrl } : { file: join(place.dataDir, 'chasqui.sqlite') },
    );
    const statuses = (await open.reader.getRepository(Message).find()).map(({ status }) => status);
    await open.close();
    expect(statuses.filter((status) => status === 'uncertain')).toHaveLength(200);
    const rig = await startRig(place);
    cleanups.push(() => rig.close());
    const messages = await rig.database.reader.getRepository(Message).find();
    expect(messages.map(({ status, reasonCode, attempts }) => ({ status, reasonCode, attempts }))).toEqual(
      texts.map(() => ({ status: 'uncertain', reasonCode: 'RESTORED', attempts: 1 })),
    );
  }, 120_000);
});
