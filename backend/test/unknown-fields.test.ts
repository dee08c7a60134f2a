import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { AnyRoute } from '@chasqui/shared';
import { z } from 'zod';
import { loginOf } from './support/account.js';
import { ana, startCore, type Core } from './support/core.js';

/** Nothing that a caller sends is ignored: each route refuses fields that it does not know, in its query and in its body. */

let core: Core;
let routes: readonly AnyRoute[];
let staff: Awaited<ReturnType<typeof loginOf>>;
beforeAll(async () => {
  core = await startCore({ database: 'sqlite' });
  routes = core.rig.routes;
  staff = await loginOf(core.rig);
});
afterAll(() => core?.close());

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema | Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
}

/** Paths of the objects that take fields without a name. Records say what their values are; an empty schema takes what a person chooses. */
function open(schema: Schema, path: string): string[] {
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])].flatMap((one) => open(one, path));
  const items = [schema.items ?? []].flat().flatMap((one) => open(one, `${path}[]`));
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, one]) => open(one, `${path}.${name}`));
  const isOpen = schema.type === 'object' && schema.additionalProperties === undefined;
  return [...inner, ...items, ...fields, ...(isOpen ? [path] : [])];
}

test('no object in a query or a body of any route accepts a field that it does not name', () => {
  expect(routes.length).toBeGreaterThan(100);
  const found = routes.flatMap((route) =>
    (['query', 'body'] as const).flatMap((part) =>
      open(z.toJSONSchema(route[part], { io: 'input', unrepresentable: 'any' }) as Schema, `${route.id} ${part}`),
    ),
  );
  expect(found).toEqual([]);
});

test('an unknown query parameter, a repeated one, and an unknown field of the body are 422 and named, on every route', async () => {
  const wrong: unknown[] = [];
  for (const route of routes) {
    const path = route.path.replace(/:\w+/g, 'current');
    const method = route.method.toUpperCase();
    const call = async (query: string, body?: object) => {
      const reply = await core.rig.call(method, `${path}${query}`, { ...staff, ...(body ? { body } : {}) });
      const fields = (reply.body.error?.details['fields'] ?? []) as { path: string; code: string }[];
      return { status: reply.status, fields: fields.map(({ path: at, code }) => `${at} ${code}`) };
    };
    const asked: [string, object | undefined, string][] = [
      ['?nosuch=1', method === 'GET' ? undefined : {}, 'nosuch UNKNOWN_FIELD'],
      ['?twice=1&twice=2', method === 'GET' ? undefined : {}, 'twice REPEATED'],
      ...(method === 'GET'
        ? []
        : // Which fields are known depends on the type.
          [
            [
              '',
              { nosuch: 1, ...(route.id === 'messages.send' || route.id.startsWith('bulk.') ? { type: 'text' } : {}) },
              'nosuch UNKNOWN_FIELD',
            ] as [string, object, string],
          ]),
    ];
    for (const [query, body, expected] of asked) {
      const { status, fields } = await call(query, body);
      if (status !== 422 || !fields.includes(expected)) wrong.push([route.id, query, body, status, fields]);
    }
  }
  expect(wrong).toEqual([]);
});

test.each([
  ['latitude', null, '""', [], true, '0x10', '', '  ', '1e400', 'NaN', '91'],
  ['longitude', null, {}, false, 'Infinity', '1,5', '-180.1'],
])('%s is a number or a decimal text and nothing else', async (field, ...values) => {
  for (const value of values) {
    const place = { recipient: ana, latitude: 1, longitude: 1, [field as string]: value };
    const reply = await core.post('/messages/send-location', place);
    expect([value, reply.status]).toEqual([value, 422]);
    expect(JSON.stringify(reply.body.error?.details['fields'])).toContain(field);
  }
});

test.each(['limit', 'offset'])('%s is a whole number and is never read from anything else', async (name) => {
  for (const value of ['', ' ', '0x10', '1.5', 'true', '-1', '1e2', '2000000'])
    expect([value, (await core.get(`/messages/list?${name}=${encodeURIComponent(value)}`)).status]).toEqual([value, 422]);
  expect((await core.get(`/messages/list?${name}=10`)).status).toBe(200);
});

test('a session that is named in the query of a send is the one that sends; two different ones are refused', async () => {
  await core.post('/sessions', { name: 'other' });
  const body = { recipient: ana, message: 'hi', queueIfOffline: true, async: true };
  const sent = await core.post('/messages/send-text?sessionId=other', body);
  const other = (await core.get('/sessions/other')).body.data as { id: string };
  expect([sent.status, sent.body.data]).toMatchObject([202, { sessionId: other.id }]);
  const torn = await core.post('/messages/send-text?sessionId=other', { ...body, sessionId: core.sessionId });
  expect([torn.status, torn.body.error?.code]).toEqual([422, 'VALIDATION_FAILED']);
});

