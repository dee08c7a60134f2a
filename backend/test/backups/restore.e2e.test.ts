import { afterAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createProcesses, environment, eventually, startStack, type Answer, type Stack } from '../../../bench/src/stack.js';
import { freePort } from '../../../bench/src/ports.js';
import { newBackupKey } from '../../src/backups/archive/key.js';
import { hasPostgres, ownDatabase } from '../support/backend.js';

/**
 * An installation is used, backed up while it runs, and goes on; the backup is restored into an empty folder on other ports. Both real processes,
 * real Chromium, the simulator as WhatsApp and as the other phone.
 */

const ana = '5511999990001';
const me = '5511988887777';
const program = resolve(import.meta.dirname, '../../dist/backup.js');
const settings = {
  SEND_RATE_PER_MINUTE: '0',
  HEARTBEAT_SECONDS: '1',
  PROBE_SECONDS: '1',
  UNCERTAIN_GRACE_MS: '1000',
  LEASE_SECONDS: '5',
  PANEL_ENABLED: 'false',
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
};
const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
}, 60_000);

interface MessageBody {
  id: string;
  status: string;
  text: string | null;
  direction: string;
  reason: { code: string } | null;
}

/** Runs the program of backups. Resolves to its exit code and output. */
async function run(args: string[], env: NodeJS.ProcessEnv): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  return new Promise((done) => child.once('close', (code) => done({ code, output })));
}

const databases = (await hasPostgres()) ? ['sqlite', 'postgres'] : ['sqlite'];

describe.each(databases)('a backup of a used installation on %s', (database) => {
  test('comes back elsewhere with its history, keys, files and logins, and doubles nothing', async () => {
    const own = database === 'postgres' ? await ownDatabase() : null;
    const target = database === 'postgres' ? await ownDatabase() : null;
    if (own) cleanups.push(own.drop);
    if (target) cleanups.push(target.drop);
    const { identity } = await newBackupKey();
    const backups = mkdtempSync(join(tmpdir(), 'chasqui-backups-'));
    cleanups.push(() => rmSync(backups, { recursive: true, force: true }));
    const stack = await startStack({
      settings: { ...settings, BACKUP_KEY: identity, BACKUP_DIR: backups },
      ...(own ? { databaseUrl: own.url } : {}),
    });
    cleanups.push(() => stack.close());
    const { client } = stack.simulator;
    const received = async () => (await client.received({ phone: ana })).map(({ text }) => text);
    await use(stack);
    const file = join(backups, 'one.tar.gz.age');
    const env = { ...stackEnv(stack, backups, identity), ...(own ? { DATABASE_URL: own.url } : {}) };

    // A message that waits at the time of the backup, and is sent by the first installation after it.
    await stack.api('POST', '/sessions/current/disconnect');
    const waiting = await stack.api<MessageBody>('POST', '/messages/send-text', {
      recipient: `+${ana}`,
      message: 'waits',
      queueIfOffline: true,
    });
    expect([waiting.status, waiting.body.data.status]).toEqual([202, 'queued']);
    const made = await run(['create', '--to', file], env);
    expect(made).toMatchObject({ code: 0, output: expect.stringContaining('It was read back and is whole.') });
    expect(made.output).toContain('1 logins');
    const history = (await stack.api<MessageBody[]>('GET', '/messages/list?limit=100')).body.data;
    await stack.api('POST', '/sessions/init');
    await eventually('the first installation to send it', async () => (await received()).includes('waits'));
    await stack.end('worker', 'SIGTERM');
    await stack.end('backend', 'SIGTERM');

    // Nothing but the file and the key is left of the first installation.
    const dataDir = mkdtempSync(join(tmpdir(), 'chasqui-restored-'));
    cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const bare = {
      PATH: process.env['PATH'],
      DATA_DIR: dataDir,
      BACKUP_KEY: identity,
      ...(target ? { DATABASE_URL: target.url } : {}),
    };
    expect(await run(['restore', file], bare)).toMatchObject({ code: 0 });
    expect(readdirSync(dataDir)).toEqual(expect.arrayContaining(['media', 'secrets.json', 'worker']));
    const second = await startRestored(stack, dataDir, target?.url);
    cleanups.push(second.close);

    // It was disconnected when the backup was made. No code is scanned here.
    expect((await second.api('POST', '/sessions/init')).status).toBeLessThan(300);
    const connected = async () => (await second.api('GET', '/sessions/status')).body.data?.['isConnected'] === true;
    await eventually('the session to connect without a scan', connected, 60_000);
    const restored = (await second.api<MessageBody[]>('GET', '/messages/list?limit=100')).body.data;
    const withoutWaiting = (list: MessageBody[]) => list.filter(({ id }) => id !== waiting.body.data.id);
    expect(withoutWaiting(restored).map(({ id, text }) => [id, text])).toEqual(
      withoutWaiting(history).map(({ id, text }) => [id, text]),
    );
    const photo = restored.find(({ text }) => text === 'a photo')!;
    const media = await fetch(`${second.url}/api/v1/messages/${photo.id}/media`, { headers: second.headers });
    expect([media.status, (await media.arrayBuffer()).byteLength]).toEqual([200, png.length]);
    // It was sent between the backup and the restore: found under its reserved id, or held; never sent once more.
    await eventually('the waiting message to be settled', async () => {
      const { status, reason } = (await second.api<MessageBody>('GET', `/messages/${waiting.body.data.id}`)).body.data;
      return /^(sent|delivered|read)$/.test(status) || (status === 'uncertain' && reason?.code === 'RESTORED');
    });
    const again = await second.api<MessageBody>('POST', '/messages/send-text', {
      recipient: `+${ana}`,
      message: 'from the second one',
    });
    expect([200, 202]).toContain(again.status);
    await eventually('a new message to arrive', async () => (await received()).includes('from the second one'));
    await client.deliver({ from: ana, to: me, type: 'text', text: 'still there?' });
    await eventually('an answer to arrive', async () =>
      (await second.api<MessageBody[]>('GET', '/messages/list?direction=inbound')).body.data.some(
        ({ text }) => text === 'still there?',
      ),
    );
    const texts = await received();
    expect(texts.filter((text) => text === 'waits')).toHaveLength(1);
    expect(new Set(texts).size).toBe(texts.length);
  }, 240_000);
});

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

