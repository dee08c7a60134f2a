import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { workerRoutes, type Heartbeat, type HeartbeatReply, type OutletEvent } from '@chasqui/shared';
import { startWorker, type Worker } from '../src/app/app.js';
import { readConfig } from '../src/config.js';
import { version } from '../src/version.js';
import { until } from './engine/harness.js';
import { createMemoryEngine, createTestLog, identity, type MemoryEngine } from './memory-engine.js';

/** The real worker over HTTP, its own SQLite file, a small backend; the in-memory engine in place of browsers. */

const key = 'k3Yp7Qx9Zr2Tb5Vn8Wm4Lc6Jd1Hg0Sf-worker-test';
const reservedId = '3EB0AAAAAAAAAAAAAAAAAA';
let dir: string;
let engine: MemoryEngine;
let worker: Worker;
let backend: Server;
let events: OutletEvent[];
let beats: Heartbeat[];
let reply: (beat: Heartbeat) => HeartbeatReply;
let log: ReturnType<typeof createTestLog>;

/** Says of every session that it may go on as it is. */
const keepAll = ({ sessions }: Heartbeat): HeartbeatReply => ({
  leases: sessions.map(({ sessionId, epoch }) => ({ sessionId, epoch, expiresAt: new Date().toISOString() })),
  desired: [],
  revoke: [],
});

