/* eslint-disable max-lines -- one world, and one block for each page of the panel */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { PanelSession } from '../src/admin/panel.entity.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { updateRows } from '../src/db/rows.js';
import { Session } from '../src/sessions/session.entity.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addEvent, addImage, addKey, addMessage, addSession, addWorker } from './panel.rows.js';

import { createVisitor, type Reply, type Visitor } from './panel.visitor.js';

let world: World;
const ids: Record<string, string> = {};

beforeAll(async () => {
  world = await startWorld();
  const { database, events, accounts } = world;
  ids['session'] = await addSession(database.write, {
    accountId: accounts.user,
    name: 'shop',
    status: 'qr_pending',
    desired: 'running',
    qrText: 'secret-qr-text',
    qrId: 'q1',
    qrExpiresAt: new Date(Date.now() + 60_000),
  });
  ids['message'] = await addMessage(database, events, {
    sessionId: ids['session'],
    text: '</script><script>alert(1)</script>',
    status: 'failed',
  });
  ids['key'] = await addKey(database.write, { accountId: accounts.user, sessionId: null, name: 'web shop', permissions: ['*'] });
  await addWorker(database.write, { id: 'worker-1' });
}, 60_000);
afterAll(() => world.close());

const visitor = (): Visitor => createVisitor(world.url);

const names = { admin: 'mara', staff: 'tomas', user: 'bakery', fresh: 'first' } as const;
async function signedIn(who: keyof typeof names): Promise<Visitor> {
  const person = visitor();
  const reply = await person.send('/admin/login', { login: names[who], password: passwords[who] });
  expect(reply.status).toBe(303);
  return person;
}
const list = (table: string, query = '') => `/admin/api/resources/${table}/actions/list${query}`;
const total = (reply: Reply): number => (reply.json()['meta'] as { total: number }).total;

describe('signing in', () => {
  it('opens the panel to staff and admins', async () => {
    for (const who of ['staff', 'admin'] as const) {
      const person = await signedIn(who);
      expect((await person.get('/admin')).text).toContain('window.REDUX_STATE');
    }
  });
  it('shows a user that the panel is for staff only, and opens nothing', async () => {
    const person = visitor();
    const reply = await person.send('/admin/login', { login: 'bakery', password: passwords.user });
    expect([reply.status, person.cookies.size]).toEqual([403, 0]);
    expect(reply.text).toContain('This panel is for staff.');
  });
  it('refuses a wrong password with a sentence, and too many with a time to wait', async () => {
    const person = visitor();
    const wrong = () => person.send('/admin/login', { login: 'guess<b>', password: 'wrong' });
    const first = await wrong();
    expect([first.status, person.cookies.size]).toEqual([401, 0]);
    expect(first.text).toContain('value="guess&lt;b&gt;"');
    for (let attempt = 0; attempt < 9; attempt++) await wrong();
    const last = await wrong();
    expect([last.status, last.headers.get('retry-after')]).toEqual([429, '900']);
  });
  it('sets a cookie that scripts and other sites never get, with a new value at each login', async () => {
    const person = visitor();
    const login = () => person.send('/admin/login', { login: 'mara', password: passwords.admin });
    const cookie = (await login()).headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/^chasqui_panel=[\w-]{43}; Path=\/admin; HttpOnly; SameSite=Strict$/);
    const first = person.cookies.get('chasqui_panel')!;
    await login();
    expect(person.cookies.get('chasqui_panel')).not.toBe(first);
    const old = visitor();
    old.cookies.set('chasqui_panel', first);
    expect((await old.get('/admin')).status).toBe(302);
  });
  it('accepts no cookie that it did not set', async () => {
    const person = visitor();
    person.cookies.set('chasqui_panel', 'chosen-by-somebody-else');
    await person.send('/admin/login', { login: 'mara', password: passwords.admin });
    expect(person.cookies.get('chasqui_panel')).not.toBe('chosen-by-somebody-else');
  });
  it('stores no cookie that could be used again', async () => {
    const person = await signedIn('admin');
    const rows = await world.database.reader.getRepository(PanelSession).createQueryBuilder('s').addSelect('s.data').getMany();
    expect(JSON.stringify(rows)).not.toContain(person.cookies.get('chasqui_panel'));
  });
  it('marks the cookie secure where the setting says so', async () => {
    const secure = await startWorld({ secureCookies: true });
    try {
      const reply = await fetch(`${secure.url}/admin/login`, {
        method: 'POST',
        redirect: 'manual',
        headers: { origin: secure.url, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ login: 'mara', password: passwords.admin }).toString(),
      });
      expect(reply.headers.get('set-cookie')).toContain('; Secure;');
    } finally {
      await secure.close();
    }
  });
  it('ends with logout, on the server too, and writes it down', async () => {
    const person = await signedIn('staff');
    const before = new Map(person.cookies);
    expect((await person.send('/admin/logout', {})).headers.get('location')).toBe('/admin/login');
    before.forEach((value, name) => person.cookies.set(name, value));
    expect((await person.get('/admin')).status).toBe(302);
    for (const action of ['panel.login', 'panel.logout'])
      expect(await world.database.reader.getRepository(AuditLog).countBy({ action, actorName: 'tomas' })).toBeGreaterThan(0);
  });
});

