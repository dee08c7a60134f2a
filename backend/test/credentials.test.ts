import { once } from 'node:events';
import http from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Account } from '../src/accounts/account.entity.js';
import { createApiKeys } from '../src/accounts/api-keys.js';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { updateRows } from '../src/db/rows.js';
import { makeAccount, loginOf } from './support/account.js';
import { databases, hasPostgres, password, startRig, type Reply, type Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { coreOf } from './support/parts.js';
import { readSocket, readSse, type Reader } from './support/readers.js';

/** Whatever stands on a secret ends with it: tokens, tickets, streams, open sockets, long polls and requests whose body is still on its way. */

const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];
const bearer = (token: string) => ({ key: null, headers: { authorization: `Bearer ${token}` } });
/** So long that only being told of a change can end a stream within a test. */
const never = { beatMs: 200, pingMs: 60_000, checkMs: 3_600_000, stallMs: 10_000 };

interface Made {
  id: string;
  key: string;
}
const makeKey = async (rig: Rig, caller: { key?: string }, body: object = {}): Promise<Made> =>
  (await rig.call('POST', '/keys', { ...caller, body: { name: 'k', permissions: ['*'], ...body } })).body.data as Made;
const tokenOf = async (rig: Rig, key: string): Promise<string> =>
  ((await rig.call('POST', '/auth/api-key', { key: null, body: { apiKey: key } })).body.data as { token: string }).token;
const ticketOf = async (rig: Rig, caller: Parameters<Rig['call']>[2]): Promise<string> =>
  ((await rig.call('POST', '/ws/ticket', { ...caller, body: {} })).body.data as { ticket: string }).ticket;

