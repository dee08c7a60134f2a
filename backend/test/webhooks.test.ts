/* eslint-disable max-lines -- one world, and one block for each rule of an endpoint */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createHmac } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { EventResource } from '@chasqui/shared';
import { Webhook as Verifier } from 'standardwebhooks';
import { version } from '../src/version.js';
import { removeEndpointsOfDeletedSessions } from '../src/webhooks/deleted-sessions.js';
import { makeAccount } from './support/account.js';
import { databases, migratedDatabase, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { filesUnder } from './support/files.js';
import { cursorsOf, startSink, type Sink, type Taken } from './support/sink.js';

interface Hook {
  id: string;
  secret: string;
  active: boolean;
  circuit: string;
  disabledReason: string | null;
  secretPrefix: string;
  previousSecretUntil: string | null;
  headers: string[];
  health: {
    failures: number;
    backlog: { waiting: number; oldestAt: string | null };
  };
}
interface Delivery {
  id: string;
  status: string;
  attempts: number;
  lastStatusCode: number | null;
  lastError: string | null;
  createdAt: string;
  redeliveredAt: string | null;
  deliveredAt: string | null;
  eventId: string;
  nextAttemptAt: string | null;
}
const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];
const idsOf = (taken: readonly Taken[]) => taken.map((one) => headersOf(one)['webhook-id']);
const headersOf = ({ headers }: Taken) => headers as Record<string, string>;