describe('a one-time password', () => {
  it('opens nothing but the page to change it', async () => {
    const person = visitor();
    const login = await person.send('/admin/login', { login: 'first', password: passwords.fresh });
    expect(login.headers.get('location')).toBe('/admin/password');
    expect((await person.get('/admin')).headers.get('location')).toBe('/admin/password');
    expect((await person.get('/admin/live/overview')).status).toBe(403);
    expect((await person.get(list('sessions'))).headers.get('location')).toBe('/admin/password');
    expect((await person.post(`/admin/live/sessions/${ids['session']}/start`)).status).toBe(403);
    expect((await person.get('/admin/password')).text).not.toContain('name="current"');
    const change = (next: string, repeat = next) => person.send('/admin/password', { next, repeat });
    expect((await change('short')).text).toContain('at least 12 characters');
    expect((await change('a long enough one', 'another one')).text).toContain('The new passwords differ.');
    const elsewhere = await signedIn('fresh');
    expect((await change('a long enough one')).headers.get('location')).toBe('/admin');
    expect((await person.get('/admin')).status).toBe(200);
    expect((await elsewhere.get('/admin/password')).headers.get('location')).toBe('/admin/login');
    expect(await world.database.reader.getRepository(PanelSession).countBy({ accountId: world.accounts.fresh })).toBe(1);
  });
});

