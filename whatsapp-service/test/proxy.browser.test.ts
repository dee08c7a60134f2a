import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId, type Heartbeat, type OutletEvent, type WorkerSettings } from '@chasqui/shared';
import { startSimulator, type Proxy, type ProxyOptions, type Simulator } from '@chasqui/simulator';
import { startWorker, type Worker } from '../src/app/app.js';
import { readConfig } from '../src/config.js';
import { browsersOn } from '../src/sessions/profiles.js';
import { ana, me, until } from './engine/harness.js';
import { createTestLog } from './memory-engine.js';

/**
 * Sessions behind proxies: the whole worker with real Chromium, against the simulator, which knows from where each connection came. The arguments of the
 * browser also lead straight to the simulator, so a connection past the proxy would arrive there.
 */

const key = 'k3Yp7Qx9Zr2Tb5Vn8Wm4Lc6Jd1Hg0Sf-proxy-test';
const password = 'pr0xy-Passw0rd-that-nothing-shows';
const login = { username: 'shop', password };
let dir: string;
let simulator: Simulator;
let backend: Server;
let worker: Worker;
let sessionId: string;
const log = createTestLog();
const events: OutletEvent[] = [];
const closings: (() => Promise<unknown> | void)[] = [];
/** The settings that the backend sends with each heartbeat, by session. */
const settings = new Map<string, WorkerSettings>();

const answerTo = ({ events: told, sessions }: { events?: OutletEvent[] } & Heartbeat): object => {
  if (told) events.push(...told);
  if (told) return { ackCursor: told.at(-1)!.cursor, refused: [], resend: [] };
  const expiresAt = new Date().toISOString();
  const leases = sessions.map(({ sessionId: id, epoch }) => ({ sessionId: id, epoch, expiresAt, settings: settings.get(id) }));
  return { leases, desired: [], revoke: [] };
};

/** The page of the newest browser, which the library keeps to itself. */
interface Started {
  pupPage: { evaluate: (script: string) => Promise<unknown> };
}
let newest: Started | null = null;
const { Client } = createRequire(import.meta.url)('whatsapp-web.js') as {
  Client: { prototype: { initialize(this: Started): Promise<void> } };
};
const { initialize } = Client.prototype;
Client.prototype.initialize = function () {
  newest = this;
  return initialize.call(this);
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-proxy-'));
  simulator = await startSimulator();
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  await simulator.client.createAccount({ phone: ana, name: 'Ana' });
  backend = createHttpServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const data = answerTo(JSON.parse(Buffer.concat(chunks).toString()) as Heartbeat);
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ success: true, data, requestId: 'r' }));
    });
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const env = {
    SERVICE_API_KEY: key,
    DATA_DIR: dir,
    BACKEND_URL: `http://127.0.0.1:${(backend.address() as AddressInfo).port}`,
    BROWSER_PATH: process.env['BROWSER_PATH'],
    BROWSER_ARGS: JSON.stringify(simulator.browserArgs),
    EGRESS_ALLOW: '127.0.0.0/8',
    PROBE_SECONDS: '1',
    HEARTBEAT_SECONDS: '0.5',
  };
  worker = await startWorker({ ...readConfig(env, dir), port: 0 }, { log });
}, 60_000);