describe.each(await databases())('webhooks on %s', (database) => {
  let core: Core;
  const sinks: Sink[] = [];
  afterEach(async () => {
    await core?.close();
    await Promise.all(sinks.splice(0).map((sink) => sink.close()));
  });
  const quickRetries = { WEBHOOK_RETRY_DELAYS: '100,150,200,300,400,500,600,800,1000,1000,1000,1000', WEBHOOK_TIMEOUT: '400' };
  const start = async (options: Parameters<typeof startCore>[0] = {}): Promise<void> => {
    const settings = { EGRESS_ALLOW: '127.0.0.1/32', ...quickRetries, ...options.settings };
    core = await startCore({ database, ...options, settings });
  };
  const openSink = async (): Promise<Sink> => {
    const sink = await startSink();
    sinks.push(sink);
    return sink;
  };
  const make = async (sink: Sink, more: Record<string, unknown> = {}): Promise<Hook> => {
    const reply = await core.post('/webhooks', { url: sink.url, events: ['message.queued', 'message.sent'], ...more });
    expect([reply.status, reply.body.error]).toEqual([201, undefined]);
    return reply.body.data as Hook;
  };
  const read = async (id: string): Promise<Hook> => (await core.get(`/webhooks/${id}`)).body.data as Hook;
  const deliveries = async (id: string, query = ''): Promise<Delivery[]> =>
    (await core.get(`/webhooks/${id}/deliveries?limit=200${query}`)).body.data as Delivery[];
  const arrived = (sink: Sink, count: number, withinMs = 120_000) =>
    eventually(`${count} deliveries`, async () => sink.taken.length >= count, withinMs);
  const eventsOf = async (types = 'message.queued,message.sent'): Promise<EventResource[]> =>
    (await core.get(`/events?limit=200&types=${types}`)).body.data as EventResource[];

  test('each event arrives signed, as the Standard Webhooks library and a plain HMAC want it, with ours and the endpoint’s headers', async () => {
    await start();
    const sink = await openSink();
    const { id, secret, headers, secretPrefix } = await make(sink, { headers: { Authorization: 'Bearer receiver-token' } });
    expect([secret, headers]).toEqual([expect.stringMatching(/^whsec_/), ['Authorization']]);
    expect([secretPrefix, (await read(id)).secretPrefix]).toEqual([secret.slice(0, 10), secret.slice(0, 10)]);
    const message = dataOf(await core.send('Your order has been paid.'));
    await arrived(sink, 2);
    const [event] = await eventsOf();
    const [taken] = sink.taken as [Taken];
    const sent = headersOf(taken);
    expect(new Verifier(secret).verify(taken.body, sent)).toMatchObject({
      id: event!.id,
      event: 'message.queued',
      session: { id: core.sessionId },
      instance: { id: core.sessionId },
      data: { id: message.id, text: 'Your order has been paid.' },
      cursor: event!.cursor,
      timestamp: event!.occurredAt,
    });
    expect(sent['x-webhook-signature']).toBe(createHmac('sha256', secret).update(taken.body).digest('hex'));
    expect(sent).toMatchObject({
      'webhook-id': event!.id,
      'x-webhook-id': event!.id,
      'x-webhook-event': 'message.queued',
      'x-webhook-session': core.sessionId,
      'x-webhook-instance': core.sessionId,
      'x-webhook-attempt': '1',
      'user-agent': `Chasqui/${version}`,
      authorization: 'Bearer receiver-token',
      'content-type': 'application/json',
    });
    expect(sent).not.toHaveProperty('x-webhook-signature-previous');
    expect(() => new Verifier(secret).verify(`${taken.body} `, sent)).toThrow();
    await eventually('the log', async () => (await deliveries(id)).every(({ status }) => status === 'delivered'));
    const [log] = await deliveries(id);
    const { attemptLog } = (await core.get(`/webhooks/${id}/deliveries/${log!.id}`)).body.data as {
      attemptLog: { number: number; statusCode: number; request: { headers: Record<string, string>; body: string } }[];
    };
    expect(attemptLog).toMatchObject([
      { number: 1, statusCode: 204, request: { headers: { Authorization: '…', 'webhook-signature': '…' } } },
    ]);
    expect(JSON.stringify(attemptLog)).not.toContain('receiver-token');
  });

  test('an event of the account has empty session headers, and a secret without whsec_ signs with its UTF-8 bytes', async () => {
    await start();
    const sink = await openSink();
    const secret = 'a-secret-of-the-receiver';
    const { secretPrefix, secret: shown } = await make(sink, { events: ['webhook.disabled'], secret });
    expect([secretPrefix, shown]).toEqual(['a-se', secret]);
    const gone = await openSink();
    gone.answer = 410;
    await make(gone, { events: ['message.queued'] });
    await core.send('gone');
    await arrived(sink, 1);
    const [taken] = sink.taken as [Taken];
    const sent = headersOf(taken);
    expect(sent).toMatchObject({ 'x-webhook-session': '', 'x-webhook-instance': '' });
    const signed = `${sent['webhook-id']}.${sent['webhook-timestamp']}.${taken.body}`;
    expect(sent['webhook-signature']).toBe(`v1,${createHmac('sha256', secret).update(signed).digest('base64')}`);
    for (const bad of ['short', 'whsec_not base64, but long enough', 'blanks are not allowed', 'ñ'.repeat(20)])
      expect(codeOf(await core.post('/webhooks', { url: sink.url, events: ['*'], secret: bad }))).toEqual([
        422,
        'VALIDATION_FAILED',
      ]);
  });

  test('secrets and headers lie sealed, and are shown in no later reply', async () => {
    await start();
    const sink = await openSink();
    const { id, secret } = await make(sink, { headers: { 'X-Token': 'HEADER-mark-77' } });
    const key = secret.slice('whsec_'.length);
    for (const path of ['/webhooks', `/webhooks/${id}`, '/audit', '/events?limit=200']) {
      const text = JSON.stringify((await core.get(path)).body);
      expect([path, text.includes(key), text.includes('HEADER-mark-77')]).toEqual([path, false, false]);
    }
    for (const file of await filesUnder(core.rig.dataDir)) {
      const bytes = await readFile(file);
      expect([file, bytes.includes(key), bytes.includes('HEADER-mark-77')]).toEqual([file, false, false]);
    }
    if (database === 'postgres') {
      const [row] = await core.rig.database.reader.query<{ all: string }[]>(
        "SELECT string_agg(w::text, '') AS all FROM webhooks w",
      );
      expect([row!.all.includes(key), row!.all.includes('HEADER-mark-77')]).toEqual([false, false]);
    }
  });

  test.each([
    ['answers 500', 500],
    ['hangs', 'hang'],
    ['closes during the body', 'close'],
    ['drips', 'drip'],
  ] as const)(
    'a receiver that %s for a while gets every event afterwards, in order, under the same id',
    async (_what, answer) => {
      await start({ settings: { WEBHOOK_RETRY_DELAYS: '1200,1200,1200,1200' } });
      const sink = await openSink();
      const { id } = await make(sink);
      sink.answer = answer;
      for (let n = 0; n < 4; n += 1) await core.send(`while away ${n}`, { async: true });
      await eventually('a failure to be seen', async () => (await read(id)).health.failures > 0);
      sink.answer = 'ok';
      await core.send('back', { async: true });
      // An attempt whose answer came too late is made again: each event at least once, in the order of the first times.
      const ids = (): string[] => [...new Set(idsOf(sink.taken))] as string[];
      await eventually('every event', async () => ids().length >= 10, 120_000);
      expect(ids()).toEqual((await eventsOf()).map((event) => event.id));
      await eventually('all to be settled', async () => (await deliveries(id)).every(({ status }) => status === 'delivered'));
      expect((await deliveries(id)).some(({ attempts }) => attempts > 1)).toBe(true);
      expect(await read(id)).toMatchObject({ circuit: 'closed', health: { failures: 0 } });
    },
  );

  test('a receiver that is down for 15 s has every event within 15 s of its return, each session’s in order', async () => {
    // The installation's own schedule, as it is when nothing is set.
    await start({ settings: { WEBHOOK_RETRY_DELAYS: '' } });
    const sink = await openSink();
    const other = ((await core.post('/sessions', { name: 'second' })).body.data as { id: string }).id;
    const { id } = await make(sink, { events: ['message.queued'] });
    const { url } = sink;
    await sink.close();
    sinks.length = 0;
    const texts = Array.from({ length: 30 }, (_, n) => n);
    for (const n of texts) {
      const sessionId = n % 2 ? other : core.sessionId;
      await core.send(`down ${n}`, { async: true, queueIfOffline: true, sessionId });
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    expect((await read(id)).health.failures).toBeGreaterThan(1);
    const back = await startSink('ok', Number(new URL(url).port));
    sinks.push(back);
    const backAt = performance.now();
    await arrived(back, 30);
    // The promise is 15 s; the rest is for a busy machine.
    expect(performance.now() - backAt).toBeLessThan(20_000);
    const events = await eventsOf('message.queued');
    for (const session of [core.sessionId, other]) {
      const wanted = events.filter((event) => event.session?.id === session).map(({ cursor }) => cursor);
      expect(cursorsOf(back.taken, session)).toEqual(wanted);
    }
    expect(new Set(idsOf(back.taken)).size).toBe(30);
  }, 70_000);

  test('a circuit that closes sends on all that waits, the oldest first, however late its next attempt was', async () => {
    const clock = { now: () => new Date(Date.now() + skipped), monotonic: () => performance.now() + skipped };
    let skipped = 0;
    await start({ clock, settings: { WEBHOOK_RETRY_DELAYS: '3600000,3600000' } });
    const sink = await openSink();
    const { id } = await make(sink, { events: ['message.queued'] });
    sink.answer = 500;
    // Nothing waits an hour behind another one: each of them is tried, and ten failures are enough.
    for (let n = 0; n < 12; n += 1) await core.send(`m${n}`, { async: true });
    await eventually('the circuit to be open', async () => (await read(id)).circuit !== 'closed');
    expect(sink.taken).toEqual([]);
    sink.answer = 'ok';
    skipped = 61_000;
    await arrived(sink, 12);
    expect(idsOf(sink.taken)).toEqual((await eventsOf('message.queued')).map((event) => event.id));
  });

  test('an event that the receiver cannot process does not delay its session for long', async () => {
    await start({ settings: { WEBHOOK_RETRY_DELAYS: '300,300,60000,60000' } });
    const sink = await openSink();
    const { id } = await make(sink, { events: ['message.queued'] });
    sink.answer = (_req, res) => {
      const bad = sink.seen.at(-1)!.body.includes('poison');
      if (!bad) sink.taken.push(sink.seen.at(-1)!);
      res.writeHead(bad ? 500 : 204).end();
    };
    for (const text of ['before', 'poison', 'after 1', 'after 2']) await core.send(text, { async: true });
    await arrived(sink, 3);
    // Its outcome may commit after the later events have arrived.
    const stuck = await eventually('the failed one to be settled', async () =>
      (await deliveries(id)).find(({ status }) => status === 'pending'),
    );
    expect(stuck).toMatchObject({ attempts: 3, lastStatusCode: 500 });
    expect(sink.taken.map(({ body }) => (JSON.parse(body) as { data: { text: string } }).data.text)).toEqual([
      'before',
      'after 1',
      'after 2',
    ]);
  });

  test('while it answers, a session’s events come in the order of the log', async () => {
    await start();
    const sink = await openSink();
    const other = ((await core.post('/sessions', { name: 'second' })).body.data as { id: string }).id;
    await make(sink, { events: ['message.*'] });
    await Promise.all(
      Array.from({ length: 24 }, (_, n) =>
        core.send(`m${n}`, {
          async: true,
          queueIfOffline: true,
          ...(n % 2 ? { sessionId: other } : { sessionId: core.sessionId }),
        }),
      ),
    );
    const count = async (): Promise<number> => (await eventsOf('message.queued,message.sending,message.sent')).length;
    await eventually('all of them', async () => sink.taken.length === (await count()) && sink.taken.length >= 48);
    for (const session of [core.sessionId, other]) {
      const cursors = cursorsOf(sink.taken, session);
      expect(cursors).toEqual([...cursors].sort());
    }
    expect(new Set(cursorsOf(sink.taken)).size).toBe(sink.taken.length);
  });

  test('a receiver that hangs delays no other', async () => {
    await start({ settings: { WEBHOOK_TIMEOUT: '30000' } });
    const [good, bad] = [await openSink(), await openSink()];
    await make(good);
    const { id } = await make(bad);
    bad.answer = 'hang';
    for (let n = 0; n < 6; n += 1) await core.send(`m${n}`, { async: true });
    await arrived(good, 12, 25_000);
    // All of this while the first request to the other one is still under way.
    expect((await deliveries(id)).every(({ attempts }) => attempts === 0)).toBe(true);
    expect(bad.taken).toEqual([]);
    bad.answer = 'ok';
  });

  test('after a restart waiting events are delivered, and those in progress again under the same id', async () => {
    const own = database === 'postgres' ? await migratedDatabase() : null;
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-webhooks-'));
    const place = { dataDir, ...(own ? { databaseUrl: own.url } : {}) };
    try {
      await start({ ...place, settings: { WEBHOOK_TIMEOUT: '30000' } });
      const sink = await openSink();
      await make(sink);
      sink.answer = 'hang';
      await core.send('one');
      await eventually('the first attempt', async () => sink.seen.length > 0);
      const { apiKey } = core.rig;
      // As killed: what it had claimed stays claimed, by an unknown backend.
      const rows = await core.rig.database.reader.query<object[]>('SELECT * FROM webhook_deliveries');
      expect(rows).toHaveLength(2);
      for (const one of sinks) one.answer = 'ok';
      const closing = core.close();
      await sink.close();
      sinks.length = 0;
      await closing;
      const next = await startSink();
      sinks.push(next);
      await start({ ...place, linked: false });
      const list = (await core.rig.call('GET', '/webhooks', { key: apiKey })).body.data as Hook[];
      await core.rig.call('PUT', `/webhooks/${list[0]!.id}`, { key: apiKey, body: { url: next.url } });
      await arrived(next, 2);
      const ids = next.taken.map((taken) => headersOf(taken)['webhook-id']);
      expect(new Set(ids).size).toBe(2);
    } finally {
      await core.close().catch(() => undefined);
      await own?.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  }, 30_000);

  test('410 switches an endpoint off and keeps the waiting deliveries; enabling sends them, and with recover also later events', async () => {
    await start();
    const sink = await openSink();
    const { id } = await make(sink, { events: ['message.queued'] });
    sink.answer = 410;
    await core.send('gone');
    await eventually('it to be off', async () => !(await read(id)).active);
    expect(await read(id)).toMatchObject({ active: false, disabledReason: 'GONE', disabledAt: expect.any(String) });
    expect((await core.events('webhook.disabled')).map(({ data }) => data)).toMatchObject([{ webhookId: id, reason: 'GONE' }]);
    sink.answer = 'ok';
    await core.send('while it was off');
    const { createdAt: time } = (await deliveries(id))[0]!;
    const earlier = new Date(Date.parse(time) - 1).toISOString();
    for (const [range, count] of [
      ['', 1],
      [`&from=${time}&to=${time}`, 1],
      [`&from=${time}`, 1],
      [`&to=${time}`, 1],
      [`&to=${earlier}`, 0],
      [`&from=${earlier}&to=${earlier}`, 0],
    ] as const)
      expect([range, (await deliveries(id, range)).length]).toEqual([range, count]);
    expect((await core.post(`/webhooks/${id}/enable`, { recover: true })).body).toMatchObject({ success: true });
    await arrived(sink, 1);
    expect(JSON.parse(sink.taken[0]!.body)).toMatchObject({ data: { text: 'while it was off' } });
    const [failed] = await deliveries(id, '&status=failed');
    expect(failed).toMatchObject({ lastStatusCode: 410, redeliveredAt: null, deliveredAt: null });
    const again = await core.post(`/webhooks/${id}/deliveries/${failed!.id}/redeliver`, {});
    expect(again.status).toBe(202);
    await arrived(sink, 2);
    expect(headersOf(sink.taken[1]!)).toMatchObject({ 'webhook-id': failed!.eventId, 'x-webhook-attempt': '2' });
    const settled = await eventually('it to be settled', async () =>
      (await deliveries(id, '&status=delivered')).find((one) => one.id === failed!.id),
    );
    expect(settled).toMatchObject({ createdAt: failed!.createdAt, lastStatusCode: 204 });
    expect([settled.redeliveredAt, settled.deliveredAt]).toEqual([expect.any(String), expect.any(String)]);
  });

  test('ten failures open the circuit; its probes grow from one second, and the first that succeeds closes it', async () => {
    await start({ settings: { WEBHOOK_RETRY_DELAYS: Array.from({ length: 20 }, () => 100).join(',') } });
    const sink = await openSink();
    const { id } = await make(sink, { events: ['message.queued'] });
    sink.answer = 503;
    for (let n = 0; n < 3; n += 1) await core.send(`m${n}`, { async: true });
    await eventually('the circuit to open', async () => (await read(id)).circuit !== 'closed');
    await core.send('one more', { async: true });
    await eventually('three probes', async () => sink.seen.length >= 13);
    const times = sink.seen.slice(9, 13).map(({ at }) => at);
    const gaps = times.slice(1).map((at, index) => at - times[index]!);
    expect(gaps[0]).toBeGreaterThan(900);
    expect(gaps[1]).toBeGreaterThan(1_900);
    expect(gaps[2]).toBeGreaterThan(3_900);
    expect(sink.seen).toHaveLength(13);
    sink.answer = 'ok';
    await arrived(sink, 4);
    await eventually(
      'it to be healthy',
      async () => (await read(id)).circuit === 'closed' && (await read(id)).health.failures === 0,
    );
    // Events of the session may come meanwhile.
    await eventually('nothing to wait', async () => (await read(id)).health.backlog.waiting === 0);
    expect((await read(id)).health).toMatchObject({ failures: 0, openUntil: null });
  });

  test('nothing but failures for five days switches it off, with an event', async () => {
    let moved = 0;
    await start({ clock: { now: () => new Date(Date.now() + moved), monotonic: () => performance.now() + moved } });
    const sink = await openSink();
    const { id } = await make(sink, { events: ['message.queued'] });
    sink.answer = 500;
    await core.send('one', { async: true });
    await eventually('a failure', async () => (await read(id)).health.failures > 0);
    moved += 5 * 86_400_000 + 120_000;
    await core.send('two', { async: true });
    await eventually('it to be off', async () => (await read(id)).disabledReason === 'FAILING');
    expect((await core.events('webhook.disabled')).map(({ data }) => data)).toMatchObject([{ webhookId: id, reason: 'FAILING' }]);
  });

  test('all attempts used, it has failed; all failed ones, or a range, are sent again', async () => {
    await start({ settings: { WEBHOOK_RETRY_DELAYS: '50,50' } });
    const sink = await openSink();
    const { id } = await make(sink, { events: ['message.queued'] });
    sink.answer = 500;
    const before = String((await eventsOf('session.status')).at(-1)!.cursor);
    await core.send('one', { async: true });
    await eventually('it to have failed', async () => (await deliveries(id))[0]?.status === 'failed');
    expect((await deliveries(id))[0]).toMatchObject({ attempts: 3, lastStatusCode: 500, nextAttemptAt: null });
    sink.answer = 'ok';
    expect((await core.post(`/webhooks/${id}/redeliver`, { failed: true })).body.data).toEqual({ queued: 1 });
    await arrived(sink, 1);
    await eventually('it to be delivered', async () => (await deliveries(id))[0]?.status === 'delivered');
    expect((await core.post(`/webhooks/${id}/redeliver`, { after: before })).body).toMatchObject({ data: { queued: 1 } });
    await arrived(sink, 2);
    await eventually('it to be delivered', async () => (await deliveries(id))[0]?.status === 'delivered');
    expect((await core.post(`/webhooks/${id}/redeliver`, { after: before, onlyMissing: true })).body.data).toEqual({ queued: 0 });
    const stats = (await core.get(`/webhooks/${id}/stats`)).body.data;
    expect(stats).toMatchObject({
      delivered: 1,
      failed: 0,
      pending: 0,
      successRate: 1,
      byEvent: { 'message.queued': { delivered: 1 } },
    });
    expect((await core.rig.call('DELETE', `/webhooks/${id}/deliveries`)).body.data).toEqual({ deleted: 1 });
    expect(await deliveries(id)).toEqual([]);
  });

  test('filters and transformations match their preview', async () => {
    await start();
    const sink = await openSink();
    const transform = {
      template: {
        to: '{{data.toNumber}}',
        line: 'Message {{data.id}}: {{data.text}}',
        whole: '{{data.chat}}',
        none: '{{data.nothing}}',
      },
      rename: { 'message.queued': 'onQueued' },
    };
    await make(sink, { events: ['message.queued'], filter: { chats: [`${ana}@c.us`], types: ['text'] }, transform });
    const message = dataOf(await core.send('hello'));
    await core.send('to somebody else', { recipient: '5511999990099' });
    await arrived(sink, 1);
    const expected = {
      to: ana,
      line: `Message ${message.id}: hello`,
      whole: { id: `${ana}@c.us`, type: 'private', name: null },
      none: null,
    };
    expect(JSON.parse(sink.taken[0]!.body)).toEqual(expected);
    expect(headersOf(sink.taken[0]!)['x-webhook-event']).toBe('onQueued');
    const [event] = await eventsOf('message.queued');
    const preview = await core.post('/webhooks/preview', { transform, filter: { directions: ['inbound'] }, eventId: event!.id });
    expect(preview.body.data).toEqual({ matches: false, event: 'onQueued', body: JSON.stringify(expected) });
    expect(codeOf(await core.post('/webhooks/preview', { transform: { template: '{{data.text' } }))).toEqual([
      422,
      'TRANSFORM_INVALID',
    ]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(sink.seen).toHaveLength(1);
  });

  test('a value that cannot be a header, is too large or too deep is refused when it is tested or saved, never a 500', async () => {
    await start();
    const sink = await openSink();
    const { id } = await make(sink);
    const deep = (levels: number): string => `${'['.repeat(levels)}1${']'.repeat(levels)}`;
    const put = (transform: unknown) => core.rig.call('PUT', `/webhooks/${id}`, { body: { transform } });
    expect(codeOf(await put({ rename: { 'message.queued': 'Nachricht – empfangen' } }))).toEqual([422, 'TRANSFORM_INVALID']);
    expect(codeOf(await put({ rename: { 'message.queued': 'a\r\nx: 1' } }))).toEqual([422, 'TRANSFORM_INVALID']);
    for (const header of ['Trailer', 'Expect', 'Upgrade', 'TE', 'Proxy-Authorization'])
      expect(codeOf(await core.rig.call('PUT', `/webhooks/${id}`, { body: { headers: { [header]: 'x' } } }))).toEqual([
        422,
        'VALIDATION_FAILED',
      ]);
    const nested = (path: string, body: string) => core.rig.call('POST', path, { body });
    expect(codeOf(await nested('/webhooks/preview', `{"transform":{"template":${deep(20_000)}}}`))).toEqual([
      422,
      'VALIDATION_FAILED',
    ]);
    const sample = `{"event":{"type":"message.received","data":{"a":${deep(20_000)}}}}`;
    expect(codeOf(await nested('/webhooks/preview', sample))).toEqual([422, 'VALIDATION_FAILED']);
    const template = Array(2_700).fill('{{data}}');
    const event = { type: 'message.received', data: { text: 'x'.repeat(60_000) } };
    expect(codeOf(await core.post('/webhooks/preview', { transform: { template }, event }))).toEqual([422, 'TRANSFORM_INVALID']);
    expect(codeOf(await put({ template }))).toEqual([200, undefined]);
    await core.send('x'.repeat(4_000), { async: true });
    await eventually('the failed attempt', async () =>
      (await deliveries(id)).some(({ lastError }) => lastError === 'TRANSFORM_INVALID'),
    );
    expect(await read(id)).toMatchObject({ circuit: 'closed', health: { failures: 0 } });
    sink.answer = (req) => void req.socket.end('HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    expect((await core.post(`/webhooks/${id}/test`, {})).body.data).toMatchObject({ ok: false, error: expect.any(String) });
  });

  test('while a secret is rotated both sign, afterwards the new one alone', async () => {
    let moved = 0;
    await start({ clock: { now: () => new Date(Date.now() + moved), monotonic: () => performance.now() + moved } });
    const sink = await openSink();
    const { id, secret: old } = await make(sink, { events: ['message.queued'] });
    const { secret } = (await core.post(`/webhooks/${id}/rotate-secret`, { overlapHours: 1 })).body.data as Hook;
    await core.send('both');
    await arrived(sink, 1);
    const [both] = sink.taken as [Taken];
    for (const one of [old, secret]) expect(new Verifier(one).verify(both.body, headersOf(both))).toBeTruthy();
    const plain = (key: string): string => createHmac('sha256', key).update(both.body).digest('hex');
    expect(headersOf(both)).toMatchObject({ 'x-webhook-signature': plain(secret), 'x-webhook-signature-previous': plain(old) });
    expect((await read(id)).previousSecretUntil).toEqual(expect.any(String));
    moved += 3_601_000;
    await core.send('new alone');
    await arrived(sink, 2);
    const after = headersOf(sink.taken[1]!);
    expect(after['webhook-signature']!.split(' ')).toHaveLength(1);
    expect(after).not.toHaveProperty('x-webhook-signature-previous');
    expect((await read(id)).previousSecretUntil).toBeNull();
    expect(() =>
      new Verifier(old).verify(sink.taken[1]!.body, { ...after, 'webhook-timestamp': String(Math.floor(Date.now() / 1000)) }),
    ).toThrow();
  });

  test('a test send returns its outcome, and no redirect is followed', async () => {
    await start();
    const [sink, elsewhere] = [await openSink(), await openSink()];
    const { id } = await make(sink);
    expect((await core.post(`/webhooks/${id}/test`, {})).body.data).toMatchObject({ ok: true, statusCode: 204 });
    expect(JSON.parse(sink.taken[0]!.body)).toMatchObject({ event: 'test', data: { test: true } });
    sink.answer = (_req, res) => void res.writeHead(302, { location: elsewhere.url }).end('moved');
    expect((await core.post(`/webhooks/${id}/test`, {})).body.data).toMatchObject({
      ok: false,
      statusCode: 302,
      response: 'moved',
    });
    sink.answer = 'hang';
    expect((await core.post(`/webhooks/${id}/test`, {})).body.data).toMatchObject({
      ok: false,
      statusCode: null,
      error: 'TIMEOUT',
    });
    expect(elsewhere.seen).toEqual([]);
  });

  test('access to webhooks: sessions, permissions, limits, addresses', async () => {
    await start({ settings: { MAX_WEBHOOKS_PER_SESSION: '2', EGRESS_ALLOW: '' } });
    const body = { url: 'https://example.com/hook', events: ['message.received'] };
    const key = async (path: string, permissions: string[]): Promise<string> =>
      ((await core.post(path, { name: 'k', permissions })).body.data as { key: string }).key;
    const sessionKey = await key(`/sessions/${core.sessionId}/keys`, ['*']);
    const made = await core.rig.call('POST', '/webhooks', { key: sessionKey, body });
    expect([made.status, made.body.data]).toMatchObject([201, { sessionId: core.sessionId }]);
    expect(codeOf(await core.rig.call('POST', '/webhooks', { key: sessionKey, body: { ...body, sessionId: null } }))).toEqual([
      403,
      'ACCOUNT_KEY_REQUIRED',
    ]);
    const ofAccount = (await core.post('/webhooks', body)).body.data as Hook;
    expect(codeOf(await core.rig.call('GET', `/webhooks/${ofAccount.id}`, { key: sessionKey }))).toEqual([
      404,
      'WEBHOOK_NOT_FOUND',
    ]);
    expect((await core.rig.call('GET', '/webhooks', { key: sessionKey })).body.data).toHaveLength(1);
    const { key: foreign } = await makeAccount(core.rig);
    expect(codeOf(await core.rig.call('GET', `/webhooks/${ofAccount.id}`, { key: foreign }))).toEqual([404, 'WEBHOOK_NOT_FOUND']);
    const narrow = await key('/keys', ['webhook.configure', 'messages.send']);
    expect(codeOf(await core.rig.call('POST', '/webhooks', { key: narrow, body }))).toEqual([403, 'PERMISSION_DENIED']);
    const wide = await core.rig.call('POST', '/webhooks', { key: narrow, body: { ...body, events: ['*'] } });
    expect(wide.status).toBe(201);
    const path = `/sessions/${core.sessionId}/webhooks`;
    const more = await Promise.all(Array.from({ length: 5 }, () => core.post(path, body)));
    expect(more.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409]);
    expect(codeOf(await core.post('/webhooks', { ...body, events: ['message.flown'] }))).toEqual([422, 'UNKNOWN_EVENT_TYPE']);
    for (const url of [
      'http://127.0.0.1:1/',
      'http://[::1]/',
      'https://10.0.0.1/x',
      'ftp://example.com',
      'https://user:pass@example.com/',
    ])
      expect(codeOf(await core.post('/webhooks', { ...body, url }))).toEqual([422, 'URL_NOT_ALLOWED']);
    expect(codeOf(await core.post('/webhooks', { ...body, headers: { Host: 'x' } }))).toEqual([422, 'VALIDATION_FAILED']);
  });

  test('endpoints of a deleted session free their places at once, deliver its last events, and then end', async () => {
    await start({ settings: { MAX_WEBHOOKS_PER_ACCOUNT: '2' } });
    const end = (laterMs: number): Promise<number> =>
      removeEndpointsOfDeletedSessions(
        {
          database: core.rig.database,
          clock: { now: () => new Date(Date.now() + laterMs), monotonic: () => performance.now() },
        },
        { subscriptions: { forget: () => undefined } },
      );
    const statusOf = async ({ id }: Hook): Promise<number> => (await core.get(`/webhooks/${id}`)).status;
    const sink = await openSink();
    sink.answer = 503;
    const { id: sessionId } = (await core.post('/sessions', { name: 'other' })).body.data as { id: string };
    const ending = await make(sink, { sessionId, events: ['session.deleted'] });
    const inactive = await make(sink, { sessionId, active: false });
    const body = { url: sink.url, events: ['message.sent'] };
    expect(codeOf(await core.post('/webhooks', body))).toEqual([409, 'WEBHOOK_LIMIT_REACHED']);
    await core.rig.call('DELETE', `/sessions/${sessionId}`);
    const kept = [await make(sink), await make(sink)];
    expect(codeOf(await core.post('/webhooks', body))).toEqual([409, 'WEBHOOK_LIMIT_REACHED']);
    await end(0);
    expect([await statusOf(ending), await statusOf(inactive)]).toEqual([200, 200]);
    await end(2 * 3_600_000);
    expect([await statusOf(ending), await statusOf(inactive)]).toEqual([200, 404]);
    sink.answer = 'ok';
    await eventually('the last event', async () => (await deliveries(ending.id)).some(({ status }) => status === 'delivered'));
    expect(sink.taken.map((one) => (JSON.parse(one.body) as EventResource).type)).toEqual(['session.deleted']);
    await end(2 * 3_600_000);
    expect(await statusOf(ending)).toBe(404);
    expect(((await core.get('/webhooks')).body.data as Hook[]).map(({ id }) => id)).toEqual(kept.map(({ id }) => id));
  });

  test('the session’s own routes act on its first endpoint', async () => {
    await start();
    const sink = await openSink();
    const path = `/sessions/${core.sessionId}/webhook`;
    expect(codeOf(await core.get(path))).toEqual([404, 'WEBHOOK_NOT_FOUND']);
    const made = await core.post(path, { url: sink.url, events: ['message.queued'] });
    expect(made.status).toBe(201);
    expect(codeOf(await core.post(path, { url: sink.url, events: ['message.queued'] }))).toEqual([409, 'ALREADY_EXISTS']);
    sink.answer = 500;
    await core.send('x', { async: true });
    await eventually('a log', async () => (((await core.get(`${path}/logs`)).body.data as Delivery[])[0]?.attempts ?? 0) >= 1);
    sink.answer = 'ok';
    await arrived(sink, 1);
    await eventually('it to be counted', async () => {
      const { delivered } = (await core.get(`${path}/stats`)).body.data as { delivered: number };
      return delivered === 1;
    });
    expect((await core.rig.call('DELETE', path)).body.data).toMatchObject({ deleted: true });
    await core.send('nobody hears', { async: true });
    expect(codeOf(await core.get(path))).toEqual([404, 'WEBHOOK_NOT_FOUND']);
  });
});
