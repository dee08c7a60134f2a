import { describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { loginOf } from './support/account.js';
import { databases } from './support/backend.js';
import { useFaultyCore } from './support/faulty-core.js';

/** A row that cannot be read hides no other row. */

describe.each(await databases())('rows that are damaged on %s', (database) => {
  const it = useFaultyCore(database);

  const damage = (sql: string): Promise<unknown> => it.core.rig.database.write.run((tx) => tx.manager.query(sql));
  const texts = ['{', '', 'null', '5', '"x"', '[1'];

  test('a message, an event, a session, an endpoint or a key that cannot be read hides no other in its list', async () => {
    const made = (await it.core.post('/sessions', { name: 'damaged' })).body.data as { id: string };
    const endpoint = (await it.core.post('/webhooks', { url: 'http://127.0.0.1:9/damaged', events: ['*'] })).body.data as {
      id: string;
    };
    const key = (await it.core.post('/keys', { name: 'damaged', permissions: ['messages.send'] })).body.data as { id: string };
    await it.core.worker.emit(it.core.sessionId, 'message.observed', { message: it.core.inbound('damaged row'), origin: 'live' });
    const [message] = (await it.core.get('/messages?search=damaged%20row')).body.data as MessageResource[];
    const lists = ['/messages?limit=200', '/events?limit=200&after=0', '/sessions', '/webhooks', '/keys', '/admin/audit'];
    const idsOf = async (path: string): Promise<string[]> => {
      const { status, body } = await it.core.rig.call('GET', path, path.startsWith('/admin') ? await loginOf(it.core.rig) : {});
      expect([path, status]).toEqual([path, 200]);
      return (body.data as { id: string }[]).map(({ id }) => id);
    };
    const before = await Promise.all(lists.slice(0, 5).map(idsOf));
    for (const text of texts) {
      await damage(
        `UPDATE messages SET content = '${text}', contact = '${text}', mentions = '${text}' WHERE id = '${message!.id}'`,
      );
      await damage(`UPDATE events SET data = '${text}' WHERE "messageId" = '${message!.id}'`);
      await damage(`UPDATE sessions SET settings = '${text}', metadata = '${text}' WHERE id = '${made.id}'`);
      await damage(`UPDATE webhooks SET events = '${text}', types = '${text}', filter = '${text}' WHERE id = '${endpoint.id}'`);
      await damage(`UPDATE api_keys SET permissions = '${text}' WHERE id = '${key.id}'`);
      await damage(`UPDATE audit_logs SET changes = '${text}' WHERE "objectId" = '${key.id}'`);
      for (const [index, path] of lists.entries())
        if (index < 5) expect(await idsOf(path)).toEqual(expect.arrayContaining(before[index]!));
        else expect((await idsOf(path)).length).toBeGreaterThan(0);
      expect((await it.core.get(`/messages/${message!.id}`)).body.data).toMatchObject({
        id: message!.id,
        content: null,
        mentions: [],
      });
      expect((await it.core.get(`/sessions/${made.id}`)).body.data).toMatchObject({
        lastError: expect.stringMatching(/settings/),
      });
    }
    // What could not be read is kept until somebody replaces it.
    await it.core.rig.call('PUT', `/sessions/${made.id}`, { body: { name: 'damaged-still' } });
    expect((await it.core.get(`/sessions/${made.id}`)).body.data).toMatchObject({
      name: 'damaged-still',
      lastError: expect.stringMatching(/settings/),
    });
    await it.core.rig.call('PUT', `/sessions/${made.id}`, { body: { settings: { queueIfOffline: true } } });
    expect((await it.core.get(`/sessions/${made.id}`)).body.data).toMatchObject({
      lastError: null,
      settings: { queueIfOffline: true, storeMedia: true },
    });
    await it.core.rig.call('DELETE', `/webhooks/${endpoint.id}`);
  });

  test('a redelivery of a range leaves out an event that cannot be read, and queues the others', async () => {
    const { id } = (
      await it.core.post('/webhooks', { url: 'http://127.0.0.1:9/range', events: ['message.received'], active: false })
    ).body.data as { id: string };
    for (const text of ['range broken', 'range whole'])
      await it.core.worker.emit(it.core.sessionId, 'message.observed', { message: it.core.inbound(text), origin: 'live' });
    const idOf = async (text: string): Promise<string> =>
      ((await it.core.get(`/messages?search=${encodeURIComponent(text)}`)).body.data as MessageResource[])[0]!.id;
    const [broken, whole] = [await idOf('range broken'), await idOf('range whole')];
    for (const text of texts) {
      await damage(`UPDATE events SET data = '${text}' WHERE "messageId" = '${broken}'`);
      await damage(`DELETE FROM webhook_deliveries WHERE "webhookId" = '${id}'`);
      const { status, body } = await it.core.post(`/webhooks/${id}/redeliver`, { after: '0' });
      expect([status, body.error]).toEqual([202, undefined]);
      const queued = (await it.core.rig.database.reader.query(
        `SELECT e."messageId" AS id FROM webhook_deliveries d JOIN events e ON e.cursor = d."eventCursor" WHERE d."webhookId" = '${id}'`,
      )) as { id: string }[];
      expect(queued.map((row) => row.id)).toContain(whole);
      expect(queued.map((row) => row.id)).not.toContain(broken);
    }
    await it.core.rig.call('DELETE', `/webhooks/${id}`);
  });

  test('an endpoint whose row cannot be read stops no accept, no arrival and no other endpoint', async () => {
    const [bad, good] = await Promise.all(
      ['bad', 'good'].map(
        async (name) =>
          (await it.core.post('/webhooks', { url: `http://127.0.0.1:9/${name}`, events: ['*'] })).body.data as { id: string },
      ),
    );
    await damage(`UPDATE webhooks SET types = '{' WHERE id = '${bad!.id}'`);
    // The rows are cached for at most a minute.
    it.aheadMs += 120_000;
    const { status, body } = await it.core.send('beside a bad endpoint', { async: true, queueIfOffline: true });
    expect([status, body.error]).toEqual([202, undefined]);
    await it.core.worker.emit(it.core.sessionId, 'message.observed', {
      message: it.core.inbound('to a bad endpoint'),
      origin: 'live',
    });
    expect((await it.core.get('/messages?search=to%20a%20bad')).body.meta).toMatchObject({ total: 1 });
    expect(await it.failures('webhook')).toContain(bad!.id);
    expect(await it.failures('webhook')).not.toContain(good!.id);
    const count = async (id: string): Promise<number> =>
      Number(
        (
          (await it.core.rig.database.reader.query(
            `SELECT COUNT(*) AS n FROM webhook_deliveries WHERE "webhookId" = '${id}'`,
          )) as { n: number }[]
        )[0]!.n,
      );
    expect(await count(good!.id)).toBeGreaterThan(0);
    for (const { id } of [bad!, good!]) await it.core.rig.call('DELETE', `/webhooks/${id}`);
  });
});