test('a form: a list is written by repeating its field, another field twice is refused, and so is a type that contradicts the part', async () => {
  const form = (fields: [string, string][], part = 'file') => {
    const data = new FormData();
    data.append('recipient', ana);
    for (const [name, value] of fields) data.append(name, value);
    data.append(part, new Blob(['%PDF-1.4'], { type: 'application/pdf' }), 'Invoice 10/2026.pdf');
    return core.post('/messages/send-media', data);
  };
  const listed = await form([
    ['mentions', ana],
    ['mentions', '+5511999990002'],
  ]);
  expect([listed.status, listed.body.data]).toMatchObject([
    200,
    { mentions: [`${ana}@c.us`, '5511999990002@c.us'], content: { media: { filename: 'Invoice 10-2026.pdf' } } },
  ]);
  expect((await form([['mentions', ana]])).status).toBe(200);
  const twice = await form([
    ['caption', 'a'],
    ['caption', 'b'],
  ]);
  expect([twice.status, JSON.stringify(twice.body.error?.details)]).toEqual([422, expect.stringContaining('REPEATED')]);
  expect((await form([['type', 'image']], 'document')).status).toBe(422);
  for (const caption of ['true', 'false', '1', 'null', '[1]', '{}', '[promo]'])
    expect((await form([['caption', caption]])).body.data).toMatchObject({ text: caption });
});

test('the same text is accepted plain and escaped, up to the same length', async () => {
  const raw = (message: string) => `{"recipient":"${ana}","message":"${message}","async":true}`;
  const escaped = (text: string) => text.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  for (const unit of ['Ж', 'é', '漢', '😀', 'a']) {
    const text = unit.repeat(65_536);
    for (const message of [text, escaped(text)]) {
      const reply = await core.post('/messages/send-text', raw(message));
      expect([unit, reply.status]).toEqual([unit, 202]);
      expect(((reply.body.data as { text: string }).text ?? '') === text).toBe(true);
    }
    for (const message of [`${text}${unit}`, escaped(`${text}${unit}`)])
      expect([413, 422]).toContain((await core.post('/messages/send-text', raw(message))).status);
  }
});

test('content that a channel cannot have is refused before anything is stored', async () => {
  const recipient = '120363041234567890@newsletter';
  const before = core.worker.left.length;
  for (const [path, body, field] of [
    ['send-location', { latitude: 1, longitude: 1 }, 'recipient'],
    ['send-contact', { contacts: [{ name: 'Jo', phone: ana }] }, 'recipient'],
    ['send', { type: 'location', latitude: 1, longitude: 1 }, 'recipient'],
    ['send-media', { type: 'image', mediaBase64: 'x', viewOnce: true }, 'viewOnce'],
    ['send-text', { message: 'hi', quotedMessageId: 'false_1@c.us_3EB0AA' }, 'quotedMessageId'],
  ] as const) {
    const reply = await core.post(`/messages/${path}`, { recipient, ...body });
    expect([path, reply.status, reply.body.error?.details['fields']]).toEqual([
      path,
      422,
      [expect.objectContaining({ path: field, code: 'NOT_FOR_CHANNEL' })],
    ]);
  }
  expect(core.worker.left.length).toBe(before);
  expect((await core.post('/messages/send-text', { recipient, message: 'hi' })).status).toBe(200);
});

test('init: an unused number causes a warning, a name takes precedence over the header, and two sessions are refused', async () => {
  const linked = await core.post('/sessions/init', { phoneNumber: '+5511988887777' });
  expect([linked.status, (linked.body as { warnings?: unknown }).warnings]).toMatchObject([
    200,
    [{ code: 'PAIRING_CODE_NOT_REQUESTED' }],
  ]);
  const named = await core.post('/sessions/init', { name: 'default' }, { 'X-Session-Id': 'other' });
  expect(named.body.data).toMatchObject({ name: 'default' });
  expect((await core.post('/sessions/init', { sessionId: core.sessionId, name: 'other' })).status).toBe(422);
});

test('an expiry beyond the session’s limit causes a warning, and a wait is reported with its real length', async () => {
  const expiresAt = new Date(Date.now() + 48 * 3_600_000).toISOString();
  const sent = await core.send('hi', { expiresAt }, { Prefer: 'wait=60' });
  expect([sent.status, (sent.body as { warnings?: unknown }).warnings]).toMatchObject([200, [{ code: 'EXPIRES_EARLIER' }]]);
  // The rig waits two seconds at most.
  expect(sent.headers.get('preference-applied')).toBe('wait=2');
});

test('filters and settings that would match or change nothing are refused', async () => {
  for (const query of ['status=conected', 'status=connected,foo'])
    expect([query, (await core.get(`/sessions?${query}`)).status]).toEqual([query, 422]);
  expect((await core.get('/sessions?status=connected,error')).status).toBe(200);
  for (const settings of [{ countryCode: '999' }, { countryCode: '+55' }, { pacing: { perMinit: 1 } }, { autoreply: true }])
    expect([settings, (await core.rig.call('PUT', '/sessions/current', { body: { settings } })).status]).toEqual([settings, 422]);
});

test('a poll whose options have the same text is refused', async () => {
  expect((await core.post('/messages/send-poll', { recipient: ana, question: 'q', options: ['a', 'a'] })).status).toBe(422);
});

test.each(['application/json; charset=utf8', 'application/json;charset="UTF-8"', 'text/json', 'application/vnd.api+json'])(
  'a body of %s is read',
  async (type) => {
    const body = JSON.stringify({ recipient: ana, message: 'héllo', linkPreview: true, async: true });
    const reply = await core.post('/messages/send-text', body, { 'content-type': type });
    expect([reply.status, reply.body.data]).toMatchObject([202, { text: 'héllo' }]);
  },
);
