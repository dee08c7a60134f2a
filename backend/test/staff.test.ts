import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Account } from '../src/accounts/account.entity.js';
import { loginOf, makeAccount } from './support/account.js';
import { databases, password, startRig, type Reply, type Rig } from './support/backend.js';

const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];

describe.each(await databases())('staff over REST on %s', (database) => {
  let rig: Rig;
  let admin: Awaited<ReturnType<typeof loginOf>>;
  let adminId: string;
  beforeAll(async () => {
    rig = await startRig({ database });
    admin = await loginOf(rig);
    adminId = ((await rig.call('GET', '/auth/me', admin)).body.data as { id: string }).id;
  });
  afterAll(() => rig?.close());

  const as = (who: typeof admin, method: string, path: string, body?: unknown): Promise<Reply> =>
    rig.call(method, path, { ...who, ...(body === undefined ? {} : { body }) });
  const makePlan = async (body: object): Promise<string> => {
    const reply = await as(admin, 'POST', '/admin/plans', { name: `plan ${Math.random()}`, ...body });
    expect(reply.status).toBe(201);
    return (reply.body.data as { id: string }).id;
  };

  test('an account is made with a one-time password that signs in and is marked as one to be changed', async () => {
    const made = await as(admin, 'POST', '/admin/accounts', { username: 'clerk', email: 'Clerk@example.com', role: 'staff' });
    const { account, apiKey, oneTimePassword } = made.body.data as {
      account: { id: string; role: string };
      apiKey: string;
      oneTimePassword: string;
    };
    expect([made.status, account.role]).toEqual([201, 'staff']);
    expect((await rig.call('GET', '/auth/me', { key: apiKey })).status).toBe(200);
    const login = await rig.call('POST', '/auth/login', {
      key: null,
      body: { email: 'clerk@example.com', password: oneTimePassword },
    });
    expect(login.status).toBe(200);
    expect(await rig.database.reader.getRepository(Account).findOneByOrFail({ id: account.id })).toMatchObject({
      mustChangePassword: true,
    });
    const again = await as(admin, 'POST', '/admin/accounts', { username: 'clerk', email: 'other@example.com' });
    expect(codeOf(again)).toEqual([409, 'ALREADY_EXISTS']);
  });

  test('switched off, an account’s key, token and login stop with that request, and start again with the next', async () => {
    const { id, key } = await makeAccount(rig);
    const email = ((await as(admin, 'GET', `/admin/accounts/${id}`)).body.data as { email: string }).email;
    const person = await loginOf(rig, email);
    const set = (isActive: boolean) => as(admin, 'PATCH', `/admin/accounts/${id}`, { isActive });
    await set(false);
    expect(codeOf(await rig.call('GET', '/auth/me', { key }))).toEqual([403, 'ACCOUNT_INACTIVE']);
    expect(codeOf(await as(person, 'GET', '/auth/me'))).toEqual([403, 'ACCOUNT_INACTIVE']);
    expect(codeOf(await rig.call('POST', '/auth/login', { key: null, body: { email, password } }))).toEqual([
      403,
      'ACCOUNT_INACTIVE',
    ]);
    await set(true);
    expect((await rig.call('GET', '/auth/me', { key })).status).toBe(200);
  });

  test('a plan’s number of sessions applies from its change on, without a restart', async () => {
    const { id, key } = await makeAccount(rig);
    const planId = await makePlan({ maxSessions: 1 });
    await as(admin, 'PATCH', `/admin/accounts/${id}`, { planId });
    const make = (name: string) => rig.call('POST', '/sessions', { key, body: { name } });
    expect((await make('one')).status).toBe(201);
    expect(codeOf(await make('two'))).toEqual([409, 'SESSION_LIMIT_REACHED']);
    await as(admin, 'PUT', `/admin/plans/${planId}`, { maxSessions: 2 });
    expect((await make('two')).status).toBe(201);
    const { data } = (await as(admin, 'GET', `/admin/accounts/${id}`)).body;
    expect(data).toMatchObject({ plan: { id: planId }, usage: { sessions: 2, today: 0, thisMonth: 0 } });
  });

  test('a plan is removed only when no account uses it', async () => {
    const { id } = await makeAccount(rig);
    const planId = await makePlan({});
    await as(admin, 'PATCH', `/admin/accounts/${id}`, { planId });
    expect(codeOf(await as(admin, 'DELETE', `/admin/plans/${planId}`))).toEqual([409, 'PLAN_IN_USE']);
    await as(admin, 'PATCH', `/admin/accounts/${id}`, { planId: null });
    expect((await as(admin, 'DELETE', `/admin/plans/${planId}`)).status).toBe(200);
    expect(codeOf(await as(admin, 'PATCH', `/admin/accounts/${id}`, { planId }))).toEqual([404, 'PLAN_NOT_FOUND']);
  });

  test('an account is put on a plan while it is removed: one of the two is refused, never both done', async () => {
    const { id } = await makeAccount(rig);
    for (let round = 0; round < 8; round += 1) {
      const planId = await makePlan({});
      const [put, removed] = await Promise.all([
        as(admin, 'PATCH', `/admin/accounts/${id}`, { planId }),
        as(admin, 'DELETE', `/admin/plans/${planId}`),
      ]);
      expect([put.status, removed.status].sort()).toEqual(put.status === 200 ? [200, 409] : [200, 404]);
    }
  });

  test('the last admin cannot be demoted or switched off, nor two admins each other at once', async () => {
    for (const change of [{ role: 'user' }, { isActive: false }])
      expect(codeOf(await as(admin, 'PATCH', `/admin/accounts/${adminId}`, change))).toEqual([409, 'LAST_ADMIN']);
    const { id } = await makeAccount(rig);
    await as(admin, 'PATCH', `/admin/accounts/${id}`, { role: 'admin' });
    const email = ((await as(admin, 'GET', `/admin/accounts/${id}`)).body.data as { email: string }).email;
    const other = await loginOf(rig, email);
    const [one, two] = await Promise.all([
      as(admin, 'PATCH', `/admin/accounts/${id}`, { role: 'user' }),
      as(other, 'PATCH', `/admin/accounts/${adminId}`, { role: 'user' }),
    ]);
    const done = [one, two].filter(({ status }) => status === 200);
    expect(done).toHaveLength(1);
    const left = one.status === 200 ? admin : other;
    await as(left, 'PATCH', `/admin/accounts/${adminId}`, { role: 'admin' });
    await as(left, 'PATCH', `/admin/accounts/${id}`, { role: 'user' });
    const admins = (await as(admin, 'GET', '/admin/accounts?role=admin')).body.data as { id: string }[];
    expect(admins.map((one) => one.id)).toEqual([adminId]);
  });

  test('the account sees in its audit log that staff acted, but not which person; staff sees both', async () => {
    const { id, key } = await makeAccount(rig);
    await as(admin, 'PATCH', `/admin/accounts/${id}`, { maxMessagesPerDay: 5 });
    type Entry = { action: string; actor: { type: string; name: string | null }; ip: string | null; changes: unknown };
    const own = (await rig.call('GET', '/audit?action=account.govern', { key })).body.data as Entry[];
    expect(own).toMatchObject([{ actor: { type: 'staff', name: null }, ip: null, changes: { maxMessagesPerDay: 5 } }]);
    const all = (await as(admin, 'GET', `/admin/audit?accountId=${id}&action=account.govern`)).body.data as Entry[];
    expect(all).toMatchObject([{ actor: { type: 'staff', name: 'admin' }, ip: expect.any(String) }]);
  });

  test('accounts are found by a part of their name, in which % and _ mean themselves', async () => {
    const found = async (search: string) =>
      ((await as(admin, 'GET', `/admin/accounts?search=${encodeURIComponent(search)}`)).body.data as unknown[]).length;
    await as(admin, 'POST', '/admin/accounts', { username: '50%_off', email: 'sale@example.com' });
    expect([await found('50%'), await found('0%_O'), await found('%'), await found('5_%')]).toEqual([1, 1, 1, 0]);
  });
});
