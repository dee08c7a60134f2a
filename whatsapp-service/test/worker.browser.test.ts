import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId, reserveWhatsappId, type Heartbeat, type OutletEvent } from '@chasqui/shared';
import { startSimulator, type Simulator } from '@chasqui/simulator';
import { startWorker, type Worker } from '../src/app/app.js';
import { readConfig } from '../src/config.js';
import { browsersOn } from '../src/sessions/profiles.js';
import { ana, me, png, sha256, until } from './engine/harness.js';
import { createTestLog } from './memory-engine.js';

/** The whole worker with real Chromium and the unmodified library, against the simulator. In order, on one folder: each test goes on from the last. */

const key = 'k3Yp7Qx9Zr2Tb5Vn8Wm4Lc6Jd1Hg0Sf-worker-test';
const sessionId = newId();
let dir: string;
let simulator: Simulator;
let backend: Server;
let worker: Worker;
const events: OutletEvent[] = [];

async function start(): Promise<void> {
  const { port } = backend.address() as AddressInfo;
  const env = {
    SERVICE_API_KEY: key,
    DATA_DIR: dir,
    BACKEND_URL: `http://127.0.0.1:${port}`,
    BROWSER_PATH: process.env['BROWSER_PATH'],
    BROWSER_ARGS: JSON.stringify(simulator.browserArgs),
    PROBE_SECONDS: '1',
    HEARTBEAT_SECONDS: '0.5',
  };
  worker = await startWorker({ ...readConfig(env, dir), port: 0 }, { log: createTestLog() });
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-worker-'));
  simulator = await startSimulator();
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  await simulator.client.createAccount({ phone: ana, name: 'Ana' });
  backend = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as { events?: OutletEvent[] } & Heartbeat;
      if (body.events) events.push(...body.events);
      const expiresAt = new Date().toISOString();
      const data = body.events
        ? { ackCursor: body.events.at(-1)!.cursor, refused: [], resend: [] }
        : {
            leases: body.sessions.map((session) => ({ sessionId: session.sessionId, epoch: session.epoch, expiresAt })),
            desired: [],
            revoke: [],
          };
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ success: true, data, requestId: 'r' }));
    });
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  await start();
}, 60_000);

afterAll(async () => {
  await worker?.close();
  await simulator?.close();
  backend?.closeAllConnections();
  backend?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

async function call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const headers = { 'X-API-Key': key, ...(body && !(body instanceof FormData) ? { 'content-type': 'application/json' } : {}) };
  const payload = (body instanceof FormData ? body : JSON.stringify(body)) as string;
  const response = await fetch(worker.url + path, { method, headers, ...(body ? { body: payload } : {}) });
  const answer = (await response.json()) as { data?: Record<string, unknown>; error?: object };
  if (!answer.data) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}
const init = () => call('POST', '/api/session/init', { sessionId, epoch: 1 });
const status = async (): Promise<unknown> => (await call('GET', `/api/session/status/${sessionId}`))['status'];
const connected = () => until('connected', async () => (await status()) === 'connected');
const profile = (): string => join(dir, 'worker', 'profiles', sessionId);
const codes = (): number => events.filter(({ type }) => type === 'session.qr').length;
const received = async (match: (got: { key: string; text?: string | null }) => boolean): Promise<number> =>
  (await simulator.client.received({ phone: ana })).filter(match).length;

describe('the worker', () => {
  test('two inits at once lead to one browser, a code, and by a scan to connected', async () => {
    await Promise.all([init(), init()]);
    const observed = await until(
      'a code',
      async () => {
        const session = await call('GET', `/api/session/status/${sessionId}`);
        return session['qrText'] ? session : null;
      },
      30_000,
    );
    expect(await parentless(await browsersOn(profile()))).toHaveLength(1);
    await simulator.client.scan({ qr: String(observed['qrText']), phone: me });
    await connected();
    await until('the events', () => events.some(({ payload }) => payload['status'] === 'connected'));
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, i) => i + 1));
  }, 90_000);

  test('a text arrives once, however often it is sent', async () => {
    const body = { sessionId, recipient: ana, message: 'once', messageId: newId() };
    const first = await call('POST', '/api/message/send-text', body);
    expect(first).toMatchObject({ outcome: 'sent' });
    expect(await call('POST', '/api/message/send-text', body)).toEqual(first);
    expect(await received(({ text }) => text === 'once')).toBe(1);
  }, 30_000);

  test('a picture arrives byte for byte, under the reserved id', async () => {
    const form = new FormData();
    const messageId = newId();
    for (const [name, value] of Object.entries({ sessionId, recipient: ana, type: 'image', messageId, caption: 'a picture' }))
      form.set(name, value);
    form.set('file', new Blob([new Uint8Array(png)], { type: 'image/png' }), 'a.png');
    expect(await call('POST', '/api/message/send-media', form)).toMatchObject({ outcome: 'sent' });
    const [got] = (await simulator.client.received({ phone: ana })).filter(({ caption }) => caption === 'a picture');
    expect(got).toMatchObject({ key: reserveWhatsappId(sessionId, messageId), mediaSha256: sha256(png) });
  }, 30_000);

  test('an inbound message is emitted once', async () => {
    const { key: sent } = await simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'hello' });
    const emitted = (): OutletEvent[] =>
      events.filter(({ payload }) => (payload['message'] as { key?: string } | undefined)?.key === sent);
    await until('the event', () => emitted().length > 0);
    expect(emitted()).toHaveLength(1);
  }, 30_000);

  test('a killed browser returns without a scan, and messages from meanwhile are emitted', async () => {
    const before = codes();
    const [root] = await parentless(await browsersOn(profile()));
    process.kill(root!, 'SIGKILL');
    await until('the loss', async () => (await status()) !== 'connected');
    const { key: sent } = await simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'meanwhile' });
    await connected();
    expect(codes()).toBe(before);
    await until(
      'the message',
      () => events.some(({ payload }) => (payload['message'] as { key?: string } | undefined)?.key === sent),
      15_000,
    );
    expect(await parentless(await browsersOn(profile()))).toHaveLength(1);
  }, 90_000);

  test('a stop leaves no process, and a new worker on the folder connects without a scan and still has its send records', async () => {
    const before = codes();
    const body = { sessionId, recipient: ana, message: 'over the restart', messageId: newId() };
    await call('POST', '/api/message/send-text', body);
    await worker.close();
    expect(await browsersOn(profile())).toEqual([]);
    await start();
    await init();
    await connected();
    expect(codes()).toBe(before);
    expect(await call('POST', '/api/message/send-text', body)).toMatchObject({ outcome: 'sent' });
    expect(await received(({ text }) => text === 'over the restart')).toBe(1);
  }, 90_000);

  test('a logout by the phone ends it and deletes the login', async () => {
    await simulator.client.phoneLogout({ phone: me });
    await until('the end', async () => (await status()) === 'disconnected');
    expect(await call('GET', `/api/session/status/${sessionId}`)).toMatchObject({ reason: { code: 'LOGGED_OUT_BY_PHONE' } });
    await until('no browser', async () => (await browsersOn(profile())).length === 0);
  }, 60_000);
});

/** Of these processes, those whose parent is none of them: the browser itself, not its helpers. */
async function parentless(pids: readonly number[]): Promise<number[]> {
  const parents = await Promise.all(
    pids.map(async (pid) =>
      Number((await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') x 0')).split(') ')[1]!.split(' ')[1]),
    ),
  );
  return pids.filter((_, i) => !pids.includes(parents[i]!));
}
