import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionResource } from '@chasqui/shared';
import { readRows } from '../src/db/rows.js';
import { createSealer } from '../src/lib/sealer.js';
import { createSessionProxies } from '../src/sessions/proxies.js';
import { Session } from '../src/sessions/session.entity.js';
import { makeAccount } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const password = 'pr0xy-Passw0rd-that-nothing-shows';
const url = 'socks5://proxy.example.com:1080';
const shown = { url, username: 'shop', hasPassword: true };

describe.each(await databases())('the proxy of a session on %s', (database) => {
  let core: Core;
  /** All replies that the tests got. */
  const replies: string[] = [];
  beforeAll(async () => {
    core = await startCore({ database, settings: { EGRESS_ALLOW: '10.1.0.0/16' } });
  });
  afterAll(() => core?.close());

  const change = async (proxy: unknown, path = core.sessionId, more: object = {}): Promise<Reply> => {
    const reply = await core.rig.call('PUT', `/sessions/${path}`, { body: { settings: { proxy } }, ...more });
    replies.push(JSON.stringify(reply.body));
    return reply;
  };
  const proxyNow = async () => ((await core.get(`/sessions/${core.sessionId}`)).body.data as SessionResource).settings.proxy;
  const rowOf = async (id = core.sessionId) =>
    (await readRows(core.rig.database.reader, Session, 'id = ?', [id], ['proxyPassword']))[0]!;
  const workerProxy = async () => {
    const reply = await core.worker.beat({ obey: false });
    return reply.leases.find(({ sessionId }) => sessionId === core.sessionId)?.settings?.proxy;
  };
  const status = async () => {
    const { status: now, desired, reason } = (await core.get(`/sessions/${core.sessionId}`)).body.data as SessionResource;
    return [now, desired, reason?.code ?? null];
  };

  test('is set without its password being shown, which only the worker gets', async () => {
    expect(await proxyNow()).toBeNull();
    const reply = await change({ url: 'SOCKS5://Proxy.Example.com:1080/', username: 'shop', password });
    expect([reply.status, (reply.body.data as SessionResource).settings.proxy]).toEqual([200, shown]);
    expect(await proxyNow()).toEqual(shown);
    expect(await workerProxy()).toEqual({ url, username: 'shop', password });
  });

  test('is part of the order to start the session', async () => {
    const { body } = await core.post('/sessions', { name: 'behind', settings: { proxy: { url, username: 'shop', password } } });
    const { id, settings } = body.data as SessionResource;
    expect(settings.proxy).toEqual(shown);
    await core.post(`/sessions/${id}/connect`);
    expect(core.worker.settings.get(id)?.proxy).toEqual({ url, username: 'shop', password });
    await core.rig.call('DELETE', `/sessions/${id}`);
    expect((await rowOf(id)).proxyPassword).toBeNull();
  });

  test('keeps its password when it is sent back as it was read, or when other settings change', async () => {
    expect((await change(shown)).status).toBe(200);
    await core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { stories: true } } });
    expect([await proxyNow(), await workerProxy()]).toEqual([shown, { url, username: 'shop', password }]);
  });

  test.each([
    ['another host', { ...shown, url: 'socks5://evil.example.com:1080' }],
    ['another port', { ...shown, url: 'socks5://proxy.example.com:1081' }],
    ['another protocol', { ...shown, url: 'http://proxy.example.com:1080' }],
    ['another user name', { ...shown, username: 'other' }],
  ])('does not give the stored password to %s', async (_which, proxy) => {
    const reply = await change(proxy);
    expect([reply.status, reply.body.error?.code]).toEqual([422, 'PROXY_INVALID']);
    expect(await workerProxy()).toEqual({ url, username: 'shop', password });
    expect((await change({ ...proxy, password: null })).status).toBe(200);
    expect(await workerProxy()).toEqual({ url: proxy.url, username: proxy.username, password: null });
    expect((await rowOf()).proxyPassword).toBeNull();
    await change({ url, username: 'shop', password });
  });

  test.each<[string, object, RegExp]>([
    ['a password in the url', { url: `http://shop:${password}@proxy.example.com:3128` }, /protocol:\/\/host:port/],
    ['no port', { url: 'http://proxy.example.com' }, /protocol:\/\/host:port/],
    ['another protocol', { url: 'ftp://proxy.example.com:21' }, /protocol:\/\/host:port/],
    ['a path', { url: 'http://proxy.example.com:3128/x' }, /protocol:\/\/host:port/],
    ['a private address', { url: 'http://192.168.0.1:3128' }, /EGRESS_ALLOW/],
    ['a private address in another spelling', { url: 'socks5://0x7f.1:1080' }, /EGRESS_ALLOW/],
    ['a private address of IPv6', { url: 'socks5://[::1]:1080' }, /EGRESS_ALLOW/],
    ['this machine', { url: 'http://localhost:3128' }, /EGRESS_ALLOW/],
    ['a port of another protocol', { url: 'http://proxy.example.com:25' }, /Port 25/],
    ['a password without a user name', { url, password }, /needs a username/],
    ['a password for SOCKS 4', { url: 'socks4://proxy.example.com:1080', username: 'shop', password }, /no passwords/],
    ['a colon in the user name', { url: 'http://proxy.example.com:3128', username: 'a:b', password }, /no colon/],
    ['an end of line in the password', { url, username: 'shop', password: `${password}\r\nX: y` }, /control character/],
    ['a long password', { url, username: 'shop', password: '\u00e9'.repeat(200) }, /255 bytes/],
    ['an empty user name', { url, username: '' }, /empty/],
  ])('is refused with %s, and the answer does not repeat it', async (_which, proxy, message) => {
    const reply = await change(proxy);
    expect([reply.status, reply.body.error]).toMatchObject([422, { code: 'PROXY_INVALID' }]);
    expect(reply.body.error!.message).toMatch(message);
    expect(await proxyNow()).toEqual(shown);
  });

  test('is allowed in a network of EGRESS_ALLOW', async () => {
    expect((await change({ url: 'http://10.1.2.3:3128' })).status).toBe(200);
    await change({ url, username: 'shop', password });
  });

  test('is of its account alone, and needs the permission to manage sessions', async () => {
    const { key: other } = await makeAccount(core.rig);
    expect((await change(null, core.sessionId, { key: other })).status).toBe(404);
    const { body } = await core.post(`/sessions/${core.sessionId}/keys`, { name: 'own', permissions: ['*'] });
    expect((await change(null, core.sessionId, { key: (body.data as { key: string }).key })).status).toBe(403);
    expect(await proxyNow()).toEqual(shown);
  });

  test('that fails leaves the session desired, and it starts by itself; not with autoReconnect off', async () => {
    await core.worker.move(core.sessionId, 'error', 'PROXY_UNREACHABLE');
    expect(await status()).toEqual(['error', 'running', 'PROXY_UNREACHABLE']);
    await core.worker.move(core.sessionId, 'initializing', 'STARTING');
    await core.worker.move(core.sessionId, 'connecting', 'SYNCING');
    await core.worker.move(core.sessionId, 'connected', null);
    const reconnect = (autoReconnect: boolean) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { autoReconnect } } });
    await reconnect(false);
    await core.worker.move(core.sessionId, 'error', 'PROXY_AUTH_FAILED');
    expect(await status()).toEqual(['error', 'stopped', 'PROXY_AUTH_FAILED']);
    await reconnect(true);
    await core.post(`/sessions/${core.sessionId}/connect`);
    await eventually('the session', async () => (await status())[0] === 'connected');
  });

  test('keeps a session from a worker that is too old for proxies, which would connect without it', async () => {
    core.worker.isOld = true;
    const reply = await core.worker.beat({ obey: false });
    expect(reply.desired).toMatchObject([{ sessionId: core.sessionId, state: 'stopped' }]);
    await core.post(`/sessions/${core.sessionId}/disconnect`);
    const started = await core.post(`/sessions/${core.sessionId}/connect`);
    expect([started.status, started.body.error?.message]).toEqual([503, expect.stringMatching(/too old/)]);
    core.worker.isOld = false;
    expect((await core.post(`/sessions/${core.sessionId}/connect`)).status).toBe(200);
  });

  test('whose password no key opens goes to the worker without it, and never becomes no proxy', async () => {
    const other = createSealer(`k1:${Buffer.alloc(32, 9).toString('base64')}`);
    const log = { error: () => undefined, warn: () => undefined, info: () => undefined } as never;
    const proxies = createSessionProxies(
      { database: core.rig.database, log, report: () => undefined },
      { sealer: other, egress: { checkHost: () => undefined } },
    );
    expect(await proxies.open(await rowOf())).toEqual({ url, username: 'shop', password: null });
  });

  test('has its password in no reply, event, audit entry, log line, panel page or cell of the database', async () => {
    await change({ url, username: 'shop', password });
    for (const path of ['/sessions', `/sessions/${core.sessionId}`, '/events?limit=200', '/audit?limit=200', '/sessions/status'])
      replies.push(JSON.stringify((await core.get(path)).body));
    const texts = [...replies, ...core.rig.lines];
    const tables = await core.rig.database.reader.query<{ name: string }[]>(
      database === 'postgres'
        ? 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema()'
        : "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search%'",
    );
    for (const { name } of tables) texts.push(JSON.stringify(await core.rig.database.reader.query(`SELECT * FROM "${name}"`)));
    expect(texts.length).toBeGreaterThan(30);
    expect(texts.filter((text) => text.includes(password))).toEqual([]);
    expect(replies.some((text) => text.includes('hasPassword'))).toBe(true);
    const { proxyPassword } = await rowOf();
    expect(proxyPassword).toMatch(/^\w+\./);
    expect(JSON.stringify(await core.rig.database.reader.getRepository(Session).find())).not.toContain(proxyPassword);
  });

  test('is removed with null', async () => {
    expect((await change(null)).status).toBe(200);
    expect([await proxyNow(), await workerProxy(), (await rowOf()).proxyPassword]).toEqual([null, null, null]);
  });
});
