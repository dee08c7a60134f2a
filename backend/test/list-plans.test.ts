import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DataSource, QueryRunner } from 'typeorm';
import type { Database } from '../src/db/database.js';
import { runStatement } from '../src/db/statement.js';
import type { ListQuery } from '../src/messages/contract.js';
import { listMessages, type MessagePage } from '../src/messages/read/list.js';
import { namedIn } from '../src/messages/read/named.js';
import { topChats } from '../src/statistics/chats.js';
import { databases } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { closers, openOwn } from './support/own-database.js';

/** What PostgreSQL reads for lists, and how many statements it gets: each costs both processes more than most of them read. */

const accountId = 'account';
const scope = { accountId, sessionId: null };
const chats = 100;
const groups = 20;
/** Messages of each chat. */
const each = 200;
const chatId = (number: number): string => `55119${10_000_000 + number}@c.us`;

describe.each((await databases()).filter((database) => database === 'postgres'))('lists on %s', (dialect) => {
  let database: Database;
  let runner: QueryRunner;
  /** Reads in one transaction, in which PostgreSQL counts what it reads. */
  let reader: DataSource;
  interface Sent {
    text: string;
    values: unknown[];
  }
  let sent: Sent[] = [];

  beforeAll(async () => {
    database = (await openOwn(dialect)).opened;
    const fill = (sql: string): Promise<unknown> => runStatement(database.reader, sql);
    const person = `'55119' || (10000000 + n % ${chats}) || '@c.us'`;
    await fill(`INSERT INTO sessions (id, "accountId", name, "liveName", settings, metadata, "createdAt", "updatedAt")
      VALUES ('session', '${accountId}', 'one', 'one', '{}', '{}', 1, 1)`);
    await fill(`INSERT INTO messages (id, "accountId", "sessionId", "whatsappKey", direction, origin, type, status, "chatId", "chatType", mentions, text, "createdAt")
      SELECT lpad(n::text, 12, '0'), '${accountId}', 'session', n::text, 'inbound', 'live', 'text', 'delivered', ${person}, 'private', '[]', repeat('text ', 40), n
      FROM generate_series(1, ${chats * each}) AS n`);
    await fill(`INSERT INTO contacts (id, "accountId", "sessionId", phone, name, "foldedName", "createdAt", "updatedAt")
      SELECT n::text, '${accountId}', 'session', '55119' || (10000000 + n), 'Maria ' || n, 'maria ' || n, 1, 1 FROM generate_series(0, ${chats - 1}) AS n`);
    await fill(`INSERT INTO contact_forms ("sessionId", "waId", "accountId", "contactId")
      SELECT 'session', ${person}, '${accountId}', n::text FROM generate_series(0, ${chats - 1}) AS n`);
    await fill(`INSERT INTO conversations ("sessionId", "chatId", "accountId", "lastAt", "lastId", unread, "chatName", "foldedName")
      SELECT 'session', 'person' || n || '@c.us', '${accountId}', n, n::text, 0, NULL, NULL FROM generate_series(1, 5000) AS n
      UNION ALL SELECT 'session', n || '@g.us', '${accountId}', n, n::text, 0, 'Club ' || n, 'club ' || n FROM generate_series(1, ${groups}) AS n`);
    await fill(`INSERT INTO usage_chats ("accountId", at, "sessionId", "chatId", inbound, outbound)
      SELECT '${accountId}', 0, 'session', CASE WHEN n <= ${groups} THEN n || '@g.us' ELSE ${person} END, 100 - n, 1 FROM generate_series(1, 60) AS n`);
    await fill(`INSERT INTO event_counters (scope, last) VALUES ('log', 0)`);
    for (const table of ['contacts', 'contact_forms', 'conversations', 'usage_chats']) await fill(`VACUUM ANALYZE ${table}`);
    // PostgreSQL counts in an index only where a vacuum has seen that every transaction sees the rows: not while any older one runs.
    const isVisible = async (): Promise<boolean> => {
      await fill('VACUUM ANALYZE messages');
      const sql = `SELECT 1 AS one FROM pg_class WHERE relname = 'messages' AND relallvisible = relpages`;
      return (await runStatement(database.reader, sql)).rows.length > 0;
    };
    await eventually('all pages to be visible', isVisible, 40_000);
    runner = database.reader.createQueryRunner();
    await runner.startTransaction();
    const client = (await runner.connect()) as { query: (...statement: [Sent]) => Promise<unknown> };
    const query = client.query.bind(client);
    client.query = (...statement) => {
      sent.push(statement[0]);
      return query(...statement);
    };
    reader = { connection: database.reader, queryRunner: runner, options: database.reader.options } as unknown as DataSource;
  }, 60_000);
  afterAll(async () => {
    await runner?.rollbackTransaction();
    await runner?.release();
    for (const close of closers.splice(0).reverse()) await close();
  });

  /** Returns how many rows of a table were read, and the statements. Rows that an index answers by itself do not count. */
  async function readsOf(table: string, read: () => Promise<unknown>): Promise<{ rows: number; statements: string[] }> {
    const count = async (): Promise<number> => {
      const sql = 'SELECT seq_tup_read + idx_tup_fetch AS n FROM pg_stat_xact_user_tables WHERE relname = ?';
      return Number((await runStatement<{ n: string }>(runner.manager, sql, [table])).rows[0]!.n);
    };
    const before = await count();
    sent = [];
    await read();
    const statements = sent.map(({ text }) => text);
    return { rows: (await count()) - before, statements };
  }

  const listed = (query: Partial<ListQuery>): Promise<MessagePage> =>
    listMessages(
      {
        reader,
        contacts: { formsOf: (_, id) => Promise.resolve([id]) },
        search: { find: () => Promise.reject(new Error('not a search')) },
      },
      { ...scope, query: { limit: 50, offset: 0, order: 'desc', ...query } as ListQuery },
    );

  /** Returns how many pages of tables and indexes a statement reads. */
  async function pagesOf({ text, values }: Sent): Promise<number> {
    const [row] = (await runner.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values)) as {
      'QUERY PLAN': [{ Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number } }];
    }[];
    const plan = row!['QUERY PLAN'][0].Plan;
    return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
  }

  test('the total of a chat is counted in the index', async () => {
    sent = [];
    const page = await listed({ chatId: chatId(7), limit: 5 });
    expect(page.messages).toHaveLength(5);
    expect(page.meta).toMatchObject({ total: each });
    // In the table, each message of the chat is in another page.
    let pages = 0;
    for (const statement of [...sent]) pages += await pagesOf(statement);
    expect(pages).toBeLessThan(45);
  });

  test('a page and its total are two statements, and a page that is not full is not counted', async () => {
    const full = await readsOf('messages', () => listed({ limit: 10 }));
    expect(full.statements).toHaveLength(2);
    const page = await listed({ chatId: chatId(7), limit: 200, offset: 150 });
    expect(page.messages).toHaveLength(50);
    expect(page.meta).toMatchObject({ total: each, totalExact: true });
    expect(await listed({ chatId: chatId(7), limit: 10, offset: 500 })).toMatchObject({ messages: [], meta: { total: each } });
    expect(await listed({ chatId: chatId(500) })).toMatchObject({ messages: [], meta: { total: 0, totalExact: true } });
    const { namesVersion } = await listed({ limit: 1 });
    expect(namesVersion).toEqual(expect.any(Number));
  });

  test('the spellings of a number are looked for in one reading', async () => {
    const { statements } = await readsOf('contact_forms', async () => {
      const { chats: found } = await namedIn(reader, scope, '10000007');
      expect(found.map(({ waId }) => waId)).toContain(chatId(7));
    });
    expect(statements.filter((text) => text.includes('LIKE'))).toHaveLength(2);
  });

  test('the name of a group is looked for among the groups', async () => {
    const { rows } = await readsOf('conversations', async () => {
      const { chats: found } = await namedIn(reader, scope, 'club 11');
      expect(found.map(({ waId }) => waId)).toEqual(['11@g.us']);
    });
    expect(rows).toBeLessThanOrEqual(groups);
  });

  test('the names of the busiest groups are one statement', async () => {
    const contacts = { people: () => Promise.resolve(() => null) };
    const { statements } = await readsOf('conversations', async () => {
      const { chats: found } = await topChats({ database: { ...database, reader }, contacts }, scope, { from: 0, to: 1 });
      const expected = Array.from({ length: 10 }, (_, index) => ({
        id: `${index + 1}@g.us`,
        type: 'group',
        name: `Club ${index + 1}`,
      }));
      expect(found.map(({ chat }) => chat)).toEqual(expected);
    });
    expect(statements.filter((text) => text.includes('"chatName"'))).toHaveLength(1);
  });
});
