import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loginOf } from './support/account.js';
import { databases, startRig, type Rig } from './support/backend.js';

/** What the audit log says of a change: the fields, what they were and what they became. */
describe.each(await databases())('changes in the audit log on %s', (database) => {
  let rig: Rig;
  let admin: Awaited<ReturnType<typeof loginOf>>;
  beforeAll(async () => {
    rig = await startRig({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    admin = await loginOf(rig);
  });
  afterAll(() => rig?.close());

  const call = async (method: string, path: string, body?: object): Promise<{ id: string; secret?: string }> => {
    const reply = await rig.call(method, path, { ...admin, ...(body ? { body } : {}) });
    expect([path, reply.status < 300, reply.body.error]).toEqual([path, true, undefined]);
    return reply.body.data as { id: string };
  };
  const last = async (object: string): Promise<{ action: string; changes: object; previous: object | null }> => {
    const [entry] = (await rig.call('GET', `/admin/audit?object=${object}&limit=1`, admin)).body.data as never[];
    return entry!;
  };

  test('name what an account, a plan, a key and a session were before', async () => {
    const { account } = (await call('POST', '/admin/accounts', { username: 'ana', email: 'ana@example.com' })) as unknown as {
      account: { id: string };
    };
    expect((await last(account.id)).previous).toBeNull();
    await call('PATCH', `/admin/accounts/${account.id}`, { role: 'staff', maxMessagesPerDay: 500 });
    expect(await last(account.id)).toMatchObject({
      changes: { role: 'staff', maxMessagesPerDay: 500 },
      previous: { role: 'user', maxMessagesPerDay: 0 },
    });
    const plan = await call('POST', '/admin/plans', { name: 'small', dailyMessages: 10 });
    await call('PUT', `/admin/plans/${plan.id}`, { dailyMessages: 20 });
    expect(await last(plan.id)).toMatchObject({ changes: { dailyMessages: 20 }, previous: { dailyMessages: 10 } });
    const key = await call('POST', '/keys', { name: 'shop', permissions: ['messages.send'] });
    await call('PUT', `/keys/${key.id}`, { rateLimit: { limit: 60 }, permissions: ['messages.*'] });
    expect(await last(key.id)).toMatchObject({
      changes: { rateLimit: 60, permissions: ['messages.*'] },
      previous: { rateLimit: null, permissions: ['messages.send'] },
    });
    const session = await call('POST', '/sessions', { name: 'front' });
    await call('PUT', `/sessions/${session.id}`, { name: 'desk', settings: { autoReconnect: false } });
    expect(await last(session.id)).toMatchObject({
      changes: { fields: ['name', 'settings'], name: 'desk', 'settings.autoReconnect': false },
      previous: { name: 'front', 'settings.autoReconnect': true },
    });
  });

  test('keep secrets, passwords and the people of a filter out', async () => {
    const url = 'http://127.0.0.1:9/hook';
    const body = {
      url,
      events: ['message.*'],
      headers: { 'X-Token': 'hidden-value' },
      filter: { chats: ['5511999990001@c.us'] },
    };
    const webhook = await call('POST', '/webhooks', body);
    const next = { chats: ['5511999990002@c.us', '5511999990003@c.us'], directions: ['inbound'] };
    await call('PUT', `/webhooks/${webhook.id}`, { filter: next, headers: { 'X-Other': 'hidden-too' }, description: 'Orders' });
    const entry = await last(webhook.id);
    expect(entry).toMatchObject({
      changes: { description: 'Orders', filter: { chats: 2, directions: ['inbound'] }, headers: ['X-Other'] },
      previous: { description: null, filter: { chats: 1 } },
    });
    expect(JSON.stringify(entry)).not.toMatch(/hidden|551199999|whsec|secret/);
  });
});
