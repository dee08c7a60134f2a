import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createIdempotency } from '../src/messages/accept/idempotency.js';
import { IdempotencyRecord } from '../src/messages/accept/idempotency.entity.js';
import { systemClock } from '../src/lib/clock.js';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/** An `Idempotency-Key` belongs to the session that its request acts on, however the session was chosen. */

describe.each(await databases())('idempotency keys of several sessions on %s', (database) => {
  let core: Core;
  const session = { shop: '', other: '' };
  const keys = { shop: '', other: '' };
  beforeAll(async () => {
    core = await startCore({ database });
    session.shop = core.sessionId;
    session.other = ((await core.post('/sessions', { name: 'other' })).body.data as { id: string }).id;
    await core.post(`/sessions/${session.other}/connect`, {});
    await core.worker.link(session.other);
    for (const name of ['shop', 'other'] as const) {
      const made = await core.post(`/sessions/${session[name]}/keys`, {
        name,
        permissions: ['messages.send', 'messages.receive'],
      });
      keys[name] = (made.body.data as { key: string }).key;
    }
  }, 60_000);
  afterAll(async () => core?.close());

  const send = (
    message: string,
    idempotencyKey: string,
    { key, body = {}, headers = {} }: { key?: string; body?: object; headers?: Record<string, string> } = {},
  ): Promise<Reply> =>
    core.rig.call('POST', '/messages/send-text', {
      ...(key === undefined ? {} : { key }),
      body: { recipient: ana, message, ...body },
      headers: { 'Idempotency-Key': idempotencyKey, ...headers },
    });
  const sentAs = (message: string): string[] =>
    core.worker.left
      .filter(({ command }) => 'message' in command.content && command.content.message === message)
      .map(({ sessionId }) => sessionId)
      .sort();
  const isReplay = ({ headers }: Reply): boolean => headers.get('idempotency-replayed') === 'true';

  test('two keys that are bound to two sessions send one message each, and each repeat gets its own', async () => {
    const of = (name: 'shop' | 'other') => send('bound', '1', { key: keys[name] });
    const [shop, other] = [await of('shop'), await of('other')];
    expect([shop.status, other.status, isReplay(shop), isReplay(other)]).toEqual([200, 200, false, false]);
    expect(dataOf(other).id).not.toBe(dataOf(shop).id);
    expect(sentAs('bound')).toEqual([session.shop, session.other].sort());
    for (const [name, first] of [['shop', shop] as const, ['other', other] as const]) {
      const again = await of(name);
      expect([isReplay(again), dataOf(again).id]).toEqual([true, dataOf(first).id]);
    }
    expect(sentAs('bound')).toHaveLength(2);
  });

  test('the same applies to an account key that names the session in the header, in the body or not at all', async () => {
    const ways: [string, Parameters<typeof send>[2]][] = [
      [session.shop, {}],
      [session.shop, { headers: { 'X-Session-Id': session.shop } }],
      [session.shop, { headers: { 'X-Session-Id': 'current' } }],
      [session.other, { headers: { 'X-Session-Id': session.other } }],
      [session.other, { headers: { 'X-Session-Id': 'other' } }],
    ];
    const ids = new Map<string, string>();
    for (const [which, how] of ways) {
      const reply = await send('named', '2', how);
      expect([reply.status, isReplay(reply)]).toEqual([200, ids.has(which)]);
      expect(dataOf(reply).id).toBe(ids.get(which) ?? dataOf(reply).id);
      ids.set(which, dataOf(reply).id);
    }
    expect(sentAs('named')).toEqual([session.shop, session.other].sort());
    const inBody = await send('in the body', '3', { body: { sessionId: session.other } });
    expect([inBody.status, isReplay(inBody)]).toEqual([200, false]);
    expect(sentAs('in the body')).toEqual([session.other]);
  });

  test('another body under the key is refused within a session, and is another request in another session', async () => {
    expect((await send('one body', '4', { key: keys.shop })).status).toBe(200);
    expect((await send('another body', '4', { key: keys.shop })).body.error?.code).toBe('IDEMPOTENCY_KEY_REUSED');
    const elsewhere = await send('another body', '4', { key: keys.other });
    expect([elsewhere.status, isReplay(elsewhere)]).toEqual([200, false]);
  });

  test('a repeat that names no session sends nothing again when the default session has changed meanwhile', async () => {
    const first = await send('default', '5');
    await core.rig.call('PUT', `/sessions/${session.other}`, { body: { isDefault: true } });
    const again = await send('default', '5');
    expect([isReplay(again), dataOf(again).id]).toEqual([true, dataOf(first).id]);
    expect(sentAs('default')).toEqual([session.shop]);
    // A key of the new default session was never told of that message.
    const bound = await send('default', '5', { key: keys.other });
    expect([bound.status, isReplay(bound), dataOf(bound).id === dataOf(first).id]).toEqual([200, false, false]);
    await core.rig.call('PUT', `/sessions/${session.shop}`, { body: { isDefault: true } });
  });

  test('a repeat whose first reply was lost gets the message as it is, and no other session does', async () => {
    const first = await send('lost reply', '6', { key: keys.shop });
    await core.rig.database.write.run((tx) => tx.manager.update(IdempotencyRecord, { key: '6' }, { status: null, body: null }));
    const [again, other] = [
      await send('lost reply', '6', { key: keys.shop }),
      await send('lost reply', '6', { key: keys.other }),
    ];
    expect([isReplay(again), dataOf(again).id]).toEqual([true, dataOf(first).id]);
    expect([other.status, isReplay(other)]).toEqual([200, false]);
  });

  test('two sessions run their first calls at the same time', async () => {
    const idempotency = createIdempotency({ database: core.rig.database, clock: systemClock }, { hours: 1 });
    const keyOf = (sessionId: string) =>
      idempotency.keyOf({ accountId: 'a', sessionId, isDefaultSession: false }, 'k', 'POST', '/', {})!;
    expect(await idempotency.begin(keyOf('one'))).toBeNull();
    expect(await idempotency.begin(keyOf('two'))).toBeNull();
    await expect(idempotency.begin(keyOf('one'))).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
  });
});
