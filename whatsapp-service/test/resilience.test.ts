import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { heartbeat as heartbeatSchema, type Heartbeat, type HeartbeatReply, type OutletEvent } from '@chasqui/shared';
import Database from 'better-sqlite3';
import { startWorker, type Worker } from '../src/app/app.js';
import { systemClock } from '../src/clock.js';
import { readConfig, extractConfig } from '../src/config.js';
import { until } from './engine/harness.js';
import { createMemoryEngine, createTestLog, identity, type MemoryBrowser, type MemoryEngine } from './memory-engine.js';

/** The real worker over HTTP with the in-memory engine: trouble with one thing stops only that thing, and ends by itself. */

const key = 'k3Yp7Qx9Zr2Tb5Vn8Wm4Lc6Jd1Hg0Sf-worker-test';
let dir: string;
let engine: MemoryEngine;
let browsers: Map<string, MemoryBrowser>;
let worker: Worker;
let backend: Server;
let events: OutletEvent[];
let beats: Heartbeat[];
let reply: (beat: Heartbeat) => Partial<HeartbeatReply>;

const keepAll = ({ sessions }: Heartbeat): Partial<HeartbeatReply> => ({
  leases: sessions.map(({ sessionId, epoch }) => ({ sessionId, epoch, expiresAt: new Date().toISOString() })),
});

