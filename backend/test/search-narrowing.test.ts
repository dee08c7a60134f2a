import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, foldText } from '@chasqui/shared';
import fc from 'fast-check';
import { runStatement } from '../src/db/statement.js';
import { listMessages } from '../src/messages/read/list.js';
import type { ListQuery } from '../src/messages/contract.js';
import { createMessageSearch, type MessageSearch } from '../src/search/search.js';
import { createSearchStore } from '../src/search/store.js';
import { makeAccount } from './support/account.js';
import { databases, migratedDatabase } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { silentLog } from './support/silent-log.js';

/**
 * A text search that is narrowed by anything returns what a scan of all messages returns: on each database, and on PostgreSQL with each plan that its
 * planner can choose. There are more messages than the search reads at a time, and more matches than it counts.
 */

const total = 3_000;
const sessions = 3;
/** The number of the only uncertain message, in the middle. */
const rare = 1_500;
const words = ['order', 'invoice', 'Größe', 'привет', '你好'];
const types = ['text', 'text', 'text', 'image', 'sticker'] as const;
const chats = ['5511999990001@c.us', '5511999990002@c.us', '120363000000000001@g.us'];
const authors = ['5511999990001@c.us', '5511999990003@c.us'];
/** Recent: what is older than the retention period is deleted in the background. */
const start = Math.floor(Date.now() / 1_000) * 1_000 - 10 * 86_400_000;

interface Row {
  id: string;
  createdAt: number;
  account: number;
  session: number;
  origin: 'live' | 'backfill' | 'api' | 'device';
  type: (typeof types)[number];
  status: string;
  chatId: string;
  fromId: string;
  text: string;
}

/** The same rows in every run: a linear congruential generator. */
function makeRows(): Row[] {
  let state = 20_261;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * below);
  };
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  return Array.from({ length: total }, (_, number) => {
    // Some messages share a millisecond. In the middle the clock is set back, first by ten minutes and then by 30 days: ids go on, times do not.
    const idMs = start + Math.floor(number / 2) * 2_000;
    const setBackMs = number > 1_000 && number < 1_400 ? 600_000 : number > 2_000 && number < 2_100 ? 30 * 86_400_000 : 0;
    const origin = pick(['live', 'live', 'backfill', 'api', 'device'] as const);
    const type = random(400) === 0 ? 'sticker' : pick(types.slice(0, 4));
    return {
      id: newId(idMs),
      createdAt: idMs - setBackMs,
      account: random(10) === 0 && number !== rare ? 1 : 0,
      session: random(sessions),
      origin,
      type,
      status:
        number === rare
          ? 'uncertain'
          : origin === 'live' || origin === 'backfill'
            ? 'delivered'
            : pick(['sent', 'read', 'failed']),
      chatId: pick(chats),
      fromId: pick(authors),
      text: `${number === rare ? 'order' : pick(words)} ${pick(words)} ${number}`,
    };
  });
}

const inbound = ['live', 'backfill'];
const isInbound = ({ origin }: Row): boolean => inbound.includes(origin);

interface Narrowing {
  account: number;
  term: string;
  session?: number | undefined;
  types?: string[] | undefined;
  origins?: string[] | undefined;
  direction?: 'inbound' | 'outbound' | undefined;
  status?: string | undefined;
  chatId?: string | undefined;
  contact?: string | undefined;
  from?: number | undefined;
  to?: number | undefined;
  order: 'asc' | 'desc';
  limit: number;
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined, freq: 1 });
const time = fc.integer({ min: start - 1_000_000, max: start + total * 1_000 });
const narrowings: fc.Arbitrary<Narrowing> = fc.record({
  account: fc.constantFrom(0, 0, 0, 1),
  term: fc.constantFrom(...words, 'ORDER INVOICE', 'o', 'or', '你', '12', 'order 3', 'nowhere'),
  session: maybe(fc.nat({ max: sessions - 1 })),
  types: maybe(fc.subarray(['text', 'image', 'sticker', 'poll'], { minLength: 1 })),
  origins: maybe(fc.subarray(['live', 'backfill', 'api', 'device', 'panel'], { minLength: 1 })),
  direction: maybe(fc.constantFrom('inbound', 'outbound')),
  status: maybe(fc.constantFrom('delivered', 'read', 'failed')),
  chatId: maybe(fc.constantFrom(...chats)),
  contact: maybe(fc.constantFrom(...authors)),
  from: maybe(time),
  to: maybe(time),
  order: fc.constantFrom('asc', 'desc'),
  limit: fc.constantFrom(150, 200),
});

