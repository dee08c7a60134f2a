import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeAccount } from './support/account.js';
import { databases, password, type Reply } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];

describe.each(await databases())('sign-in by cookie on %s', (database) => {
  let core: Core;
  let origin: string;
  const email = 'shop@example.com';
  beforeAll(async () => {
    core = await startCore({ database });
    origin = core.rig.url;
    const admin = await core.rig.call('POST', '/auth/login', {
      key: null,
      body: { email: 'admin@localhost.localdomain', password },
    });
    const { token } = admin.body.data as { token: string };
    const headers = { authorization: `Bearer ${token}` };
    for (const [name, role] of [
      ['shop', 'user'],
      ['chief', 'admin'],
    ] as const)
      await core.rig.call('POST', '/admin/accounts', {
        key: null,
        headers,
        body: { username: name, email: `${name}@example.com`, password, role },
      });
  });
  afterAll(() => core?.close());

  const signIn = (headers: Record<string, string> = { origin }, as = email, secret = password): Promise<Reply> =>
    core.rig.call('POST', '/auth/sign-in', { key: null, headers, body: { email: as, password: secret } });
  const cookieIn = ({ headers }: Reply): string => headers.getSetCookie()[0]!.split(';')[0]!;
  const call = (method: string, path: string, cookie: string, headers: Record<string, string> = {}, body?: unknown) =>
    core.rig.call(method, path, { key: null, headers: { cookie, ...headers }, ...(body === undefined ? {} : { body }) });

  test('the cookie opens the API as the account, cannot be read by scripts, and is sent to the API of this site alone', async () => {
    const reply = await signIn();
    expect(codeOf(reply)).toEqual([200, undefined]);
    const [set] = reply.headers.getSetCookie();
    expect(set).toMatch(/^chasqui_session=[\w-]{43};/);
    for (const part of ['HttpOnly', 'SameSite=Strict', 'Path=/api/v1', 'Max-Age=604800']) expect(set).toContain(part);
    expect(set).not.toContain('Secure');
    expect(JSON.stringify(reply.body)).not.toContain(cookieIn(reply).split('=')[1]);
    const me = await call('GET', '/auth/me', cookieIn(reply));
    expect(me.body.data).toMatchObject({ email, credential: { type: 'token', permissions: ['*'], sessionId: null } });
    expect((me.body.data as { credential: { expiresAt: string } }).credential.expiresAt).not.toBeNull();
    expect((await call('POST', '/sessions', cookieIn(reply), { origin }, { name: `by-cookie` })).status).toBe(201);
  });

  test('a change needs the origin of this site, and neither another port nor a subdomain nor no origin is one', async () => {
    const cookie = cookieIn(await signIn());
    const body = { name: 'never' };
    const other = new URL(origin);
    const attacks: Record<string, string>[] = [
      {},
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: `http://${other.hostname}:1` },
      { origin: `${other.protocol}//evil.${other.host}` },
      { origin, 'sec-fetch-site': 'cross-site' },
      { origin, 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
      { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
    ];
    for (const headers of attacks)
      expect([headers, ...codeOf(await call('POST', '/sessions', cookie, headers, body))]).toEqual([
        headers,
        403,
        'CSRF_REFUSED',
      ]);
    for (const headers of [
      { origin: 'https://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ])
      expect([headers, ...codeOf(await call('GET', '/messages/list', cookie, headers))]).toEqual([headers, 403, 'CSRF_REFUSED']);
    for (const headers of [{}, { 'sec-fetch-site': 'none' }, { 'sec-fetch-site': 'same-origin', origin }])
      expect((await call('GET', '/messages/list', cookie, headers)).status).toBe(200);
    expect(((await call('GET', '/sessions', cookie)).body.data as { name: string }[]).map(({ name }) => name)).not.toContain(
      'never',
    );
  });

  test('another site cannot sign a browser in, and no reply lets a page of another origin use the cookie', async () => {
    for (const headers of [{ origin: 'https://evil.example' }, { origin, 'sec-fetch-site': 'cross-site' }])
      expect(codeOf(await signIn(headers))).toEqual([403, 'CSRF_REFUSED']);
    const reply = await call('GET', '/auth/me', cookieIn(await signIn()), { origin });
    expect(reply.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test('each sign-in makes a new cookie and ends the one that the browser had; a cookie that nobody issued opens nothing', async () => {
    const first = cookieIn(await signIn());
    const second = cookieIn(await signIn({ origin, cookie: first }));
    expect(second).not.toBe(first);
    expect(codeOf(await call('GET', '/auth/me', first))).toEqual([401, 'UNAUTHENTICATED']);
    expect((await call('GET', '/auth/me', second)).status).toBe(200);
    const planted = `chasqui_session=${'A'.repeat(43)}`;
    const made = cookieIn(await signIn({ origin, cookie: planted }));
    expect(made).not.toBe(planted);
    expect(codeOf(await call('GET', '/auth/me', planted))).toEqual([401, 'UNAUTHENTICATED']);
    expect(codeOf(await call('GET', '/auth/me', `${planted}; ${second}`))).toEqual([400, 'CONFLICTING_CREDENTIALS']);
  });

  test('a key in a header is used in place of the cookie, whatever the cookie says', async () => {
    const cookie = cookieIn(await signIn());
    const { key } = await makeAccount(core.rig);
    const own = (await call('GET', '/auth/me', cookie)).body.data as { id: string };
    const byKey = await call('GET', '/auth/me', cookie, { 'x-api-key': key });
    expect((byKey.body.data as { id: string }).id).not.toBe(own.id);
    expect(codeOf(await call('GET', '/auth/me', cookie, { 'x-api-key': 'chq_wrong' }))).toEqual([401, 'UNAUTHENTICATED']);
  });

  test('the cookie of an admin reaches no route for staff', async () => {
    const cookie = cookieIn(await signIn({ origin }, 'chief@example.com'));
    expect((await call('GET', '/auth/me', cookie)).status).toBe(200);
    expect(codeOf(await call('GET', '/admin/accounts', cookie))).toEqual([403, 'STAFF_REQUIRED']);
    expect(codeOf(await call('POST', '/admin/plans', cookie, { origin }, { name: 'x' }))).toEqual([403, 'ADMIN_REQUIRED']);
    expect((await fetch(`${origin}/admin`, { headers: { cookie, accept: 'text/html' }, redirect: 'manual' })).status).not.toBe(
      200,
    );
  });

  test('signing out ends this sign-in and its streams, and leaves the other ones', async () => {
    const [one, two] = [cookieIn(await signIn()), cookieIn(await signIn())];
    const stream = await fetch(`${origin}/api/v1/events/stream`, { headers: { cookie: one } });
    expect(stream.status).toBe(200);
    const ended = (async () => {
      const reader = stream.body!.getReader();
      while (!(await reader.read()).done);
      return true;
    })().catch(() => true);
    const out = await call('POST', '/auth/sign-out', one, { origin });
    expect(codeOf(out)).toEqual([200, undefined]);
    expect(out.headers.getSetCookie()[0]).toMatch(/^chasqui_session=;.*Expires=Thu, 01 Jan 1970/);
    expect(await ended).toBe(true);
    expect(codeOf(await call('GET', '/auth/me', one))).toEqual([401, 'UNAUTHENTICATED']);
    expect((await call('GET', '/auth/me', two)).status).toBe(200);
    expect(codeOf(await core.rig.call('POST', '/auth/sign-out', {}))[0]).toBe(403);
  });

  test('wrong passwords count together with those of a login, and the right one is refused then', async () => {
    const victim = 'victim@example.com';
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const path = attempt % 2 === 0 ? '/auth/sign-in' : '/auth/login';
      const reply = await core.rig.call('POST', path, {
        key: null,
        headers: { origin },
        body: { email: victim, password: 'wrong' },
      });
      expect(codeOf(reply)).toEqual([401, 'INVALID_CREDENTIALS']);
    }
    expect(codeOf(await signIn({ origin }, victim))).toEqual([429, 'RATE_LIMITED']);
  });

  test('a new password and a deactivated account end every cookie at once', async () => {
    const cookie = cookieIn(await signIn());
    const other = cookieIn(await signIn());
    const next = 'another long password';
    const changed = await call('POST', '/auth/me/password', cookie, { origin }, { currentPassword: password, newPassword: next });
    expect(codeOf(changed)).toEqual([200, undefined]);
    for (const ended of [cookie, other]) expect(codeOf(await call('GET', '/auth/me', ended))).toEqual([401, 'UNAUTHENTICATED']);
    const again = cookieIn(await signIn({ origin }, email, next));
    const { id } = (await call('GET', '/auth/me', again)).body.data as { id: string };
    const admin = await core.rig.call('POST', '/auth/login', { key: null, body: { email: 'chief@example.com', password } });
    const headers = { authorization: `Bearer ${(admin.body.data as { token: string }).token}` };
    expect(
      (await core.rig.call('PATCH', `/admin/accounts/${id}`, { key: null, headers, body: { isActive: false } })).status,
    ).toBe(200);
    await eventually('the cookie to end', async () => (await call('GET', '/auth/me', again)).status === 403);
    expect(codeOf(await call('GET', '/auth/me', again))).toEqual([403, 'ACCOUNT_INACTIVE']);
  });
});