async function startBackend(): Promise<string> {
  backend = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as { events: OutletEvent[] } & Heartbeat;
      let data: unknown;
      if (req.headers['x-api-key'] !== key) throw new Error('The worker came without its key.');
      if (req.url === '/internal/events') {
        events.push(...body.events);
        data = { ackCursor: body.events.at(-1)!.cursor, refused: [], resend: [] };
      } else {
        beats.push(body);
        try {
          data = reply(body);
        } catch {
          return void req.socket.destroy();
        }
      }
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ success: true, data, requestId: 'r' }));
    });
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(backend.address() as AddressInfo).port}`;
}

async function start(backendUrl: string, more: Record<string, string> = {}): Promise<void> {
  const env = {
    SERVICE_API_KEY: key,
    DATA_DIR: dir,
    BACKEND_URL: backendUrl,
    HEARTBEAT_SECONDS: '0.2',
    MAX_FILE_SIZE: '2048',
    MAX_SESSIONS: '2',
    ...more,
  };
  worker = await startWorker({ ...readConfig(env, dir), port: 0 }, { engine, log });
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-worker-'));
  engine = createMemoryEngine();
  log = createTestLog();
  events = [];
  beats = [];
  reply = keepAll;
  await start(await startBackend());
});
afterEach(async () => {
  await worker.close();
  backend.closeAllConnections();
  await new Promise((resolve) => backend.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

interface Answer {
  status: number;
  headers: Headers;
  body: {
    success: boolean;
    data: Record<string, unknown>;
    error: { code: string; message: string; details: Record<string, unknown> };
    requestId: string;
  };
}
async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = { 'X-API-Key': key },
): Promise<Answer> {
  const isForm = body instanceof FormData;
  const json: Record<string, string> = body !== undefined && !isForm ? { 'content-type': 'application/json' } : {};
  const payload = (isForm || typeof body === 'string' ? body : JSON.stringify(body)) as string;
  const response = await fetch(worker.url + path, {
    method,
    headers: { ...json, ...headers },
    ...(body === undefined ? {} : { body: payload }),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Answer['body'] };
}
const command = (more: object = {}) => ({
  epoch: 1,
  reservedId,
  recipient: '5511999990001@c.us',
  content: { type: 'text', message: 'hello' },
  options: {},
  deadlineMs: 5_000,
  ...more,
});
const put = (id = 'm1', body: unknown = command()) => call('PUT', `/api/session/s1/messages/${id}`, body);
const status = async (id = 's1'): Promise<Record<string, unknown>> => (await call('GET', `/api/session/status/${id}`)).body.data;

async function connect(epoch = 1): Promise<void> {
  const before = engine.launches;
  await call('POST', '/api/session/init', { sessionId: 's1', epoch });
  await until('a browser', () => engine.launches > before && engine.last());
  engine.last().signal({ type: 'authenticated' });
  engine.last().signal({ type: 'ready', identity });
  await until('connected', async () => (await status())['status'] === 'connected');
}

describe('the door', () => {
  test('every route but health needs the service key, in either header', async () => {
    for (const route of Object.values(workerRoutes)) {
      const path = route.path.replace(/:\w+/g, 'x');
      const { status: bare, body } = await call(route.method.toUpperCase(), path, undefined, {});
      if (route.auth === 'pub') expect(bare).toBe(200);
      else expect([route.id, bare, body.error.code]).toEqual([route.id, 401, 'UNAUTHENTICATED']);
      if (route.auth !== 'pub')
        expect((await call(route.method.toUpperCase(), path, undefined, { 'X-API-Key': `${key}x` })).status).toBe(401);
    }
    expect((await call('GET', '/api/session/list', undefined, { Authorization: `ApiKey ${key}` })).status).toBe(200);
  });

  test('every failure has the envelope and a request id', async () => {
    const cases: [Promise<Answer>, number, string][] = [
      [call('POST', '/api/session/init', '{"sessionId":'), 400, 'MALFORMED_REQUEST'],
      [call('GET', '/api/session/status/%E0%A4%A'), 400, 'MALFORMED_REQUEST'],
      [call('GET', '/nowhere'), 404, 'ROUTE_NOT_FOUND'],
      [call('GET', '/api/session/status/unknown'), 404, 'SESSION_NOT_FOUND'],
      [call('DELETE', '/api/session/list'), 405, 'METHOD_NOT_ALLOWED'],
      [call('POST', '/api/session/init', { sessionId: 'x'.repeat(1_100_000) }), 413, 'BODY_TOO_LARGE'],
      [call('POST', '/api/session/init', 'x', { 'X-API-Key': key, 'content-type': 'text/plain' }), 415, 'UNSUPPORTED_MEDIA_TYPE'],
      [call('POST', '/api/session/init', {}), 422, 'VALIDATION_FAILED'],
      [call('POST', '/api/session/s1/operations/nothing.known', {}), 404, 'OPERATION_NOT_FOUND'],
    ];
    for (const [answer, wanted, code] of cases) {
      const { status: got, body, headers } = await answer;
      expect([got, body.success, body.error.code]).toEqual([wanted, false, code]);
      expect(body.error.message).toBeTruthy();
      expect(headers.get('x-request-id')).toBe(body.requestId);
    }
  });

  test('health names the worker, and an unhandled rejection', async () => {
    const { body } = await call('GET', '/health', undefined, {});
    expect(body.data).toMatchObject({ status: 'ok', workerId: worker.workerId, version, capacity: 2, sessions: 0 });
    expect(version).toBe(
      (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version,
    );
    worker.noteTrouble();
    expect((await call('GET', '/health', undefined, {})).body.data['status']).toBe('degraded');
  });
});

describe('sessions', () => {
  test('two inits at once start one browser', async () => {
    const both = await Promise.all([1, 2].map(() => call('POST', '/api/session/init', { sessionId: 's1', epoch: 1 })));
    expect(both.map(({ body }) => body.data['status'])).toEqual(['initializing', 'initializing']);
    await until('a browser', () => engine.last());
    expect(engine.launches).toBe(1);
  });

  test('no more than MAX_SESSIONS, until one is stopped', async () => {
    for (const sessionId of ['s1', 's2']) await call('POST', '/api/session/init', { sessionId });
    expect((await call('POST', '/api/session/init', { sessionId: 's3' })).body.error.code).toBe('WORKER_CAPACITY');
    await call('POST', '/api/session/disconnect', { sessionId: 's1' });
    expect((await call('POST', '/api/session/init', { sessionId: 's3' })).status).toBe(200);
  });

  test('a command with a stale epoch is refused, over a restart of the worker too', async () => {
    await connect(5);
    for (const stale of [
      call('POST', '/api/session/init', { sessionId: 's1', epoch: 4 }),
      call('POST', '/api/session/disconnect', { sessionId: 's1', epoch: 4 }),
      put('m1', command({ epoch: 4 })),
      call('POST', '/api/session/s1/operations/profile.get', { epoch: 4 }),
    ])
      expect((await stale).body.error.code).toBe('STALE_EPOCH');
    expect(engine.sent).toEqual([]);
    await worker.close();
    await start(`http://127.0.0.1:${(backend.address() as AddressInfo).port}`);
    expect((await call('POST', '/api/session/init', { sessionId: 's1', epoch: 4 })).body.error.code).toBe('STALE_EPOCH');
  });

  test('desired sessions are started, and sessions that the backend does not know are stopped', async () => {
    reply = () => ({
      leases: [],
      revoke: [],
      desired: [{ sessionId: 's9', state: 'running', epoch: 3, settings: {}, deviceName: null }],
    });
    await until('the desired browser', () => engine.launches === 1 && engine.last());
    expect(await status('s9')).toMatchObject({ status: 'initializing', epoch: 3 });
    reply = () => ({ leases: [], revoke: [], desired: [] });
    await until('its end', () => engine.open() === 0);
    await until('it to be forgotten', async () => (await call('GET', '/api/session/status/s9')).status === 404);
  });

  const off = { settings: { autoReconnect: false } };
  const on = { settings: { autoReconnect: true } };
  const asked = { sessionId: 's1', state: 'running' as const, epoch: 1, deviceName: null };
  const kept = (settings: object) => (beat: Heartbeat) => {
    const { leases, ...rest } = keepAll(beat);
    return { ...rest, leases: leases.map((lease) => ({ ...lease, ...settings })) };
  };
  test.each<[string, object, (beat: Heartbeat) => HeartbeatReply]>([
    ['the order to start it', off, keepAll],
    ['a heartbeat', {}, kept(off)],
    ['a heartbeat that wants it running', on, () => ({ leases: [], revoke: [], desired: [{ ...asked, ...off }] })],
  ])('autoReconnect off is heeded when %s says so, until it is on again', async (_name, order, told) => {
    reply = told;
    await call('POST', '/api/session/init', { sessionId: 's1', epoch: 1, ...order });
    await until('a browser', () => engine.launches === 1 && engine.last());
    engine.last().signal({ type: 'authenticated' });
    engine.last().signal({ type: 'ready', identity });
    await until('connected', async () => (await status())['status'] === 'connected');
    const seen = beats.length;
    await until('two heartbeats', () => beats.length > seen + 2);
    engine.last().signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: 'As the test wants it.' });
    await until('the loss', async () => (await status())['status'] === 'disconnected');
    expect(await status()).toMatchObject({ reason: { code: 'RECONNECT_OFF' } });

    reply = kept(on);
    await connect();
    const later = beats.length;
    await until('two more heartbeats', () => beats.length > later + 2);
    engine.last().signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: 'As the test wants it.' });
    await until('another browser', () => engine.launches === 3);
  });

  test('a session that was used up is not started again by a heartbeat', async () => {
    engine.failNext('PROFILE_LOCKED');
    reply = () => ({
      leases: [],
      revoke: [],
      desired: [{ sessionId: 's1', state: 'running', epoch: 1, settings: {}, deviceName: null }],
    });
    await until('the error', () => beats.some(({ sessions }) => sessions[0]?.status === 'error'));
    const seen = beats.length;
    await until('three more heartbeats', () => beats.length > seen + 3);
    expect(engine.launches).toBe(1);
  });

  test('a revoked session is stopped and keeps its login', async () => {
    await connect(2);
    reply = () => ({ leases: [], desired: [], revoke: [{ sessionId: 's1', epoch: 1 }] });
    const seen = beats.length;
    await until('two more heartbeats', () => beats.length > seen + 2);
    expect((await status())['status']).toBe('connected');
    reply = () => ({ leases: [], desired: [], revoke: [{ sessionId: 's1', epoch: 2 }] });
    await until('its end', () => engine.open() === 0);
    expect(existsSync(join(dir, 'worker', 'profiles', 's1'))).toBe(true);
  });

  test('without a valid lease a send is refused before the page sees it, and succeeds after the next heartbeat', async () => {
    let isHeard = true;
    const answer = reply;
    reply = (beat) => {
      if (!isHeard) throw new Error('The backend does not answer.');
      return answer(beat);
    };
    await worker.close();
    await start(`http://127.0.0.1:${(backend.address() as AddressInfo).port}`, { LEASE_SECONDS: '5' });
    await connect();
    isHeard = false;
    const refused = await until(
      'the lease to run out',
      async () => {
        const given = await put(`m${Date.now()}`, command({ reservedId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}` }));
        return given.status === 409 ? given : null;
      },
      8_000,
    );
    expect(refused.body.error.code).toBe('STALE_EPOCH');
    const before = engine.sent.length;
    isHeard = true;
    await until('the lease to be renewed', async () => (await put('m-late')).status === 200);
    expect(engine.sent.length).toBeGreaterThan(before);
    expect((await put('m-late')).body.data).toMatchObject({ outcome: 'sent' });
  }, 30_000);

  test('without a backend sessions continue to run, and their events arrive later', async () => {
    await connect();
    const { port } = backend.address() as AddressInfo;
    backend.closeAllConnections();
    await new Promise((resolve) => backend.close(resolve));
    engine.last().signal({
      type: 'event',
      event: 'message.observed',
      payload: {
        message: { key: 'k', content: { type: 'text' }, timestamp: new Date().toISOString() },
        origin: 'live',
      },
    } as never);
    await until('the log line', () => log.lines.some(({ sentence }) => sentence.includes('sessions continue to run')));
    expect((await put()).body.data['outcome']).toBe('sent');
    await startBackend().then(async () => {
      backend.closeAllConnections();
      await new Promise((resolve) => backend.close(resolve));
      await new Promise<void>((resolve) => backend.listen(port, '127.0.0.1', resolve));
    });
    await until('the message', () => events.some(({ type }) => type === 'message.observed'));
    expect((await status())['status']).toBe('connected');
    expect(engine.launches).toBe(1);
  });
});

describe('sends', () => {
  beforeEach(() => connect());

  test('a repeat is answered from the record and never reaches the page', async () => {
    const first = await put();
    expect(first.body.data).toMatchObject({ outcome: 'sent', whatsappId: `true_5511999990001@c.us_${reservedId}` });
    expect((await put()).body.data).toEqual(first.body.data);
    expect(engine.sent).toHaveLength(1);
    expect((await put('m1', command({ content: { type: 'text', message: 'other' } }))).body.error.code).toBe(
      'IDEMPOTENCY_KEY_REUSED',
    );
  });

  test('a repeat while the first runs is 202, and sends of a session go one after the other', async () => {
    const finish: (() => void)[] = [];
    engine.answer.send = () =>
      new Promise(
        (resolve) => void finish.push(() => resolve({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' })),
      );
    const first = put();
    await until('the first send', () => finish.length === 1);
    const second = put('m2');
    const repeat = await put();
    expect([repeat.status, repeat.body.data]).toEqual([202, { outcome: 'sending' }]);
    await until('both to wait', async () => ((await status())['metrics'] as { queueDepth: number }).queueDepth === 2);
    expect(engine.sent).toHaveLength(1);
    finish[0]!();
    await until('the second send', () => finish.length === 2);
    finish[1]!();
    expect((await first).body.data['outcome']).toBe('uncertain');
    expect((await second).status).toBe(200);
  });

  test('a refused send leaves no record', async () => {
    await call('POST', '/api/session/disconnect', { sessionId: 's1' });
    expect((await put()).body.error.code).toBe('SESSION_NOT_CONNECTED');
    await connect();
    expect((await put('m1', command({ content: { type: 'text', message: 'other' } }))).body.data['outcome']).toBe('sent');
  });

  test('a failure that may be tried again is tried again by a repeat, any other is final', async () => {
    engine.answer.send = async () => ({ outcome: 'failed', reason: 'CONNECTION_LOST', message: '', retryable: true });
    await put();
    await put();
    expect(engine.sent).toHaveLength(2);
    engine.answer.send = async () => ({ outcome: 'failed', reason: 'WHATSAPP_REFUSED', message: '', retryable: false });
    await put();
    await put();
    expect(engine.sent).toHaveLength(3);
  });

  const lookUp = (more: object = {}) =>
    call('POST', '/api/session/s1/operations/session.lookup', { input: { reservedId, chatId: 'c', ...more } });

  test.each([
    ['an uncertain outcome', { outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' }],
    ['a final failure', { outcome: 'failed', reason: 'RECIPIENT_NOT_ON_WHATSAPP', message: '', retryable: false }],
    ['an uncertain outcome over a restart', { outcome: 'uncertain', reason: 'CRASHED_DURING_SEND', message: '' }],
  ] as const)('%s is answered from the record, and a new attempt reaches the page under the same id', async (what, outcome) => {
    engine.answer.send = async (_send, onHandover) => (await onHandover(), outcome);
    await put();
    if (what.endsWith('restart')) {
      await worker.close();
      await start(`http://127.0.0.1:${(backend.address() as AddressInfo).port}`);
      await connect();
    }
    expect((await put()).body.data).toEqual(outcome);
    expect(engine.sent).toHaveLength(1);
    await put('m1', command({ attempt: 2 }));
    expect(engine.sent.map((send) => send.reservedId)).toEqual([reservedId, reservedId]);
    await put('m1', command({ attempt: 2 }));
    expect(engine.sent).toHaveLength(2);
  });

  test('a sent message is never sent again, whatever the attempt', async () => {
    const first = (await put()).body.data;
    expect((await put('m1', command({ attempt: 5 }))).body.data).toEqual(first);
    expect(engine.sent).toHaveLength(1);
  });

  test('a lookup that finds the message with ack 0 proves nothing, one with an ack of the server does', async () => {
    engine.answer.send = async () => ({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' });
    await put();
    for (const ack of [0, -1]) {
      engine.answer.lookup = () => ({ found: true, whatsappId: 'w', ack });
      await lookUp();
      expect((await put()).body.data['outcome']).toBe('uncertain');
    }
    await put('m1', command({ attempt: 2 }));
    expect(engine.sent).toHaveLength(2);
    engine.answer.lookup = () => ({ found: true, whatsappId: 'w', ack: 2 });
    await lookUp();
    expect((await put('m1', command({ attempt: 3 }))).body.data).toMatchObject({ outcome: 'sent', whatsappId: 'w', ack: 2 });
    expect(engine.sent).toHaveLength(2);
  });

  const other = { phoneNumber: '5511977776666', lid: null };
  test('a session that is linked to another WhatsApp account neither sends nor looks up messages accepted for the former one', async () => {
    const refused = await put('m1', command({ account: other }));
    expect([refused.status, refused.body.error.code]).toEqual([409, 'SESSION_IDENTITY_CHANGED']);
    expect((await lookUp({ account: other })).body.error.code).toBe('SESSION_IDENTITY_CHANGED');
    expect([engine.sent.length, engine.lookups]).toEqual([0, 0]);
    const own = { phoneNumber: identity.phoneNumber, lid: null };
    expect((await put('m1', command({ account: own }))).body.data['outcome']).toBe('sent');
  });

  test('a page that does not report its account sends nothing that was accepted for a known one, until it does', async () => {
    const own = { phoneNumber: identity.phoneNumber, lid: null };
    for (const unknown of [
      { phoneNumber: null, lid: null },
      { phoneNumber: null, lid: '123@lid' },
    ]) {
      engine.last().signal({ type: 'ready', identity: { ...identity, ...unknown } });
      expect((await put('m1', command({ account: own }))).body.error.code).toBe('SESSION_NOT_CONNECTED');
      expect((await lookUp({ account: own })).body.error.code).toBe('SESSION_NOT_CONNECTED');
    }
    expect([engine.sent.length, engine.lookups]).toEqual([0, 0]);
    engine.last().signal({ type: 'ready', identity });
    expect((await put('m1', command({ account: own }))).body.data['outcome']).toBe('sent');
  });

  test('an account that changes while a message waits for its hand-over or a lookup runs is noticed', async () => {
    const own = { phoneNumber: identity.phoneNumber, lid: null };
    const relink = (): void => engine.last().signal({ type: 'ready', identity: { ...identity, ...other } });
    engine.answer.send = async (_send, onHandover) => {
      relink();
      await onHandover();
      throw new Error('It was handed over as the other account.');
    };
    expect((await put('m1', command({ account: own }))).body.error.code).toBe('SESSION_IDENTITY_CHANGED');
    engine.last().signal({ type: 'ready', identity });
    engine.answer.lookup = () => (relink(), { found: true, whatsappId: 'w', ack: 3 });
    expect((await lookUp({ account: own })).body.error.code).toBe('SESSION_IDENTITY_CHANGED');
  });

  test.each([
    ['found', { found: true, whatsappId: 'w', ack: 1 }, { outcome: 'sent', whatsappId: 'w' }, 1],
    ['found with ack 0', { found: true, whatsappId: 'w', ack: 0 }, { outcome: 'uncertain', reason: 'CRASHED_DURING_SEND' }, 1],
    ['refused', { found: true, whatsappId: 'w', ack: -1 }, { outcome: 'failed', reason: 'WHATSAPP_REFUSED' }, 1],
    ['proven absent', { found: false, proven: true }, { outcome: 'sent' }, 2],
    ['neither', { found: false, proven: false }, { outcome: 'uncertain', reason: 'CRASHED_DURING_SEND' }, 1],
  ])(
    'a send that a killed worker had handed over is looked up: %s',
    async (_, found, outcome, sends) => {
      // The page never answers; a copy of the folder is what a kill at this moment leaves on the disk.
      let release = (): void => undefined;
      engine.answer.send = async (_send, onHandover) => {
        await onHandover();
        return new Promise((resolve) => {
          release = () => resolve({ outcome: 'uncertain', reason: 'CRASHED_DURING_SEND', message: '' });
        });
      };
      void put().catch(() => undefined);
      await until('the hand-over', () => engine.sent.length === 1);
      const former = dir;
      const after = mkdtempSync(join(tmpdir(), 'chasqui-worker-'));
      cpSync(join(former, 'worker'), join(after, 'worker'), { recursive: true, filter: (path) => !path.endsWith('.lock') });
      const dead = worker;
      const fresh = createMemoryEngine();
      fresh.answer.lookup = () => found;
      const before = engine;
      engine = fresh;
      dir = after;
      await start(`http://127.0.0.1:${(backend.address() as AddressInfo).port}`);
      await connect();
      expect((await put()).body.data).toMatchObject(outcome);
      expect(fresh.sent.length + before.sent.length).toBe(sends);
      expect(fresh.lookups).toBe(1);
      expect((await put()).body.data).toMatchObject(outcome);
      expect(fresh.lookups).toBe(1);
      release();
      await dead.close();
      rmSync(former, { recursive: true, force: true });
    },
    30_000,
  );
});

describe('files', () => {
  beforeEach(() => connect());
  const media = { id: null, mimetype: 'text/plain', size: 5, filename: 'a.txt', sha256: null };
  const form = (bytes: string, content: object = { type: 'document', media }): FormData => {
    const data = new FormData();
    data.set('command', JSON.stringify(command({ content })));
    data.set('file', new Blob([bytes], { type: 'text/plain' }), 'a.txt');
    return data;
  };
  const kept = (): string[] => readdirSync(join(dir, 'worker', 'tmp'));

  test('multipart with command and file is sent from a file of ours, which is removed afterwards', async () => {
    let seen = '';
    engine.answer.send = async (send, onHandover) => {
      await onHandover();
      seen = readFileSync(send.file!.path, 'utf8');
      return { outcome: 'sent', whatsappId: 'w', ack: 1, at: new Date().toISOString() };
    };
    expect((await put('m1', form('bytes'))).body.data).toMatchObject({ outcome: 'sent' });
    expect([seen, kept()]).toEqual(['bytes', []]);
    await put('m1', form('bytes'));
    expect(engine.sent).toHaveLength(1);
    expect((await put('m1', form('other'))).body.error.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect(kept()).toEqual([]);
  });

  test('a file that is too large is 413, and nothing of it stays or troubles the worker', async () => {
    expect((await put('m1', form('x'.repeat(5_000)))).body.error.code).toBe('FILE_TOO_LARGE');
    expect(kept()).toEqual([]);
    expect(engine.sent).toEqual([]);
  });

  test('a file without its bytes, and multipart that breaks off, are the caller’s fault', async () => {
    expect((await put('m1', command({ content: { type: 'document', media } }))).body.error.code).toBe('VALIDATION_FAILED');
    const broken = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf';
    const headers = { 'X-API-Key': key, 'content-type': 'multipart/form-data; boundary=b' };
    expect((await call('PUT', '/api/session/s1/messages/m1', broken, headers)).body.error.code).toBe('MALFORMED_REQUEST');
    expect(kept()).toEqual([]);
  });

  test('the simple routes send text, multipart and base64', async () => {
    expect(
      (await call('POST', '/api/message/send-text', { sessionId: 's1', recipient: '+55 11 99999-0001', message: 'hi' })).body
        .data,
    ).toMatchObject({ outcome: 'sent' });
    expect(
      (await call('POST', '/api/message/send-text', { sessionId: 's1', recipient: 'nonsense', message: 'hi' })).body.error.code,
    ).toBe('INVALID_RECIPIENT');
    const data = new FormData();
    for (const [name, value] of Object.entries({ sessionId: 's1', recipient: '5511999990001', type: 'document', epoch: '1' }))
      data.set(name, value);
    data.set('file', new Blob(['bytes'], { type: 'text/plain' }), 'a.txt');
    expect((await call('POST', '/api/message/send-media', data)).body.data).toMatchObject({ outcome: 'sent' });
    const mediaBase64 = Buffer.from('bytes').toString('base64');
    const json = { sessionId: 's1', recipient: '5511999990001', type: 'image', mimetype: 'image/png', mediaBase64 };
    expect((await call('POST', '/api/message/send-media', json)).body.data).toMatchObject({ outcome: 'sent' });
    expect(engine.sent.map(({ recipient, content }) => [recipient, content.type])).toEqual([
      ['5511999990001@c.us', 'text'],
      ['5511999990001@c.us', 'document'],
      ['5511999990001@c.us', 'image'],
    ]);
  });

  test('a file from outside is handed on as bytes, never as a page', async () => {
    const response = await fetch(`${worker.url}/api/session/s1/operations/messages.downloadMedia`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ input: { whatsappId: 'w' } }),
    });
    expect([response.headers.get('content-type'), response.headers.get('content-disposition')]).toEqual([
      'application/octet-stream',
      'attachment',
    ]);
    expect(decodeURIComponent(response.headers.get('x-media-type')!)).toBe('text/html');
    expect(await response.text()).toBe('<b>bytes</b>');
  });

  test.each(['x'.repeat(100_000), '\ud83d', 'a\ud83d\r\nX: y', '\0', '\u20ac'.repeat(5_000)])(
    'a file with an unusual type is still passed on (%#)',
    async (mimetype) => {
      engine.answer.mimetype = () => mimetype;
      const response = await fetch(`${worker.url}/api/session/s1/operations/messages.downloadMedia`, {
        method: 'POST',
        headers: { 'X-API-Key': key, 'content-type': 'application/json' },
        body: JSON.stringify({ input: { whatsappId: 'w' } }),
      });
      expect([response.status, await response.text()]).toEqual([200, '<b>bytes</b>']);
      expect(response.headers.get('x-media-type')!.length).toBeLessThanOrEqual(2_000);
    },
  );
});

describe('the end', () => {
  test('a stop lets the running send finish, closes the browser and delivers its events', async () => {
    await connect();
    let finish = (): void => undefined;
    engine.answer.send = () =>
      new Promise(
        (resolve) => (finish = () => resolve({ outcome: 'sent', whatsappId: 'w', ack: 1, at: new Date().toISOString() })),
      );
    const sending = put();
    await until('the send', () => engine.sent.length === 1);
    const closed = worker.close();
    await until('draining', async () => (await call('GET', '/health', undefined, {})).body.data['draining'] === true);
    expect((await put('m2')).body.error.code).toBe('SHUTTING_DOWN');
    finish();
    expect((await sending).body.data).toMatchObject({ outcome: 'sent' });
    await closed;
    expect(engine.open()).toBe(0);
    expect(events.at(-1)).toMatchObject({
      type: 'session.observed',
      payload: { status: 'disconnected', reason: { code: 'WORKER_LOST' } },
    });
    await start(`http://127.0.0.1:${(backend.address() as AddressInfo).port}`);
    await connect();
    expect((await put()).body.data).toMatchObject({ outcome: 'sent', whatsappId: 'w' });
  });

  test('nothing that is secret or private is in the log', async () => {
    await connect();
    engine.last().signal({ type: 'qr', text: 'SECRET-CODE', expiresAt: new Date(Date.now() + 1000) });
    await put('m9', command({ content: { type: 'text', message: 'PRIVATE-WORDS' } }));
    const lines = JSON.stringify(log.lines);
    for (const word of ['SECRET-CODE', 'PRIVATE-WORDS', key, '5511999990001', '5511988887777']) expect(lines).not.toContain(word);
  });

  test('a second worker on the same folder is refused', async () => {
    const url = worker.url;
    await expect(start('http://127.0.0.1:9')).rejects.toThrow('Another living process');
    expect(worker.url).toBe(url);
  });
});

describe('the configuration', () => {
  test.each([
    ['no key', undefined],
    ['a short key', 'short'],
    ['a sample', 'change-me-change-me-0123456789-abcdef'],
    ['too few characters', 'ab'.repeat(20)],
  ])('%s is refused, with the next step and without the key', (_, value) => {
    expect(() => readConfig({ SERVICE_API_KEY: value }, '/')).toThrow(/SERVICE_API_KEY .*(npm start|one is made)/);
    if (value) expect(() => readConfig({ SERVICE_API_KEY: value }, '/')).not.toThrow(value);
  });

  test('fills in addresses, makes paths absolute and is frozen', () => {
    const config = readConfig(
      { SERVICE_API_KEY: key, PORT: '8100', WORKER_PORT: '3100', WORKER_HOST: '0.0.0.0', DATA_DIR: 'd' },
      '/base',
    );
    expect(config).toMatchObject({ backendUrl: 'http://127.0.0.1:8100', url: 'http://127.0.0.1:3100', dir: '/base/d/worker' });
    expect(Object.isFrozen(config)).toBe(true);
  });
});