/** Links a phone, sends a text and a photo, receives an answer. */
async function use(stack: Stack): Promise<void> {
  const { client } = stack.simulator;
  await client.createAccount({ phone: me, name: 'Shop' });
  await client.createAccount({ phone: ana, name: 'Ana', autoRead: false });
  await stack.api('POST', '/sessions/init');
  const qr = await eventually(
    'a code',
    async () => (await stack.api<{ qrText: string } | null>('GET', '/sessions/current/qr')).body.data?.qrText,
    60_000,
  );
  await client.scan({ qr, phone: me });
  await eventually(
    'the session to be connected',
    async () => (await stack.api('GET', '/sessions/status')).body.data?.['isConnected'] === true,
    60_000,
  );
  expect((await stack.api('POST', '/messages/send-text', { recipient: `+${ana}`, message: 'first' })).status).toBeLessThan(300);
  const form = new FormData();
  form.set('recipient', ana);
  form.set('type', 'image');
  form.set('caption', 'a photo');
  form.set('file', new Blob([png], { type: 'image/png' }), 'photo.png');
  expect((await stack.api('POST', '/messages/send-media', form)).status).toBeLessThan(300);
  await client.deliver({ from: ana, to: me, type: 'text', text: 'hello' });
  await eventually('an inbound message', async () =>
    (await stack.api<MessageBody[]>('GET', '/messages/list?direction=inbound')).body.data.some(({ text }) => text === 'hello'),
  );
  await eventually('both to be delivered', async () =>
    (await stack.api<MessageBody[]>('GET', '/messages/list?direction=outbound')).body.data.every(
      ({ status }) => status === 'delivered',
    ),
  );
}

/** The environment of the first installation, as its backend has it. */
function stackEnv(stack: Stack, backups: string, identity: string): NodeJS.ProcessEnv {
  const ports = { port: Number(new URL(stack.urls.backend).port), workerPort: Number(new URL(stack.urls.worker).port) };
  const options = { settings: { ...settings, BACKUP_KEY: identity, BACKUP_DIR: backups } };
  return environment({ dataDir: stack.dataDir, ...ports, browserArgs: stack.simulator.browserArgs, options });
}

/** Starts both processes on a restored folder, with new ports and no secret in the environment: the backup brings them. */
async function startRestored(stack: Stack, dataDir: string, databaseUrl: string | undefined) {
  const [port, workerPort] = [await freePort(), await freePort()];
  const { ENCRYPTION_KEYS: _sealed, ...plain } = settings;
  const options = { settings: plain, ...(databaseUrl ? { databaseUrl } : {}) };
  const env = environment({ dataDir, port, workerPort, browserArgs: stack.simulator.browserArgs, options });
  const { SERVICE_API_KEY, JWT_SECRET: _jwt, COOKIE_SECRET: _cookie, ...bare } = env;
  const url = `http://127.0.0.1:${port}`;
  const urls = { backend: url, worker: `http://127.0.0.1:${workerPort}` };
  const backend = createProcesses(bare, urls);
  await backend.start('backend');
  const worker = createProcesses({ ...bare, SERVICE_API_KEY }, urls);
  await worker.start('worker');
  const headers = { authorization: `ApiKey ${stack.key()}` };
  return {
    url,
    headers,
    async api<T = Record<string, unknown>>(method: string, path: string, body?: object): Promise<Answer<T>> {
      const answer = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: { ...headers, ...(body ? { 'content-type': 'application/json' } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Answer<T>['body'] };
    },
    close: async () => {
      await worker.end('worker', 'SIGTERM');
      await backend.end('backend', 'SIGTERM');
    },
  };
}
