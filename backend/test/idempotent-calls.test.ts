import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { AnyRoute } from '@chasqui/shared';
import { updateRows } from '../src/db/rows.js';
import { IdempotencyRecord } from '../src/messages/accept/idempotency.entity.js';
import { loginOf } from './support/account.js';
import { databases, hasPostgres, startRig, type Reply, type Rig } from './support/backend.js';
import { patient, quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];

describe.each(await databases())('Idempotency-Key on every POST with an effect, on %s', (database) => {
  let core: Core;
  afterEach(() => core?.close());
  interface As {
    key?: string | null;
    headers?: Record<string, string>;
  }
  const post = (path: string, body: object, key: string, { headers, ...as }: As = {}): Promise<Reply> =>
    core.rig.call('POST', path, { body, ...as, headers: { ...headers, 'Idempotency-Key': key } });
  const records = () => core.rig.database.reader.getRepository(IdempotencyRecord).find({ order: { createdAt: 'ASC' } });

  test('each route has one effect for two calls with one key, and repeats the first reply', async () => {
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    const admin = await loginOf(core.rig);
    const hook = { url: 'http://127.0.0.1:9/', events: ['message.sent'] };
    const made = (await core.post('/webhooks', hook)).body.data as { id: string };
    const calls: [path: string, body: object, as?: As][] = [
      ['/sessions', { name: 'once' }],
      ['/webhooks', hook],
      [`/sessions/${core.sessionId}/webhooks`, hook],
      [`/webhooks/${made.id}/rotate-secret`, {}],
      [`/webhooks/${made.id}/enable`, {}],
      [`/webhooks/${made.id}/redeliver`, { failed: true }],
      ['/admin/plans', { name: 'once' }, admin],
      ['/sessions/disconnect', { sessionId: core.sessionId }],
      [`/admin/sessions/${core.sessionId}/suspend`, { reason: 'once' }, admin],
    ];
    for (const [path, body, more] of calls) {
      const [first, again] = [await post(path, body, path, more), await post(path, body, path, more)];
      expect([path, first.body.error, again.status]).toEqual([path, undefined, first.status]);
      expect([path, again.body]).toEqual([path, first.body]);
      expect([path, again.headers.get('idempotency-replayed'), first.headers.get('idempotency-replayed')]).toEqual([
        path,
        'true',
        null,
      ]);
      expect([path, ...codeOf(await post(path, { ...body, more: 1 }, path, more))]).toEqual([
        path,
        422,
        'IDEMPOTENCY_KEY_REUSED',
      ]);
    }
    expect((await core.get('/webhooks')).body.data).toHaveLength(3);
    const bodies = (await records()).flatMap(({ body }) => body ?? []);
    expect(bodies).toHaveLength(calls.length);
    expect(bodies.filter((body) => body.includes('whsec_') || body.includes('success'))).toEqual([]);
  });

  test('a refusal is not stored; the outcome of a retry is, also when WhatsApp refused it', async () => {
    core = await startCore({ database });
    expect(codeOf(await post('/sessions', { name: 'not a name!' }, 'a'))).toEqual([422, 'VALIDATION_FAILED']);
    expect((await post('/sessions', { name: 'a-name' }, 'a')).status).toBe(201);
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const { id } = (await core.send('no')).body.error!.details['message'] as { id: string };
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const first = await post(`/messages/${id}/retry`, {}, 'b');
    const again = await post(`/messages/${id}/retry`, {}, 'b');
    expect([...codeOf(first), again.body]).toEqual([502, 'SEND_FAILED', first.body]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect((await core.message(id)).attempts).toBe(2);
    expect((await records()).map(({ messageId }) => messageId)).toEqual([null, id]);
    const audit = (await core.get('/audit?action=message.retry')).body.data;
    expect(audit).toMatchObject([{ credential: 'key', actor: { type: 'key' }, object: { type: 'message', id } }]);
  });

  test('while the first call runs a second one is refused, and after a crash in between its effect is unknown', async () => {
    core = await startCore({ database });
    const body = { name: 'raced' };
    const both = await Promise.all([post('/sessions', body, 'k'), post('/sessions', body, 'k')]);
    expect(both.map(codeOf).sort()).toEqual([
      [201, undefined],
      [409, 'IDEMPOTENCY_IN_PROGRESS'],
    ]);
    // As a process leaves it that dies between the effect and the stored reply.
    const unfinished = { status: null, body: null, createdAt: new Date(Date.now() - 600_000) };
    await core.rig.database.write.run((tx) => updateRows(tx, IdempotencyRecord, { key: 'k' }, unfinished));
    const after = await post('/sessions', body, 'k');
    expect([...codeOf(after), after.body.error?.details]).toEqual([504, 'OPERATION_TIMEOUT', { effect: 'unknown' }]);
    expect(((await core.get('/sessions')).body.data as unknown[]).length).toBe(2);
  });

  test('a second call while the first still runs, after its record was written, is refused; afterwards it gets the first reply', async () => {
    core = await startCore({ database, settings: patient });
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const { id } = (await core.send('slow')).body.error!.details['message'] as { id: string };
    core.worker.script({ do: 'send', afterMs: 1_500 });
    const first = post(`/messages/${id}/retry`, {}, 'slow');
    await eventually('the record of the first call', async () => (await records()).find(({ key }) => key === 'slow'));
    const second = await post(`/messages/${id}/retry`, {}, 'slow');
    expect(codeOf(second)).toEqual([409, 'IDEMPOTENCY_IN_PROGRESS']);
    expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(0);
    const reply = await first;
    const third = await post(`/messages/${id}/retry`, {}, 'slow');
    expect([reply.status, third.body, third.headers.get('idempotency-replayed')]).toEqual([200, reply.body, 'true']);
    expect(core.worker.left.filter(({ messageId }) => messageId === id)).toHaveLength(1);
  });

  test('a key belongs to its session and account: another one’s call is its own first', async () => {
    core = await startCore({ database });
    const permissions = ['webhook.configure', 'messages.receive', 'messages.send'];
    const { key } = (await core.post(`/sessions/${core.sessionId}/keys`, { name: 'bound', permissions })).body.data as {
      key: string;
    };
    const hook = { url: 'https://example.com/', events: ['message.sent'] };
    const ours = await post('/webhooks', hook, 'same');
    const theirs = await post('/webhooks', hook, 'same', { key });
    expect([ours.status, theirs.status, theirs.headers.get('idempotency-replayed')]).toEqual([201, 201, null]);
    expect((theirs.body.data as { id: string }).id).not.toBe((ours.body.data as { id: string }).id);
  });

  test('a reply that contains a secret is not replayed to a key with other permissions', async () => {
    core = await startCore({ database });
    const { key } = (await core.post('/keys', { name: 'low', permissions: ['webhook.configure'] })).body.data as { key: string };
    const hook = { url: 'https://example.com/', events: ['message.received'] };
    const made = await post('/webhooks', hook, 'create');
    const { id } = made.body.data as { id: string };
    const rotated = await post(`/webhooks/${id}/rotate-secret`, {}, 'rotate');
    for (const [path, body, name, first] of [
      ['/webhooks', hook, 'create', made],
      [`/webhooks/${id}/rotate-secret`, {}, 'rotate', rotated],
    ] as const) {
      const reply = await post(path, body, name, { key });
      expect([path, ...codeOf(reply), reply.headers.get('idempotency-replayed')]).toEqual([
        path,
        422,
        'IDEMPOTENCY_KEY_REUSED',
        null,
      ]);
      expect((await post(path, body, name)).body).toEqual(first.body);
    }
  });

  test('every POST with a credential accepts the header or says in OpenAPI why not; secrets that are only hashed are never replayed', async () => {
    core = await startCore({ database, linked: false });
    const document = (await core.rig.call('GET', '/openapi.json')).body as unknown as {
      paths: Record<string, Record<string, { description?: string; parameters: { $ref?: string }[] }>>;
    };
    const wrong = core.rig.routes.flatMap((route: AnyRoute) => {
      if (route.method !== 'post') return route.idempotency === null ? [] : [route.id];
      const { description = '', parameters } = document.paths[route.path.replace(/:(\w+)/g, '{$1}')]!['post']!;
      const takes = parameters.some(({ $ref }) => $ref === '#/components/parameters/Idempotency-Key');
      const says = /`Idempotency-Key` has no effect here\. ./.test(description);
      const shown = JSON.stringify(document.paths[route.path.replace(/:(\w+)/g, '{$1}')]!['post']);
      const isHashed =
        /"(key|apiKey|token|ticket|oneTimePassword)":\{"type":"string"/.test(shown) && !route.path.includes('webhook');
      return takes !== says && !(takes && isHashed) ? [] : [route.id];
    });
    expect(wrong).toEqual([]);
  });
});

((await hasPostgres()) ? describe : describe.skip)('one Idempotency-Key on two backends of one PostgreSQL', () => {
  const settings = {
    JWT_SECRET: 'one secret for both backends, long enough',
    ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
    ...patient,
  };
  let core: Core;
  let other: Rig;
  beforeAll(async () => {
    core = await startCore({ database: 'postgres', settings });
    const more = { ...quick, ...settings, WORKER_URLS: core.worker.url, DATABASE_URL: core.rig.databaseUrl! };
    other = await startRig({ settings: more });
  }, 60_000);
  afterAll(async () => {
    await other?.close();
    await core?.close();
  });

  test('while one runs a call the other refuses it, and afterwards returns its reply', async () => {
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const { id } = (await core.send('slow')).body.error!.details['message'] as { id: string };
    core.worker.script({ do: 'send', afterMs: 1_500 });
    const call = (rig: Rig): Promise<Reply> =>
      rig.call('POST', `/messages/${id}/retry`, { key: core.rig.apiKey, body: {}, headers: { 'Idempotency-Key': 'slow' } });
    const first = call(core.rig);
    const rows = core.rig.database.reader.getRepository(IdempotencyRecord);
    await eventually('the record of the first call', async () => rows.findOneBy({ key: 'slow' }));
    expect(codeOf(await call(other))).toEqual([409, 'IDEMPOTENCY_IN_PROGRESS']);
    const reply = await first;
    const again = await call(other);
    expect([reply.status, again.body, again.headers.get('idempotency-replayed')]).toEqual([200, reply.body, 'true']);
    expect(core.worker.left.filter(({ messageId }) => messageId === id)).toHaveLength(1);
  });

  test('each key has one effect when both get a call at once; the other call is refused or gets the same reply', async () => {
    const admin = await loginOf(core.rig);
    for (let round = 0; round < 25; round += 1) {
      const [key, body] = [`both-${round}`, { name: `both-${round}` }];
      const call = (rig: Rig): Promise<Reply> =>
        rig.call('POST', '/admin/plans', {
          ...admin,
          body,
          headers: { ...admin.headers, 'Idempotency-Key': key },
        });
      const [one, two] = await Promise.all([call(core.rig), call(other)]);
      const isFirst = ({ status, headers }: Reply) => status === 201 && headers.get('idempotency-replayed') === null;
      expect([key, [one, two].filter(isFirst).length]).toEqual([key, 1]);
      const rest = [one, two].find((reply) => !isFirst(reply))!;
      if (rest.status !== 201) expect([key, ...codeOf(rest)]).toEqual([key, 409, 'IDEMPOTENCY_IN_PROGRESS']);
      const again = [await call(core.rig), await call(other)];
      expect(again.map((reply) => [reply.status, reply.headers.get('idempotency-replayed')])).toEqual([
        [201, 'true'],
        [201, 'true'],
      ]);
    }
  });
});
