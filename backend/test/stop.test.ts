import { afterEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Client } from 'pg';
import { postgresPort, postgresUrl } from '../../bench/src/database.js';
import { startBackend } from '../src/app/app.js';
import { readConfig } from '../src/config.js';
import { createDrain } from '../src/http/drain.js';
import { databases, hasPostgres, ownDatabase, serviceKey, startRig } from './support/backend.js';
import { dataOf, patient, startCore } from './support/core.js';
import { eventually } from './support/eventually.js';
import { silentLog } from './support/silent-log.js';

/** How one backend stops, whatever is open; whole processes are stopped in lifecycle.e2e.test.ts. */

const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

/** Writes to a port and then stands still. The other side's end is seen as `close`. */
async function standStill(url: string, text: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  sockets.add(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (text !== '') await new Promise((resolve) => socket.write(text, resolve));
  return socket;
}

/** Milliseconds that a stop took; its steps must all have ended in order. */
async function stopOf(backend: { close(): Promise<readonly string[]> }): Promise<number> {
  const from = performance.now();
  expect(await backend.close()).toEqual([]);
  return performance.now() - from;
}

const form = [
  '--edge',
  'Content-Disposition: form-data; name="recipient"',
  '',
  '+5511999990001',
  '--edge',
  'Content-Disposition: form-data; name="file"; filename="a.png"',
  'Content-Type: image/png',
  '',
  'x'.repeat(2000),
  '--edge--',
  '',
].join('\r\n');
const json = JSON.stringify({ recipient: '+5511999990001', message: 'Hello' });
const head = (key: string, path: string, more: string): string =>
  `POST /api/v1${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ApiKey ${key}\r\n${more}\r\n\r\n`;

test('requests that are cut off at any byte delay a stop by seconds at most', async () => {
  const core = await startCore();
  const { rig } = core;
  const samples = [
    head(rig.apiKey, '/messages/send-text', `Content-Type: application/json\r\nContent-Length: ${json.length}`) + json,
    head(rig.apiKey, '/messages/send-text', 'Content-Type: application/json\r\nTransfer-Encoding: chunked') +
      `${json.length.toString(16)}\r\n${json}\r\n0\r\n\r\n`,
    head(
      rig.apiKey,
      '/messages/send-media',
      `Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: ${form.length}`,
    ) + form,
    head('no-key', '/messages/send-media', 'Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 100000') +
      json,
    'GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  ];
  const cuts = fc.sample(
    fc.constantFrom(...samples).chain((text) => fc.integer({ min: 0, max: text.length - 1 }).map((at) => text.slice(0, at))),
    60,
  );
  const open = await Promise.all(cuts.map((text) => standStill(rig.url, text)));
  // What came before an answered request has been read by the server.
  for (let turn = 0; turn < 3; turn += 1) expect((await core.get('/messages/list')).status).toBe(200);
  const ended = Promise.all(open.map((socket) => new Promise((resolve) => socket.resume().once('close', resolve))));
  expect(await stopOf(rig)).toBeLessThan(6_000);
  await ended;
  await core.worker.close();
});

describe('the drain of an HTTP server', () => {
  const whole = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  const half = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf';
  const limits = { partialMs: 1000, requestMs: 3000 };
  const never = (req: IncomingMessage): void => void req.resume();
  const much = (req: IncomingMessage, res: ServerResponse): void => void (req.resume(), res.end(Buffer.alloc(64 * 1024 * 1024)));
  const soon = (req: IncomingMessage, res: ServerResponse): void => void (req.resume(), setTimeout(() => res.end('done'), 1500));

  test.each([
    ['an idle connection, at once', '', never, [0, 1000]],
    ['half a request line, at once', 'GET / HT', never, [0, 1000]],
    ['half the headers, at once', 'GET / HTTP/1.1\r\nHos', never, [0, 1000]],
    ['half a body, soon', half, never, [950, 3000]],
    ['a request that is answered in time, then', whole, soon, [1000, 3000]],
    ['a request that is never answered, at its limit', whole, never, [2900, 9000]],
    ['a reply that no client reads, at its limit', whole, much, [2900, 9000]],
  ] as const)('ends %s', async (_title, text, handle, [least, most]) => {
    const server = createHttpServer(handle).listen(0, '127.0.0.1');
    const drain = createDrain(server, limits);
    await once(server, 'listening');
    const arrived = text.endsWith('\r\n\r\n') || text === half ? once(server, 'request') : once(server, 'connection');
    const socket = await standStill(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, text);
    await arrived;
    let answer = '';
    if (handle === soon) socket.on('data', (bytes) => (answer += bytes.toString()));
    const from = performance.now();
    await drain.stop();
    const took = performance.now() - from;
    expect(took).toBeGreaterThanOrEqual(least);
    expect(took).toBeLessThan(most);
    if (handle === soon) await eventually('the answer', async () => answer.endsWith('done'));
  });
});

test('streams and sockets whose readers have stopped reading, and unread replies, do not delay the stop of a backend', async () => {
  const rig = await startRig();
  const key = `Authorization: ApiKey ${rig.apiKey}`;
  const socketKey = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==';
  const requests = [
    `GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\n${key}\r\n\r\n`,
    `GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n${key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${socketKey}\r\n\r\n`,
    // More than fits into the buffers of a connection: its answers wait in the process.
    `GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(40),
  ];
  for (const [index, request] of requests.entries()) {
    const socket = await standStill(rig.url, request);
    await once(socket, 'readable');
    expect(String(socket.read(12))).toBe(index === 1 ? 'HTTP/1.1 101' : 'HTTP/1.1 200');
  }
  expect(await stopOf(rig)).toBeLessThan(10_000);
});

test('a stop replies to callers that wait for a send: with the outcome of the running send, with `queued` for those behind it', async () => {
  const core = await startCore({ settings: { SEND_WAIT_MS: '25000', ...patient } });
  core.worker.script({ do: 'send', afterMs: 1200 });
  const first = core.send('The first.');
  await eventually('the first to be with the worker', async () => core.worker.puts.length === 1);
  const second = core.send('The second.');
  await eventually(
    'the second to be accepted',
    async () => ((await core.get('/messages/list')).body.data as object[]).length === 2,
  );
  expect(await stopOf(core.rig)).toBeLessThan(6_000);
  expect([(await first).status, dataOf(await first).status]).toEqual([200, 'sent']);
  expect([(await second).status, dataOf(await second).status]).toEqual([202, 'queued']);
  await core.worker.close();
});

/** The files below a folder that this process holds open. */
async function openBelow(dir: string): Promise<string[]> {
  const handles = await readdir('/proc/self/fd');
  const targets = await Promise.all(handles.map((handle) => readlink(`/proc/self/fd/${handle}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(dir));
}

async function connectionsTo(url: string): Promise<number> {
  const client = new Client({ connectionString: `${postgresUrl}/postgres` });
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('SELECT pid FROM pg_stat_activity WHERE datname = $1', [
    new URL(url).pathname.slice(1),
  ]);
  await client.end();
  return rows.length;
}

describe.each(await databases())('on %s', (kind) => {
  test('a start that fails when all but the port was opened closes everything that it opened', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-stop-'));
    const own = kind === 'postgres' ? await ownDatabase() : null;
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    const env = { DATA_DIR: dataDir, SERVICE_API_KEY: serviceKey, WORKER_URLS: 'http://127.0.0.1:9' };
    const config = readConfig({ ...env, ...(own ? { DATABASE_URL: own.url } : {}) }, dataDir);
    await expect(startBackend(config, { log: silentLog, port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await openBelow(dataDir)).toEqual([]);
    if (own) await eventually('every connection to be closed', async () => (await connectionsTo(own.url)) === 0);
    const backend = await startBackend(config, { log: silentLog, port: 0 });
    expect(await backend.close()).toEqual([]);
    holder.close();
    // Refused by the server while a connection is left behind: without FORCE.
    await own?.drop();
    await rm(dataDir, { recursive: true });
  });
});

/** A line to PostgreSQL that can stand still: connections stay open, and no byte passes. */
async function openLine(target: number) {
  const ends = new Set<Socket>();
  let isFrozen = false;
  let swallowed = 0;
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      ends.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => other.destroy());
      socket.on('data', (bytes) => {
        if (isFrozen) swallowed += bytes.length;
        else other.write(bytes);
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    freeze: () => void (isFrozen = true),
    swallowed: () => swallowed,
    close(): void {
      for (const socket of ends) socket.destroy();
      server.close();
    },
  };
}

const withPostgres = (await hasPostgres()) ? test : test.skip;
withPostgres(
  'a backend whose database stands still stops within its bound',
  async () => {
    const own = await ownDatabase();
    const line = await openLine(postgresPort);
    const url = new URL(own.url);
    url.port = String(line.port);
    const rig = await startRig({ databaseUrl: url.href });
    line.freeze();
    const waiting = rig.call('GET', '/messages/list').catch(() => null);
    await eventually('a question to the database that gets no answer', async () => line.swallowed() > 0);
    const from = performance.now();
    await rig.close();
    expect(performance.now() - from).toBeLessThan(20_000);
    line.close();
    await waiting;
    await own.drop();
  },
  60_000,
);
