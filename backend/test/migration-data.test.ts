import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { foldText, message as messageSchema, type StoredContent } from '@chasqui/shared';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { ContactForm, ContactRow, nameColumns } from '../src/contacts/contact.entity.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { migrations } from '../src/db/migrations/index.js';
import { readRows } from '../src/db/rows.js';
import { IdempotencyRecord } from '../src/messages/accept/idempotency.entity.js';
import { Conversation } from '../src/messages/conversations/conversation.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { presentMessage } from '../src/messages/read/present.js';
import { Session } from '../src/sessions/session.entity.js';
import { Webhook } from '../src/webhooks/webhook.entity.js';
import { databases, ownDatabase, type OwnDatabase } from './support/backend.js';

/** What is stored in each earlier state of the database is there after the upgrade, and says the same. */

type Row = Record<string, string | number | boolean | null>;
const accountId = 'a1';
const time = 1_763_000_000_000;
const later = Date.now() + 3_600_000;
const json = (value: unknown): string => JSON.stringify(value);

const account = {
  ...{ id: accountId, username: 'owner', email: 'o@x.test', passwordHash: 'h', jwtSecret: 's', role: 'user' },
  ...{ createdAt: time, updatedAt: time },
};
const settings = { readReceipts: true, storeMedia: true, autoReconnect: false, pacing: { perMinute: 7, typing: false } };
const session = (id: string, more: Row = {}): Row => ({
  ...{ id, accountId, name: id, liveName: id, settings: json(settings), metadata: json({ shop: 'north' }) },
  ...{ createdAt: time, updatedAt: time, ...more },
});

const image: StoredContent = {
  type: 'image',
  caption: 'look',
  media: { id: 'f1', mimetype: 'image/png', size: 3, filename: null, sha256: null },
};
const contents: Record<string, StoredContent | null> = {
  text: { type: 'text', message: 'said 🙂 Привет' },
  image,
  voice: { type: 'voice', media: { ...image.media, mimetype: 'audio/ogg' } },
  location: { type: 'location', latitude: 1.5, longitude: -2, name: 'Here', address: null },
  contact: { type: 'contact', contacts: [{ name: 'Ana', phone: '+55', vcard: 'BEGIN:VCARD' }] },
  poll: { type: 'poll', question: 'When?', options: ['Now', 'Later'], multiple: true },
  group_invite: { type: 'group_invite', groupId: '120363041@g.us', groupName: 'G', message: null },
  unknown: { type: 'unknown', whatsappType: 'ptv', message: '/9j/4AAQSkZJRg' },
  // As the first version wrote a kind that it did not know.
  bare: { type: 'unknown' } as StoredContent,
  none: null,
};
const person = { id: '5511999990001@c.us', phone: '+5511999990001', lid: '184467440737@lid', name: 'Ana' };
const group = '120363041234567890@g.us';
const message = (id: string, more: Row = {}): Row => ({
  ...{ id, accountId, sessionId: 's1', whatsappKey: id, direction: 'inbound', origin: 'live', type: 'text' },
  ...{ status: 'delivered', chatId: person.id, chatType: 'private', contact: json(person), fromId: person.id },
  ...{ content: json(contents['text']), text: 'said', mentions: json(['5511999990002@c.us']), createdAt: time, timestamp: time },
  ...more,
});
const messages: Row[] = [
  ...Object.entries(contents).map(([name, content]) =>
    message(`c-${name}`, {
      type: content?.type ?? 'text',
      content: content && json(content),
      text: name === 'none' ? null : name,
    }),
  ),
  ...['queued', 'sending', 'uncertain', 'sent', 'failed', 'cancelled', 'read'].map((status) =>
    message(`o-${status}`, { direction: 'outbound', origin: 'api', status, attempts: 1, queuedAt: time, toId: person.id }),
  ),
  // Both sides chose one key: the second row has its mark. And a mark whose first row was deleted since.
  message('both-ours', { direction: 'outbound', origin: 'api', status: 'sent', whatsappKey: 'BOTH' }),
  message('both-theirs', { whatsappKey: 'BOTH~other' }),
  message('alone', { whatsappKey: 'ALONE~other' }),
  // Two inbound messages under one key: a mark is all that tells them apart.
  message('first', { whatsappKey: 'TWICE' }),
  message('second', { whatsappKey: 'TWICE~other', fromId: '5511999990002@c.us' }),
  message('other-session', { sessionId: 's2', whatsappKey: 'BOTH' }),
  // Only the older message of the group says what it is called; another session knows another name.
  message('g-named', { chatId: group, chatType: 'group', chatName: 'ÉCOLE ﬁ' }),
  message('g-later', { chatId: group, chatType: 'group', createdAt: time + 1 }),
  message('g-other', { chatId: group, chatType: 'group', chatName: 'Other', createdAt: time + 2, sessionId: 's2' }),
  // Names that a contact chose, in a text that holds them escaped, and a row that the disk has damaged.
  message('nul', { contact: json({ ...person, lid: '10000000001@lid', phone: '+5511999990003', name: 'a\0b' }) }),
  message('torn', { contact: json({ ...person, lid: '10000000002@lid', phone: '+5511999990004', name: 'x\ud83d' }) }),
  message('long', { contact: json({ ...person, lid: '10000000003@lid', phone: '+5511999990005', name: '🙂'.repeat(400) }) }),
  message('damaged', { contact: '{"lid":"10000000004@lid","phone":"+55', content: '{"type":' }),
];
const record = (key: string, more: Row = {}): Row => ({
  ...{ accountId, key, requestHash: 'v2:x', messageId: 'o-sent', status: 200, body: 'the reply', createdAt: time },
  ...{ expiresAt: later, sessionId: 's1', ...more },
});
const webhook = {
  ...{ id: 'w1', accountId, sessionId: 's1', url: 'https://x.test/hook', events: json(['message.received']), types: '{}' },
  ...{ secret: 'sealed', failures: 3, createdAt: time, updatedAt: time },
};
const oldNames = {
  filter: json({ chats: [person.id], direction: 'inbound', messageTypes: ['text'] }),
  retry: json({ delays: [1000], maxRetries: 2 }),
};
const newNames = {
  filter: json({ chats: [person.id], directions: ['inbound'], types: ['text'] }),
  retry: json({ maxRetries: 2, delaysMs: [1000] }),
};

