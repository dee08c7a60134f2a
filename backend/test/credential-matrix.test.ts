import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionResource } from '@chasqui/shared';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { databases, password, type Rig } from './support/backend.js';
import { loginOf } from './support/account.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { readSocket, readSse, type Reader } from './support/readers.js';

/**
 * Every credential of an account, after every change that may end it, in every place: the API, files, endpoints, open streams and sockets, the panel
 * and its live view. What a change ends is refused everywhere at once, and what it leaves works everywhere.
 */

type Caller = NonNullable<Parameters<Rig['call']>[2]>;
const credentials = ['key', 'token of the key', 'token of the login', 'panel session'] as const;
type Credential = (typeof credentials)[number];

/** One account with everything that it can hold. */
interface Holder {
  id: string;
  keyId: string;
  email: string;
  callers: Record<Exclude<Credential, 'panel session'>, Caller & { headers: Record<string, string> }>;
  panel: Visitor;
  /** Open connections, by the credential on which they depend. */
  open: { of: Credential; what: string; isEnded: () => boolean; end: () => void }[];
  tickets: { of: Credential; ticket: string }[];
  mediaId: string;
  hookId: string;
}

const withinMs = 8_000;
const ofKey: Credential[] = ['key', 'token of the key'];
const ofLogin: Credential[] = ['token of the key', 'token of the login', 'panel session'];