afterAll(async () => {
  await worker?.close();
  for (const close of closings.reverse()) await close();
  await simulator?.close();
  backend?.closeAllConnections();
  backend?.close();
  Client.prototype.initialize = initialize;
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

beforeEach(async () => {
  if (sessionId) await call('POST', '/api/session/disconnect', { sessionId });
  sessionId = newId();
});

async function call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const headers = { 'X-API-Key': key, ...(body ? { 'content-type': 'application/json' } : {}) };
  const response = await fetch(worker.url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  const answer = (await response.json()) as { data?: Record<string, unknown>; error?: object };
  if (!answer.data) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}
const openProxy = async (options: ProxyOptions = {}): Promise<Proxy> => {
  const proxy = await simulator.openProxy(options);
  closings.push(() => proxy.close());
  return proxy;
};
/** Starts the session behind a proxy, as the backend would. */
const start = async (proxy: WorkerSettings['proxy']): Promise<void> => {
  settings.set(sessionId, { autoReconnect: true, proxy });
  await call('POST', '/api/session/init', { sessionId, epoch: 1, settings: settings.get(sessionId) });
};
const at = ({ url }: Proxy, username: string | null = null, secret: string | null = null) => ({
  url,
  username,
  password: secret,
});
const observed = () => call('GET', `/api/session/status/${sessionId}`);
const shown = async (): Promise<string> => {
  const { status, reason } = await observed();
  return [status, (reason as { code: string } | null)?.code].filter(Boolean).join(' ');
};
const becomes = (status: string, ms = 60_000) => until(status, async () => (await shown()) === status, ms);
async function link(): Promise<void> {
  const qr = await until('a code', async () => (await observed())['qrText']);
  await simulator.client.scan({ qr: String(qr), phone: me });
  await becomes('connected');
}
const sendText = (message: string) =>
  call('POST', '/api/message/send-text', { sessionId, recipient: ana, message, messageId: newId() });
const browsers = () => browsersOn(join(dir, 'worker', 'profiles', sessionId));
/** The connections to the simulator since a moment that came from none of these proxies. */
const direct = (since: number, ...proxies: Proxy[]): number[] => {
  const known = new Set(proxies.flatMap((proxy) => [...proxy.outgoing()]));
  return simulator
    .connections()
    .slice(since)
    .filter((port) => !known.has(port));
};
const now = (): number => simulator.connections().length;

describe('traffic', () => {
  test.each<[string, ProxyOptions]>([
    ['an HTTP proxy', {}],
    ['an HTTP proxy with a password', login],
    ['a SOCKS 5 proxy', { protocol: 'socks5' }],
    ['a SOCKS 5 proxy with a password', { protocol: 'socks5', ...login }],
    ['a SOCKS 4 proxy', { protocol: 'socks4' }],
  ])(
    'of a session with %s goes through it, and nothing past it',
    async (_which, options) => {
      const since = now();
      const proxy = await openProxy(options);
      await start(at(proxy, options.username ?? null, options.password ?? null));
      await link();
      expect(await sendText(`through ${proxy.url}`)).toMatchObject({ outcome: 'sent' });
      expect(direct(since, proxy)).toEqual([]);
      expect(now()).toBeGreaterThan(since);
      expect(new Set(proxy.tunnels())).toEqual(new Set(['web.whatsapp.com:443']));
    },
    120_000,
  );

  test('whatever a page tries arrives at the proxy or nowhere: other names, this machine, web sockets, workers and WebRTC', async () => {
    const proxy = await openProxy(login);
    await start(at(proxy, 'shop', password));
    await link();
    const reached: string[] = [];
    const http = createHttpServer((_req, res) => (reached.push('http'), res.end()));
    const tcp = createTcpServer((socket) => (reached.push('tcp'), socket.destroy()));
    const udp = createSocket('udp4', () => reached.push('udp'));
    for (const server of [http, tcp]) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
    closings.push(
      () => void http.close(),
      () => void tcp.close(),
      () => void udp.close(),
    );
    const ports = { http: (http.address() as AddressInfo).port, tcp: (tcp.address() as AddressInfo).port };
    const ice = [
      { urls: `stun:127.0.0.1:${udp.address().port}` },
      { urls: `turn:127.0.0.1:${ports.tcp}?transport=tcp`, username: 'a', credential: 'b' },
    ];
    const work = `
      const quiet = (promise) => promise.catch(() => undefined);
      const socket = (url) => new Promise((resolve) => { const it = new WebSocket(url); it.onerror = it.onopen = resolve; });`;
    const found = await newest!.pupPage.evaluate(`(async () => {
      ${work}
      const prefetch = document.createElement('link');
      Object.assign(prefetch, { rel: 'dns-prefetch', href: 'https://prefetched.example' });
      document.head.append(prefetch);
      const inWorker = new Worker(URL.createObjectURL(new Blob([
        ${JSON.stringify(`${work}; Promise.all([quiet(fetch('https://worker.example/')), socket('wss://socket.worker.example/')]).then(() => postMessage('done'));`)}
      ])));
      const worked = new Promise((resolve) => { inWorker.onmessage = inWorker.onerror = resolve; });
      const peer = new RTCPeerConnection({ iceServers: ${JSON.stringify(ice)} });
      peer.createDataChannel('x');
      await peer.setLocalDescription(await peer.createOffer());
      const candidates = [];
      peer.onicecandidate = ({ candidate }) => candidate && candidates.push(candidate.candidate);
      await Promise.all([
        quiet(fetch('https://other.example/')), quiet(fetch('http://127.0.0.1:${ports.http}/')),
        quiet(fetch('http://localhost:${ports.http}/')), quiet(fetch('https://127.0.0.1:${ports.tcp}/')),
        socket('wss://socket.example/'), socket('ws://127.0.0.1:${ports.tcp}/'), worked,
        new Promise((resolve) => setTimeout(resolve, 3000)),
      ]);
      peer.close();
      return candidates;
    })()`);
    expect(reached).toEqual([]);
    expect(found).toEqual([]);
    for (const name of ['other.example', 'socket.example', 'worker.example', 'socket.worker.example'])
      expect(proxy.asked()).toContain(`${name}:443`);
    expect(await shown()).toBe('connected');
  }, 120_000);

  test('the password is neither on a command line, nor in an environment, a file, an event or the log', async () => {
    const proxy = await openProxy({ protocol: 'socks5', ...login });
    await start(at(proxy, 'shop', password));
    await link();
    const pids = await browsers();
    expect(pids.length).toBeGreaterThan(0);
    const basic = Buffer.from(`shop:${password}`).toString('base64');
    const hasSecret = (text: string): boolean => text.includes(password) || text.includes(basic);
    for (const pid of pids)
      for (const file of ['cmdline', 'environ']) expect(hasSecret(readFileSync(`/proc/${pid}/${file}`, 'latin1'))).toBe(false);
    for (const name of await readdir(dir, { recursive: true })) {
      const text = await readFile(join(dir, name), 'latin1').catch(() => ''); // A folder, or a file that the browser has removed.
      expect([name, hasSecret(text)]).toEqual([name, false]);
    }
    expect([hasSecret(JSON.stringify(events)), hasSecret(JSON.stringify(log.lines)), log.lines.length > 0]).toEqual([
      false,
      false,
      true,
    ]);
  }, 120_000);
});

describe('a proxy that does not work', () => {
  test.each(['http', 'socks5'] as const)(
    'refuses the password (%s): PROXY_AUTH_FAILED, no browser and no connection; the right password connects at once',
    async (protocol) => {
      const since = now();
      const proxy = await openProxy({ protocol, ...login });
      await start(at(proxy, 'shop', 'wrong'));
      await becomes('error PROXY_AUTH_FAILED');
      expect([now() - since, await browsers()]).toEqual([0, []]);
      settings.set(sessionId, { proxy: at(proxy, 'shop', password) });
      await until('a code', async () => (await observed())['qrText']);
      expect(direct(since, proxy)).toEqual([]);
    },
    120_000,
  );

  test('is dead: PROXY_UNREACHABLE, no browser and no connection', async () => {
    const since = now();
    const proxy = await openProxy();
    await proxy.close();
    await start(at(proxy));
    await becomes('error PROXY_UNREACHABLE');
    expect([now() - since, await browsers()]).toEqual([0, []]);
  }, 60_000);

  test('dies while the session is connected: an error, no direct connection, and connected again when it is back', async () => {
    const first = await openProxy({ protocol: 'socks5', ...login });
    await start(at(first, 'shop', password));
    await link();
    const since = now();
    await first.close();
    await becomes('error PROXY_UNREACHABLE');
    await until('the end of the browser', async () => (await browsers()).length === 0);
    expect(now()).toBe(since);
    const { key: sent } = await simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'meanwhile' });
    const back = await openProxy({ protocol: 'socks5', ...login, port: first.port });
    await becomes('connected', 90_000);
    await until('the message', () =>
      events.some(({ payload }) => (payload['message'] as { key?: string } | undefined)?.key === sent),
    );
    expect(await sendText('after the proxy is back')).toMatchObject({ outcome: 'sent' });
    expect(direct(since, back)).toEqual([]);
  }, 240_000);

  test('refuses the login from some moment on: PROXY_AUTH_FAILED', async () => {
    const first = await openProxy(login);
    await start(at(first, 'shop', password));
    await link();
    const since = now();
    await first.close();
    const changed = await openProxy({ ...login, password: 'another one', port: first.port });
    await becomes('error PROXY_AUTH_FAILED');
    expect([now() - since, changed.tunnels()]).toEqual([0, []]);
  }, 120_000);
});

