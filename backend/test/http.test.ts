import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { password, serviceKey, startRig, type Rig } from './support/backend.js';

let rig: Rig;
let token: string;
beforeAll(async () => {
  rig = await startRig();
  const login = await rig.call('POST', '/auth/login', { key: null, body: { email: 'admin@localhost.localdomain', password } });
  token = (login.body.data as { token: string }).token;
});
afterAll(async () => rig?.close());

const bearer = () => ({ key: null, headers: { authorization: `Bearer ${token}` } });
const makeKey = async (permissions: string[]) => {
  const made = await rig.call('POST', '/keys', { body: { name: 'test', permissions } });
  return made.body.data as { key: string; id: string };
};

describe('every route', () => {
  test('is in the OpenAPI document', async () => {
    const { body } = await rig.call('GET', '/openapi.json', { key: null });
    const { paths } = body as unknown as { paths: Record<string, Record<string, unknown>> };
    for (const route of rig.routes)
      expect([route.id, Object.keys(paths[route.path.replace(/:(\w+)/g, '{$1}')] ?? {})]).toEqual([
        route.id,
        expect.arrayContaining([route.method]),
      ]);
  });

  test('declares the errors that every request can get, and those of bodies where it reads one', async () => {
    const { body } = await rig.call('GET', '/openapi.json', { key: null });
    const { paths, components } = body as unknown as {
      paths: Record<string, Record<string, { responses: Record<string, { description: string; $ref?: string }> }>>;
      components: { responses: Record<string, { description: string }> };
    };
    for (const route of rig.routes) {
      const { responses } = paths[route.path.replace(/:(\w+)/g, '{$1}')]![route.method]!;
      const declared = Object.values(responses)
        .map(({ description, $ref }) => ($ref ? components.responses[$ref.split('/').pop()!]!.description : description))
        .join();
      const wanted = ['DATABASE_UNAVAILABLE', 'STORAGE_FULL', 'SHUTTING_DOWN', 'MALFORMED_REQUEST'];
      if (route.consumes !== 'none') wanted.push('OVERLOADED', 'BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE');
      expect([route.id, wanted.filter((code) => !declared.includes(`\`${code}\``))]).toEqual([route.id, []]);
    }
  });
});

describe('a request for no route', () => {
  const literal = (): Map<string, string[]> => {
    const methods = new Map<string, string[]>();
    for (const { path, method } of rig.routes)
      if (!path.includes(':')) methods.set(path, [...(methods.get(path) ?? []), method.toUpperCase()]);
    return methods;
  };

  test('with a path of other methods says which, also where the path of an object fits', async () => {
    for (const [path, methods] of literal())
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter((one) => !methods.includes(one))) {
        const { status, headers, body } = await rig.call(method, path, method === 'GET' ? {} : { body: {} });
        const allow = [...new Set(methods)].join(', ');
        expect([method, path, status, body.error?.code, headers.get('allow')]).toEqual([
          method,
          path,
          405,
          'METHOD_NOT_ALLOWED',
          allow,
        ]);
        expect(body.error!.message).toContain(`/api/v1${path}`);
      }
  });

  test('that misspells a path says which route it looks like', async () => {
    const known = literal();
    for (const [path, methods] of known) {
      const at = path.lastIndexOf('/') + 1;
      const name = path.slice(at);
      // In short names one letter makes another word.
      if (name.replace(/\W/g, '').length < 7) continue;
      const wrong = [
        name.slice(0, 3) + name[4]! + name[3]! + name.slice(5),
        name.slice(0, 2) + name.slice(3),
        `${name.slice(0, 3)}x${name.slice(4)}`,
        name.replaceAll('-', '_'),
      ];
      for (const one of wrong.filter((text) => text !== name && !known.has(path.slice(0, at) + text))) {
        const method = methods[0]!;
        const { status, body } = await rig.call(method, path.slice(0, at) + one, method === 'GET' ? {} : { body: {} });
        const suggestion = `${method} /api/v1${path}`;
        expect([one, status, body.error?.code, body.error?.details]).toEqual([one, 404, 'ROUTE_NOT_FOUND', { suggestion }]);
        expect(body.error!.message).toBe(`There is no such route. Did you mean ${suggestion}?`);
      }
    }
  });

  test('that looks like nothing, or names an object that does not exist, is told so', async () => {
    expect((await rig.call('GET', '/nowhere/at/all')).body.error).toMatchObject({ code: 'ROUTE_NOT_FOUND', details: {} });
    expect((await rig.call('GET', `/messages/${newId()}`)).body.error).toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    expect((await rig.call('POST', '/messages/3EB0A1', { body: {} })).body.error).toMatchObject({ code: 'METHOD_NOT_ALLOWED' });
  });
});

