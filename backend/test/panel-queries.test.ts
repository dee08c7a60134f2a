import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { newId } from '@chasqui/shared';
import { PanelResource } from '../src/admin/resource.js';
import { tables } from '../src/admin/tables.js';
import { insertRow } from '../src/db/rows.js';
import { Message } from '../src/messages/message.entity.js';
import { createMessageSearch } from '../src/search/search.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { databases, password } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { randomOf } from './support/raw.js';

/** Queries, ids and bodies that no page of the panel sends. None of them gets a 500, and no other caller waits. */

const seed = Number(process.env['PROPERTY_SEED']);
const requests = 400 * Number(process.env['PROPERTY_RUNS'] ?? 1);

const numbers = [
  '',
  '0',
  '-1',
  '-0',
  '1.5',
  'abc',
  'NaN',
  'Infinity',
  '-Infinity',
  '1e9',
  '1e300',
  '9'.repeat(40),
  '0x10',
  ' 7',
  '١٢',
];
const texts = [
  '',
  ' ',
  '%',
  '_%'.repeat(2_000),
  "'; --",
  '\\',
  '[]',
  '{}',
  'null',
  'true',
  '[object Object]',
  '\u2028',
  '😀',
  'x'.repeat(9_000),
  '-271821-04-20',
  '+275760-09-13T00:00:00Z',
  '2026-01-01',
  'Infinity',
  '1e400',
];
const names = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'length',
  '0',
  '-1',
  '',
  ' ',
  'passwordHash',
  'id',
  'createdAt',
  'then',
];
const fields = [...new Set(tables.flatMap((view) => view.fields.map(({ name }) => name)))];