describe('a change', () => {
  test('to another proxy moves a connected session there, and to none connects it directly', async () => {
    const first = await openProxy();
    await start(at(first));
    await link();
    const second = await openProxy({ protocol: 'socks5', ...login });
    settings.set(sessionId, { proxy: at(second, 'shop', password) });
    await until('the new browser', () => second.tunnels().length > 0);
    const since = first.tunnels().length;
    await becomes('connected');
    expect(await sendText('through the second')).toMatchObject({ outcome: 'sent' });
    expect(first.tunnels()).toHaveLength(since);
    const before = now();
    settings.set(sessionId, { proxy: null });
    await until('a direct connection', () => direct(before, first, second).length > 0);
    await becomes('connected');
  }, 240_000);

  test('of one session leaves another one at its own proxy', async () => {
    const [own, other] = [await openProxy(), await openProxy({ protocol: 'socks5' })];
    await start(at(own));
    await link();
    const mine = sessionId;
    sessionId = newId();
    await start(at(other));
    await until('a code', async () => (await observed())['qrText']);
    const seen = own.tunnels().length;
    await other.close();
    await call('POST', '/api/session/init', { sessionId, epoch: 1 });
    settings.set(sessionId, { proxy: null });
    await until('a code', async () => (await observed())['qrText']);
    await call('POST', '/api/session/disconnect', { sessionId });
    sessionId = mine;
    expect([await shown(), own.tunnels().length]).toEqual(['connected', seen]);
    expect(await sendText('still at its own proxy')).toMatchObject({ outcome: 'sent' });
  }, 240_000);
});
