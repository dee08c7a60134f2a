import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import express from 'express';
import fc from 'fast-check';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { serveSockets } from '../src/events/socket.js';
import { loginOf } from './support/account.js';
import { databases, password, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What comes in from outside and is not as it should be, on both databases. */

const nul = '\0';

describe.each(await databases())('on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    await bundlePanel();
    core = await startCore({
      database,
      mountPanel,
      settings: { REGISTRATION: 'open', MAX_STREAMS_PER_KEY: '3', MAX_FILE_SIZE: '400000' },
    });
  }, 90_000);
  afterAll(() => core?.close(), 60_000);

  const refusal = ({ status, body }: Reply): unknown => [status, body.error?.code];

  test('U+0000 in path, query and body is refused by name, and never reaches the database', async () => {
    const { rig } = core;
    const login = await loginOf(rig);
    const invalid = [422, 'VALIDATION_FAILED'];
    const requests: [method: string, path: string, body?: object, more?: object][] = [
      ['GET', '/messages/a%00b'],
      ['GET', '/messages/a%00b/media'],
      ['GET', '/events/a%00b'],
      ['GET', '/sessions/a%00b/status'],
      ['GET', '/webhooks/a%00b'],
      ['GET', '/privacy/exports/a%00b'],
      ['GET', '/messages?search=a%00b'],
      ['GET', '/messages?cursor=a%00b'],
      ['GET', '/messages?chatId=a%00b'],
      ['GET', '/events?sessionId=a%00b'],
      ['POST', '/messages/send-text', { recipient: ana, message: `a${nul}b` }],
      ['POST', '/messages/send-text', { recipient: ana, message: 'x', quotedMessageId: nul }],
      ['POST', '/messages/send-text', { recipient: ana, message: 'x', [`a${nul}`]: 1 }],
      ['POST', '/messages/send-media', { recipient: ana, mediaBase64: 'YQ==', mimetype: `text/x${nul}y` }],
      ['POST', '/keys', { name: `a${nul}b`, permissions: ['messages.send'] }],
      ['POST', '/webhooks', { url: 'https://hook.invalid/', events: ['message.*'], description: nul }],
      ['POST', '/sessions', { name: 'x', deviceName: nul }],
      ['POST', '/auth/login', { email: `a${nul}@example.com`, password }, { key: null }],
      ['POST', '/auth/register', { username: nul, email: 'a@example.com', password }, { key: null }],
      ['GET', '/admin/accounts?search=a%00b', undefined, login],
    ];
    for (const [method, path, body, more = {}] of requests) {
      const reply = await rig.call(method, path, { ...(body ? { body } : {}), ...more });
      // Routes that do not know the parameter leave it alone.
      if (reply.status < 400) continue;
      expect([path, JSON.stringify(body), reply.status < 500]).toEqual([path, JSON.stringify(body), true]);
      if (path !== '/admin/accounts?search=a%00b') expect([path, refusal(reply)]).toEqual([path, invalid]);
    }
  });

  test('the panel refuses U+0000 before any sign-in', async () => {
    const { url } = core.rig;
    const form = await fetch(`${url}/admin/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: url, 'sec-fetch-site': 'same-origin' },
      body: 'login=a%00b&password=x',
    });
    expect(form.status).toBe(422);
    for (const path of ['/admin/api/resources/messages/actions/list?filters.id=%00', '/admin/live/media/%00', '/admin/%00'])
      expect([path, (await fetch(`${url}${path}`, { redirect: 'manual' })).status]).toEqual([path, 400]);
  });

  test('a forged list cursor is refused, whatever it contains', async () => {
    const id = '01900000-0000-7000-8000-000000000000';
    const given = fc.oneof(
      fc.string(),
      fc
        .oneof(fc.string(), fc.double().map(String), fc.bigInt().map(String))
        .map((time) => Buffer.from(`${time}:${id}`).toString('base64url')),
      fc.constantFrom(
        ...['abc', '1e30', '-1', '', ' 1', '0x10', '9'.repeat(40)].map((time) =>
          Buffer.from(`${time}:${id}`).toString('base64url'),
        ),
      ),
    );
    await fc.assert(
      fc.asyncProperty(given, async (cursor) => {
        const { status } = await core.get(`/messages?cursor=${encodeURIComponent(cursor.replace(/[\ud800-\udfff]/g, ''))}`);
        return status === 200 || status === 422;
      }),
      { numRuns: 60 },
    );
  });

  test('a credential is read in one way: a form that opens one route opens all permitted routes', async () => {
    const login = await loginOf(core.rig);
    const token = login.headers.authorization.slice('Bearer '.length);
    const statuses = async (authorization: string): Promise<number[]> =>
      Promise.all(
        ['/messages', '/events', '/auth/me'].map(
          async (path) => (await core.rig.call('GET', path, { key: null, headers: { authorization } })).status,
        ),
      );
    for (const header of [`Bearer ${token}`, `Bearer  ${token}`, `bearer \t ${token} `, `BEARER ${token}`])
      expect([header, await statuses(header)]).toEqual([header, [200, 200, 200]]);
    for (const header of [`Bearer ${token} x`, 'Bearer', token, `Bearer ${' '.repeat(5_000)}`])
      expect([header, await statuses(header)]).toEqual([header, [401, 401, 401]]);
  });

  describe('a form', () => {
    const count = async (): Promise<unknown> => (await core.get('/messages?limit=1')).body.meta?.['total'];
    const send = (fields: readonly (readonly [string, string | Blob])[], path = '/messages/send'): Promise<Reply> => {
      const form = new FormData();
      for (const [name, value] of fields)
        if (typeof value === 'string') form.append(name, value);
        else form.append(name, value, 'a.txt');
      return core.rig.call('POST', path, { body: form });
    };
    const file = (size: number): Blob => new Blob([Buffer.alloc(size, 'a')], { type: 'text/plain' });
    const to = [['recipient', ana] as const];

    test('brings the longest text whole', async () => {
      const message = '漢'.repeat(65_536);
      const reply = await send([['type', 'text'], ...to, ['message', message]]);
      expect(reply.status).toBe(200);
      expect((await core.message(dataOf(reply).id)) as unknown).toMatchObject({ content: { message } });
    });

    test('brings a file as base64 whole', async () => {
      const bytes = Buffer.alloc(300_033, 'a');
      const reply = await send([
        ['type', 'document'],
        ...to,
        ['mediaBase64', bytes.toString('base64')],
        ['mimetype', 'text/plain'],
      ]);
      expect(reply.status).toBe(200);
      const sent = await fetch(`${core.rig.url}/api/v1/messages/${dataOf(reply).id}/media`, {
        headers: { authorization: `ApiKey ${core.rig.apiKey}` },
      });
      expect((await sent.arrayBuffer()).byteLength).toBe(300_033);
    });

    test('that does not fit is refused with 413, and nothing of it is sent', async () => {
      const before = await count();
      const many = Array.from({ length: 50 }, (_, index) => [`a${index}`, 'x'] as const);
      const forms: [string, readonly (readonly [string, string | Blob])[]][] = [
        ['a field', [['type', 'text'], ...to, ['message', 'x'.repeat(700_000)]]],
        ['fields', [['type', 'text'], ...to, ['message', 'x'], ...many]],
        ['files', [['type', 'document'], ...to, ['file', file(10)], ['file', file(10)]]],
        ['a file', [['type', 'document'], ...to, ['file', file(400_001)]]],
        ['all together', [['type', 'text'], ...to, ...many.slice(0, 30).map(([name]) => [name, 'x'.repeat(500_000)] as const)]],
      ];
      for (const [what, fields] of forms) expect([what, (await send(fields)).status]).toEqual([what, 413]);
      expect(await count()).toBe(before);
    });

    test('has its texts as they are, and flags and lists where the schema has them', async () => {
      const texts = ['true', 'false', '[1]', '{"a":1}', '[', '123', 'null', '"x"'];
      await fc.assert(
        fc.asyncProperty(fc.oneof(fc.constantFrom(...texts), fc.json({ maxDepth: 1 })), async (json) => {
          const message = json.replaceAll('\0', '').replace(/\r\n|\r|\n/g, '\n');
          const reply = await send([
            ['type', 'text'],
            ...to,
            ['message', message],
            ['ignoreQuoteErrors', 'true'],
            ['async', 'false'],
          ]);
          expect(reply.body.data as unknown).toMatchObject({ content: { message } });
        }),
        { numRuns: 25 },
      );
      const poll = await send([
        ['type', 'poll'],
        ...to,
        ['question', '[1]'],
        ['options', '["true","[2]"]'],
        ['multiple', 'true'],
      ]);
      expect(poll.body.data as unknown).toMatchObject({ content: { question: '[1]', options: ['true', '[2]'], multiple: true } });
      for (const [name, value] of [
        ['async', 'yes'],
        ['mentions', '[broken'],
        ['__proto__', '{}'],
        ['constructor', 'x'],
      ] as const)
        expect([name, (await send([['type', 'text'], ...to, ['message', 'x'], [name, value]])).status]).toEqual([name, 422]);
    });
  });

  test('long polls of one credential are counted, and one that ends frees its slot', async () => {
    const gone = new AbortController();
    const headers = { authorization: `ApiKey ${core.rig.apiKey}` };
    const { nextCursor } = (await core.get('/events?limit=200')).body.meta as { nextCursor: string };
    const poll = (wait: number): Promise<Response> =>
      fetch(`${core.rig.url}/api/v1/events?after=${nextCursor}&types=call.received&wait=${wait}`, {
        headers,
        signal: gone.signal,
      });
    const waiting = [poll(30), poll(30), poll(30), poll(30)].map((answer) => answer.catch(() => null));
    // Three wait for an event that never comes, so the first answer is the refusal of one.
    expect((await Promise.race(waiting))?.status).toBe(429);
    expect((await poll(0)).status).toBe(200);
    gone.abort();
    await Promise.all(waiting);
    await eventually('room', async () => (await fetch(`${core.rig.url}/api/v1/events?wait=0.01`, { headers })).status === 200);
  });
});

test('upgrades whose caller is not known yet are bounded, and one that becomes known frees its slot', async () => {
  const server = createServer();
  const admit: (() => void)[] = [];
  const close = serveSockets(server, {
    app: express(),
    authenticate: () => new Promise((_, reject) => admit.push(() => reject(new Error('The test ends it.')))),
    log: { error: () => undefined } as never,
    pingMs: 1_000,
  } as unknown as Parameters<typeof serveSockets>[1]);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets: Socket[] = [];
  const upgrade = async (): Promise<string> => {
    const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(
      'GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return bytes.toString('latin1').slice(9, 12);
  };
  try {
    const answers = await Promise.all(Array.from({ length: 230 }, upgrade));
    expect([answers.filter((status) => status === '101').length, answers.filter((status) => status === '503').length]).toEqual([
      200, 30,
    ]);
    for (const end of admit.splice(0)) end();
    await eventually('room', async () => (await upgrade()) === '101');
  } finally {
    for (const end of admit) end();
    for (const socket of sockets) socket.destroy();
    await close();
    server.closeAllConnections();
    server.close();
  }
});