describe('every refusal has the one envelope', () => {
  test.each([
    ['an unknown route', 'GET', '/nowhere', {}, 404, 'ROUTE_NOT_FOUND'],
    ['a wrong method', 'PATCH', '/auth/login', {}, 405, 'METHOD_NOT_ALLOWED'],
    ['broken JSON', 'POST', '/messages/send-text', { body: '{"recipient":' }, 400, 'MALFORMED_REQUEST'],
    ['a broken path', 'GET', '/messages/%E0%A4%A', {}, 400, 'MALFORMED_REQUEST'],
    [
      'another content type',
      'POST',
      '/messages/send-text',
      { body: 'a=b', headers: { 'content-type': 'text/plain' } },
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'a body that is too large',
      'POST',
      '/messages/send-text',
      { body: { recipient: '5511999990001', message: 'x'.repeat(1_000_000) } },
      413,
      'BODY_TOO_LARGE',
    ],
    [
      'an unknown field',
      'POST',
      '/messages/send-text',
      { body: { recipient: '5511999990001', mesage: 'x', message: 'x' } },
      422,
      'VALIDATION_FAILED',
    ],
    ['two credentials', 'GET', '/auth/me', { headers: { 'x-api-key': 'another' } }, 400, 'CONFLICTING_CREDENTIALS'],
    ['an unknown scheme', 'GET', '/auth/me', { key: null, headers: { authorization: 'Basic abc' } }, 401, 'UNAUTHENTICATED'],
    [
      'a session that is not there',
      'POST',
      '/messages/send-text',
      { body: { recipient: '5511999990001', message: 'x' } },
      409,
      'SESSION_NOT_CONNECTED',
    ],
    ['no worker', 'POST', '/sessions/init', {}, 503, 'WORKER_UNAVAILABLE'],
    [
      'multipart without a boundary',
      'POST',
      '/messages/send-media',
      { body: 'x', headers: { 'content-type': 'multipart/form-data' } },
      400,
      'MALFORMED_REQUEST',
    ],
  ])('%s', async (_what, method, path, options, status, code) => {
    const answer = await rig.call(method, path, options as never);
    expect([answer.status, answer.body]).toMatchObject([
      status,
      {
        success: false,
        error: { code, message: expect.stringMatching(/.{10}/), details: expect.anything() },
        requestId: answer.headers.get('x-request-id'),
      },
    ]);
  });

  test('an unknown field is named; a request id is adopted', async () => {
    const { body, headers } = await rig.call('POST', '/messages/send-text', {
      body: { recipient: '5511999990001', mesage: 'x', message: 'x' },
      headers: { 'x-request-id': 'mine-1' },
    });
    expect(body.error!.details['fields']).toEqual([expect.objectContaining({ path: 'mesage', code: 'UNKNOWN_FIELD' })]);
    expect(headers.get('x-request-id')).toBe('mine-1');
  });

  test('the panel and the documents are there while the worker is down', async () => {
    expect((await rig.call('GET', '//health', { key: null })).body).toMatchObject({
      status: 'degraded',
      checks: { database: 'ok', workers: 'degraded' },
    });
    expect((await rig.call('GET', '//api/docs', { key: null })).status).toBe(200);
    expect((await rig.call('GET', '//api-docs', { key: null })).headers.get('location')).toBe('/api/docs');
    expect((await rig.call('GET', '//docs', { key: null })).body.data).toContain('/api/docs');
  });

  test('the front page and the documents have the icon of the product, and so has every other path of a browser', async () => {
    for (const path of ['/', '/docs', '/api/docs']) {
      const page = await (await fetch(rig.url + path, { headers: { accept: 'text/html' } })).text();
      expect([path, page]).toEqual([path, expect.stringContaining('<link rel="icon" type="image/svg+xml" href="/favicon.svg">')]);
    }
    for (const path of ['/favicon.ico', '/favicon.svg']) {
      const icon = await fetch(rig.url + path);
      expect([path, icon.status, icon.headers.get('content-type')]).toEqual([path, 200, 'image/svg+xml']);
      expect(await icon.text()).toContain('<svg');
    }
  });
});