function scan(rows: readonly Row[], wanted: Narrowing): string[] {
  const { account, term, session, direction, status, chatId, contact, from = -Infinity, to = Infinity, order } = wanted;
  const sign = order === 'asc' ? 1 : -1;
  return rows
    .filter(
      (row) =>
        row.account === account &&
        foldText(row.text).includes(foldText(term)) &&
        (session === undefined || row.session === session) &&
        (!wanted.types || wanted.types.includes(row.type)) &&
        (!wanted.origins || wanted.origins.includes(row.origin)) &&
        (!direction || isInbound(row) === (direction === 'inbound')) &&
        (!status || row.status === status) &&
        (!chatId || row.chatId === chatId) &&
        (!contact || row.chatId === contact || (row.chatId.endsWith('@g.us') && row.fromId === contact)) &&
        row.createdAt >= from &&
        row.createdAt <= to,
    )
    .sort((a, b) => (a.id < b.id ? -sign : sign))
    .map(({ id }) => id);
}

const variants = (await databases()).flatMap((database): [string, 'sqlite' | 'postgres', string][] =>
  database === 'sqlite'
    ? [['SQLite', database, '']]
    : [
        [
          'PostgreSQL with the index of grams',
          database,
          '-c enable_indexscan=off -c enable_seqscan=off -c enable_indexonlyscan=off',
        ],
        ['PostgreSQL in the order of time', database, '-c enable_bitmapscan=off -c enable_seqscan=off'],
        ['PostgreSQL with the plan it chooses', database, ''],
      ],
);

