import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { workerRoutes, type Heartbeat, type HeartbeatReply } from '@chasqui/shared';
import { readConfig } from '../src/config.js';
import { version } from '../src/version.js';
import { until } from './engine/harness.js';
import { identity } from './memory-engine.js';
import {
  type Answer,
  call,
  command,
  connect,
  it,
  keepAll,
  key,
  put,
  start,
  startBackend,
  status,
  useWorker,
} from './worker-rig.js';

/** The worker's API: who may call it, sessions, its end and its configuration. */

useWorker();

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
    expect(body.data).toMatchObject({ status: 'ok', workerId: it.worker.workerId, version, capacity: 2, sessions: 0 });
    expect(version).toBe(
      (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version,
    );
    it.worker.noteTrouble();
    expect((await call('GET', '/health', undefined, {})).body.data['status']).toBe('degraded');
  });
});

describe('sessions', () => {
  test('two inits at once start one browser', async () => {
    const both = await Promise.all([1, 2].map(() => call('POST', '/api/session/init', { sessionId: 's1', epoch: 1 })));
    expect(both.map(({ body }) => body.data['status'])).toEqual(['initializing', 'initializing']);
    await until('a browser', () => it.engine.last());
    expect(it.engine.launches).toBe(1);
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
    expect(it.engine.sent).toEqual([]);
    await it.worker.close();
    await start(`http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`);
    expect((await call('POST', '/api/session/init', { sessionId: 's1', epoch: 4 })).body.error.code).toBe('STALE_EPOCH');
  });

  test('desired sessions are started, and sessions that the backend does not know are stopped', async () => {
    it.reply = () => ({
      leases: [],
      revoke: [],
      desired: [{ sessionId: 's9', state: 'running', epoch: 3, settings: {}, deviceName: null }],
    });
    await until('the desired browser', () => it.engine.launches === 1 && it.engine.last());
    expect(await status('s9')).toMatchObject({ status: 'initializing', epoch: 3 });
    it.reply = () => ({ leases: [], revoke: [], desired: [] });
    await until('its end', () => it.engine.open() === 0);
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
    it.reply = told;
    await call('POST', '/api/session/init', { sessionId: 's1', epoch: 1, ...order });
    await until('a browser', () => it.engine.launches === 1 && it.engine.last());
    it.engine.last().signal({ type: 'authenticated' });
    it.engine.last().signal({ type: 'ready', identity });
    await until('connected', async () => (await status())['status'] === 'connected');
    const seen = it.beats.length;
    await until('two heartbeats', () => it.beats.length > seen + 2);
    it.engine.last().signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: 'As the test wants it.' });
    await until('the loss', async () => (await status())['status'] === 'disconnected');
    expect(await status()).toMatchObject({ reason: { code: 'RECONNECT_OFF' } });

    it.reply = kept(on);
    await connect();
    const later = it.beats.length;
    await until('two more heartbeats', () => it.beats.length > later + 2);
    it.engine.last().signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: 'As the test wants it.' });
    await until('another browser', () => it.engine.launches === 3);
  });

  test('a session that was used up is not started again by a heartbeat', async () => {
    it.engine.failNext('PROFILE_LOCKED');
    it.reply = () => ({
      leases: [],
      revoke: [],
      desired: [{ sessionId: 's1', state: 'running', epoch: 1, settings: {}, deviceName: null }],
    });
    await until('the error', () => it.beats.some(({ sessions }) => sessions[0]?.status === 'error'));
    const seen = it.beats.length;
    await until('three more heartbeats', () => it.beats.length > seen + 3);
    expect(it.engine.launches).toBe(1);
  });

  test('a revoked session is stopped and keeps its login', async () => {
    await connect(2);
    it.reply = () => ({ leases: [], desired: [], revoke: [{ sessionId: 's1', epoch: 1 }] });
    const seen = it.beats.length;
    await until('two more heartbeats', () => it.beats.length > seen + 2);
    expect((await status())['status']).toBe('connected');
    it.reply = () => ({ leases: [], desired: [], revoke: [{ sessionId: 's1', epoch: 2 }] });
    await until('its end', () => it.engine.open() === 0);
    expect(existsSync(join(it.dir, 'worker', 'profiles', 's1'))).toBe(true);
  });

  test('without a valid lease a send is refused before the page sees it, and succeeds after the next heartbeat', async () => {
    let isHeard = true;
    const answer = it.reply;
    it.reply = (beat) => {
      if (!isHeard) throw new Error('The backend does not answer.');
      return answer(beat);
    };
    await it.worker.close();
    await start(`http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`, { LEASE_SECONDS: '5' });
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
    const before = it.engine.sent.length;
    isHeard = true;
    await until('the lease to be renewed', async () => (await put('m-late')).status === 200);
    expect(it.engine.sent.length).toBeGreaterThan(before);
    expect((await put('m-late')).body.data).toMatchObject({ outcome: 'sent' });
  }, 30_000);

  test('without a backend sessions continue to run, and their events arrive later', async () => {
    await connect();
    const { port } = it.backend.address() as AddressInfo;
    it.backend.closeAllConnections();
    await new Promise((resolve) => it.backend.close(resolve));
    it.engine.last().signal({
      type: 'event',
      event: 'message.observed',
      payload: {
        message: { key: 'k', content: { type: 'text' }, timestamp: new Date().toISOString() },
        origin: 'live',
      },
    } as never);
    await until('the log line', () => it.log.lines.some(({ sentence }) => sentence.includes('sessions continue to run')));
    expect((await put()).body.data['outcome']).toBe('sent');
    await startBackend().then(async () => {
      it.backend.closeAllConnections();
      await new Promise((resolve) => it.backend.close(resolve));
      await new Promise<void>((resolve) => it.backend.listen(port, '127.0.0.1', resolve));
    });
    await until('the message', () => it.events.some(({ type }) => type === 'message.observed'));
    expect((await status())['status']).toBe('connected');
    expect(it.engine.launches).toBe(1);
  });
});