describe.each(await databases())('credentials on %s', (database) => {
  let core: Core;
  let admin: Awaited<ReturnType<typeof loginOf>>;
  let adminPanel: Visitor;
  let watched: string;
  beforeAll(async () => {
    await bundlePanel();
    const streamTimes = { beatMs: 200, pingMs: 60_000, checkMs: 400, stallMs: 10_000 };
    const settings = { MAX_STREAMS_PER_KEY: '50', EGRESS_ALLOW: '127.0.0.1/32' };
    core = await startCore({ database, mountPanel, streamTimes, settings, linked: false });
    admin = await loginOf(core.rig);
    adminPanel = createVisitor(core.rig.url);
    await adminPanel.send('/admin/login', { login: core.rig.firstAdmin!.email, password });
    watched = ((await core.post('/sessions', { name: 'watched' })).body.data as SessionResource).id;
  }, 60_000);
  afterAll(() => core?.close());

  const data = async <T>(method: string, path: string, caller: Caller, body?: unknown): Promise<T> => {
    const reply = await core.rig.call(method, path, { ...caller, ...(body === undefined ? {} : { body }) });
    if (!reply.body.success) throw new Error(`${method} ${path}: ${JSON.stringify(reply.body)}`);
    return reply.body.data as T;
  };
  const bearer = (token: string) => ({ key: null, headers: { authorization: `Bearer ${token}` } });

  let made = 0;
  async function makeHolder(keyMore: object = {}): Promise<Holder> {
    const name = `holder-${database}-${(made += 1)}`;
    const email = `${name}@example.com`;
    const { account, apiKey } = await data<{ account: { id: string }; apiKey: string }>('POST', '/admin/accounts', admin, {
      username: name,
      email,
      password,
      role: 'admin',
    });
    const first = await data<{ token: string; mustChangePassword: boolean }>(
      'POST',
      '/auth/login',
      { key: null },
      { email, password },
    );
    expect(first.mustChangePassword).toBe(false);
    const owner = { key: apiKey };
    const { id: mediaId } = await data<{ id: string }>('POST', '/media', owner, file());
    const { id: hookId } = await data<{ id: string }>('POST', '/webhooks', owner, {
      url: 'http://127.0.0.1:9/',
      events: ['session.created'],
    });
    const key = await data<{ id: string; key: string }>('POST', '/keys', owner, { name: 'k', permissions: ['*'], ...keyMore });
    const { token } = await data<{ token: string }>('POST', '/auth/api-key', { key: null }, { apiKey: key.key });
    const callers = {
      key: { key: null, headers: { 'x-api-key': key.key } },
      'token of the key': bearer(token),
      'token of the login': bearer(first.token),
    };
    const panel = createVisitor(core.rig.url);
    await panel.send('/admin/login', { login: email, password });
    const holder: Holder = { id: account.id, keyId: key.id, email, callers, panel, open: [], tickets: [], mediaId, hookId };
    for (const [of, caller] of Object.entries(callers) as [Exclude<Credential, 'panel session'>, typeof callers.key][]) {
      const where = { url: core.rig.url, headers: caller.headers };
      const ticket = async (): Promise<string> => (await data<{ ticket: string }>('POST', '/ws/ticket', caller, {})).ticket;
      watch(holder, of, 'stream', await readSse(where));
      watch(holder, of, 'socket', await readSocket(where));
      watch(holder, of, 'idle socket', await readSocket({ ...where, subscribe: false }));
      watch(holder, of, 'stream of a ticket', await readSse({ url: core.rig.url, query: { ticket: await ticket() } }));
      holder.tickets.push({ of, ticket: await ticket() });
    }
    await watchPanel(holder);
    return holder;
  }
  function file(): FormData {
    const form = new FormData();
    form.append('file', new Blob(['a text'], { type: 'text/plain' }), 'a.txt');
    return form;
  }
  function watch({ open }: Holder, of: Credential, what: string, reader: Reader): void {
    let isEnded = false;
    void reader.ended.then(() => (isEnded = true));
    open.push({ of, what, isEnded: () => isEnded, end: () => reader.cut() });
  }
  async function watchPanel({ panel, open }: Holder): Promise<void> {
    const gone = new AbortController();
    const cookie = [...panel.cookies].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(`${core.rig.url}/admin/live/sessions/${watched}/stream`, {
      headers: { cookie },
      signal: gone.signal,
    });
    expect(response.status).toBe(200);
    let isEnded = false;
    void response
      .text()
      .catch(() => '')
      .then(() => (isEnded = true));
    open.push({ of: 'panel session', what: 'live view', isEnded: () => isEnded, end: () => gone.abort() });
  }

  /** The status in each place that a request reaches. */
  async function placesOf({ callers, panel, mediaId, hookId }: Holder, of: Credential): Promise<Record<string, number>> {
    if (of === 'panel session')
      return {
        page: (await panel.get('/admin/live/overview')).status,
        live: (await panel.post(`/admin/live/sessions/${watched}/nothing`, {})).status,
      };
    const status = async (method: string, path: string, body?: unknown): Promise<number> =>
      (await core.rig.call(method, path, { ...callers[of], ...(body === undefined ? {} : { body }) })).status;
    return {
      read: await status('GET', '/sessions'),
      file: await status('GET', `/media/${mediaId}/file`),
      'change of an endpoint': await status('PUT', `/webhooks/${hookId}`, { description: of }),
      upload: await status('POST', '/media', file()),
      ticket: await status('POST', '/ws/ticket', {}),
    };
  }

  async function requireEnds(holder: Holder, dead: readonly Credential[]): Promise<void> {
    const started = performance.now();
    for (const of of credentials)
      for (const [place, status] of Object.entries(await placesOf(holder, of))) {
        const isRefused = status === 401 || status === 403;
        expect([of, place, status, isRefused]).toEqual([of, place, status, dead.includes(of)]);
      }
    for (const { of, ticket } of holder.tickets) {
      const opened = await readSse({ url: core.rig.url, query: { ticket } }).catch((error: { status: number }) => error.status);
      const isRefused = opened === 401 || opened === 403;
      if (typeof opened === 'object') opened.cut();
      expect([of, 'ticket', isRefused]).toEqual([of, 'ticket', dead.includes(of)]);
    }
    const dying = holder.open.filter(({ of }) => dead.includes(of));
    await eventually('the streams to end', async () => dying.every(({ isEnded }) => isEnded()), withinMs).catch(() => undefined);
    const still = dying.filter(({ isEnded }) => !isEnded()).map(({ of, what }) => `${what} of ${of}`);
    expect(still).toEqual([]);
    expect(performance.now() - started).toBeLessThan(2 * withinMs);
    // Longer than a check of all credentials, which must not end the others.
    await sleep(500);
    const ended = holder.open.filter(({ of, isEnded }) => !dead.includes(of) && isEnded());
    expect(ended.map(({ of, what }) => `${what} of ${of}`)).toEqual([]);
    for (const { end } of holder.open) end();
  }

  const changes: Record<string, { dead: readonly Credential[]; change: (holder: Holder) => Promise<unknown> }> = {
    'nothing happens': { dead: [], change: async () => undefined },
    'the account is switched off': {
      dead: credentials,
      change: ({ id }) => data('PATCH', `/admin/accounts/${id}`, admin, { isActive: false }),
    },
    'the password is changed': {
      dead: ofLogin,
      change: ({ callers }) =>
        data('POST', '/auth/me/password', callers['token of the login'], {
          currentPassword: password,
          newPassword: `${password}, another one`,
        }),
    },
    'the password is reset by staff': {
      dead: ofLogin,
      change: async ({ id }) => expect((await adminPanel.post(`/admin/live/accounts/${id}/reset-password`, {})).status).toBe(200),
    },
    'the account logs out everywhere': {
      dead: ofLogin,
      change: ({ callers }) => data('POST', '/auth/logout', callers['token of the login'], {}),
    },
    'the role is lowered': {
      dead: ['panel session'],
      change: ({ id }) => data('PATCH', `/admin/accounts/${id}`, admin, { role: 'user' }),
    },
    'the panel is left': {
      dead: ['panel session'],
      change: ({ panel }) => panel.send('/admin/logout', {}),
    },
    'the key is regenerated': {
      dead: ofKey,
      change: ({ keyId, callers }) => data('POST', `/keys/${keyId}/regenerate`, callers['token of the login'], {}),
    },
    'the key is revoked': {
      dead: ofKey,
      change: ({ keyId, callers }) => data('DELETE', `/keys/${keyId}`, callers['token of the login']),
    },
    'the key loses every permission': {
      dead: ofKey,
      change: ({ keyId, callers }) => data('PUT', `/keys/${keyId}`, callers['token of the login'], { permissions: [] }),
    },
  };

  test.each(Object.keys(changes))('when %s, what it ends is refused in every place, and the rest is not', async (name) => {
    const { dead, change } = changes[name]!;
    const holder = await makeHolder();
    await change(holder);
    await requireEnds(holder, dead);
  });

  test('when the time of a key is over, without any other change, it is refused in every place', async () => {
    const holder = await makeHolder({ expiresAt: new Date(Date.now() + 4_000).toISOString() });
    await eventually(
      'the end of its time',
      async () => (await core.rig.call('GET', '/sessions', holder.callers.key)).status === 401,
    );
    await requireEnds(holder, ofKey);
  }, 90_000);

  test('the token and the panel session of a one-time password end with the next reset and with the account', async () => {
    const holder = await makeHolder();
    const reset = async (): Promise<string> => {
      const reply = await adminPanel.post(`/admin/live/accounts/${holder.id}/reset-password`, {});
      return (reply.json()['data'] as { secret: string }).secret;
    };
    const enter = async (secret: string) => {
      const body = { email: holder.email, password: secret };
      const { token } = await data<{ token: string }>('POST', '/auth/login', { key: null }, body);
      const panel = createVisitor(core.rig.url);
      await panel.send('/admin/login', { login: holder.email, password: secret });
      return { token, panel };
    };
    const changeWith = (token: string, secret: string) =>
      core.rig.call('POST', '/auth/me/password', {
        ...bearer(token),
        body: { currentPassword: secret, newPassword: 'a password of my own' },
      });
    const secrets = [await reset()];
    const first = await enter(secrets[0]!);
    expect((await first.panel.get('/admin/password')).status).toBe(200);
    secrets.push(await reset());
    expect((await changeWith(first.token, secrets[0]!)).status).toBe(401);
    expect((await first.panel.get('/admin/password')).headers.get('location')).toBe('/admin/login');
    const second = await enter(secrets[1]!);
    await data('PATCH', `/admin/accounts/${holder.id}`, admin, { isActive: false });
    expect([401, 403]).toContain((await changeWith(second.token, secrets[1]!)).status);
    expect((await second.panel.get('/admin/password')).headers.get('location')).toBe('/admin/login');
    for (const { end } of holder.open) end();
  });
});