describe('access', () => {
  it('admits no visitor who is not signed in, to pages, lists, live routes or files', async () => {
    const stranger = visitor();
    for (const path of ['/admin', '/admin/resources/accounts', list('accounts'), '/admin/api/dashboard', '/admin/pages/events'])
      expect([path, (await stranger.get(path)).headers.get('location')]).toEqual([path, '/admin/login']);
    for (const path of [
      '/admin/live/overview',
      `/admin/live/sessions/${ids['session']}/stream`,
      '/admin/live/events',
      '/admin/live/media/x',
      '/admin/live/thumbnails/x',
    ])
      expect([path, (await stranger.get(path)).status]).toEqual([path, 401]);
    expect((await stranger.post(`/admin/live/sessions/${ids['session']}/logout`)).status).toBe(401);
  });
  it('shuts a person out with the next request when they are switched off or demoted or their password changes', async () => {
    const changes: Partial<Account>[] = [{ isActive: false }, { role: 'user' }, { passwordHash: 'fake:another' }];
    for (const change of changes) {
      const person = await signedIn('staff');
      const write = (values: Partial<Account>) =>
        world.database.write.run((tx) => updateRows(tx, Account, { id: world.accounts.staff }, values));
      expect((await person.get('/admin/live/overview')).status).toBe(200);
      await write(change);
      expect((await person.get('/admin/live/overview')).status).toBe(401);
      await write({ isActive: true, role: 'staff', passwordHash: `fake:${passwords.staff}` });
    }
  });
  it('grants a promoted person the new rights without a new login', async () => {
    const person = await signedIn('staff');
    const as = (role: 'staff' | 'admin') =>
      world.database.write.run((tx) => updateRows(tx, Account, { id: world.accounts.staff }, { role }));
    await as('admin');
    expect((await person.post(`/admin/live/keys/${ids['key']}/regenerate`)).status).toBe(200);
    await as('staff');
    expect((await person.post(`/admin/live/keys/${ids['key']}/regenerate`)).status).toBe(403);
  });
  it('refuses verbs for admins to staff: nothing is called', async () => {
    const person = await signedIn('staff');
    const before = world.calls.length;
    const user = world.accounts.user;
    for (const [path, body] of [
      ['/admin/live/accounts', { username: 'x', email: 'x@example.org', role: 'admin' }],
      [`/admin/live/accounts/${user}/role`, { role: 'admin' }],
      [`/admin/live/accounts/${user}/deactivate`, {}],
      [`/admin/live/accounts/${user}/activate`, {}],
      [`/admin/live/accounts/${user}/reset-password`, {}],
      ['/admin/live/keys', { accountId: user, name: 'x', permissions: ['*'] }],
      [`/admin/live/keys/${ids['key']}/revoke`, {}],
      [`/admin/live/keys/${ids['key']}/regenerate`, {}],
    ] as const)
      expect([path, (await person.post(path, body)).status]).toEqual([path, 403]);
    expect(world.calls).toHaveLength(before);
    const actions = async (table: string): Promise<string> => (await person.get(`/admin/resources/${table}`)).text;
    expect(await actions('accounts')).not.toContain('"name":"new","actionType":"resource","icon":"Plus","label":"New account"');
  });
});

describe('requests from other sites', () => {
  const foreign: [string, Record<string, string>][] = [
    ['Sec-Fetch-Site cross-site', { 'sec-fetch-site': 'cross-site' }],
    ['Sec-Fetch-Site same-site', { 'sec-fetch-site': 'same-site' }],
    ['another Origin', { origin: 'https://elsewhere.example' }],
    ['an opaque Origin', { origin: 'null' }],
  ];
  it.each(foreign)('are refused: %s', async (_, headers) => {
    const person = await signedIn('admin');
    const before = world.calls.length;
    expect((await person.post(`/admin/live/sessions/${ids['session']}/stop`, {}, headers)).status).toBe(403);
    expect((await person.send('/admin/logout', {}, headers)).status).toBe(403);
    expect((await person.get('/admin/live/overview', headers)).status).toBe(403);
    expect((await person.get(list('accounts'), headers)).status).toBe(403);
    expect((await visitor().send('/admin/login', { login: 'mara', password: passwords.admin }, headers)).status).toBe(403);
    expect(world.calls).toHaveLength(before);
  });
  it('a change without any sign of where it comes from is refused', async () => {
    const person = await signedIn('admin');
    const cookie = `chasqui_panel=${person.cookies.get('chasqui_panel')}`;
    const reply = await fetch(`${world.url}/admin/live/sessions/${ids['session']}/stop`, { method: 'POST', headers: { cookie } });
    expect(reply.status).toBe(403);
  });
  it('changes nothing by GET', async () => {
    const person = await signedIn('admin');
    const before = world.calls.length;
    for (const verb of ['start', 'stop', 'logout', 'restart', 'resume', 'suspend'])
      await person.get(`/admin/live/sessions/${ids['session']}/${verb}`);
    for (const action of ['delete', 'edit', 'new', 'bulkDelete'])
      await person.get(`/admin/api/resources/sessions/records/${ids['session']}/${action}`);
    await person.get('/admin/logout');
    expect(world.calls).toHaveLength(before);
    expect((await person.get('/admin')).status).toBe(200);
    expect(await world.database.reader.getRepository(Session).countBy({ id: ids['session']! })).toBe(1);
  });
});