describe.each(await databases())('a secret that is replaced on %s', (database) => {
  let core: Core;
  const open: Reader[] = [];
  beforeAll(async () => {
    core = await startCore({ database, streamTimes: never, settings: { MAX_STREAMS_PER_KEY: '50' } });
  });
  afterEach(() => {
    for (const reader of open.splice(0)) reader.cut();
  });
  afterAll(() => core?.close());

  const follow = async (
    caller: { headers?: Record<string, string>; query?: Record<string, string> },
    idle = false,
  ): Promise<Reader> => {
    const where = { url: core.rig.url, ...caller };
    const reader = idle ? await readSocket({ ...where, subscribe: false }) : await readSse(where);
    open.push(reader);
    if (!idle) await eventually('the stream to begin', async () => reader.cursor);
    return reader;
  };
  const socketOf = async (headers: Record<string, string>): Promise<Reader> => {
    const reader = await readSocket({ url: core.rig.url, headers });
    open.push(reader);
    await eventually('the socket to begin', async () => reader.cursor);
    return reader;
  };

  const ways: Record<string, (made: Made, owner: { key: string }) => Promise<Reply>> = {
    'is regenerated': ({ id }, owner) => core.rig.call('POST', `/keys/${id}/regenerate`, { ...owner, body: {} }),
    'is switched off': ({ id }, owner) => core.rig.call('PUT', `/keys/${id}`, { ...owner, body: { isActive: false } }),
    'is revoked': ({ id }, owner) => core.rig.call('DELETE', `/keys/${id}`, owner),
    'has expired by a change': ({ id }, owner) =>
      core.rig.call('PUT', `/keys/${id}`, { ...owner, body: { expiresAt: '2020-01-01T00:00:00Z' } }),
  };

  test.each(Object.keys(ways))(
    'a key that %s takes its token, ticket, streams, idle socket and long poll with it',
    async (way) => {
      const owner = { key: (await makeAccount(core.rig)).key };
      const made = await makeKey(core.rig, owner);
      const token = await tokenOf(core.rig, made.key);
      const headers = { authorization: `Bearer ${token}` };
      const tickets = [await ticketOf(core.rig, { key: made.key }), await ticketOf(core.rig, bearer(token))];
      const streams = [
        await follow({ headers: { 'x-api-key': made.key } }),
        await follow({ headers }),
        await socketOf(headers),
        await follow({ headers }, true),
        await follow({ query: { ticket: await ticketOf(core.rig, bearer(token)) } }),
      ];
      const poll = core.rig.call('GET', '/events?wait=30', { key: made.key });
      expect((await core.rig.call('GET', '/sessions', bearer(token))).status).toBe(200);
      expect((await ways[way]!(made, owner)).status).toBe(200);
      const isExpired = way.includes('expired');
      const refused = [401, isExpired ? 'KEY_EXPIRED' : 'UNAUTHENTICATED'];
      expect(codeOf(await core.rig.call('GET', '/sessions', { key: made.key }))).toEqual(refused);
      expect(codeOf(await core.rig.call('GET', '/sessions', bearer(token)))).toEqual(refused);
      for (const ticket of tickets)
        await expect(readSse({ url: core.rig.url, query: { ticket } })).rejects.toMatchObject({ status: 401 });
      for (const stream of streams) await stream.ended;
      // An event answers the poll; what it held is not for this reader any more.
      await core.rig.call('POST', '/sessions', { ...owner, body: { name: 'wakes' } });
      expect(codeOf(await poll)).toEqual(refused);
    },
  );

  test('the keys of a session end with it, with their tokens and streams, and so does a key that is created meanwhile', async () => {
    const owner = { key: (await makeAccount(core.rig)).key };
    const { id } = (await core.rig.call('POST', '/sessions', { ...owner, body: { name: 'short-lived' } })).body.data as {
      id: string;
    };
    const make = () => core.rig.call('POST', `/sessions/${id}/keys`, { ...owner, body: { name: 'bound', permissions: ['*'] } });
    const { key } = (await make()).body.data as { key: string };
    const headers = { authorization: `Bearer ${await tokenOf(core.rig, key)}` };
    const stream = await follow({ headers });
    const [late] = await Promise.all([make(), core.rig.call('DELETE', `/sessions/${id}`, owner)]);
    const alive = (late.body.data as { key?: string } | undefined)?.key;
    for (const credential of [{ key }, { key: null, headers }, ...(alive ? [{ key: alive }] : [])])
      expect((await core.rig.call('GET', '/messages/list', credential)).status).toBe(401);
    await stream.ended;
    expect((await core.rig.call('GET', '/keys', owner)).body.data).toHaveLength(1);
    expect((await make()).body.error?.code).toBe('SESSION_NOT_FOUND');
  });

  test('a key regenerated twice ends the token of the secret between as well, and the newest one works', async () => {
    const owner = { key: (await makeAccount(core.rig)).key };
    const { id } = await makeKey(core.rig, owner);
    const again = async (): Promise<string> =>
      ((await core.rig.call('POST', `/keys/${id}/regenerate`, { ...owner, body: {} })).body.data as Made).key;
    const tokens = [await tokenOf(core.rig, await again()), await tokenOf(core.rig, await again())];
    expect(codeOf(await core.rig.call('GET', '/sessions', bearer(tokens[0]!)))).toEqual([401, 'UNAUTHENTICATED']);
    expect((await core.rig.call('GET', '/sessions', bearer(tokens[1]!))).status).toBe(200);
  });

  test('a token ends when the hash of its key changes, whichever process changes it', async () => {
    const made = await makeKey(core.rig, {});
    const token = await tokenOf(core.rig, made.key);
    await core.rig.database.write.run((tx) => updateRows(tx, ApiKey, { id: made.id }, { hash: 'f'.repeat(64) }));
    expect(codeOf(await core.rig.call('GET', '/sessions', bearer(token)))).toEqual([401, 'UNAUTHENTICATED']);
  });

  test('a token of an earlier version, which names no secret of its key, opens nothing', async () => {
    const { id, key } = await makeKey(core.rig, {});
    const { accountId } = await core.rig.database.reader.getRepository(ApiKey).findOneByOrFail({ id });
    const keys = createApiKeys(coreOf(core.rig.database));
    expect((await keys.authenticate(key)).id).toBe(id);
    await expect(keys.authenticateId(accountId, id, null)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  test('permissions that are removed are missing in an open stream, and in a socket that subscribes afterwards', async () => {
    const owner = { key: (await makeAccount(core.rig)).key };
    const made = await makeKey(core.rig, owner);
    const headers = { 'x-api-key': made.key };
    const stream = await follow({ headers });
    const idle = (await follow({ headers }, true)) as Awaited<ReturnType<typeof readSocket>>;
    const change = (permissions: string[]): Promise<Reply> =>
      core.rig.call('PUT', `/keys/${made.id}`, { ...owner, body: { permissions } });
    await change(['events.read', 'messages.receive']);
    idle.say({ type: 'subscribe' });
    await eventually('the socket to begin', async () => idle.cursor);
    await core.rig.call('POST', '/sessions', { ...owner, body: { name: 'unseen' } });
    const head = (await core.rig.call('GET', '/events?limit=1', owner)).body.meta!['latestCursor'] as string;
    await eventually('the log to be scanned', async () => stream.cursor >= head);
    expect([stream.events, idle.events]).toEqual([[], []]);
    await change(['events.read', 'instance.info']);
    await core.rig.call('POST', '/sessions', { ...owner, body: { name: 'seen' } });
    await eventually('the second session to be told', async () => stream.events.length > 0);
    expect(stream.events.map(({ data }) => data['name'])).toEqual(['seen']);
    await change(['messages.receive']);
    expect((await idle.ended).code).toBe(4403);
    await stream.ended;
  });

  test('permissions that another backend removes without a notice here are missing in the reply of a long poll that began before', async () => {
    const owner = { key: (await makeAccount(core.rig)).key };
    const made = await makeKey(core.rig, owner);
    const poll = core.rig.call('GET', '/events?wait=2', { key: made.key });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const permissions = ['events.read', 'messages.receive'];
    await core.rig.database.write.run((tx) => updateRows(tx, ApiKey, { id: made.id }, { permissions }));
    await core.rig.call('POST', '/sessions', { ...owner, body: { name: 'unseen' } });
    const { status, body } = await poll;
    expect([status, body.data]).toEqual([200, []]);
  });

  test('a password that is changed ends the tokens of logins, their tickets, streams and idle sockets', async () => {
    const { key } = await makeAccount(core.rig);
    const { email } = (await core.rig.call('GET', '/auth/me', { key })).body.data as { email: string };
    const login = await loginOf(core.rig, email);
    const ticket = await ticketOf(core.rig, login);
    const streams = [await follow(login), await follow(login, true)];
    const body = { currentPassword: password, newPassword: `${password}, a new one` };
    expect((await core.rig.call('POST', '/auth/me/password', { ...login, body })).status).toBe(200);
    expect(codeOf(await core.rig.call('GET', '/auth/me', login))).toEqual([401, 'UNAUTHENTICATED']);
    await expect(readSse({ url: core.rig.url, query: { ticket } })).rejects.toMatchObject({ status: 401 });
    for (const stream of streams) await stream.ended;
    // The account's keys are secrets of their own.
    expect((await core.rig.call('GET', '/auth/me', { key })).status).toBe(200);
  });

  test('when two callers change one password at once with the present one, one is refused', async () => {
    const { key } = await makeAccount(core.rig);
    const { email } = (await core.rig.call('GET', '/auth/me', { key })).body.data as { email: string };
    const login = await loginOf(core.rig, email);
    const change = (text: string): Promise<Reply> =>
      core.rig.call('POST', '/auth/me/password', { ...login, body: { currentPassword: password, newPassword: text } });
    const replies = await Promise.all([change('the first new password'), change('the second new password')]);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 401]);
  });

  test('a body that was begun with a good key is refused when the key is replaced before its end', async () => {
    const owner = { key: (await makeAccount(core.rig)).key };
    const made = await makeKey(core.rig, owner);
    const body = JSON.stringify({ name: 'from the thief', permissions: ['*'] });
    const request = http.request(`${core.rig.url}/api/v1/keys`, {
      method: 'POST',
      agent: false,
      headers: { 'x-api-key': made.key, 'content-type': 'application/json', 'content-length': body.length },
    });
    const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
    request.write(body.slice(0, 10));
    const usage = async () => (await core.rig.call('GET', `/keys/${made.id}/usage`, owner)).body.data as { remaining: unknown };
    await eventually('the head of the request to be read', async () => usage());
    await new Promise((resolve) => setTimeout(resolve, 700));
    await core.rig.call('POST', `/keys/${made.id}/regenerate`, { ...owner, body: {} });
    request.end(body.slice(10));
    const [response] = await answered;
    response.resume();
    expect(response.statusCode).toBe(401);
    const names = (await core.rig.call('GET', '/keys', owner)).body.data as { name: string }[];
    expect(names.map(({ name }) => name)).not.toContain('from the thief');
  });

  test('a primary key that was switched off gets its new secret in one commit, in which the old one ends', async () => {
    const { id: accountId, key } = await makeAccount(core.rig);
    const primary = ((await core.rig.call('GET', '/keys', { key })).body.data as { id: string }[])[0]!;
    const { write } = core.rig.database;
    await write.run((tx) => updateRows(tx, ApiKey, { id: primary.id }, { isActive: false, expiresAt: new Date(0) }));
    const seen: boolean[] = [];
    const watched = {
      ...core.rig.database,
      write: {
        ...write,
        async run<T>(work: Parameters<typeof write.run<T>>[0]): Promise<T> {
          const result = await write.run(work);
          const rows = await core.rig.database.reader
            .getRepository(ApiKey)
            .find({ where: { id: primary.id }, select: { isActive: true, lastFour: true } });
          seen.push(rows[0]!.isActive && rows[0]!.lastFour === key.slice(-4));
          return result;
        },
      },
    };
    const keys = createApiKeys(coreOf(watched));
    const caller = {
      accountId,
      role: 'user',
      credential: { type: 'token', id: accountId, name: null },
      permissions: ['*'],
    } as const;
    const fresh = await keys.regeneratePrimary(
      { ...caller, sessionId: null, isPasswordLogin: true, requestId: '', ip: null },
      accountId,
    );
    // After no commit was the old secret switched on.
    expect(seen).toEqual([false]);
    // The other instance of the module notified no backend: this one finds out when its cache entry ends.
    await eventually(
      'the old secret to be refused',
      async () => (await core.rig.call('GET', '/auth/me', { key })).status === 401,
    );
    expect((await core.rig.call('GET', '/auth/me', { key: fresh })).status).toBe(200);
  });

  test('the token of a one-time password changes the password and does nothing else', async () => {
    const admin = await loginOf(core.rig);
    const email = `one-time-${database}@example.com`;
    const created = await core.rig.call('POST', '/admin/accounts', {
      ...admin,
      body: { username: `one-time-${database}`, email, role: 'admin' },
    });
    const { oneTimePassword } = created.body.data as { oneTimePassword: string };
    const signIn = (text: string): Promise<Reply> =>
      core.rig.call('POST', '/auth/login', { key: null, body: { email, password: text } });
    const first = (await signIn(oneTimePassword)).body.data as { token: string };
    expect(first).toMatchObject({ permissions: [], mustChangePassword: true });
    const oneTime = bearer(first.token);
    for (const [method, path] of [
      ['GET', '/auth/me'],
      ['GET', '/admin/accounts'],
      ['POST', '/keys'],
      ['POST', '/ws/ticket'],
      ['POST', '/auth/me/api-key/regenerate'],
      ['GET', '/events/stream'],
    ] as const)
      expect([
        path,
        ...codeOf(await core.rig.call(method, path, { ...oneTime, ...(method === 'POST' ? { body: {} } : {}) })),
      ]).toEqual([path, 403, 'PASSWORD_CHANGE_REQUIRED']);
    const socket = await readSocket({ url: core.rig.url, headers: oneTime.headers, subscribe: false });
    expect(await socket.ended).toEqual({ code: 4403, reason: 'PASSWORD_CHANGE_REQUIRED' });
    const change = (next: string): Promise<Reply> =>
      core.rig.call('POST', '/auth/me/password', { ...oneTime, body: { currentPassword: oneTimePassword, newPassword: next } });
    expect(codeOf(await change(oneTimePassword))).toEqual([422, 'VALIDATION_FAILED']);
    expect((await change('a password of my own')).status).toBe(200);
    expect(codeOf(await core.rig.call('GET', '/auth/me', oneTime))).toEqual([401, 'UNAUTHENTICATED']);
    expect((await signIn(oneTimePassword)).status).toBe(401);
    const own = (await signIn('a password of my own')).body.data as { token: string };
    expect(own).toMatchObject({ permissions: ['*'], mustChangePassword: false });
    expect((await core.rig.call('GET', '/admin/accounts', bearer(own.token))).status).toBe(200);
  });
});

((await hasPostgres()) ? describe : describe.skip)('two backends on one PostgreSQL', () => {
  let first: Core;
  let second: Rig;
  beforeAll(async () => {
    const settings = { JWT_SECRET: 'one secret for both backends, long enough' };
    first = await startCore({ database: 'postgres', streamTimes: never, settings });
    // A clock that stands still keeps what is cached for ever, so that only being told of a change can end it.
    const clock = { now: () => new Date(), monotonic: () => 0 };
    second = await startRig({ settings: { ...settings, DATABASE_URL: first.rig.databaseUrl! }, clock, streamTimes: never });
  }, 60_000);
  afterAll(async () => {
    await second?.close();
    await first?.close();
  });

  test('a key that is regenerated on one ends at once on the other: itself, its token and its streams', async () => {
    const made = await makeKey(first.rig, {});
    const token = await tokenOf(second, made.key);
    const headers = { authorization: `Bearer ${token}` };
    const stream = await readSse({ url: second.url, headers });
    const idle = await readSocket({ url: second.url, headers: { 'x-api-key': made.key }, subscribe: false });
    expect((await second.call('GET', '/sessions', { key: made.key })).status).toBe(200);
    await first.post(`/keys/${made.id}/regenerate`, {});
    await eventually(
      'the key to be refused',
      async () => (await second.call('GET', '/sessions', { key: made.key })).status === 401,
    );
    expect((await second.call('GET', '/sessions', bearer(token))).status).toBe(401);
    await stream.ended;
    await idle.ended;
  });

  test('an account that is switched off on one, and a password that is changed, end there and on the other', async () => {
    const stranger = await makeAccount(first.rig);
    const { email } = (await first.rig.call('GET', '/auth/me', { key: stranger.key })).body.data as { email: string };
    const login = await loginOf(second, email);
    const streams = [
      await readSse({ url: second.url, headers: login.headers }),
      await readSse({ url: second.url, headers: { 'x-api-key': stranger.key } }),
    ];
    const body = { currentPassword: password, newPassword: 'another long password' };
    expect((await first.rig.call('POST', '/auth/me/password', { ...login, body })).status).toBe(200);
    await streams[0]!.ended;
    await eventually('the token to be refused', async () => (await second.call('GET', '/auth/me', login)).status === 401);
    const admin = await loginOf(first.rig);
    await first.rig.call('PATCH', `/admin/accounts/${stranger.id}`, { ...admin, body: { isActive: false } });
    await streams[1]!.ended;
    await eventually(
      'the key to be refused',
      async () => (await second.call('GET', '/auth/me', { key: stranger.key })).status === 403,
    );
  });

  test('a token that is void already, and still cached, makes no ticket or stream that outlives the cache', async () => {
    const stranger = await makeAccount(first.rig);
    const { email } = (await first.rig.call('GET', '/auth/me', { key: stranger.key })).body.data as { email: string };
    const login = await loginOf(second, email);
    expect((await second.call('GET', '/auth/me', login)).status).toBe(200);
    // As a logout or `reset-admin` whose notice is still on its way.
    await first.rig.database.write.run((tx) => updateRows(tx, Account, { id: stranger.id }, { jwtSecret: 'f'.repeat(64) }));
    expect((await second.call('GET', '/auth/me', login)).status).toBe(200);
    for (const { url } of [first.rig, second]) {
      const query = { ticket: await ticketOf(second, login) };
      await expect(readSse({ url, query })).rejects.toMatchObject({ status: 401 });
    }
    for (const open of [
      await readSse({ url: second.url, headers: login.headers }),
      await readSocket({ url: second.url, headers: login.headers, subscribe: false }),
    ])
      await open.ended;
  });

  test('after its connection to the server broke, a backend discards every cached credential', async () => {
    const made = await makeKey(first.rig, {});
    expect((await second.call('GET', '/sessions', { key: made.key })).status).toBe(200);
    // Changed without a backend: none is notified.
    await first.rig.database.write.run((tx) => updateRows(tx, ApiKey, { id: made.id }, { isActive: false }));
    expect((await second.call('GET', '/sessions', { key: made.key })).status).toBe(200);
    await first.rig.database.reader.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chasqui wake'",
    );
    await eventually(
      'the key to be refused',
      async () => (await second.call('GET', '/sessions', { key: made.key })).status === 401,
      30_000,
    );
  });
});
