import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type MessageResource } from '@chasqui/shared';
import Sqlite from 'better-sqlite3';
import { insertRow, readRows, updateRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { systemClock } from '../src/lib/clock.js';
import { createDeliveryExplorer } from '../src/webhooks/explorer.js';
import { Webhook, WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

interface Delivery {
  id: string;
  webhookId: string;
  event: string;
  eventId: string;
  status: string;
  attempts: number;
  sessionId: string;
}
interface Resent {
  dryRun: boolean;
  matching: number | null;
  queued: number;
  unchanged: number;
  wiped: number;
  unknown: string[];
  endpoints: { webhookId: string; queued: number; active: boolean; circuit: string; openUntil: string | null }[];
}

describe.each(await databases())('deliveries of all endpoints on %s', (database) => {
  let core: Core;
  let sink: Sink;
  const hooks: string[] = [];
  beforeAll(async () => {
    core = await startCore({
      database,
      settings: {
        EGRESS_ALLOW: '127.0.0.1/32',
        WEBHOOK_RETRY_DELAYS: '100,150,200,300,400,500,600,800,1000,1000,1000,1000',
      },
    });
    sink = await startSink();
    for (const events of [['message.queued', 'message.sent'], ['message.sent']])
      hooks.push(((await core.post('/webhooks', { url: sink.url, events })).body.data as { id: string }).id);
  });
  afterAll(async () => {
    await core?.close();
    await sink?.close();
  });

  const list = async (query = '', key?: string): Promise<Delivery[]> => {
    const all: Delivery[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const path = `/webhooks/deliveries?limit=2${query}${cursor && `&cursor=${cursor}`}`;
      const { status, body } = await core.rig.call('GET', path, key === undefined ? {} : { key });
      expect(status).toBe(200);
      all.push(...(body.data as Delivery[]));
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    return all;
  };
  const send = async (): Promise<string> => {
    const { id } = (await core.send('x')).body.data as MessageResource;
    await core.reaches(id, 'sent');
    return id;
  };
  /** A send under load may be queued twice, so the number of deliveries is read and not assumed. */
  const settled = (): Promise<Delivery[]> =>
    eventually('every delivery', async () => {
      const all = await list();
      return all.length >= 9 && all.every(({ status }) => status === 'delivered') ? all : null;
    });
  const resend = async (body: unknown): Promise<Resent> => {
    const reply = await core.post('/webhooks/deliveries/redeliver', body);
    expect([reply.status, reply.body.error]).toEqual([202, undefined]);
    return reply.body.data as Resent;
  };
  const rows = (change: Partial<WebhookDelivery>, where: { webhookId: string }) =>
    core.rig.database.write.run((tx) => updateRows(tx, WebhookDelivery, where, change));
  let messages: string[] = [];

  test('the list has every delivery once, newest first, and each filter chooses as a plain comparison does', async () => {
    messages = [await send(), await send(), await send()];
    const all = await settled();
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    const each: Delivery[] = [];
    for (const id of hooks) each.push(...((await core.get(`/webhooks/${id}/deliveries?limit=200`)).body.data as Delivery[]));
    expect([...all].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(each.sort((a, b) => (a.id < b.id ? -1 : 1)));
    expect((await list(`&webhookId=${hooks[1]}`)).every(({ webhookId }) => webhookId === hooks[1])).toBe(true);
    const ofType = (type: string) => all.filter(({ event }) => event === type);
    expect(await list('&event=message.queued')).toEqual(ofType('message.queued'));
    expect(await list('&status=failed')).toEqual([]);
    expect(await list(`&sessionId=${core.sessionId}`)).toEqual(all);
    const ofOne = await list(`&messageId=${messages[1]}`);
    expect(new Set(ofOne.map(({ event }) => event))).toEqual(new Set(['message.queued', 'message.sent']));
    expect(ofOne.length).toBeLessThan(all.length - 5);
    expect(await list('&to=2020-01-01T00:00:00Z')).toEqual([]);
  });

  test('a resend by ids sends under the same event ids, and a repeat while they wait changes nothing', async () => {
    const [one, two] = await list();
    sink.answer = 500;
    const before = sink.seen.length;
    const ids = [one!.id, two!.id, '01973f10-7a41-7c02-b1d4-90a1b2c3d4e5'];
    const first = await resend({ ids });
    expect(first).toMatchObject({ dryRun: false, matching: null, queued: 2, unchanged: 0, wiped: 0, unknown: [ids[2]] });
    expect(first.endpoints.reduce((sum, { queued }) => sum + queued, 0)).toBe(2);
    await eventually('both attempts', async () => sink.seen.length >= before + 2);
    const again = await resend({ ids: [one!.id, two!.id] });
    expect(again.queued + again.unchanged).toBe(2);
    sink.answer = 'ok';
    await settled();
    const resent = sink.seen.slice(before).map(({ headers }) => headers['webhook-id']);
    expect([...new Set(resent)].sort()).toEqual([...new Set([one!.eventId, two!.eventId])].sort());
  });

  test('a filter is counted before it is resent, and a dry run sends nothing', async () => {
    await rows({ status: 'failed', finishedAt: new Date() }, { webhookId: hooks[0]! });
    const before = sink.seen.length;
    const count = (await list(`&webhookId=${hooks[0]}`)).length;
    const filter = { webhookId: hooks[0], status: 'failed' };
    expect(await resend({ filter, dryRun: true })).toMatchObject({ dryRun: true, matching: count, queued: 0, endpoints: [] });
    expect((await list('&status=failed')).length).toBe(count);
    expect(sink.seen.length).toBe(before);
    expect(await resend({ filter: {} })).toMatchObject({
      matching: count,
      queued: count,
      endpoints: [{ webhookId: hooks[0], queued: count }],
    });
    await settled();
    expect(await resend({ filter: {} })).toMatchObject({ matching: 0, queued: 0 });
    const refused = await core.post('/webhooks/deliveries/redeliver', { filter: { status: 'pending' } });
    expect(refused.status).toBe(422);
  });

  test('the reply says when an endpoint whose circuit is open is tried again', async () => {
    const openUntil = new Date(Date.now() + 60_000);
    await core.rig.database.write.run((tx) => updateRows(tx, Webhook, { id: hooks[1]! }, { openUntil, openMs: 60_000 }));
    const [one] = await list(`&webhookId=${hooks[1]}`);
    const { endpoints } = await resend({ ids: [one!.id] });
    expect(endpoints).toEqual([
      { webhookId: hooks[1], queued: 1, active: true, circuit: 'open', openUntil: openUntil.toISOString() },
    ]);
  });

  test('a key sees and resends the deliveries of endpoints whose events it may read, and of its session only', async () => {
    const make = async (path: string, permissions: string[]) =>
      ((await core.post(path, { name: 'k', permissions })).body.data as { key: string }).key;
    // `message.queued` needs messages.send.
    const key = await make('/keys', ['webhook.configure', 'messages.receive']);
    expect(new Set((await list('', key)).map(({ webhookId }) => webhookId))).toEqual(new Set([hooks[1]]));
    const [hidden] = await list(`&webhookId=${hooks[0]}`);
    const { body } = await core.rig.call('POST', '/webhooks/deliveries/redeliver', { key, body: { ids: [hidden!.id] } });
    expect(body.data).toMatchObject({ queued: 0, unknown: [hidden!.id] });
    const other = (await core.post('/sessions', { name: `other-${database}` })).body.data as { id: string };
    expect(await list('', await make(`/sessions/${other.id}/keys`, ['*']))).toEqual([]);
  });

  test('a delivery that is deleted while a page is read is left out, and the next page follows', async () => {
    const { reader } = core.rig.database;
    await send();
    await send();
    const all = await list();
    const sql = 'DELETE FROM webhook_deliveries WHERE id = ?';
    const gone = all[1]!.id;
    let statements = 0;
    const beside = database === 'sqlite' ? new Sqlite(join(core.rig.dataDir, 'chasqui.sqlite')) : null;
    // The first statement reads the places of the page, the second one the rows.
    const between = new Proxy(reader, {
      get(target, name) {
        if (name === 'driver' && database === 'sqlite' && (statements += 1) === 2) beside!.prepare(sql).run(gone);
        if (name !== 'createQueryRunner') return Reflect.get(target, name) as unknown;
        const runner = target.createQueryRunner();
        const connect = async (): Promise<unknown> => {
          if ((statements += 1) === 2) await runStatement(target, sql, [gone]);
          return runner.connect();
        };
        return () => ({ connect, release: () => runner.release() });
      },
    });
    const explorer = createDeliveryExplorer(
      { database: { ...core.rig.database, reader: between }, clock: systemClock },
      { subscriptions: { wake: () => undefined } },
    );
    const page = await explorer.list({ all: true }, {}, { limit: 3 });
    beside?.close();
    expect(page.found.map(({ id }) => id)).toEqual([all[0]!.id, all[2]!.id]);
    const next = await core.get(`/webhooks/deliveries?limit=1&cursor=${page.nextCursor}`);
    expect((next.body.data as Delivery[]).map(({ id }) => id)).toEqual([all[3]!.id]);
  });

  test('an account may have more endpoints than SQLite joins selections in one statement', async () => {
    const before = await list();
    const [one] = await readRows(core.rig.database.reader, Webhook, 'id = ?', [hooks[0]], ['secret']);
    await core.rig.database.write.run(async (tx) => {
      for (let number = 0; number < 550; number += 1)
        await insertRow(tx, Webhook, { ...one!, id: newId(), url: `${sink.url}?${number}`, events: ['call.received'] });
    });
    expect(await list()).toEqual(before);
    const { body } = await core.post('/webhooks/deliveries/redeliver', { filter: { status: 'delivered' }, dryRun: true });
    expect(body.data).toMatchObject({ matching: before.filter(({ status }) => status === 'delivered').length });
  });
});
