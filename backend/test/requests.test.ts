import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { metricTable } from '@chasqui/shared';
import { ApiKeyRequest } from '../src/accounts/key-request.entity.js';
import { maxRequests } from '../src/accounts/key-requests.js';
import { ErrorCount } from '../src/failures/error-count.entity.js';
import { makeAccount, loginOf } from './support/account.js';
import { databases, serviceKey, startRig, type Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What is recorded about requests: the log, the counts of errors, the last requests of a key; and what health says to whom. */

interface Line {
  sentence: string;
  requestId: string;
  method: string;
  route: string;
  status: number;
  ms: number;
  accountId: string | null;
  keyId: string | null;
  code: string | null;
}
interface Listed {
  at: string;
  method: string;
  route: string;
  status: number;
  code: string | null;
  ms: number;
  requestId: string;
}

describe.each(await databases())('answered requests on %s', (database) => {
  let rig: Rig;
  let keyId: string;
  let accountId: string;
  let staff: Awaited<ReturnType<typeof loginOf>>;
  beforeAll(async () => {
    rig = await startRig({ database });
    staff = await loginOf(rig);
    const me = (await rig.call('GET', '/auth/me')).body.data as { id: string };
    accountId = me.id;
    [{ id: keyId }] = (await rig.call('GET', '/keys')).body.data as [{ id: string }];
  });
  afterAll(() => rig?.close());

  const lines = (): Line[] =>
    rig.lines.map((line) => JSON.parse(line) as Line).filter(({ sentence }) => sentence === 'A request was answered.');
  const lineOf = (requestId: string): Promise<Line> =>
    eventually(`the line of ${requestId}`, async () => lines().find((line) => line.requestId === requestId));
  const listOf = async (id: string, key = rig.apiKey): Promise<Listed[]> =>
    (await rig.call('GET', `/keys/${id}/requests`, { key })).body.data as Listed[];

  test('are logged with id, route, status, duration, account and key', async () => {
    await rig.call('POST', '/sessions', { body: { name: 'logged' }, headers: { 'x-request-id': 'my-request-1' } });
    const { ms, ...line } = await lineOf('my-request-1');
    expect(line).toEqual({
      sentence: 'A request was answered.',
      requestId: 'my-request-1',
      method: 'POST',
      route: '/sessions',
      status: 201,
      code: null,
      accountId,
      keyId,
    });
    expect(ms).toBeGreaterThan(0);
    await rig.call('GET', '/messages/none', { headers: { 'x-request-id': 'my-request-2' } });
    expect(await lineOf('my-request-2')).toMatchObject({
      route: '/messages/:messageId',
      status: 404,
      code: 'MESSAGE_NOT_FOUND',
      keyId,
    });
    await rig.call('GET', '/auth/me', { ...staff, headers: { ...staff.headers, 'x-request-id': 'my-request-3' } });
    expect(await lineOf('my-request-3')).toMatchObject({ route: '/auth/me', accountId, keyId: null });
    await rig.call('GET', '//admin/login?next=secret', { key: null, headers: { 'x-request-id': 'my-request-4' } });
    expect(await lineOf('my-request-4')).toMatchObject({ route: '/admin', accountId: null });
  });

  test('leave nothing of their path, query, headers or body in log, metrics, errors and lists, whatever it is', async () => {
    const marker = 'Zq7Jx9Marker';
    const part = fc.string({ maxLength: 12 }).map((text) => encodeURIComponent(`${marker}${text}`));
    const call = fc.record({
      method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH'),
      path: fc.constantFrom('/messages/', '/sessions/', '/nowhere/', '/keys/', '/webhooks/', '/messages/send-text/'),
      part,
      query: part,
      body: fc.oneof(fc.constant('{"recipient":"'), fc.constant('')),
      credential: fc.constantFrom('own', 'wrong', 'token'),
    });
    await fc.assert(
      fc.asyncProperty(call, async ({ method, path, part: id, query, body, credential }) => {
        const key = { own: rig.apiKey, wrong: `chq_${marker}`, token: `${marker}.${marker}.${marker}` }[credential];
        const withBody = method === 'GET' || method === 'DELETE' ? {} : { body: `${body}${marker}` };
        await rig.call(method, `${path}${id}?recipient=${query}`, {
          key,
          ...withBody,
          headers: { 'user-agent': marker, referer: `http://${marker}/` },
        });
      }),
      { numRuns: 40 },
    );
    await eventually('the lines', async () => lines().filter(({ route }) => route === 'unmatched').length > 0);
    const metrics = await (await fetch(`${rig.url}/metrics`, { headers: { 'x-api-key': serviceKey } })).text();
    const errors = JSON.stringify((await rig.call('GET', '/admin/errors', staff)).body);
    expect(
      [rig.lines.join('\n'), metrics, errors, JSON.stringify(await listOf(keyId))].filter((text) => text.includes(marker)),
    ).toEqual([]);
    expect(metrics).not.toContain(rig.apiKey);
    expect(rig.lines.join('\n')).not.toContain(rig.apiKey);
  });

  test('with an error are counted by code for staff, with advice and the last request, since a time', async () => {
    const read = async (query = ''): Promise<{ errors: Record<string, unknown>[]; since: unknown }> => {
      const { body } = await rig.call('GET', `/admin/errors${query}`, staff);
      return { errors: body.data as Record<string, unknown>[], since: body.meta?.['since'] };
    };
    const countOf = async (code: string, query = ''): Promise<number> =>
      Number((await read(query)).errors.find((error) => error['code'] === code)?.['count'] ?? 0);
    const before = await countOf('TEMPLATE_NOT_FOUND');
    for (let call = 0; call < 3; call += 1)
      await rig.call('GET', '/templates/none', { headers: { 'x-request-id': `errors-${call}` } });
    await eventually('the count', async () => (await countOf('TEMPLATE_NOT_FOUND')) === before + 3);
    const error = (await read()).errors.find(({ code }) => code === 'TEMPLATE_NOT_FOUND');
    expect(error).toEqual({
      code: 'TEMPLATE_NOT_FOUND',
      count: before + 3,
      lastAt: expect.any(String),
      advice: 'There is no such template.',
      sample: { requestId: 'errors-2', method: 'GET', route: '/templates/:templateId', status: 404, accountId },
    });
    // Written rows and those that wait are one sum.
    await eventually(
      'the rows',
      async () => (await rig.database.reader.getRepository(ErrorCount).findBy({ code: 'TEMPLATE_NOT_FOUND' })).length > 0,
    );
    expect(await countOf('TEMPLATE_NOT_FOUND')).toBe(before + 3);
    const since = new Date(Date.now() + 3_600_000).toISOString();
    expect((await read(`?since=${encodeURIComponent(since)}`)).errors).toEqual([]);
    const byKey = await rig.call('GET', '/admin/errors');
    expect([byKey.status, byKey.body.error?.code]).toEqual([403, 'PASSWORD_LOGIN_REQUIRED']);
  });

  test('of a key are listed, latest first, to its own account alone', async () => {
    const { key, id } = (await rig.call('POST', '/keys', { body: { name: 'listed', permissions: ['messages.send'] } })).body
      .data as {
      key: string;
      id: string;
    };
    await rig.call('POST', '/messages/send-text', { key, body: {}, headers: { 'x-request-id': 'listed-1' } });
    await rig.call('GET', '/webhooks?active=true', { key, headers: { 'x-request-id': 'listed-2' } });
    const expected = [
      { method: 'GET', route: '/webhooks', requestId: 'listed-2', code: 'PERMISSION_DENIED', status: 403 },
      { method: 'POST', route: '/messages/send-text', requestId: 'listed-1', code: 'VALIDATION_FAILED', status: 422 },
    ];
    const isWhole = async (): Promise<Listed[] | null> => ((await listOf(id)).length === 2 ? listOf(id) : null);
    const listed = await eventually('both requests', isWhole);
    expect(listed).toEqual(expected.map((one) => ({ ...one, at: expect.any(String), ms: expect.any(Number) })));
    // The same once they are written, by this backend or another one.
    const rows = (): Promise<ApiKeyRequest[]> => rig.database.reader.getRepository(ApiKeyRequest).findBy({ keyId: id });
    await eventually('the rows', async () => (await rows()).length === 2);
    expect(await listOf(id)).toEqual(listed);
    const other = await makeAccount(rig);
    const refused = await rig.call('GET', `/keys/${id}/requests`, { key: other.key });
    expect([refused.status, refused.body.error?.code]).toEqual([404, 'KEY_NOT_FOUND']);
    expect((await rig.call('GET', `/keys/${id}/requests`, { key })).status).toBe(403);
  });

  test(`of a key are kept up to ${maxRequests}, the last ones`, async () => {
    const { key, id } = (await rig.call('POST', '/keys', { body: { name: 'busy', permissions: ['messages.send'] } })).body
      .data as {
      key: string;
      id: string;
    };
    const rows = (): Promise<number> => rig.database.reader.getRepository(ApiKeyRequest).countBy({ keyId: id });
    for (const name of ['first', 'second'])
      for (let call = 0; call < 75; call += 1)
        await rig.call('GET', '/auth/me', { key, headers: { 'x-request-id': `${name}-${call}` } });
    await eventually('the last one', async () => (await listOf(id))[0]?.requestId === 'second-74');
    expect((await listOf(id)).map(({ requestId }) => requestId)).toEqual([
      ...Array.from({ length: 75 }, (_, index) => `second-${74 - index}`),
      ...Array.from({ length: 25 }, (_, index) => `first-${74 - index}`),
    ]);
    await eventually('the rows', async () => (await rows()) === maxRequests);
  });

  test('are stored under no route that is too long for its column', () => {
    expect(rig.routes.filter(({ path }) => path.length > 120)).toEqual([]);
    expect(Object.keys(metricTable).length).toBeGreaterThan(30);
  });
});

describe('GET /health', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ linked: false });
  });
  afterAll(() => core?.close());
  const read = async (headers: Record<string, string> = {}): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${core.rig.url}/health`, { headers });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Record<string, unknown>;
  };

  test('shows each worker to staff and to the service key, and to no other caller', async () => {
    const worker = { id: 'worker-a', state: 'ok', version: '0.0.0', sessions: 0, capacity: 50, draining: false, memoryMb: 200 };
    const expected = [{ ...worker, lastHeartbeat: expect.any(String) }];
    expect((await read({ 'x-api-key': serviceKey }))['workers']).toEqual(expected);
    expect((await read((await loginOf(core.rig)).headers))['workers']).toEqual(expected);
    const other = await makeAccount(core.rig);
    for (const headers of [
      {},
      { 'x-api-key': core.rig.apiKey },
      { 'x-api-key': other.key },
      { 'x-api-key': 'wrong' },
      { authorization: 'Bearer a.b.c' },
    ]) {
      const body = await read(headers as Record<string, string>);
      expect(Object.keys(body).sort()).toEqual(['checks', 'status', 'version']);
    }
  });
});
