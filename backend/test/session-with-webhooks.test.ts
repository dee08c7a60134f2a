import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionResource } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink } from './support/sink.js';

type Created = SessionResource & { webhooks?: { id: string; url: string; sessionId: string; secret: string }[] };

describe.each(await databases())('a session that is created with webhooks on %s', (database) => {
  let core: Core;
  let sink: Awaited<ReturnType<typeof startSink>>;
  beforeAll(async () => {
    sink = await startSink();
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32', MAX_WEBHOOKS_PER_SESSION: '2' } });
  });
  afterAll(async () => {
    await core?.close();
    await sink?.close();
  });

  const hook = (more: object = {}) => ({ url: sink.url, events: ['session.status'], ...more });
  const create = (name: string, webhooks: object[] | undefined, key?: string) =>
    core.rig.call('POST', '/sessions', { body: { name, ...(webhooks ? { webhooks } : {}) }, ...(key ? { key } : {}) });
  const sessionNames = async () => ((await core.get('/sessions')).body.data as SessionResource[]).map(({ name }) => name);
  const hooks = async () => (await core.get('/webhooks')).body.data as { id: string; sessionId: string; secret?: string }[];
  const keyWith = async (permissions: string[]): Promise<string> =>
    ((await core.post('/keys', { name: permissions.join(), permissions })).body.data as { key: string }).key;

  test('has them from its first event on, and their secrets are shown once', async () => {
    const reply = await create('shop', [hook(), hook({ events: ['message.received'], headers: { 'x-shop': 'lima' } })]);
    expect(reply.status).toBe(201);
    const { id, webhooks = [] } = reply.body.data as Created;
    expect(webhooks).toMatchObject([
      { sessionId: id, url: sink.url, secret: expect.stringMatching(/^whsec_/) },
      { sessionId: id, headers: ['x-shop'] },
    ]);
    expect((await hooks()).map((each) => [each.id, each.sessionId, each.secret])).toEqual(
      webhooks.map((each) => [each.id, id, undefined]),
    );
    expect((await core.get(`/sessions/${id}`)).body.data).not.toHaveProperty('webhooks');
    await core.post(`/sessions/${id}/connect`);
    await eventually('a delivery', async () => sink.taken.length > 0);
  });

  test('without webhooks is created as before', async () => {
    const reply = await create('plain', undefined);
    expect([reply.status, 'webhooks' in (reply.body.data as Created)]).toEqual([201, false]);
  });

  test.each<[string, () => object[], number, string]>([
    ['an address that is not allowed', () => [hook(), hook({ url: 'http://10.0.0.1/' })], 422, 'URL_NOT_ALLOWED'],
    ['an unknown event', () => [hook(), hook({ events: ['nothing.happens'] })], 422, 'UNKNOWN_EVENT_TYPE'],
    ['a header of ours', () => [hook(), hook({ headers: { Host: 'x' } })], 422, 'VALIDATION_FAILED'],
    ['more than a session may have', () => [hook(), hook(), hook()], 409, 'WEBHOOK_LIMIT_REACHED'],
    ['a session of their own', () => [hook({ sessionId: core.sessionId })], 422, 'VALIDATION_FAILED'],
    ['an empty list', () => [], 422, 'VALIDATION_FAILED'],
  ])('is not created at all with %s', async (_which, webhooks, status, code) => {
    const before = [await sessionNames(), await hooks()];
    const reply = await create('refused', webhooks());
    expect([reply.status, reply.body.error?.code]).toEqual([status, code]);
    expect([await sessionNames(), await hooks()]).toEqual(before);
    const events = await core.events('session.created');
    expect(events.filter(({ data }) => data['name'] === 'refused')).toEqual([]);
  });

  test('whose name is taken creates no webhook', async () => {
    const before = await hooks();
    expect((await create('shop', [hook()])).body.error?.code).toBe('ALREADY_EXISTS');
    expect(await hooks()).toEqual(before);
  });

  test('needs the permission to configure webhooks, and that of their events', async () => {
    const before = await sessionNames();
    const withoutWebhooks = await create('refused', [hook()], await keyWith(['sessions.manage', 'instance.info']));
    expect([withoutWebhooks.status, withoutWebhooks.body.error]).toMatchObject([
      403,
      { code: 'PERMISSION_DENIED', details: { permission: 'webhook.configure' } },
    ]);
    const withoutEvents = await keyWith(['sessions.manage', 'webhook.configure', 'instance.info']);
    const reply = await create('refused', [hook({ events: ['message.received'] })], withoutEvents);
    expect([reply.status, reply.body.error?.details]).toMatchObject([403, { permission: 'messages.receive' }]);
    expect(await sessionNames()).toEqual(before);
    expect((await create('allowed', [hook()], withoutEvents)).status).toBe(201);
  });

  test('is created once by a repeat with the same Idempotency-Key, which shows the same secret', async () => {
    const body = { name: 'once', webhooks: [hook()] };
    const headers = { 'Idempotency-Key': 'session-with-webhook' };
    const [first, second] = [await core.post('/sessions', body, headers), await core.post('/sessions', body, headers)];
    expect([first.status, second.body]).toEqual([201, first.body]);
    expect((await hooks()).filter(({ sessionId }) => sessionId === (first.body.data as Created).id)).toHaveLength(1);
  });
});