describe.each(variants)('narrowed search on %s', (_, database, options) => {
  let core: Core;
  let drop: (() => Promise<void>) | undefined;
  let keys: string[];
  let sessionIds: string[][];
  const rows = makeRows();

  beforeAll(async () => {
    let databaseUrl: string | undefined;
    if (database === 'postgres') {
      const own = await migratedDatabase();
      drop = own.drop;
      databaseUrl = options === '' ? own.url : `${own.url}?options=${encodeURIComponent(options)}`;
    }
    core = await startCore({ database, ...(databaseUrl ? { databaseUrl } : {}), linked: false });
    const { id } = (await core.get('/auth/me')).body.data as { id: string };
    const other = await makeAccount(core.rig);
    keys = [core.rig.apiKey, other.key];
    sessionIds = await Promise.all(
      keys.map(async (key) => {
        const ids: string[] = [];
        for (let number = 0; number < sessions; number += 1) {
          const { body } = await core.rig.call('POST', '/sessions', { key, body: { name: `narrowing-${number}` } });
          ids.push((body.data as { id: string }).id);
        }
        return ids;
      }),
    );
    await fill(core, rows, [id, other.id], sessionIds);
  });
  afterAll(async () => {
    await core.close();
    await drop?.();
  });

  /** All pages of the search, and what the first one says of their number. */
  async function find(wanted: Narrowing): Promise<{ ids: string[]; total: unknown; totalExact: unknown }> {
    const { account, term, session, types: kinds, origins, from, to } = wanted;
    const filters = {
      search: term,
      sessionId: session === undefined ? undefined : sessionIds[account]![session],
      type: kinds?.join(','),
      origin: origins?.join(','),
      direction: wanted.direction,
      status: wanted.status,
      chatId: wanted.chatId,
      contact: wanted.contact,
      from: from === undefined ? undefined : new Date(from).toISOString(),
      to: to === undefined ? undefined : new Date(to).toISOString(),
      order: wanted.order,
      limit: String(wanted.limit),
    };
    const given = Object.entries(filters).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const ids: string[] = [];
    let first: Record<string, unknown> | undefined;
    for (let cursor: string | null = ''; cursor !== null;) {
      const query = new URLSearchParams([...given, ...(cursor ? [['cursor', cursor]] : [])]);
      const { body } = await core.rig.call('GET', `/messages/list?${query}`, { key: keys[account]! });
      if (!body.success) throw new Error(JSON.stringify(body.error));
      ids.push(...(body.data as { id: string }[]).map(({ id }) => id));
      first ??= body.meta;
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    return { ids, total: first?.['total'], totalExact: first?.['totalExact'] };
  }

  const isAsScanned = async (wanted: Narrowing): Promise<void> => {
    const expected = scan(rows, wanted);
    const found = await find(wanted);
    expect(found.ids).toEqual(expected);
    if (found.totalExact) expect(found.total).toBe(expected.length);
    else expect(expected.length).toBeGreaterThanOrEqual(Number(found.total));
  };

  test('every match of one session, of a rare type and of the whole account is on one of the pages', async () => {
    for (const order of ['asc', 'desc'] as const)
      for (const term of ['order', 'o'])
        for (const narrowing of [{}, { session: 1 }, { types: ['sticker'] }, { session: 2, types: ['image'] }])
          await isAsScanned({ account: 0, term, order, limit: 200, ...narrowing });
  });

  test('messages with ids of 30 days after their time are found by their time', async () => {
    const before = start - 2 * 86_400_000;
    const late = { account: 0, term: 'order', to: before } as const;
    for (const order of ['asc', 'desc'] as const) {
      for (const more of [{ limit: 7 }, { limit: 7, from: before - 40 * 86_400_000 }, { limit: 200, term: 'o' }])
        await isAsScanned({ ...late, order, ...more });
      await isAsScanned({ ...late, order, limit: 200, to: start + 2_500_000 });
    }
    expect(scan(rows, { ...late, order: 'asc', limit: 7 }).length).toBeGreaterThan(7);
  });

  test('a page costs a limited number of rows where few match, and the next pages have the rest', async () => {
    const { database: source } = core.rig;
    const all = createMessageSearch({ database: source, log: silentLog, report: () => undefined });
    const { id: accountId } = (await core.get('/auth/me')).body.data as { id: string };
    const pageOf = async (more: Partial<ListQuery>, usesIndex = true) => {
      const query = { search: 'e', status: ['uncertain'], order: 'desc', limit: 50, offset: 0, ...more } as ListQuery;
      const find: MessageSearch['find'] = (wanted) =>
        all.find({ ...wanted, only: usesIndex ? null : wanted.only, maxPlaces: 300 });
      const search: Pick<MessageSearch, 'find'> = { find };
      const parts = { reader: source.reader, contacts: { formsOf: () => Promise.resolve([]) }, search };
      const { messages, meta } = await listMessages(parts, { accountId, sessionId: null, query });
      return { ids: messages.map(({ id }) => id), ...(meta as { searchComplete: boolean; nextCursor: string | null }) };
    };
    const more = { searchComplete: false, nextCursor: expect.any(String) };
    const end = { searchComplete: true, nextCursor: null };
    for (const order of ['asc', 'desc'] as const) {
      const first = await pageOf({ order });
      expect(first).toMatchObject({ ids: [], total: 0, totalExact: false, ...more });
      const found: string[] = [];
      let pages = 1;
      for (let page = first; page.nextCursor !== null; pages += 1) {
        page = await pageOf({ order, cursor: page.nextCursor });
        expect(page.searchComplete).toBe(page.nextCursor === null);
        found.push(...page.ids);
      }
      expect(found).toEqual([rows[rare]!.id]);
      expect(pages).toBeGreaterThan(3);
      // Where few messages meet the filters, they are compared, and the index is not read.
      expect(await pageOf({ order }, false)).toMatchObject({ ids: found, total: 1, totalExact: true, ...end });
    }
    // The index is read within the times that are asked for, a minute before and a day after them. Later ids are read only of late messages.
    const at = (time: number): string => new Date(time).toISOString();
    for (const order of ['asc', 'desc'] as const)
      for (const times of [{ from: at(rows.at(-200)!.createdAt) }, { to: at(start - 2 * 86_400_000) }])
        expect(await pageOf({ order, ...times })).toMatchObject({ ids: [], ...end });
  });

  test('a term that names hundreds of chats finds every message of them, near and far', async () => {
    const { database: source } = core.rig;
    const all = createMessageSearch({ database: source, log: silentLog, report: () => undefined });
    const { id: accountId } = (await core.get('/auth/me')).body.data as { id: string };
    const unused = Array.from({ length: 300 }, (_, number) => ({ sessionId: null, waId: `4477009${number + 10_000}@c.us` }));
    for (const order of ['asc', 'desc'] as const)
      for (const chatId of chats)
        for (const [status, limit] of [
          [undefined, 200],
          ['uncertain', 200],
          ['failed', 200],
        ] as const) {
          const named = { chats: [...unused, { sessionId: null, waId: chatId }], messageIds: [], among: null };
          const search: Pick<MessageSearch, 'find'> = { find: (wanted) => all.find({ ...wanted, named }) };
          const parts = { reader: source.reader, contacts: { formsOf: () => Promise.resolve([]) }, search };
          const found: string[] = [];
          for (let cursor: string | null | undefined; cursor !== null;) {
            const given = { search: 'zzzz', order, limit, offset: 0, ...(status ? { status: [status] } : {}) };
            const query = { ...given, ...(cursor ? { cursor } : {}) } as ListQuery;
            const { messages, meta } = await listMessages(parts, { accountId, sessionId: null, query });
            found.push(...messages.map(({ id }) => id));
            cursor = (meta as { nextCursor: string | null }).nextCursor;
          }
          const isWanted = (row: Row): boolean =>
            (row.chatId === chatId || (row.chatId.endsWith('@g.us') && row.fromId === chatId)) &&
            (!status || row.status === status);
          const expected = rows.filter((row) => row.account === 0 && isWanted(row)).map(({ id }) => id);
          expect(found).toEqual(order === 'asc' ? expected : expected.reverse());
        }
  });

  test('any narrowing returns what a scan of all messages returns', async () => {
    await fc.assert(fc.asyncProperty(narrowings, isAsScanned), { numRuns: 20 });
  });
});

/** Inserts and indexes the rows, many at a time: the background job would take minutes. */
async function fill(core: Core, rows: readonly Row[], accountIds: string[], sessionIds: string[][]): Promise<void> {
  const { write, reader } = core.rig.database;
  const store = createSearchStore(core.rig.database);
  const fieldsOf = (row: Row): Record<string, string | number> => ({
    id: row.id,
    accountId: accountIds[row.account]!,
    sessionId: sessionIds[row.account]![row.session]!,
    whatsappKey: `3EB0${row.id.replaceAll('-', '').slice(0, 28)}`,
    direction: isInbound(row) ? 'inbound' : 'outbound',
    origin: row.origin,
    type: row.type,
    status: row.status,
    chatId: row.chatId,
    chatType: row.chatId.endsWith('@g.us') ? 'group' : 'private',
    contact: JSON.stringify({ id: row.fromId, phone: null, lid: null, name: null }),
    fromId: row.fromId,
    toId: row.chatId,
    content: JSON.stringify({ type: 'text', message: row.text }),
    text: row.text,
    mentions: '[]',
    timestamp: row.createdAt,
    createdAt: row.createdAt,
  });
  const names = Object.keys(fieldsOf(rows[0]!));
  const columns = names.map((name) => `"${name}"`).join(', ');
  for (let at = 0; at < rows.length; at += 1_000) {
    const part = rows.slice(at, at + 1_000);
    const fields = part.map(fieldsOf);
    await write.run(async (tx) => {
      if (reader.options.type === 'postgres') {
        const lists = names.map((name) => `?::${['timestamp', 'createdAt'].includes(name) ? 'bigint' : 'text'}[]`);
        const values = names.map((name) => fields.map((row) => row[name]));
        await runStatement(tx.manager, `INSERT INTO messages (${columns}) SELECT * FROM unnest(${lists.join(', ')})`, values);
      } else {
        const sql = `INSERT INTO messages (${columns}) VALUES (${names.map(() => '?').join(', ')})`;
        for (const row of fields) await runStatement(tx.manager, sql, Object.values(row));
      }
      const ids = part.map(({ id }) => id);
      await store.refresh(tx, ids);
      await runStatement(tx.manager, 'DELETE FROM search_queue', []);
    });
  }
  if (reader.options.type === 'postgres') await reader.query('VACUUM ANALYZE messages, message_grams');
}