describe('changes', () => {
  it('is refused before login whatever it is: no upload is parsed', async () => {
    const upload = () => {
      const data = new FormData();
      data.set('login', 'mara');
      data.set('password', passwords.admin);
      data.set('file', new Blob(['x'.repeat(1000)]), 'evil.sh');
      return data;
    };
    const stranger = visitor();
    expect((await stranger.ask('POST', '/admin/login', upload(), { accept: 'application/json' })).status).toBe(415);
    for (const path of ['/admin/api/resources/accounts/actions/new', '/admin/api/pages/events', '/admin/live/accounts', '/admin'])
      expect([path, (await stranger.ask('POST', path, upload())).status]).toEqual([path, 401]);
    const person = await signedIn('admin');
    expect((await person.ask('POST', '/admin/api/resources/accounts/actions/new', upload())).status).toBe(405);
    expect((await person.ask('POST', '/admin/api/resources/accounts/actions/list', upload())).status).toBe(405);
    expect((await person.ask('POST', `/admin/api/resources/accounts/records/${world.accounts.user}/edit`, upload())).status).toBe(
      405,
    );
  });
  it('accepts known fields only: with one more, nothing is done', async () => {
    const person = await signedIn('admin');
    const before = world.calls.length;
    const account = { username: 'new', email: 'new@example.org', role: 'user' };
    for (const [path, body] of [
      ['/admin/live/accounts', { ...account, passwordHash: 'mine' }],
      ['/admin/live/accounts', { ...account, mustChangePassword: false }],
      [`/admin/live/accounts/${world.accounts.user}/role`, { role: 'staff', isActive: true }],
      [`/admin/live/accounts/${world.accounts.user}/activate`, { role: 'admin' }],
      [`/admin/live/sessions/${ids['session']}/send`, { recipient: '+447400123123', message: 'x', origin: 'device' }],
      ['/admin/live/keys', { accountId: world.accounts.user, name: 'x', permissions: ['*'], hash: 'x' }],
    ] as const)
      expect([path, (await person.post(path, body)).status]).toEqual([path, 422]);
    expect(world.calls).toHaveLength(before);
  });
  it('reaches the verb with the person who asked', async () => {
    const person = await signedIn('staff');
    const reply = await person.post(`/admin/live/sessions/${ids['session']}/send`, {
      recipient: '+447400123123',
      message: 'Hello',
    });
    expect(reply.status).toBe(200);
    const call = world.calls.at(-1)!;
    expect([call.verb, call.args]).toEqual([
      'messages.sendText',
      [ids['session'], { recipient: '+447400123123', message: 'Hello' }],
    ]);
    expect(call.caller).toMatchObject({
      accountId: world.accounts.staff,
      role: 'staff',
      credential: { type: 'panel', name: 'tomas' },
    });
    expect(call.caller.ip).toMatch(/127\.0\.0\.1$/);
  });
  it('says that it failed when it failed, and why', async () => {
    const person = await signedIn('admin');
    world.failNext('accounts.create', new AppError('ALREADY_EXISTS', {}, 'The name is taken. Choose another.'));
    const taken = await person.post('/admin/live/accounts', { username: 'mara', email: 'm@example.org' });
    expect([taken.status, taken.json()['error']]).toEqual([
      409,
      expect.objectContaining({ code: 'ALREADY_EXISTS', message: 'The name is taken. Choose another.' }),
    ]);
    world.failNext('sessions.start', new AppError('WORKER_UNAVAILABLE'));
    expect((await person.post(`/admin/live/sessions/${ids['session']}/start`)).status).toBe(503);
    world.failNext('sessions.start', new Error('SELECT secret FROM somewhere'));
    const bug = await person.post(`/admin/live/sessions/${ids['session']}/start`);
    expect(bug.status).toBe(500);
    expect(bug.text).not.toContain('SELECT');
  });
  it('shows a new key and a one-time password once, and no list has them', async () => {
    const person = await signedIn('admin');
    const key = await person.post('/admin/live/keys', {
      accountId: world.accounts.user,
      name: 'till',
      permissions: ['messages.send'],
    });
    expect((key.json()['data'] as { secret: string }).secret).toBe('cq_live_shown_once');
    expect((await person.get(list('keys'))).text).not.toContain('cq_live_shown_once');
  });
});