async function startBackend(): Promise<string> {
  backend = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as { events: OutletEvent[] } & Heartbeat;
      let data: unknown;
      if (req.url === '/internal/events') {
        events.push(...body.events);
        data = { ackCursor: body.events.at(-1)!.cursor, refused: [], resend: [] };
      } else {
        beats.push(heartbeatSchema.parse(body));
        data = { leases: [], desired: [], revoke: [], ...reply(body) };
      }
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ success: true, data, requestId: 'r' }));
    });
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(backend.address() as AddressInfo).port}`;
}

async function start(more: Record<string, string> = {}, clock = systemClock): Promise<void> {
  const { port } = backend.address() as AddressInfo;
  const env = {
    SERVICE_API_KEY: key,
    DATA_DIR: dir,
    BACKEND_URL: `http://127.0.0.1:${port}`,
    HEARTBEAT_SECONDS: '0.2',
    MAX_SESSIONS: '20',
    ...more,
  };
  worker = await startWorker({ ...readConfig(env, dir), port: 0 }, { engine, log: createTestLog(), clock });
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-resilience-'));
  engine = createMemoryEngine();
  browsers = new Map();
  const { launch } = engine;
  engine.launch = async (options) => {
    const session = await launch(options);
    browsers.set(options.sessionId, engine.last());
    return session;
  };
  events = [];
  beats = [];
  reply = keepAll;
  await startBackend();
});
afterEach(async () => {
  await worker.close();
  backend.closeAllConnections();
  await new Promise((resolve) => backend.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

async function call(
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; data: Record<string, unknown>; code?: string }> {
  const response = await fetch(worker.url + path, {
    method,
    headers: { 'X-API-Key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const answer = (await response.json()) as { data: Record<string, unknown>; error?: { code: string } };
  return { status: response.status, data: answer.data, ...(answer.error ? { code: answer.error.code } : {}) };
}
const statusOf = async (id: string): Promise<unknown> => (await call('GET', `/api/session/status/${id}`)).data['status'];
async function connect(id: string): Promise<void> {
  await call('POST', '/api/session/init', { sessionId: id, epoch: 1 });
  const browser = await until('a browser', () => browsers.get(id));
  browser.signal({ type: 'authenticated' });
  browser.signal({ type: 'ready', identity });
  await until('connected', async () => (await statusOf(id)) === 'connected');
}
const observed = (n: number) =>
  ({
    type: 'event',
    event: 'message.observed',
    payload: {
      message: { key: `m${n}`, content: { type: 'text' }, timestamp: new Date().toISOString() },
      origin: 'live',
    },
  }) as never;
const acked = (n: number) => ({ type: 'event', event: 'message.ack', payload: { key: `m${n}`, ack: 2 } }) as never;
const emitted = (): string[] =>
  events.flatMap(({ type, payload }) => {
    const message = (payload['message'] ?? payload) as { key?: string };
    return message.key === undefined ? [] : [`${type} ${message.key}`];
  });
const problems = (): string[] => beats.flatMap((beat) => (beat.problems ?? []).map(({ code, detail }) => `${code} ${detail}`));
const lockStore = (): (() => void) => {
  const other = new Database(join(dir, 'worker', 'worker.sqlite'));
  other.exec('BEGIN IMMEDIATE');
  return () => other.close();
};

describe('a worker whose disk accepts no writes for a while', () => {
  test('continues: messages, acknowledgements and later events arrive in order, without a restart of the session', async () => {
    await start();
    await connect('s1');
    const unlock = lockStore();
    for (let n = 0; n < 5; n += 1) {
      browsers.get('s1')!.signal(observed(n));
      browsers.get('s1')!.signal(acked(n));
    }
    await until('degraded', () => beats.at(-1)?.status === 'degraded');
    await until('the problem', () => problems().some((line) => line.startsWith('STORE_WRITE_FAILED')));
    expect([emitted(), await statusOf('s1')]).toEqual([[], 'connected']);
    unlock();
    browsers.get('s1')!.signal(observed(5));
    await until('all events', () => emitted().length === 11);
    expect(emitted()).toEqual([
      ...[0, 1, 2, 3, 4].flatMap((n) => [`message.observed m${n}`, `message.ack m${n}`]),
      'message.observed m5',
    ]);
    expect([engine.launches, await statusOf('s1')]).toEqual([1, 'connected']);
  }, 60_000);

  test('continues after its hourly tasks failed, and reports it', async () => {
    // An hour is over at once; everything else takes its usual time.
    await start({}, { ...systemClock, after: (ms, what) => systemClock.after(ms === 3_600_000 ? 30 : ms, what) });
    const unlock = lockStore();
    const failed = (): number => problems().filter((line) => line.startsWith('TASK_FAILED prune')).length;
    await until('a task that failed, and failed again', () => failed() > 2);
    unlock();
    await connect('s1');
    browsers.get('s1')!.signal(observed(1));
    await until('the event', () => emitted().length === 1);
  }, 60_000);

  test('still stops in an orderly way', async () => {
    await start();
    await connect('s1');
    const unlock = lockStore();
    browsers.get('s1')!.signal(observed(1));
    await worker.close();
    unlock();
    expect(engine.open()).toBe(0);
  }, 60_000);
});

describe('trouble with one session', () => {
  test('that is slow to stop delays no other session’s heartbeat', async () => {
    await start();
    await connect('s1');
    await connect('s2');
    let release = (): void => undefined;
    const { send } = engine.answer;
    engine.answer.send = async (given, onHandover) => {
      await new Promise<void>((resolve) => (release = resolve));
      return send(given, onHandover);
    };
    // A send keeps s1 from stopping at once.
    const sending = call('PUT', '/api/session/s1/messages/m1', {
      epoch: 1,
      reservedId: '3EB0AAAAAAAAAAAAAAAAAA',
      recipient: '5511999990001@c.us',
      content: { type: 'text', message: 'x' },
      options: {},
      deadlineMs: 5_000,
    });
    await until('the send', () => engine.sent.length === 1);
    reply = (beat) => ({ ...keepAll(beat), revoke: [{ sessionId: 's1', epoch: 1 }] });
    const before = beats.length;
    await until('further heartbeats', () => beats.length >= before + 5);
    expect(await statusOf('s1')).toBe('connected');
    release();
    await sending;
    await until('its end', async () => (await call('GET', '/api/session/status/s1')).code === 'SESSION_NOT_FOUND');
    expect(await statusOf('s2')).toBe('connected');
  }, 60_000);

  test('that cannot be started leaves the others to start', async () => {
    await start();
    const desired = (sessionId: string, epoch: number) => ({
      sessionId,
      state: 'running' as const,
      epoch,
      settings: {},
      deviceName: null,
    });
    // The disk does not accept the new epoch of the first session.
    const other = new Database(join(dir, 'worker', 'worker.sqlite'));
    other.exec("CREATE TRIGGER bad BEFORE INSERT ON marks WHEN new.session_id = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END");
    other.close();
    reply = () => ({ desired: [desired('bad', 2), desired('s1', 2), desired('s2', 2)] });
    await until('both browsers', () => browsers.has('s1') && browsers.has('s2'));
    const before = beats.length;
    await until('further heartbeats', () => beats.length > before + 2);
    expect([browsers.has('bad'), problems().filter((line) => line.startsWith('TASK_FAILED'))]).toEqual([false, []]);
  }, 60_000);
});

describe('the reports of a page about one session', () => {
  test.each<[string, object, () => unknown[]]>([
    ['a version that is no text', { whatsappWebVersion: { a: 1 } }, () => []],
    ['reports that are none', {}, () => [{ defect: 5, state: 'invented' }]],
  ])(
    '%s costs no other session its heartbeat',
    async (_name, odd, compat) => {
      await start();
      await connect('s1');
      const { launch } = engine;
      engine.launch = async (options) => ({ ...(await launch(options)), compat: compat as never });
      await call('POST', '/api/session/init', { sessionId: 'odd', epoch: 1 });
      const browser = await until('a browser', () => browsers.get('odd'));
      browser.signal({ type: 'authenticated' });
      browser.signal({ type: 'ready', identity: { ...identity, ...odd } as never });
      const before = beats.length;
      // The backend of this test refuses what does not match the contract, as the real one does.
      await until('heartbeats with both', () =>
        beats
          .slice(before)
          .find(({ sessions }) => sessions.length === 2 && sessions.every(({ status }) => status === 'connected')),
      );
      expect(problems()).toContain('TASK_FAILED heartbeat: the session does not match the contract');
    },
    30_000,
  );

  test('a session that cannot be observed costs no other one its heartbeat', async () => {
    await start();
    await connect('s1');
    const { launch } = engine;
    engine.launch = async (options) => ({
      ...(await launch(options)),
      compat: () => {
        throw new Error('no');
      },
    });
    await call('POST', '/api/session/init', { sessionId: 'odd', epoch: 1 }).catch(() => undefined);
    const before = beats.length;
    await until(
      'further heartbeats',
      () => beats.slice(before).filter(({ sessions }) => sessions[0]?.sessionId === 's1').length > 2,
    );
  }, 30_000);
});

test('a start that ends only after it was cancelled leaves neither a browser nor a lock behind', async () => {
  const { launch } = engine;
  let release = (): void => undefined;
  engine.launch = async (options) => {
    if (engine.launches > 0) return launch(options);
    const session = await launch({ ...options, abort: new AbortController().signal });
    await new Promise<void>((resolve) => (release = resolve));
    return session;
  };
  // Limits for work that hangs expire at once; everything else takes its usual time.
  await start({}, { ...systemClock, after: (ms, what) => systemClock.after(ms === 12_000 ? 50 : ms, what) });
  await call('POST', '/api/session/init', { sessionId: 's1' });
  await until('the start', () => engine.open() === 1);
  await call('POST', '/api/session/disconnect', { sessionId: 's1' });
  expect(engine.open()).toBe(1);
  release();
  await until('no browser', () => engine.open() === 0);
  browsers.clear();
  await connect('s1');
}, 30_000);

test('a scan since a time that is none is refused', async () => {
  await start();
  await connect('s1');
  const ask = (input: object) => call('POST', '/api/session/s1/operations/session.backfill', { input });
  expect((await ask({ since: 'yesterday' })).code).toBe('VALIDATION_FAILED');
  expect((await ask({ since: 5 })).code).toBe('VALIDATION_FAILED');
  expect((await ask({ since: '2026-11-27T00:00:00Z' })).data).toEqual({ output: { started: true } });
}, 30_000);

describe('a lease', () => {
  const send = (id: string) =>
    call('PUT', `/api/session/s1/messages/${id}`, {
      epoch: 1,
      reservedId: '3EB0AAAAAAAAAAAAAAAAAA',
      recipient: '5511999990001@c.us',
      content: { type: 'text', message: 'x' },
      options: {},
      deadlineMs: 5_000,
    });

  test('lasts as long as the backend says; a repeated start does not extend it, a heartbeat does', async () => {
    let leaseMs = 1;
    reply = (beat) => ({ ...keepAll(beat), leaseMs });
    await start({ LEASE_SECONDS: '60' });
    const init = () => call('POST', '/api/session/init', { sessionId: 's1', epoch: 1, leaseMs: 100 });
    await init();
    const browser = await until('a browser', () => browsers.get('s1'));
    browser.signal({ type: 'authenticated' });
    browser.signal({ type: 'ready', identity });
    await until('connected', async () => (await statusOf('s1')) === 'connected');
    let n = 0;
    await until('the end of the lease', async () => {
      await init();
      return (await send(`m${(n += 1)}`)).code === 'STALE_EPOCH';
    });
    leaseMs = 60_000;
    await until('a lease', async () => (await send(`m${(n += 1)}`)).data?.['outcome'] === 'sent');
  }, 60_000);
});

describe('a file that a message brings', () => {
  test('is asked for with the limit of the caller', async () => {
    await start();
    await connect('s1');
    const ask = (input: object) => call('POST', '/api/session/s1/operations/messages.downloadMedia', { input });
    expect((await ask({ whatsappId: 'w', maxBytes: 3 })).code).toBe('FILE_TOO_LARGE');
    expect((await ask({ whatsappId: 'w', maxBytes: 'many' })).code).toBe('VALIDATION_FAILED');
    expect((await ask({ maxBytes: 3 })).code).toBe('VALIDATION_FAILED');
  }, 60_000);
});

describe('a stop', () => {
  const timed = async (): Promise<number> => {
    const began = performance.now();
    await worker.close();
    return performance.now() - began;
  };

  test('during ten starts ends all of them', async () => {
    engine.hold();
    await start({ START_CONCURRENCY: '3' });
    await Promise.all(Array.from({ length: 10 }, (_, n) => call('POST', '/api/session/init', { sessionId: `s${n}` })));
    await until('three starts', () => engine.open() === 3);
    expect(await timed()).toBeLessThan(15_000);
    expect([engine.open(), engine.launches]).toEqual([0, 3]);
  }, 60_000);

  test('while a code is shown ends the browser', async () => {
    await start();
    await call('POST', '/api/session/init', { sessionId: 's1' });
    const browser = await until('a browser', () => browsers.get('s1'));
    browser.signal({ type: 'qr', text: 'code', expiresAt: new Date(Date.now() + 20_000) });
    await until('the code', async () => (await statusOf('s1')) === 'qr_pending');
    expect(await timed()).toBeLessThan(15_000);
    expect(engine.open()).toBe(0);
  }, 60_000);

  test('with a browser that neither starts nor ends continues without it', async () => {
    const { launch } = engine;
    engine.launch = async (options) => (options.sessionId === 'hangs' ? new Promise(() => undefined) : launch(options));
    // Limits for work that hangs expire at once; everything else takes its usual time.
    await start({}, { ...systemClock, after: (ms, what) => systemClock.after(ms === 12_000 ? 50 : ms, what) });
    await call('POST', '/api/session/init', { sessionId: 'hangs' });
    await call('POST', '/api/session/init', { sessionId: 's1' });
    await until('a browser', () => engine.open() === 1);
    expect(await timed()).toBeLessThan(15_000);
    expect(engine.open()).toBe(0);
  }, 60_000);
});

test('reading the configuration removes every secret from the environment, and nothing else', async () => {
  await start();
  const env: Record<string, string | undefined> = {
    NODE_SERVICE_API_KEY: key,
    DATABASE_URL: 'postgres://x:y@localhost/z',
    JWT_SECRET: 'b9K2xW7qLm4Rz8Tn3Vc6Jd1Hg5Sf0PyAeUoQi',
    PATH: '/bin',
  };
  expect(extractConfig(env, '/base').serviceKey).toBe(key);
  expect(env).toEqual({ PATH: '/bin' });
});