describe('the end', () => {
  test('a stop lets the running send finish, closes the browser and delivers its events', async () => {
    await connect();
    let finish = (): void => undefined;
    it.engine.answer.send = () =>
      new Promise(
        (resolve) => (finish = () => resolve({ outcome: 'sent', whatsappId: 'w', ack: 1, at: new Date().toISOString() })),
      );
    const sending = put();
    await until('the send', () => it.engine.sent.length === 1);
    const closed = it.worker.close();
    await until('draining', async () => (await call('GET', '/health', undefined, {})).body.data['draining'] === true);
    expect((await put('m2')).body.error.code).toBe('SHUTTING_DOWN');
    finish();
    expect((await sending).body.data).toMatchObject({ outcome: 'sent' });
    await closed;
    expect(it.engine.open()).toBe(0);
    expect(it.events.at(-1)).toMatchObject({
      type: 'session.observed',
      payload: { status: 'disconnected', reason: { code: 'WORKER_LOST' } },
    });
    await start(`http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`);
    await connect();
    expect((await put()).body.data).toMatchObject({ outcome: 'sent', whatsappId: 'w' });
  });

  test('nothing that is secret or private is in the log', async () => {
    await connect();
    it.engine.last().signal({ type: 'qr', text: 'SECRET-CODE', expiresAt: new Date(Date.now() + 1000) });
    await put('m9', command({ content: { type: 'text', message: 'PRIVATE-WORDS' } }));
    const lines = JSON.stringify(it.log.lines);
    for (const word of ['SECRET-CODE', 'PRIVATE-WORDS', key, '5511999990001', '5511988887777']) expect(lines).not.toContain(word);
  });

  test('a second worker on the same folder is refused', async () => {
    const url = it.worker.url;
    await expect(start('http://127.0.0.1:9')).rejects.toThrow('Another living process');
    expect(it.worker.url).toBe(url);
  });
});

describe('the configuration', () => {
  test.each([
    ['no key', undefined],
    ['a short key', 'short'],
    ['a sample', 'change-me-change-me-0123456789-abcdef'],
    ['too few characters', 'ab'.repeat(20)],
  ])('%s is refused, with the next step and without the key', (_, value) => {
    expect(() => readConfig({ SERVICE_API_KEY: value }, '/')).toThrow(/SERVICE_API_KEY .*(npm start|one is created)/);
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