describe('secrets', () => {
  const secret = /fake:|jwt-secret-of|hash-of-|secret-qr-text|passwordHash|jwtSecret|"qrText"|"hash"|chasqui_panel/;
  it('are in no page, list, record or live answer', async () => {
    const person = await signedIn('admin');
    const { user } = world.accounts;
    await addEvent(world.database.write, {
      accountId: user,
      sessionId: ids['session']!,
      type: 'session.qr',
      data: { qrId: 'q', qrText: 'secret-qr-text', qrCode: 'data:secret-qr-text' },
    });
    await addEvent(world.database.write, {
      accountId: user,
      sessionId: ids['session']!,
      type: 'session.pairing_code',
      data: { code: 'PAIRCODE', phoneNumber: '1' },
    });
    const paths = [
      '/admin',
      '/admin/resources/accounts',
      '/admin/live/overview',
      '/admin/live/events',
      '/admin/live/choices',
      '/admin/live/workers',
      '/admin/live/schedules',
    ];
    for (const table of ['sessions', 'messages', 'accounts', 'keys', 'audit', 'failures']) paths.push(list(table));
    for (const [table, id] of [
      ['sessions', ids['session']],
      ['messages', ids['message']],
      ['accounts', user],
      ['keys', ids['key']],
    ]) {
      paths.push(`/admin/api/resources/${table}/records/${id}/show`, `/admin/live/${table}/${id}`);
    }
    for (const path of paths) {
      const reply = await person.get(path);
      expect([path, reply.status]).toEqual([path, 200]);
      expect([path, secret.exec(reply.text)?.[0] ?? null]).toEqual([path, null]);
      expect(reply.text).not.toContain('PAIRCODE');
    }
  });
  it('cannot be guessed by filters, sorting or search: hidden columns do not exist', async () => {
    const person = await signedIn('staff');
    const names = (reply: Reply): unknown[] => (reply.json()['records'] as { id: string }[]).map((record) => record.id);
    for (const [table, column, right] of [
      ['accounts', 'passwordHash', `fake:${passwords.admin}`],
      ['accounts', 'jwtSecret', 'jwt-secret-of-mara'],
      ['keys', 'hash', `hash-of-${ids['key']}`],
      ['sessions', 'qrText', 'secret-qr-text'],
      ['messages', 'leaseOwner', 'x'],
    ] as const) {
      const all = await person.get(list(table));
      expect(total(all)).toBeGreaterThan(0);
      for (const guess of [right, right.slice(0, 6), 'certainly not'])
        expect([table, total(await person.get(list(table, `?filters.${column}=${encodeURIComponent(guess)}`)))]).toEqual([
          table,
          total(all),
        ]);
      for (const direction of ['asc', 'desc'])
        expect(names(await person.get(list(table, `?sortBy=${column}&direction=${direction}`)))).toEqual(names(all));
    }
    const unsorted = names(await person.get(list('accounts')));
    expect(names(await person.get(list('accounts', '?sortBy=role&direction=desc')))).toEqual(unsorted);
    expect(names(await person.get(list('accounts', '?sortBy=username&direction=desc')))).toEqual([...unsorted].reverse());
    const found = await person.get('/admin/api/resources/accounts/actions/search?searchProperty=passwordHash&query=fake');
    expect(found.text).not.toContain('fake:');
  });
  it('return the QR code to its own page only, as a picture', async () => {
    const person = await signedIn('staff');
    const view = (await person.get(`/admin/live/sessions/${ids['session']}`)).json()['data'] as { qr: { svg: string } };
    expect(view.qr.svg).toMatch(/^<svg/);
    expect(view.qr.svg).not.toContain('secret-qr-text');
  });
});

