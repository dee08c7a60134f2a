import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { tables } from '../src/admin/tables.js';
import { parseCsv } from '../src/lib/csv.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addMessage, addSession } from './panel.rows.js';
import { createVisitor, type Visitor } from './panel.visitor.js';

/** Any list of the panel as a file for spreadsheets. */

let world: World;
let staff: Visitor;
const day = 86_400_000;
const start = Date.parse('2026-11-01T08:00:00.250Z');

beforeAll(async () => {
  world = await startWorld();
  const { database, events, accounts } = world;
  const sessionId = await addSession(database.write, { accountId: accounts.user, name: 'shop', status: 'connected' });
  const add = (more: Partial<Parameters<typeof addMessage>[2]>, days: number) =>
    addMessage(database, events, { sessionId, text: 'hi', at: new Date(start + days * day), ...more });
  await add({ text: '=HYPERLINK("http://evil")', status: 'failed' }, 0);
  await add({ text: 'two\nlines, "quoted"', status: 'sent' }, 1);
  // More than one part is read.
  for (let n = 0; n < 205; n += 1) await add({ text: `late ${n}`, direction: 'inbound' }, 2);
  staff = createVisitor(world.url);
  expect((await staff.send('/admin/login', { login: 'tomas', password: passwords.staff })).status).toBe(303);
}, 120_000);
afterAll(() => world?.close());

async function rowsOf(path: string): Promise<Record<string, string>[]> {
  const reply = await staff.get(path);
  expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'text/csv; charset=utf-8']);
  const [head = [], ...rows] = parseCsv(reply.text.replace(/^\uFEFF/, ''));
  return rows.map((row) => Object.fromEntries(head.map((name, n) => [name, row[n] ?? ''])));
}

test('the messages that the filters show, in the order of the list, with names, times and no formula', async () => {
  const rows = await rowsOf('/admin/live/lists/messages/csv?filters.direction=outbound&sortBy=id&direction=asc');
  expect(rows).toEqual([
    expect.objectContaining({ Text: `'=HYPERLINK("http://evil")`, Status: 'failed', When: '2026-11-01T08:00:00.250Z' }),
    expect.objectContaining({
      Text: 'two\nlines, "quoted"',
      Status: 'sent',
      Session: 'shop',
      Account: 'bakery',
      Chat: 'Ines Okafor',
    }),
  ]);
});

test('all rows, each once, newest first', async () => {
  const rows = await rowsOf('/admin/live/lists/messages/csv');
  const ids = rows.map((row) => row['Id']!);
  expect([ids.length, new Set(ids).size]).toEqual([207, 207]);
  expect(ids).toEqual([...ids].sort().reverse());
});

test('after a download that is broken off the next one is whole, and nothing warns of a leak', async () => {
  const warnings: string[] = [];
  const warn = (warning: Error): void => void warnings.push(warning.message);
  process.on('warning', warn);
  const cookie = [...staff.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const response = await fetch(`${world.url}/admin/live/lists/messages/csv`, { headers: { cookie } });
  await response.body!.cancel();
  expect(await rowsOf('/admin/live/lists/messages/csv')).toHaveLength(207);
  process.off('warning', warn);
  expect(warnings).toEqual([]);
});

test('a range of times and a part of a name', async () => {
  const range = 'filters.createdAt~~from=2026-11-01&filters.createdAt~~to=2026-11-02';
  expect(await rowsOf(`/admin/live/lists/messages/csv?${range}`)).toHaveLength(1);
  expect(
    await rowsOf('/admin/live/lists/messages/csv?filters.sessionId=sho&filters.status=sent&filters.direction=outbound'),
  ).toHaveLength(1);
});

test.each(tables.map(({ id }) => id))('the list of %s', async (id) => {
  const reply = await staff.get(`/admin/live/lists/${id}/csv?filters.__proto__=1&filters.createdAt~~x=1&sortBy=passwordHash`);
  expect(reply.status).toBe(200);
  expect(reply.headers.get('content-disposition')).toMatch(/^attachment; filename="[-a-z]+\.csv"$/);
  expect(reply.text).not.toMatch(/\$argon2|\$scrypt|passwordHash|keyHash/);
});

test('a table that does not exist, and a visitor without a login', async () => {
  expect((await staff.get('/admin/live/lists/secrets/csv', { accept: 'application/json' })).status).toBe(404);
  const stranger = createVisitor(world.url);
  expect((await stranger.get('/admin/live/lists/messages/csv', { accept: 'application/json' })).status).toBe(401);
});
