import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rows } from '../lib/checkup.mjs';
import { isNodeNewEnough } from '../lib/node-version.mjs';
import { firstAdmin } from '../lib/launch.mjs';
import { forPeople, openLogFile } from '../lib/log-file.mjs';
import { requireFreePort } from '../lib/ports.mjs';
import { environmentsFor } from '../lib/prepare.mjs';
import { root } from '../lib/paths.mjs';
import { claimDataDir } from '../lib/run-record.mjs';
import { takeSystemLock } from '../lib/system-lock.mjs';

let folder;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'chasqui-launch-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ['18.20.4', false],
  ['20.18.3', false],
  ['20.19.0', true],
  ['22.0.0', true],
  ['24.1.0', true],
])('Node %s is new enough: %s', (version, expected) => expect(isNodeNewEnough(version)).toBe(expected));

test('the line with the one-time password is removed from the log; others are not', () => {
  const admin = firstAdmin();
  expect(admin.takes('{"level":"info","message":"started"}')).toBe(false);
  expect(admin.found()).toBeNull();
  expect(admin.takes('{"chasqui":"first-admin","email":"a@b.c","password":"p","apiKey":"k"}')).toBe(true);
  expect(admin.found()).toMatchObject({ email: 'a@b.c', password: 'p', apiKey: 'k' });
});

test('people see warnings and errors with their fields, not the rest', () => {
  expect(forPeople('{"level":"info","message":"request","status":200}')).toBeNull();
  expect(forPeople('')).toBeNull();
  expect(forPeople('{"level":"warn","message":"Session lost","timestamp":"x","sessionId":"s1","deep":{"a":1}}')).toEqual({
    level: 'warn',
    text: 'Session lost  (sessionId=s1)',
  });
  expect(forPeople('Error: at once')).toEqual({ level: 'plain', text: 'Error: at once' });
});

test('a log file that is full becomes .1, and the oldest is dropped', () => {
  const file = join(folder, 'logs/worker.log');
  const log = openLogFile(file, { maxBytes: 10, keep: 2 });
  for (const line of ['first___', 'second__', 'third___', 'fourth__']) log.write(line);
  log.close();
  expect(readdirSync(join(folder, 'logs'))).toEqual(['worker.log', 'worker.log.1', 'worker.log.2']);
  expect(['', '.1', '.2'].map((end) => readFileSync(file + end, 'utf8').trim())).toEqual(['fourth__', 'third___', 'second__']);
});

test('a port in use is an error that names the port and the setting', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await expect(requireFreePort({ port, host: '127.0.0.1', setting: 'WORKER_PORT' })).rejects.toMatchObject({
    message: expect.stringContaining(`Port ${port} is in use`),
    nextStep: expect.stringContaining(`WORKER_PORT=${port + 1}`),
  });
  server.close();
  await once(server, 'close');
  await requireFreePort({ port, host: '127.0.0.1', setting: 'WORKER_PORT' });
});

test('a record that is damaged, or names processes that are gone or not ours, does not stop a start', async () => {
  const claim = async () => (await claimDataDir(folder)).release();
  await claim();
  for (const text of [
    '{"pid":',
    'null',
    '{"pid":1.5,"parts":7}',
    JSON.stringify({ pid: process.ppid, parts: { backend: 2 ** 22 + 1, worker: process.ppid } }),
    JSON.stringify({ pid: process.ppid, parts: { backend: { pid: 2 ** 22 + 1, start: '1' }, worker: { pid: -1 }, other: null } }),
  ]) {
    writeFileSync(join(folder, 'run.json'), text);
    await claim();
  }
});

test('the doctor finds the database of a running Chasqui whole, and does not touch its locks', async () => {
  const Sqlite = createRequire(join(root, 'backend/package.json'))('better-sqlite3');
  const locks = ['run', 'backend'].map((name) => takeSystemLock(join(folder, `${name}.lock.sqlite`)));
  const database = new Sqlite(join(folder, 'chasqui.sqlite'));
  database.exec('CREATE TABLE t (a)');
  const { look } = rows.find(({ name }) => name === 'Database');
  expect(await look({ env: { DATA_DIR: folder } })).toMatchObject({ ok: true, found: 'SQLite, chasqui.sqlite: whole' });
  database.close();
  for (const lock of locks) lock.release();
});

const table = {
  SERVICE_API_KEY: { secret: true, aliases: ['NODE_SERVICE_API_KEY'] },
  JWT_SECRET: { secret: true },
  METRICS_TOKEN: { secret: true },
  DATABASE_URL: { secret: true, aliases: ['PG_URL'] },
  WORKER_URLS: { aliases: ['NODE_SERVICE_URL'] },
};
const settings = {
  NODE_ENV: 'production',
  HOST: '0.0.0.0',
  PORT: 1,
  WORKER_HOST: '127.0.0.1',
  WORKER_PORT: 2,
  BROWSER_PROFILE: 'lean',
};
const prepared = (env) => ({
  env,
  table,
  settings,
  browser: { path: '/browser' },
  dataDir: '/data',
  secrets: { SERVICE_API_KEY: 'made', JWT_SECRET: 'made' },
});

test('the worker gets the service key and the token of metrics, and no other secret', () => {
  const { backend, worker } = environmentsFor(prepared({ PG_URL: 'postgres://x', METRICS_TOKEN: 'reads' }));
  expect(backend).toMatchObject({
    SERVICE_API_KEY: 'made',
    JWT_SECRET: 'made',
    PG_URL: 'postgres://x',
    BACKEND_URL: 'http://127.0.0.1:1',
  });
  expect(worker).toMatchObject({ SERVICE_API_KEY: 'made', METRICS_TOKEN: 'reads', DATA_DIR: '/data', BROWSER_PATH: '/browser' });
  expect(Object.keys(worker)).not.toEqual(expect.arrayContaining(['JWT_SECRET']));
  expect(worker).not.toHaveProperty('PG_URL');
});

test('a setting of the environment, also under another name, is not overridden', () => {
  const { backend } = environmentsFor(
    prepared({ NODE_SERVICE_API_KEY: 'mine', JWT_SECRET: 'mine', NODE_SERVICE_URL: 'http://w:1' }),
  );
  expect(backend).toMatchObject({ NODE_SERVICE_API_KEY: 'mine', JWT_SECRET: 'mine', NODE_SERVICE_URL: 'http://w:1' });
  expect(backend).not.toHaveProperty('SERVICE_API_KEY');
  expect(backend).not.toHaveProperty('WORKER_URLS');
});