describe('lists', () => {
  it('filter by whole values where there are choices, by parts of names, by times, and by owner', async () => {
    const person = await signedIn('staff');
    const { database, events, accounts } = world;
    const other = await addSession(database.write, { accountId: accounts.staff, name: '50%_off', status: 'connected' });
    await addMessage(database, events, {
      sessionId: other,
      text: 'Sent long ago',
      status: 'sent',
      at: new Date('2020-02-02T10:00:00Z'),
    });
    const count = async (table: string, query: string): Promise<number> => total(await person.get(list(table, `?${query}`)));
    expect(await count('sessions', 'filters.status=connect')).toBe(0);
    expect(await count('sessions', 'filters.status=connected')).toBe(1);
    expect(await count('sessions', 'filters.name=SHO')).toBe(1);
    expect(await count('sessions', 'filters.name=%25_')).toBe(1);
    expect(await count('sessions', 'filters.name=_')).toBe(1);
    expect(await count('sessions', 'filters.accountId=toma')).toBe(1);
    expect(await count('messages', `filters.sessionId=${other}`)).toBe(1);
    expect(await count('messages', 'filters.createdAt~~to=2020-02-03T00:00:00.000Z')).toBe(1);
    expect(
      await count('messages', 'filters.createdAt~~from=2020-02-03T00:00:00.000Z&filters.createdAt~~to=2020-02-04T00:00:00.000Z'),
    ).toBe(0);
    expect(await count('messages', 'filters.createdAt~~from=nonsense')).toBeGreaterThan(1);
    expect(await count('accounts', 'filters.isActive=true')).toBeGreaterThan(2);
    expect(await count('accounts', 'filters.isActive=false')).toBe(0);
    await database.write.run((tx) => updateRows(tx, Session, { id: other }, { deletedAt: new Date() }));
    expect(await count('sessions', 'filters.status=connected')).toBe(0);
  });
  it('contain the names that ids stand for', async () => {
    const person = await signedIn('staff');
    const records = (await person.get(list('messages'))).json()['records'] as { params: Record<string, unknown> }[];
    expect(records.find((record) => record.params['id'] === ids['message'])?.params).toMatchObject({
      sessionName: 'shop',
      accountName: 'bakery',
    });
  });
  it('reply for records that do not exist', async () => {
    const person = await signedIn('staff');
    expect((await person.get('/admin/live/messages/none')).status).toBe(404);
    expect((await person.get('/admin/live/nothing')).status).toBe(404);
    expect((await person.get('/admin/api/resources/none/actions/list', { accept: 'application/json' })).status).toBe(404);
  });
});

describe('the overview', () => {
  it('counts existing records without asking any worker', async () => {
    const person = await signedIn('staff');
    const { data } = (await person.get('/admin/live/overview')).json() as { data: Record<string, Record<string, unknown>> };
    expect(data['sessions']).toMatchObject({ byStatus: { qr_pending: 1 } });
    expect(data['today']).toMatchObject({ failed: 1 });
    expect(data['workers']).toEqual([expect.objectContaining({ id: 'worker-1', capacity: 50 })]);
    const chart = (await person.get('/admin/live/chart?range=24h')).json()['data'] as { buckets: { failed: number }[] };
    expect(chart.buckets).toHaveLength(24);
    expect(chart.buckets.reduce((sum, bucket) => sum + bucket.failed, 0)).toBe(1);
    expect(((await person.get('/admin/live/chart?range=14d')).json()['data'] as { buckets: unknown[] }).buckets).toHaveLength(14);
  });
});

describe('a live session', () => {
  it('is updated when it changes, and ends when the person loses access', async () => {
    const person = await signedIn('staff');
    const controller = new AbortController();
    const cookie = `chasqui_panel=${person.cookies.get('chasqui_panel')}`;
    const response = await fetch(`${world.url}/admin/live/sessions/${ids['session']}/stream`, {
      headers: { cookie },
      signal: controller.signal,
    });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    const until = async (part: string): Promise<void> => {
      while (!seen.includes(part)) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`ended without ${part}`);
        seen += value;
      }
    };
    await until('"status":"qr_pending"');
    await world.database.write.run((tx) => updateRows(tx, Session, { id: ids['session']! }, { status: 'connecting' }));
    await until('"status":"connecting"');
    await world.database.write.run((tx) => updateRows(tx, Account, { id: world.accounts.staff }, { isActive: false }));
    await until('event: out');
    expect((await reader.read()).done).toBe(true);
    await world.database.write.run((tx) => updateRows(tx, Account, { id: world.accounts.staff }, { isActive: true }));
    await world.database.write.run((tx) => updateRows(tx, Session, { id: ids['session']! }, { status: 'qr_pending' }));
    controller.abort();
  });
});