/** The columns of each table, in this state. */
async function columnsOf(source: DataSource): Promise<Map<string, Set<string>>> {
  const sql =
    source.options.type === 'postgres'
      ? `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns WHERE table_schema = 'public'`
      : `SELECT m.name AS "table", c.name AS "column" FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'`;
  const found = new Map<string, Set<string>>();
  for (const { table, column } of await source.query<{ table: string; column: string }[]>(sql))
    found.set(table, (found.get(table) ?? new Set()).add(column));
  return found;
}

/** More than the migration folds at a time. */
const storedNames = [['nameless', null], ...Array.from({ length: 600 }, (_, n) => [`k${n}`, `ÉCOLE ﬁ "${n}"`])] as [
  string,
  string | null,
][];

async function seed(source: DataSource, done: number): Promise<void> {
  const columns = await columnsOf(source);
  /** The fields of a row for which the table has columns. */
  async function insert(table: string, row: Row): Promise<void> {
    const fields = Object.entries(row).filter(([name]) => columns.get(table)?.has(name));
    const marks = fields.map((_, index) => (source.options.type === 'postgres' ? `$${index + 1}` : '?'));
    const names = fields.map(([name]) => `"${name}"`);
    const values = fields.map(([, value]) => value);
    await source.query(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${marks.join(', ')})`, values);
  }
  await insert('accounts', account);
  await insert('sessions', session('s1', { phoneNumber: '5511988887777', lid: '99@lid', status: 'connected' }));
  await insert('sessions', session('s2'));
  // From the state on that tells them apart, no row has a mark that it does not need.
  const isMarked = migrations.slice(0, done).every(({ name }) => !name.startsWith('ObservedMessages'));
  for (const row of messages) if (isMarked || !String(row['whatsappKey']).endsWith('~other')) await insert('messages', row);
  if (columns.has('contacts')) {
    const owned = { accountId, sessionId: 's1', phone: null, createdAt: time, updatedAt: time };
    for (const [id, name] of storedNames) await insert('contacts', { ...owned, id, lid: `${id}@lid`, ...nameColumns(name) });
  }
  const conversations = columns.get('conversations');
  if (conversations && !conversations.has('chatName'))
    for (const [sessionId, lastId] of Object.entries({ s1: 'g-later', s2: 'g-other' }))
      await insert('conversations', { sessionId, chatId: group, accountId, lastAt: time, lastId, unread: 0 });
  await insert('idempotency_records', record('kept'));
  await insert('idempotency_records', record('running', { status: null, body: null, messageId: null, sessionId: '' }));
  if (!columns.has('webhooks')) return;
  const isRenamed = migrations.slice(0, done).some(({ name }) => name.startsWith('WebhookNames'));
  await insert('webhooks', { ...webhook, ...(isRenamed ? newNames : oldNames) });
  await insert('webhooks', { ...webhook, id: 'w2', filter: 'damaged', retry: null });
}

async function assertKept(database: Database, isMarked: boolean, hasWebhooks: boolean): Promise<void> {
  const { reader } = database;
  const expected = messages.filter((row) => isMarked || !String(row['whatsappKey']).endsWith('~other'));
  const rows = new Map((await readRows(reader, Message, '1 = 1', [])).map((row) => [row.id, row]));
  expect([...rows.keys()].sort()).toEqual(expected.map(({ id }) => id).sort());
  for (const given of expected) {
    const row = rows.get(String(given['id']))!;
    const { direction, type, status, chatId, text, sessionId } = given;
    expect(row).toMatchObject({ direction, type, status, chatId, text, sessionId, mentions: ['5511999990002@c.us'] });
    expect(row.linkedAccountNumber).toBe(1);
    const shown = presentMessage(row);
    // A kind that the first version did not name has no content to fit the schema.
    if (given['id'] !== 'c-bare') expect(messageSchema.safeParse(shown).error).toBeUndefined();
    if (given['id'] === 'damaged') continue;
    expect(row.content).toEqual(given['content'] === null ? null : JSON.parse(String(given['content'])));
  }
  if (isMarked) {
    const keys = ['both-ours', 'both-theirs', 'alone', 'first', 'second', 'other-session'].map((id) => rows.get(id)!.whatsappKey);
    expect(keys).toEqual(['BOTH', 'BOTH', 'ALONE', 'TWICE', 'TWICE~other', 'BOTH']);
  }

  for (const { name, foldedName } of await readRows(reader, ContactRow, '1 = 1', []))
    expect({ name, foldedName }).toEqual(nameColumns(name));
  const sessions = await readRows(reader, Session, '1 = 1 ORDER BY id', []);
  expect(sessions.map((row) => [row.id, row.settings, row.metadata])).toEqual(
    ['s1', 's2'].map((id) => [id, settings, { shop: 'north' }]),
  );
  const kept = await readRows(reader, IdempotencyRecord, '1 = 1 ORDER BY key', []);
  expect(kept.map(({ key, sessionId, status, body, messageId }) => [key, sessionId, status, body, messageId])).toEqual([
    ['kept', 's1', 200, 'the reply', 'o-sent'],
    ['running', '', null, null, null],
  ]);
  if (!hasWebhooks) return;
  const [one, two] = await readRows(reader, Webhook, '1 = 1 ORDER BY id', []);
  expect(one).toMatchObject({ url: webhook.url, events: ['message.received'], isActive: true, failures: 3 });
  expect(one).toMatchObject({ filter: JSON.parse(newNames.filter), retry: JSON.parse(newNames.retry) });
  expect(two).toMatchObject({ id: 'w2', retry: null });
}

test.each(await databases())(
  'what each earlier state holds is there after the upgrade, on %s',
  async (kind) => {
    const dir = await mkdtemp(join(tmpdir(), 'chasqui-migration-'));
    /** Climbs from state to state without rows; each state is a copy of it. */
    const ladder = kind === 'postgres' ? await ownDatabase() : null;
    const ladderFile = join(dir, 'ladder.sqlite');
    const open = (at: OwnDatabase | null, file: string, some: typeof migrations = []): Promise<DataSource> =>
      new DataSource({
        ...(at ? { type: 'postgres', url: at.url } : { type: 'better-sqlite3', database: file }),
        migrations: [...some],
        migrationsTransactionMode: 'each',
      } as DataSourceOptions).initialize();
    for (let done = 1; done <= migrations.length; done += 1) {
      const step = await open(ladder, ladderFile, migrations.slice(0, done));
      await step.runMigrations();
      await step.destroy();
      const own = ladder && (await ownDatabase(new URL(ladder.url).pathname.slice(1)));
      const file = join(dir, `${done}.sqlite`);
      if (!own) await copyFile(ladderFile, file);
      const names = migrations.slice(0, done).map(({ name }) => name);
      const hasWebhooks = names.some((name) => name.startsWith('Webhooks'));
      try {
        const before = await open(own, file);
        await seed(before, done);
        await before.destroy();
        const database = await openDatabase(own ? { url: own.url } : { file });
        try {
          const isMarked = names.every((name) => !name.startsWith('ObservedMessages'));
          await assertKept(database, isMarked, hasWebhooks);
          if (names.every((name) => !name.startsWith('ConversationNames'))) {
            const groups = await readRows(database.reader, Conversation, '"chatId" = ? ORDER BY "sessionId"', [group]);
            expect(groups.map(({ chatName, foldedName }) => [chatName, foldedName])).toEqual([
              ['ÉCOLE ﬁ', foldText('ÉCOLE ﬁ')],
              ['Other', 'other'],
            ]);
          }
          if (names.some((name) => name.startsWith('Contacts'))) continue;
          // People whose two forms were known are contacts now, whatever their names hold.
          const people = await readRows(database.reader, ContactRow, '1 = 1 ORDER BY lid', []);
          expect(people.map(({ phone, lid }) => [phone, lid])).toEqual([
            ['5511999990003', '10000000001@lid'],
            ['5511999990004', '10000000002@lid'],
            ['5511999990005', '10000000003@lid'],
            ['5511999990001', '184467440737@lid'],
            ['5511999990001', '184467440737@lid'],
          ]);
          expect(await readRows(database.reader, ContactForm, '1 = 1', [])).toHaveLength(10);
        } finally {
          await database.close();
        }
      } catch (error) {
        throw new Error(`From the state after ${names.at(-1)}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      } finally {
        await own?.drop();
      }
    }
    await ladder?.drop();
    await rm(dir, { recursive: true, force: true });
  },
  180_000,
);
