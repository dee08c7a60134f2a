import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loginOf } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';

describe.each(await databases())('workers over REST on %s', (database) => {
  let core: Core;
  let admin: Awaited<ReturnType<typeof loginOf>>;
  beforeAll(async () => {
    core = await startCore({ database });
    admin = await loginOf(core.rig);
  });
  afterAll(() => core?.close());

  const list = async () => (await core.rig.call('GET', '/admin/workers', admin)).body.data as Record<string, unknown>[];
  const drain = (id: string, draining: boolean): Promise<Reply> =>
    core.rig.call('PATCH', `/admin/workers/${id}`, { ...admin, body: { draining } });

  test('a drained worker gets no new session, also after its restart; its sessions continue, and it gets new ones once allowed', async () => {
    const [worker] = await list();
    const id = String(worker!['id']);
    expect(worker).toMatchObject({ draining: false, sessions: expect.any(Number), cpuPercent: 7 });
    expect((await drain(id, true)).body.data).toMatchObject({ id, draining: true });
    const name = 'second';
    expect((await core.post('/sessions', { name })).status).toBe(201);
    const refused = await core.post('/sessions/init', { sessionId: name });
    expect([refused.status, refused.body.error?.code]).toEqual([503, 'WORKER_CAPACITY']);
    await core.worker.beat();
    expect((await list())[0]).toMatchObject({ draining: true });
    expect((await core.get(`/sessions/${name}`)).body.data).toMatchObject({ workerId: null, status: 'disconnected' });
    expect(dataOf(await core.send('goes on', { sessionId: core.sessionId })).status).toBe('sent');
    expect((await drain(id, false)).body.data).toMatchObject({ draining: false });
    expect((await core.post('/sessions/init', { sessionId: name })).body.data).toMatchObject({ status: 'qr_pending' });
  });

  test('a session’s autoReconnect is sent with the command to start it, and with the next heartbeat', async () => {
    const { id } = (await core.post('/sessions', { name: 'by-hand', settings: { autoReconnect: false } })).body.data as {
      id: string;
    };
    await core.post('/sessions/init', { sessionId: id });
    const told = async () => (await core.worker.beat()).leases.find(({ sessionId }) => sessionId === id)?.settings?.autoReconnect;
    expect([core.worker.settings.get(id)?.autoReconnect, await told()]).toEqual([false, false]);
    await core.rig.call('PUT', `/sessions/${id}`, { body: { settings: { autoReconnect: true } } });
    expect(await told()).toBe(true);
  });

  test('an unknown worker is not found, and only admins may drain one', async () => {
    const unknown = await drain('nowhere', true);
    expect([unknown.status, unknown.body.error?.code]).toEqual([404, 'WORKER_NOT_FOUND']);
    const byKey = await core.rig.call('PATCH', '/admin/workers/nowhere', { body: { draining: true } });
    expect([byKey.status, byKey.body.error?.code]).toEqual([403, 'PASSWORD_LOGIN_REQUIRED']);
    const audit = (await core.rig.call('GET', '/admin/audit?action=worker.drain', admin)).body.data as unknown[];
    expect(audit).toHaveLength(1);
  });
});