describe('pages', () => {
  it('carry a nonce on every script, nothing of another host, and headers against framing and caching', async () => {
    const person = await signedIn('admin');
    for (const path of ['/admin', '/admin/login', '/admin/password', '/admin/resources/sessions', '/admin/pages/events']) {
      const reply = await (path === '/admin/login' ? visitor() : person).get(path);
      const policy = reply.headers.get('content-security-policy') ?? '';
      const nonce = /'nonce-([^']+)'/.exec(policy)?.[1];
      expect(policy).toContain(`frame-ancestors 'none'`);
      expect(policy).not.toContain('unsafe-eval');
      expect(reply.headers.get('cache-control')).toBe('no-store');
      expect(reply.headers.get('x-frame-options')).toBe('DENY');
      expect(reply.text.match(/<script/g)?.length ?? 0).toBe(reply.text.split(`<script nonce="${nonce}"`).length - 1);
      expect(reply.text.replace(/http:\/\/(www\.w3\.org|meyerweb\.com)\S*/g, '')).not.toMatch(/(src|href)="(https?:)?\/\//);
      expect(reply.text).not.toContain('googleapis');
    }
  });
  it('never let a name become script in the state of the page', async () => {
    const evil = '</script><script>alert(1)</script>';
    await world.database.write.run((tx) => updateRows(tx, Account, { id: world.accounts.staff }, { username: evil }));
    const person = visitor();
    await person.send('/admin/login', { login: 'tomas@example.org', password: passwords.staff });
    const { text } = await person.get('/admin');
    expect(text).not.toContain('<script>alert(1)');
    expect(text).toContain('\\u003c/script>\\u003cscript>alert(1)');
    await world.database.write.run((tx) => updateRows(tx, Account, { id: world.accounts.staff }, { username: 'tomas' }));
  });
  it('find every file they ask for', async () => {
    const person = await signedIn('admin');
    const { text } = await person.get('/admin');
    const files = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!);
    expect(files.length).toBeGreaterThan(5);
    const fonts = [
      '/admin/static/inter-latin.woff2',
      '/admin/static/inter-latin-ext.woff2',
      '/admin/static/logo.svg',
      '/admin/static/login.css',
    ];
    for (const file of [...files, ...fonts]) {
      const reply = await visitor().get(file);
      expect([file, reply.status, reply.headers.get('cache-control')]).toEqual([file, 200, 'no-cache']);
    }
    expect((await visitor().get('/admin/static/../package.json')).status).not.toBe(200);
  });
  it('remember the theme', async () => {
    const person = await signedIn('admin');
    expect((await person.get('/admin')).text).toContain('data-theme="auto"');
    expect((await person.post('/admin/theme?theme=dark')).headers.get('set-cookie')).toContain('HttpOnly; SameSite=Strict');
    expect((await person.get('/admin')).text).toContain('data-theme="dark"');
    expect((await person.post('/admin/theme?theme=pink')).status).toBe(422);
  });
});

describe('files of messages', () => {
  it('reach the browser as a type that is safe to show, or as a download', async () => {
    const person = await signedIn('staff');
    const typeOf = async (declared: string) => {
      const id = await addImage(world.database.write, world.accounts.user, declared);
      const reply = await person.get(`/admin/live/media/${id}`);
      expect([reply.status, reply.headers.get('x-content-type-options')]).toEqual([200, 'nosniff']);
      return reply.headers.get('content-type');
    };
    expect(await typeOf('image/png')).toBe('image/png');
    for (const declared of ['image/svg+xml', 'text/html', 'application/xhtml+xml', 'image/pngx', 'application/javascript'])
      expect([declared, await typeOf(declared)]).toEqual([declared, 'application/octet-stream']);
    expect((await person.get('/admin/live/media/none')).status).toBe(404);
    expect((await visitor().get('/admin/live/media/none')).status).toBe(401);
  });
});