describe('keys and logins', () => {
  test('all three forms of a key work, with a slash at the end too', async () => {
    const forms: [string, string][] = [
      ['authorization', `ApiKey ${rig.apiKey}`],
      ['authorization', `Bearer ${rig.apiKey}`],
      ['x-api-key', rig.apiKey],
    ];
    for (const [name, value] of forms)
      expect((await rig.call('GET', '/auth/me/', { key: null, headers: { [name]: value } })).status).toBe(200);
    expect((await rig.call('GET', `/auth/me?api_key=${rig.apiKey}`, { key: null })).status).toBe(401);
  });

  test('a revoked key fails on the next request, a regenerated one replaces the old', async () => {
    const { key, id } = await makeKey(['instance.info']);
    expect((await rig.call('GET', '/auth/me', { key })).status).toBe(200);
    await rig.call('DELETE', `/keys/${id}`);
    expect((await rig.call('GET', '/auth/me', { key })).status).toBe(401);
    const { body } = await rig.call('POST', '/auth/me/api-key/regenerate', bearer());
    expect((await rig.call('GET', '/auth/me')).status).toBe(401);
    rig.apiKey = (body.data as { apiKey: string }).apiKey;
    expect((await rig.call('GET', '/auth/me', { key: rig.apiKey })).status).toBe(200);
  });

  test('an expired key says so', async () => {
    const made = await rig.call('POST', '/keys', {
      key: rig.apiKey,
      body: { name: 'old', permissions: [], expiresAt: '2020-01-01T00:00:00.000Z' },
    });
    const { status, body } = await rig.call('GET', '/auth/me', { key: (made.body.data as { key: string }).key });
    expect([status, body.error?.code]).toEqual([401, 'KEY_EXPIRED']);
  });

  test('no key grants a permission that its creator does not have', async () => {
    const { key } = (
      await rig.call('POST', '/keys', { key: rig.apiKey, body: { name: 'maker', permissions: ['keys.manage', 'chats.read'] } })
    ).body.data as { key: string };
    expect(
      (await rig.call('POST', '/keys', { key, body: { name: 'more', permissions: ['messages.send'] } })).body.error?.code,
    ).toBe('PERMISSION_DENIED');
    expect((await rig.call('POST', '/keys', { key, body: { name: 'same', permissions: ['chats.read'] } })).status).toBe(201);
  });

  test('a wrong password and an unknown address are the same refusal, and too many are stopped', async () => {
    const tries = (email: string) => rig.call('POST', '/auth/login', { key: null, body: { email, password: 'wrong' } });
    const [unknown, known] = [await tries('nobody@example.com'), await tries('admin@localhost.localdomain')];
    expect([unknown.status, unknown.body.error]).toEqual([known.status, known.body.error]);
    for (let number = 0; number < 9; number += 1) await tries('admin@localhost.localdomain');
    const stopped = await tries('admin@localhost.localdomain');
    expect([stopped.status, stopped.body.error?.code, Number(stopped.headers.get('retry-after'))]).toEqual([
      429,
      'RATE_LIMITED',
      expect.any(Number),
    ]);
  });

  test('logging out voids every token of the account', async () => {
    expect((await rig.call('POST', '/auth/logout', bearer())).status).toBe(200);
    expect((await rig.call('GET', '/auth/me', bearer())).status).toBe(401);
  });

  test('no key, password or number is in any log line', () => {
    const text = rig.lines.join('\n');
    for (const secret of [rig.apiKey, password, serviceKey, '5511999990001']) expect(text).not.toContain(secret);
    expect(rig.lines.length).toBeGreaterThan(30);
  });
});