describe.each(await databases())('odd requests to the panel of a backend on %s', (database) => {
  let core: Core;
  let admin: Visitor;
  const paths: string[] = [];

  beforeAll(async () => {
    await bundlePanel();
    core = await startCore({ database, mountPanel });
    admin = createVisitor(core.rig.url);
    await admin.send('/admin/login', { login: 'admin', password });
    expect((await admin.get('/admin')).status).toBe(200);
    for (let count = 0; count < 30; count += 1) await core.send(`m${count}`, { async: true });
    for (const { id } of tables) {
      const reply = await admin.get(`/admin/api/resources/${id}/actions/list`);
      expect([id, reply.status]).toEqual([id, 200]);
      paths.push(`/admin/api/resources/${id}/actions/list`, `/admin/resources/${id}`);
      const { records } = reply.json() as { records: { id: string }[] };
      for (const record of ['x', '__proto__', "'", '%25', 'x'.repeat(500), ...(records[0] ? [records[0].id] : [])])
        paths.push(`/admin/api/resources/${id}/records/${record}/show`, `/admin/resources/${id}/records/${record}/show`);
    }
  }, 60_000);
  afterAll(() => core?.close());

  const failed = async (
    path: string,
    ask = (): ReturnType<Visitor['get']> => admin.get(path, { accept: 'application/json' }),
  ) => {
    const { status, text } = await ask();
    return status >= 500 ? `${status} ${path.slice(0, 300)} ${text.slice(0, 200)}` : null;
  };

  test('each parameter with each odd value: nothing fails', async () => {
    const wrong: (string | null)[] = [];
    const base = '/admin/api/resources/messages/actions/list?';
    const queries = [
      ...['page', 'perPage'].flatMap((name) => numbers.map((value) => `${name}=${encodeURIComponent(value)}`)),
      ...[
        'sortBy',
        'direction',
        'filters',
        'filters.text',
        'filters.sessionId',
        'filters.createdAt~~from',
        'filters.createdAt',
        'filters.chatName',
      ].flatMap((name) => [...texts, ...names].map((value) => `${name}=${encodeURIComponent(value)}`)),
      ...names.flatMap((name) => [
        `${name}=1`,
        `filters.${name}=1`,
        `filters.chatName.${name}=1`,
        `filters.${name}.x=1`,
        `filters.createdAt~~${name}=1`,
        `page.${name}=1`,
        `sortBy.${name}=x`,
      ]),
      'page=1&page=2',
      'perPage=1&perPage=2&perPage=x',
      'sortBy=id&sortBy=status&direction=asc&direction=desc',
      'filters.chatName=a&filters.chatName=b',
      'filters[chatName]=a&filters[]=b&filters%5B__proto__%5D=c',
      'filters.createdAt~~from~~to~~from=2026',
      `filters${'.a'.repeat(5_000)}=1`,
      `${'filters.x=1&'.repeat(1_000)}`,
      `filters.chatName${'~~a'.repeat(3_000)}=1`,
    ];
    for (const query of queries) wrong.push(await failed(base + query));
    expect(wrong.filter(Boolean)).toEqual([]);
  }, 120_000);

  test('a page that is no whole number from 1 is the first, and never more rows than one page are read', async () => {
    const list = async (query: string) => {
      const reply = await admin.get(`/admin/api/resources/messages/actions/list?${query}`);
      expect([query, reply.status]).toEqual([query, 200]);
      return reply.json() as { records: { id: string }[]; meta: { perPage: number; page: number; total: number } };
    };
    const first = (await list('')).records.map(({ id }) => id);
    expect(first).toHaveLength(25);
    for (const page of ['-1', '0', 'abc', 'Infinity', '1.5', '1e300', '1&page=7'])
      expect([page, (await list(`page=${page}`)).records.map(({ id }) => id)]).toEqual([page, first]);
    for (const perPage of ['-1', '0', 'abc', 'NaN', '1.5']) expect((await list(`perPage=${perPage}`)).records).toHaveLength(25);
    expect((await list('perPage=2')).records).toHaveLength(2);
    expect((await list('perPage=100')).records).toHaveLength(30);
    expect((await list('page=9999999&perPage=100')).records).toEqual([]);
    expect((await list('page=2')).records).toHaveLength(5);
  }, 60_000);

  test('a filter that names a place in a list a billion long costs nothing', async () => {
    for (const place of [1e5, 1e8, 4_294_967_290]) {
      const began = performance.now();
      const reply = await admin.get(`/admin/api/resources/messages/actions/list?filters.chatName.${place}=x`);
      expect([reply.status, performance.now() - began < 1_000]).toEqual([200, true]);
    }
  }, 60_000);

  test('parameters, tables, records, methods and types at random: nothing fails', async () => {
    const random = randomOf(seed);
    const wrong: (string | null)[] = [];
    const name = (): string =>
      random.pick([
        () => random.pick(['page', 'perPage', 'sortBy', 'direction', 'filters', 'tab', 'query', 'searchProperty', 'recordIds']),
        () => `filters.${random.pick([...fields, ...names])}`,
        () =>
          `filters.${random.pick(fields)}${random.pick(['~~from', '~~to', '~~x', '.0', '.length', '[]', '[0]', '.__proto__'])}`,
        () => random.pick(names),
      ])();
    const value = (): string => random.pick([...numbers, ...texts, ...names]).slice(0, 3_000);
    const types = [
      'application/json',
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'multipart/form-data; boundary=x',
      'application/json; charset=x',
      '',
    ];
    const bodies = [
      '',
      '{',
      '{}',
      '[]',
      'null',
      '1',
      '"x"',
      '{"__proto__":{"role":"admin"}}',
      '{"recipient":[]}',
      '['.repeat(20_000),
      '--x\r\n',
      'a=1&a=2&__proto__=3',
    ];
    const posts = [
      '/live/sessions',
      '/live/sessions/x/send',
      '/live/messages/x/resend',
      '/live/sessions/x/start',
      '/live/messages/x/retry',
      '/live/messages/x/schedule',
      '/live/schedules',
      '/live/schedule-preview',
      '/live/schedules/x/times',
      '/live/schedules/x/pause',
      '/live/accounts',
      '/live/accounts/x/limits',
      '/live/keys',
      '/live/plans',
      '/live/plans/x',
      '/live/templates',
      '/live/template-preview',
      '/live/optouts',
      '/live/accounts/x/keywords',
      '/live/webhooks',
      '/live/webhooks/x/test',
      '/theme',
      '/password',
      '/api/resources/messages/actions/list',
      '/api/resources/messages/bulk/bulkDelete',
      '/api/resources/accounts/records/x/edit',
    ];
    const reads = [
      '/live/overview',
      '/live/chart',
      '/live/sessions/x',
      '/live/messages/x',
      '/live/events',
      '/live/workers',
      '/live/errors',
      '/live/schedules',
      '/live/accounts/x',
      '/live/keys/x',
      '/live/webhooks/x',
      '/live/plans/x',
      '/live/templates/x',
      '/live/template-types',
      '/live/optouts/x',
      '/live/accounts/x/keywords',
      '/live/choices',
      '/live/find',
      '/live/media/x',
      '/live/thumbnails/x',
      '/api/dashboard',
      '/api/pages/events',
      '/api/resources/messages/bulk/bulkDelete',
      '/api/resources/messages/search/x',
      '/api/resources/__proto__/actions/list',
      '/resources/messages/bulk/x',
      '/pages/__proto__',
      '/pages/events',
    ];
    for (let count = 0; count < requests; count += 1) {
      const query = Array.from({ length: random.below(5) }, () => `${name()}=${encodeURIComponent(value())}`)
        .join('&')
        .slice(0, 14_000);
      const kind = random.below(10);
      if (kind < 6) wrong.push(await failed(`${random.pick(paths)}?${query}`));
      else if (kind < 8) wrong.push(await failed(`/admin${random.pick(reads)}?${query}`));
      else {
        const [path, type, body] = [`/admin${random.pick(posts)}?${query}`, random.pick(types), random.pick(bodies)];
        const method = random.pick(['POST', 'POST', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']);
        wrong.push(
          await failed(`${method} ${path} ${type} ${body.slice(0, 30)}`, () =>
            admin.ask(method, path, body, { 'content-type': type, accept: 'application/json' }),
          ),
        );
      }
    }
    expect({ seed, wrong: wrong.filter(Boolean) }).toEqual({ seed, wrong: [] });
  }, 120_000);
});

test.each(await databases())(
  'on %s a text search of the panel reaches beyond a thousand messages, with other filters too',
  async (database) => {
    const core = await startCore({ database });
    try {
      const { reader, write } = core.rig.database;
      await core.send('the first of many');
      const [first] = await reader.getRepository(Message).find();
      const copies = 1_100;
      await write.run(async (tx) => {
        for (let index = 0; index < copies; index += 1) {
          const more = { id: newId(), whatsappKey: `copy${index}`, whatsappId: `true_x_copy${index}`, text: 'needle in many' };
          await insertRow(tx, Message, { ...first!, ...more, status: index === 0 ? 'failed' : 'sent' });
        }
      });
      const ignore = (): void => undefined;
      const quiet = { error: ignore, warn: ignore, info: ignore, debug: ignore, isDebug: false };
      const search = createMessageSearch({ database: core.rig.database, log: quiet, report: () => undefined });
      const view = tables.find(({ id }) => id === 'messages')!;
      const panel = new PanelResource(view, reader, search);
      const filter = (filters: Record<string, string>) =>
        ({ filters: Object.fromEntries(Object.entries(filters).map(([name, value]) => [name, { value }])) }) as never;
      expect(await panel.count(filter({ text: 'NEEDLE' }))).toBe(copies);
      expect(await panel.find(filter({ text: 'needle', status: 'failed' }), { limit: 10, offset: 0 })).toHaveLength(1);
      expect(await panel.find(filter({ text: 'needle' }), { limit: 50, offset: 1_080 })).toHaveLength(20);
    } finally {
      await core.close();
    }
  },
);
