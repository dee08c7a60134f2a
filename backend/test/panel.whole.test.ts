/* eslint-disable max-lines -- one backend, and one block for each page that changes something */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { updateRows } from '../src/db/rows.js';
import { Session } from '../src/sessions/session.entity.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { makeAccount } from './support/account.js';
import { databases, password, startRig, type Rig } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { startSink } from './support/sink.js';

/** The panel in the whole backend, with the real verbs, and without any worker: what it reads and changes on both databases. */
describe.each(await databases())('the panel of a backend on %s', (database) => {
  let rig: Rig;
  let admin: Visitor;
  const email = 'admin@localhost.localdomain';
  const data = async (path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const reply = body === undefined ? await admin.get(path) : await admin.post(path, body);
    expect([path, reply.status, reply.text.slice(0, 200)]).toEqual([path, 200, expect.anything()]);
    return reply.json()['data'] as Record<string, unknown>;
  };
  /** Runs once, when the next password was found right, or was changed, and the panel has not opened a session yet. */
  let between: (() => Promise<unknown>) | null = null;
  const mountWatched: typeof mountPanel = (app, { verbs, ...parts }) => {
    const before = async <T>(result: Promise<T>): Promise<T> => {
      const got = await result;
      const work = between;
      between = null;
      await work?.();
      return got;
    };
    const { signIn, changePassword, replaceOneTimePassword } = verbs.auth;
    const auth: typeof verbs.auth = {
      ...verbs.auth,
      signIn: (input) => before(signIn(input)),
      changePassword: (caller, input) => before(changePassword(caller, input)),
      replaceOneTimePassword: (caller, next) => before(replaceOneTimePassword(caller, next)),
    };
    return mountPanel(app, { ...parts, verbs: { ...verbs, auth } });
  };
  const login = async (name: string, secret: string): Promise<Visitor> => {
    const person = createVisitor(rig.url);
    await person.send('/admin/login', { login: name, password: secret });
    return person;
  };
  const ownSecret = 'a password of my own';
  /** Changes the one-time password of a new account to one that may be used. */
  const ownPassword = async (name: string, id: string): Promise<string> => {
    const { secret } = (await data(`/admin/live/accounts/${id}/reset-password`, {})) as { secret: string };
    const person = await login(name, secret);
    await person.send('/admin/password', { current: secret, next: ownSecret, repeat: ownSecret });
    return ownSecret;
  };
  const tokenOf = async (address: string): Promise<string> => {
    const { body } = await rig.call('POST', '/auth/login', { key: null, body: { email: address, password: ownSecret } });
    return (body.data as { token: string }).token;
  };
  const actions = async (): Promise<string[]> =>
    (await rig.database.reader.getRepository(AuditLog).find()).map((entry) => `${entry.action} by ${entry.actorName}`);

  beforeAll(async () => {
    await bundlePanel();
    rig = await startRig({ database, mountPanel: mountWatched, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    admin = await login(email, password);
  }, 60_000);
  afterAll(() => rig?.close());

  it('has each download of a list in the audit log, with its rows and the names of its filters, before the first byte', async () => {
    const { status, text } = await admin.get(
      '/admin/live/lists/accounts/csv?filters.username=adm&filters.createdAt~~from=2020-01-01',
    );
    expect([status, text.trim().split('\r\n').length]).toEqual([200, 2]);
    const [entry] = await rig.database.reader.getRepository(AuditLog).findBy({ action: 'list.download' });
    const changes = { rows: 1, filters: ['createdAt', 'username'] };
    expect(entry).toMatchObject({ objectType: 'list', objectId: 'accounts', credential: 'panel', changes });
    expect((await admin.get('/admin/live/lists/nothing/csv')).status).toBe(404);
    expect(await rig.database.reader.getRepository(AuditLog).countBy({ action: 'list.download' })).toBe(1);
  });

  it('accepts the same password as REST, by name or address, and counts the same failures', async () => {
    expect((await admin.get('/admin')).status).toBe(200);
    expect((await (await login('admin', password)).get('/admin')).status).toBe(200);
    for (let attempt = 0; attempt < 5; attempt++) {
      expect((await createVisitor(rig.url).send('/admin/login', { login: 'nobody@example.org', password: 'x' })).status).toBe(
        401,
      );
      await rig.call('post', '/auth/login', { key: null, body: { email: 'nobody@example.org', password: 'x' } });
    }
    const locked = await createVisitor(rig.url).send('/admin/login', { login: 'nobody@example.org', password: 'x' });
    expect([locked.status, Number(locked.headers.get('retry-after'))]).toEqual([429, expect.any(Number)]);
  });

  it('makes an account whose one-time password must be changed, and follows its roles', async () => {
    const made = await data('/admin/live/accounts', { username: 'tomas', email: 'tomas@example.org', role: 'staff' });
    const person = await login('tomas', made['secret'] as string);
    expect((await person.get('/admin')).headers.get('location')).toBe('/admin/password');
    const next = 'quiet river stones';
    const changed = await person.send('/admin/password', { current: made['secret'] as string, next, repeat: next });
    expect([changed.status, changed.headers.get('location')]).toEqual([303, '/admin']);
    expect((await person.get('/admin/live/overview')).status).toBe(200);
    expect((await person.post(`/admin/live/accounts/${made['id']}/role`, { role: 'admin' })).status).toBe(403);
    await data(`/admin/live/accounts/${made['id']}/deactivate`, {});
    expect((await person.get('/admin/live/overview')).status).toBe(401);
    await data(`/admin/live/accounts/${made['id']}/activate`, {});
    await data(`/admin/live/accounts/${made['id']}/reset-password`, {});
    expect((await person.get('/admin/live/overview')).status).toBe(401);
    const again = await admin.post('/admin/live/accounts', { username: 'tomas', email: 'x@example.org', role: 'user' });
    expect([again.status, again.text]).toEqual([409, expect.stringContaining('ALREADY_EXISTS')]);
  });

  it('opens nothing with a password that is replaced while it is verified, or right after it was chosen', async () => {
    const made = await data('/admin/live/accounts', { username: 'raced', email: 'raced@example.org', role: 'staff' });
    const reset = () => data(`/admin/live/accounts/${made['id']}/reset-password`, {});
    const isOut = async (person: Visitor): Promise<unknown> => (await person.get('/admin/live/overview')).status;
    between = reset;
    const person = await login('raced', made['secret'] as string);
    expect([between, (await person.get('/admin/password')).headers.get('location')]).toEqual([null, '/admin/login']);
    const { secret } = (await reset()) as { secret: string };
    const other = await login('raced', secret);
    const next = 'quiet river stones';
    between = reset;
    await other.send('/admin/password', { current: secret, next, repeat: next });
    expect([between, await isOut(other), (await other.get('/admin/password')).headers.get('location')]).toEqual([
      null,
      401,
      '/admin/login',
    ]);
  });

  it('ends with a logout by REST, its live view as well, and a logout of one panel ends no other', async () => {
    const { id } = await data('/admin/live/accounts', { username: 'leaver', email: 'leaver@example.org', role: 'staff' });
    const person = await login('leaver', await ownPassword('leaver', id as string));
    const session = (await rig.call('POST', '/sessions', { body: { name: 'watched' } })).body.data as { id: string };
    const live = await fetch(`${rig.url}/admin/live/sessions/${session.id}/stream`, {
      headers: { cookie: [...person.cookies].map((pair) => pair.join('=')).join('; ') },
    });
    expect(live.status).toBe(200);
    const token = await tokenOf('leaver@example.org');
    const headers = { authorization: `Bearer ${token}` };
    expect((await rig.call('POST', '/auth/logout', { key: null, headers })).status).toBe(200);
    expect((await person.get('/admin/live/overview')).status).toBe(401);
    expect(await live.text()).toMatch(/event: out\ndata: \{\}\n\n$/);
    expect((await rig.call('GET', '/auth/me', { key: null, headers })).status).toBe(401);
    const again = await login('leaver', ownSecret);
    expect((await again.get('/admin/live/overview')).status).toBe(200);
    // The logout of one panel leaves the others and the tokens of the account.
    const second = await login('leaver', ownSecret);
    await second.send('/admin/logout', {});
    expect([(await again.get('/admin/live/overview')).status, (await second.get('/admin/live/overview')).status]).toEqual([
      200, 401,
    ]);
    await rig.call('DELETE', `/sessions/${session.id}`);
  });

  it('makes keys that work, replaces their secrets, and revokes them', async () => {
    const { accounts } = (await data('/admin/live/choices')) as { accounts: { id: string; name: string }[] };
    const accountId = accounts.find((account) => account.name === 'admin')!.id;
    const made = await data('/admin/live/keys', { accountId, name: 'till', permissions: ['instance.info'] });
    const works = async (key: unknown): Promise<number> => (await rig.call('get', '/sessions', { key: key as string })).status;
    expect(await works(made['secret'])).toBe(200);
    const replaced = await data(`/admin/live/keys/${made['id']}/regenerate`, {});
    expect([await works(made['secret']), await works(replaced['secret'])]).toEqual([401, 200]);
    await data(`/admin/live/keys/${replaced['id']}/revoke`, {});
    expect(await works(replaced['secret'])).toBe(401);
  });

  it('makes sessions, suspends and resumes them, and says plainly that no worker answers', async () => {
    const { accounts } = (await data('/admin/live/choices')) as { accounts: { id: string; name: string }[] };
    const accountId = accounts.find((account) => account.name === 'admin')!.id;
    const { id } = (await data('/admin/live/sessions', { accountId, name: 'shop' })) as { id: string };
    expect((await admin.post(`/admin/live/sessions/${id}/start`)).status).toBe(503);
    await data(`/admin/live/sessions/${id}/suspend`, { reason: 'Unpaid' });
    expect(await data(`/admin/live/sessions/${id}`)).toMatchObject({ status: 'suspended', reason: { message: 'Unpaid' } });
    await data(`/admin/live/sessions/${id}/resume`, {});
    expect(await data(`/admin/live/sessions/${id}`)).toMatchObject({ status: 'disconnected' });
    expect((await admin.post(`/admin/live/sessions/${id}/pairing-code`, { phoneNumber: '+44 7400 123123' })).status).toBe(409);
    const list = (
      await admin.get('/admin/api/resources/sessions/actions/list?filters.status=disconnected&filters.name=SHO')
    ).json();
    expect(list['records']).toEqual([
      expect.objectContaining({ params: expect.objectContaining({ name: 'shop', accountName: 'admin' }) }),
    ]);
  });

  it('sends, cancels and retries by the same rules as REST, and shows the way of the message', async () => {
    const session = await rig.database.reader.getRepository(Session).findOneByOrFail({ name: 'shop' });
    await rig.database.write.run((tx) => updateRows(tx, Session, { id: session.id }, { status: 'connected' }));
    const wrong = await admin.post(`/admin/live/sessions/${session.id}/send`, { recipient: 'not a number', message: 'x' });
    expect([wrong.status, wrong.text]).toEqual([422, expect.stringContaining('INVALID_RECIPIENT')]);
    const { id } = await data(`/admin/live/sessions/${session.id}/send`, {
      recipient: '+44 7400 123123',
      message: '<b>Hello</b>',
    });
    const view = await data(`/admin/live/messages/${id}`);
    expect(view).toMatchObject({ text: '<b>Hello</b>', origin: 'panel', direction: 'outbound', session: { name: 'shop' } });
    expect((view['timeline'] as { type: string }[])[0]!.type).toBe('message.queued');
    const cancelled = await admin.post(`/admin/live/messages/${id}/cancel`);
    if (cancelled.status === 200) expect(await data(`/admin/live/messages/${id}`)).toMatchObject({ status: 'cancelled' });
    expect((await admin.post(`/admin/live/messages/${id}/resolve`, { as: 'sent' })).status).toBe(409);
    const from = '2020-01-01T00:00:00.000Z';
    for (const query of [
      `filters.createdAt~~from=${from}`,
      'filters.text=HELLO',
      'filters.accountId=adm',
      'sortBy=id&direction=asc',
    ])
      expect(
        ((await admin.get(`/admin/api/resources/messages/actions/list?${query}`)).json()['meta'] as { total: number }).total,
      ).toBe(1);
    // Without a worker the message goes back into the queue, with another event, as often as it is tried.
    const queued = (await data('/admin/live/events?type=message.queued')) as unknown as { messageId: string }[];
    expect([...new Set(queued.map(({ messageId }) => messageId))]).toEqual([id]);
    const chart = (await data('/admin/live/chart')) as unknown as { buckets: unknown[] };
    expect(chart.buckets).toHaveLength(24);
    // Figures are shared for a second; those that were read before the session was made may be shown meanwhile.
    let overview = await data('/admin/live/overview');
    while ((overview['sessions'] as { total: number }).total === 0) overview = await data('/admin/live/overview');
    expect(overview).toMatchObject({ sessions: { total: 1 }, workers: [] });
  });

  it('creates, previews, changes and deletes templates of an account, by the rules of REST', async () => {
    const { id: accountId, key } = await makeAccount(rig);
    const draft = { accountId, type: 'text', content: { message: 'Hi {{name}}, {{n|number}}' } };
    const preview = (variables: object) => data('/admin/live/template-preview', { ...draft, variables });
    expect(await preview({ name: 'Ana' })).toEqual({ variables: ['name', 'n'], missing: ['n'], text: null });
    expect(await preview({ name: 'Ana', n: '1000' })).toMatchObject({ missing: [], text: 'Hi Ana, 1,000' });
    const { id } = (await data('/admin/live/templates', { ...draft, name: 'greeting' })) as { id: string };
    expect((await admin.post('/admin/live/templates', { ...draft, name: 'greeting' })).status).toBe(409);
    expect((await admin.post('/admin/live/templates', { ...draft, name: 'x', content: {} })).status).toBe(422);
    const rest = await rig.call('GET', `/templates/${id}`, { key });
    expect(rest.body.data).toMatchObject({ name: 'greeting', version: 1 });
    await data(`/admin/live/templates/${id}`, { name: 'greeting', type: 'text', content: { message: 'Bye' } });
    expect(await data(`/admin/live/templates/${id}`)).toMatchObject({
      version: 2,
      content: { message: 'Bye' },
      account: { id: accountId },
    });
    const listed = (await admin.get('/admin/api/resources/templates/actions/list')).json();
    expect((listed['records'] as { id: string }[]).map((record) => record.id)).toEqual([id]);
    await data(`/admin/live/templates/${id}/delete`, {});
    expect((await admin.get(`/admin/live/templates/${id}`)).status).toBe(404);
  });

  it('adds and removes opt-outs and sets the keywords of an account, by the rules of REST', async () => {
    const { id: accountId, key } = await makeAccount(rig);
    const add = (...contacts: string[]) => admin.post('/admin/live/optouts', { accountId, contacts });
    expect((await add('120363041234567890@g.us')).status).toBe(422);
    const { id } = (await data('/admin/live/optouts', { accountId, contacts: ['+55 11 99999-0001'] })) as { id: string };
    expect(await data(`/admin/live/optouts/${id}`)).toMatchObject({
      waId: '5511999990001@c.us',
      source: 'panel',
      account: { id: accountId },
    });
    expect((await rig.call('GET', '/opt-outs/5511999990001', { key })).body.data).toMatchObject({ id, source: 'panel' });
    const shown = async () =>
      ((await admin.get('/admin/api/resources/optouts/actions/list')).json()['records'] as object[]).length;
    expect(await shown()).toBe(1);
    const list = 'nome;telefone\nAna;+55 11 99999-0001\nBea;+55 11 99999-0002\nCem;12\n';
    expect(await data('/admin/live/optouts-import', { accountId, list })).toEqual({
      added: 1,
      known: 1,
      invalid: [{ row: 4, input: '12', message: expect.any(String) }],
    });
    const bea = (await data('/admin/live/optouts', { accountId, contacts: ['+55 11 99999-0002'] })) as { id: string };
    await data(`/admin/live/optouts/${bea.id}/delete`, {});
    await data(`/admin/live/optouts/${id}/delete`, {});
    expect([await shown(), (await admin.get(`/admin/live/optouts/${id}`)).status]).toEqual([0, 404]);
    const keywords = { out: ['RAUS'], in: ['REIN'], replyOut: 'Gut.', replyIn: null, languages: {} };
    await data(`/admin/live/accounts/${accountId}/keywords`, keywords);
    expect(await data(`/admin/live/accounts/${accountId}/keywords`)).toEqual(keywords);
    expect((await rig.call('GET', '/opt-outs/keywords', { key })).body.data).toEqual(keywords);
    expect((await admin.post(`/admin/live/accounts/${accountId}/keywords`, { ...keywords, in: ['raus'] })).status).toBe(422);
  });

  it('shows what is planned, moves and cancels scheduled messages, and pauses, resumes and deletes schedules', async () => {
    const session = await rig.database.reader.getRepository(Session).findOneByOrFail({ name: 'shop' });
    const at = new Date(Date.now() + 40 * 86_400_000);
    const month = at.toISOString().slice(0, 7);
    const recipient = '5511999990001';
    const post = async (path: string, body: object) =>
      (await rig.call('POST', path, { body: { sessionId: session.id, ...body } })).body.data as { id: string };
    const { id } = await post('/messages/send-text', { recipient, message: 'planned', scheduledAt: at.toISOString() });
    const message = { type: 'text', recipient, message: 'again' };
    const schedule = await post('/schedules', { name: 'each day', cron: '0 12 * * *', timezone: 'UTC', message });
    type View = {
      days: Record<string, { kind: string; id: string }[]>;
      schedules: { id: string; status: string }[];
      messages: { id: string }[];
    };
    const view = async (query = ''): Promise<View> => (await data(`/admin/live/schedules${query}`)) as unknown as View;
    const { days, schedules, messages } = await view(`?month=${month}`);
    expect(days[at.toISOString().slice(0, 10)]?.map((item) => item.id).sort()).toEqual([id, schedule.id].sort());
    const [year = 0, number = 1] = month.split('-').map(Number);
    expect(Object.keys(days)).toHaveLength(new Date(Date.UTC(year, number, 0)).getUTCDate());
    expect([schedules.map((one) => one.status), messages.map((one) => one.id)]).toEqual([['active'], [id]]);
    const later = new Date(at.getTime() + 86_400_000).toISOString().slice(0, 16);
    await data(`/admin/live/messages/${id}/schedule`, { scheduledAt: later, timezone: 'UTC' });
    expect(await data(`/admin/live/messages/${id}`)).toMatchObject({ times: { scheduledAt: Date.parse(`${later}:00Z`) } });
    expect((await admin.post(`/admin/live/messages/${id}/schedule`, { scheduledAt: '2020-01-01T00:00' })).status).toBe(422);
    await data(`/admin/live/messages/${id}/cancel`, {});
    expect((await view()).messages).toEqual([]);
    const laterDay = new Date(at.getTime() + 10 * 86_400_000).toISOString().slice(0, 10);
    const later9 = { scheduledAt: `${laterDay}T09:00`, timezone: 'America/Lima' };
    expect(
      (await admin.post(`/admin/live/sessions/${session.id}/send`, { recipient, message: 'x', scheduledAt: '2020-01-01T00:00' }))
        .status,
    ).toBe(422);
    const oneOff = await data(`/admin/live/sessions/${session.id}/send`, { recipient, message: 'one day', ...later9 });
    expect((await view()).messages).toMatchObject([
      { id: oneOff['id'], at: Date.parse(`${laterDay}T14:00:00Z`), chat: `+${recipient}`, text: 'one day' },
    ]);
    await data(`/admin/live/messages/${oneOff['id'] as string}/cancel`, {});
    const times = { name: 'Mondays', cron: '0 9 * * 1', timezone: 'America/Lima' };
    const { next } = (await data('/admin/live/schedule-preview', { cron: times.cron, timezone: times.timezone })) as {
      next: number[];
    };
    expect(next.map((time) => new Date(time).toISOString().slice(11, 16))).toEqual(Array(5).fill('14:00'));
    expect((await admin.post('/admin/live/schedule-preview', { cron: '60 9 * * 1', timezone: 'UTC' })).status).toBe(422);
    const text = { sessionId: session.id, recipient, message: 'Good morning' };
    expect((await admin.post('/admin/live/schedules', { ...text, ...times, sessionId: 'x' })).status).toBe(404);
    const weekly = await data('/admin/live/schedules', { ...text, ...times, maxOccurrences: 3 });
    const found = (await rig.call('GET', `/schedules/${weekly['id'] as string}`)).body.data;
    expect(found).toMatchObject({ ...times, maxOccurrences: 3, content: { message: 'Good morning' } });
    expect((found as { next: string[] }).next).toEqual(next.slice(0, 3).map((time) => new Date(time).toISOString()));
    await data(`/admin/live/schedules/${weekly['id'] as string}/times`, { ...times, cron: '30 10 * * 1' });
    expect((await rig.call('GET', `/schedules/${weekly['id'] as string}`)).body.data).toMatchObject({ cron: '30 10 * * 1' });
    await data(`/admin/live/schedules/${weekly['id'] as string}/delete`, {});
    await data(`/admin/live/schedules/${schedule.id}/pause`, {});
    expect((await view()).schedules.map((one) => one.status)).toEqual(['paused']);
    await data(`/admin/live/schedules/${schedule.id}/resume`, {});
    await data(`/admin/live/schedules/${schedule.id}/delete`, {});
    expect((await view()).schedules).toEqual([]);
    expect((await admin.post(`/admin/live/schedules/${schedule.id}/pause`)).status).toBe(404);
    const quietHours = { from: '00:00', to: '23:59' };
    const warmUp = { startedOn: '2026-01-01', messagesPerDay: 20, growth: 1 };
    await data(`/admin/live/sessions/${session.id}/limits`, { quietHours, warmUp, timezone: 'Asia/Tokyo' });
    expect(await data(`/admin/live/sessions/${session.id}`)).toMatchObject({
      limits: { quietHours, warmUp, timezone: 'Asia/Tokyo' },
    });
    await data(`/admin/live/sessions/${session.id}/limits`, { quietHours: null, warmUp: null });
    expect(await data(`/admin/live/sessions/${session.id}`)).toMatchObject({
      limits: { quietHours: null, warmUp: null, quietUntil: null },
    });
    expect(
      (await actions())
        .filter((entry) => /schedule/.test(entry))
        .map((entry) => entry.split(' ')[0])
        .sort(),
    ).toEqual([
      'message.reschedule',
      ...['create', 'create', 'delete', 'delete', 'pause', 'resume', 'update'].map((verb) => `schedule.${verb}`),
    ]);
  });

  it('makes, changes and deletes plans, puts accounts on them, and limits sessions and keys, by the rules of REST', async () => {
    const { id: accountId, key } = await makeAccount(rig);
    const plan = {
      name: 'tiny',
      monthlyMessages: 1,
      dailyMessages: 0,
      maxSessions: 3,
      apiLimit: 0,
      pricePerMessage: '0.01',
      currency: 'EUR',
    };
    const { id: planId } = (await data('/admin/live/plans', plan)) as { id: string };
    expect((await admin.post('/admin/live/plans', plan)).status).toBe(409);
    expect((await admin.post('/admin/live/plans', { ...plan, currency: 'euro' })).status).toBe(422);
    await data(`/admin/live/accounts/${accountId}/limits`, { planId, maxMessagesPerDay: 7 });
    expect(await data(`/admin/live/plans/${planId}`)).toMatchObject({ accounts: [{ id: accountId }] });
    const { id: sessionId } = (await data('/admin/live/sessions', { accountId, name: 'limited' })) as { id: string };
    await data(`/admin/live/sessions/${sessionId}/limits`, { dailyLimit: 5, storage: 'metadata' });
    const body = { sessionId, recipient: '5511999990001', message: 'x', async: true, queueIfOffline: true };
    const sends = [
      await rig.call('POST', '/messages/send-text', { key, body }),
      await rig.call('POST', '/messages/send-text', { key, body }),
    ];
    expect(sends.map(({ status }) => status)).toEqual([202, 429]);
    expect(sends[0]!.body.data).toMatchObject({ text: null, cost: '0.01' });
    expect(await data(`/admin/live/accounts/${accountId}`)).toMatchObject({
      plan: { name: 'tiny' },
      maxMessagesPerDay: 7,
      limits: { dailyMessages: 7, monthlyMessages: 1, maxSessions: 3 },
      usage: { today: 1, thisMonth: 1 },
    });
    expect(await data(`/admin/live/sessions/${sessionId}`)).toMatchObject({
      limits: { dailyLimit: 5, storage: 'metadata', today: 1 },
    });
    await data(`/admin/live/plans/${planId}`, { ...plan, monthlyMessages: 0 });
    expect((await rig.call('POST', '/messages/send-text', { key, body })).status).toBe(202);
    expect((await admin.post(`/admin/live/plans/${planId}/delete`)).status).toBe(409);
    await data(`/admin/live/accounts/${accountId}/limits`, { planId: null, maxMessagesPerDay: 0 });
    await data(`/admin/live/plans/${planId}/delete`, {});
    expect((await admin.get(`/admin/live/plans/${planId}`)).status).toBe(404);

    const made = await data('/admin/live/keys', { accountId, name: 'slow', permissions: ['*'] });
    const statuses = async (): Promise<number[]> => [
      (await rig.call('GET', '/auth/me', { key: String(made['secret']) })).status,
      (await rig.call('GET', '/auth/me', { key: String(made['secret']) })).status,
    ];
    await data(`/admin/live/keys/${made['id']}/rate-limit`, { rateLimit: 1 });
    expect(await statuses()).toEqual([200, 429]);
    await data(`/admin/live/keys/${made['id']}/deactivate`, {});
    expect(await statuses()).toEqual([401, 401]);
    await data(`/admin/live/keys/${made['id']}/rate-limit`, { rateLimit: null });
    await data(`/admin/live/keys/${made['id']}/activate`, {});
    expect(await statuses()).toEqual([200, 200]);
    await data(`/admin/live/keys/${made['id']}/revoke`, {});
    expect((await rig.call('DELETE', `/sessions/${sessionId}`, { key })).status).toBe(200);
  });

  it('makes webhooks, tries them, switches them off and on, by the rules of REST', async () => {
    const sink = await startSink();
    try {
      const { id: accountId, key } = await makeAccount(rig);
      const refused = await admin.post('/admin/live/webhooks', { accountId, url: 'http://10.0.0.1/', events: ['*'] });
      expect([refused.status, refused.text]).toEqual([422, expect.stringContaining('URL_NOT_ALLOWED')]);
      const made = await data('/admin/live/webhooks', { accountId, url: sink.url, events: ['session.created'] });
      expect(made['secret']).toMatch(/^whsec_/);
      const path = `/admin/live/webhooks/${made['id']}`;
      expect(await data(`${path}/test`, {})).toMatchObject({ ok: true, statusCode: 204 });
      await data(`${path}/disable`, {});
      await rig.call('POST', '/sessions', { key, body: { name: 'while-off' } });
      await data(`${path}/enable`, {});
      await eventually('what came while it was off', async () => sink.taken.length === 2);
      await eventually('the log', async () => ((await data(path)) as { counts: { delivered: number } }).counts.delivered === 1);
      const { deliveries } = (await data(`/admin/live/deliveries?webhookId=${made['id'] as string}`)) as {
        deliveries: { id: string }[];
      };
      expect(deliveries).toMatchObject([{ type: 'session.created', status: 'delivered' }]);
      const ids = [deliveries[0]!.id];
      expect(await data(`/admin/live/deliveries/${ids[0]}`)).toMatchObject({ log: [{ statusCode: 204 }] });
      expect(await data('/admin/live/resend-deliveries', { ids })).toMatchObject({ queued: 1 });
      await eventually('it once more', async () => sink.taken.length === 3);
      expect(JSON.stringify(await data(path))).not.toContain(String(made['secret']).slice(6));
    } finally {
      await sink.close();
    }
  });

  it('has written all of it down', async () => {
    expect(await actions()).toEqual(
      expect.arrayContaining(
        [
          'panel.login',
          'account.create',
          'account.active',
          'account.password',
          'key.create',
          'key.revoke',
          'session.create',
          'session.suspend',
          'session.resume',
          'message.send',
        ].map((action) => `${action} by admin`),
      ),
    );
    const audit = (await admin.get('/admin/api/resources/audit/actions/list')).json()['records'] as unknown[];
    expect(audit.length).toBeGreaterThan(8);
    expect(rig.lines.filter((line) => line.includes('A request to the panel failed.'))).toEqual([]);
  });

  it('checks and makes a bulk job from CSV, shows its recipients, and pauses, resumes and cancels it', async () => {
    const me = await rig.call('GET', '/auth/me');
    const { id: accountId } = me.body.data as { id: string };
    const { id: sessionId } = await data('/admin/live/sessions', { accountId, name: 'bulk-panel' });
    const job = { sessionId, name: 'autumn', message: 'Hi {{name}}', csv: 'phone,name\n+5511999990001,Ana\nnobody,x\n' };
    expect(await data('/admin/live/bulk-check', job)).toMatchObject({
      accepted: 1,
      skipped: { INVALID_RECIPIENT: 1 },
      preview: 'Hi Ana',
    });
    expect((await admin.get('/admin/api/resources/bulk/actions/list')).json()).toMatchObject({ records: [] });
    const { id } = await data('/admin/live/bulk', job);
    const view = await data(`/admin/live/bulk/${id as string}?status=pending`);
    expect(view).toMatchObject({
      name: 'autumn',
      found: 1,
      recipients: [{ row: 1, status: 'pending' }],
      session: { name: 'bulk-panel' },
    });
    await data(`/admin/live/bulk/${id as string}/pause`, {});
    expect((await admin.post(`/admin/live/bulk/${id as string}/pause`, {})).text).toContain('BULK_STATE_CONFLICT');
    await data(`/admin/live/bulk/${id as string}/resume`, {});
    await data(`/admin/live/bulk/${id as string}/cancel`, {});
    expect(await data(`/admin/live/bulk/${id as string}`)).toMatchObject({
      status: 'cancelled',
      counts: { cancelled: 1, skipped: 1 },
    });
    const missing = await admin.post('/admin/live/bulk', { ...job, message: 'Hi {{nosuch}}' });
    expect([missing.status, missing.text]).toEqual([422, expect.stringContaining('MISSING_VARIABLE')]);
    const done = await actions();
    for (const action of ['create', 'pause', 'resume', 'cancel']) expect(done).toContain(`bulk.${action} by admin`);
  });
});
