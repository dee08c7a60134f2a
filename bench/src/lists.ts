import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { foldText } from '@chasqui/shared';
import Sqlite from 'better-sqlite3';
import { Client } from 'pg';
import { hasPostgres } from './database.js';
import { startAlone, type Line } from './events.js';
import { openPlace, type Filled, type Place } from './kept.js';

/**
 * The message list with each of its filters, and the text search, at a million messages over HTTP from a built backend without a worker. Rows have
 * realistic proportions: most are delivered texts, some types and statuses are one in thousands, one chat has ten thousand messages.
 */

/** `ROWS=20000` for a quick look. */
export const total = Number(process.env['ROWS'] ?? 1_000_000);
export const sessions = 5;
export const chats = 5_000;
const limitMs = { list: 10, search: 50, conversations: 50 };
/** Rows in one INSERT. */
const batch = 5_000;

export async function lists(line: Line): Promise<void> {
  const wanted = process.env['DATABASES']?.split(',') ?? ['SQLite', 'PostgreSQL'];
  for (const dialect of ['SQLite', 'PostgreSQL']) {
    if (!wanted.includes(dialect) || (dialect === 'PostgreSQL' && !(await hasPostgres()))) continue;
    const place = await openPlace('lists', dialect, total);
    try {
      await measure(line, dialect, place);
    } finally {
      await place.close();
    }
  }
}

export const phoneOf = (chat: number): string => `55119${String(10_000_000 + chat)}`;

/** The list of conversations. The first pages are those that a console asks for again and again. */
const conversationQueries: Record<string, (round: number, sessionId: string) => string> = {
  'no filter': () => '',
  'one session': (_, sessionId) => `sessionId=${sessionId}`,
  unread: () => 'unread=true',
  'search, a name': (round) => `search=maria%20${nameOf(round)}`,
  'search, a group': (round) => `search=club%20${100_000 + (round % 300)}`,
  'search, a number': (round) => `search=${phoneOf((round * 37) % chats).slice(-8)}`,
  'search, nothing found': (round) => `search=unknown${round}`,
};
/** The rows that the commits of these messages would have written; every second chat has an unread message. */
const fillConversations = `INSERT INTO conversations ("sessionId", "chatId", "accountId", "lastAt", "lastId", unread, "readTo", "chatName", "foldedName")
  SELECT "sessionId", "chatId", "accountId", "createdAt", id, CAST("createdAt" / 1000 AS bigint) % 2, NULL, "chatName", LOWER("chatName") FROM (
    SELECT "sessionId", "chatId", "accountId", "createdAt", id, "chatName",
      ROW_NUMBER() OVER (PARTITION BY "sessionId", "chatId" ORDER BY "createdAt" DESC, id DESC) AS place FROM messages) newest
  WHERE place = 1`;

/** The person of each private conversation, with a name of their own; every fiftieth has other than ASCII letters. */
const fillContacts = [
  `INSERT INTO contacts (id, "accountId", "sessionId", phone, lid, name, "foldedName", "createdAt", "updatedAt")
    SELECT SUBSTR("sessionId", 7) || SUBSTR("chatId", 8, 6), "accountId", "sessionId", SUBSTR("chatId", 1, 13), NULL,
      CASE WHEN CAST(SUBSTR("chatId", 8, 6) AS integer) % 50 = 0 THEN 'Conceição ' ELSE 'Maria ' END || SUBSTR("chatId", 8, 6),
      CASE WHEN CAST(SUBSTR("chatId", 8, 6) AS integer) % 50 = 0 THEN '${foldText('Conceição ')}' ELSE 'maria ' END || SUBSTR("chatId", 8, 6),
      "lastAt", "lastAt"
    FROM conversations WHERE "chatId" LIKE '%@c.us'`,
  `INSERT INTO contact_forms ("sessionId", "waId", "accountId", "contactId")
    SELECT "sessionId", "chatId", "accountId", SUBSTR("sessionId", 7) || SUBSTR("chatId", 8, 6) FROM conversations WHERE "chatId" LIKE '%@c.us'`,
];

/** The queries, with another chat, session and word in each round. */
const queries: Record<string, { path: (round: number, sessionId: string) => string; isSearch?: true }> = {
  'no filter': { path: () => '' },
  'one session': { path: (_, sessionId) => `sessionId=${sessionId}` },
  direction: { path: (round) => `direction=${round % 2 ? 'inbound' : 'outbound'}` },
  'a frequent type': { path: () => 'type=text' },
  'a rare type': { path: () => 'type=sticker' },
  'a type that never was': { path: () => 'type=calendar_event' },
  'a frequent status': { path: () => 'status=delivered' },
  'a rare status': { path: () => 'status=failed,uncertain' },
  'a status that is nowhere': { path: () => 'status=pending' },
  origin: { path: (round) => `origin=${['device', 'panel', 'live'][round % 3]}` },
  'a rare type of one session': { path: (_, sessionId) => `sessionId=${sessionId}&type=sticker` },
  'one chat': { path: (round) => `chatId=${phoneOf((round * 37) % chats)}` },
  'the largest chat': { path: () => `chatId=${phoneOf(0)}` },
  'one contact, groups too': { path: (round) => `contact=${phoneOf((round * 37) % chats)}` },
  'a contact of whom nothing is known': { path: () => 'contact=4917012345678' },
  'a range of time': {
    path: (round) =>
      `from=${new Date(timeOf(round * 4_000)).toISOString()}&to=${new Date(timeOf(round * 4_000 + 5_000)).toISOString()}`,
  },
  'search, a frequent word': { isSearch: true, path: (round) => `search=${words[round % 10]}` },
  'search, a frequent word since this morning': {
    isSearch: true,
    path: (round) => `search=${words[round % 10]}&from=${new Date(timeOf(total) - 6 * 3_600_000).toISOString()}`,
  },
  'search, a frequent word with a rare status': {
    isSearch: true,
    path: (round) => `search=${words[round % 10]}&status=uncertain`,
  },
  'search, a rare word': { isSearch: true, path: (round) => `search=${encodeURIComponent(`Nº ${(round * 4_519) % total} `)}` },
  'search, nothing found': { isSearch: true, path: (round) => `search=payments%20paymentless%20${round}` },
  'search, two letters': { isSearch: true, path: (round) => `search=${['or', 'qz', 'th', 'xx'][round % 4]}` },
  'search, Chinese and Cyrillic': {
    isSearch: true,
    path: (round) => `search=${encodeURIComponent(['你好', 'ПРИВЕТ', '明天'][round % 3]!)}`,
  },
  'search, a person by name': { isSearch: true, path: (round) => `search=maria%20${nameOf(round)}` },
  'search, a frequent name': { isSearch: true, path: () => 'search=maria' },
  'search, a name with other letters': { isSearch: true, path: () => `search=${encodeURIComponent('conceição')}` },
  'search, a group by name': { isSearch: true, path: (round) => `search=club%20${100_000 + (round % 300)}` },
  'search, a person by number': { isSearch: true, path: (round) => `search=${phoneOf((round * 37) % chats)}` },
  'search, the end of a number': { isSearch: true, path: (round) => `search=${phoneOf((round * 37) % chats).slice(-8)}` },
  'search, an id of WhatsApp': { isSearch: true, path: (round) => `search=3EB0${String(round * 4_519).padStart(18, '0')}` },
  'search in one chat': { isSearch: true, path: (round) => `search=order&chatId=${phoneOf((round * 37) % chats)}` },
  'search in a rare type': { isSearch: true, path: () => 'search=order&type=sticker' },
  'search in one session': { isSearch: true, path: (_, sessionId) => `search=invoice&sessionId=${sessionId}` },
};

async function measure(line: Line, dialect: string, place: Place): Promise<void> {
  const { dataDir, databaseUrl } = place;
  const { key, sessionIds } = await filledOnce(dialect, place);
  const backend = await startAlone(dataDir, databaseUrl, key);
  try {
    if (databaseUrl) await vacuum(databaseUrl);
    const [bare] = await timed(() => backend.call('GET', '/auth/me'));
    console.log(`      ${dialect}: a request that reads no message takes ${bare.toFixed(1)} ms (median).`);
    const about = `of ${dialect}, ${total.toLocaleString('en')} messages`;
    const run = (name: string, most: number, pathOf: (round: number) => string): Promise<void> =>
      measureQuery(line, name, most, (round) => backend.call<unknown[]>('GET', pathOf(round)));
    for (const [what, { path, isSearch }] of Object.entries(queries))
      await run(
        `message list ${about}, ${what}, p95`,
        isSearch ? limitMs.search : limitMs.list,
        (round) => `/messages/list?${path(round, sessionIds[round % sessions]!)}`,
      );
    for (const [what, path] of Object.entries(conversationQueries))
      await run(
        `conversations ${about}, ${what}, p95`,
        limitMs.conversations,
        (round) => `/conversations?${path(round, sessionIds[round % sessions]!)}`,
      );
  } finally {
    await backend.end();
  }
}

/** Fills the database and waits until all messages are in the search index, unless an earlier run did. */
async function filledOnce(dialect: string, place: Place): Promise<Filled> {
  const { dataDir, databaseUrl } = place;
  if (place.filled) {
    messagesSince(place.filled.firstAt);
    return place.filled;
  }
  // Started once to create tables and an account, and again when the tables are full.
  const first = await startAlone(dataDir, databaseUrl);
  const { id } = await first.call<{ id: string }>('GET', '/auth/me');
  const sessionIds: string[] = [];
  for (let number = 0; number < sessions; number += 1)
    sessionIds.push((await first.call<{ id: string }>('POST', '/sessions', { name: `lists-${number}` })).id);
  await first.end();
  await fill(dataDir, databaseUrl, (number) => rowOf(number, id, sessionIds));
  const filledAt = performance.now();
  const backend = await startAlone(dataDir, databaseUrl, first.key());
  try {
    while (!(await isIndexed(dataDir, databaseUrl))) await sleep(2_000);
  } finally {
    await backend.end();
  }
  const perSecond = Math.round(total / ((performance.now() - filledAt) / 1000));
  console.log(`      ${dialect}: ${total} messages were indexed for the search, ${perSecond} a second.`);
  const filled = { measurement: 'lists', key: first.key(), sessionIds, rows: total, firstAt: timeOf(0) };
  place.keep(filled);
  return filled;
}

async function measureQuery(line: Line, what: string, most: number, ask: (round: number) => Promise<unknown[]>): Promise<void> {
  const times: number[] = [];
  let rows = 0;
  for (let round = 0; round < 220; round += 1) {
    const started = performance.now();
    const found = await ask(round);
    if (round < 20) continue;
    times.push(performance.now() - started);
    rows += found.length;
  }
  times.sort((a, b) => a - b);
  const p95 = times[190]!;
  const measured = `${p95.toFixed(1)} ms, median ${times[100]!.toFixed(1)}, ${(rows / times.length).toFixed(0)} rows`;
  line(what, `< ${most} ms`, measured, p95 < most);
}

/** Median and p95 of 200 calls; 20 before them fill caches and compile. */
export async function timed(call: (round: number) => Promise<unknown>): Promise<[median: number, p95: number]> {
  const times: number[] = [];
  for (let round = 0; round < 220; round += 1) {
    const started = performance.now();
    await call(round);
    if (round >= 20) times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return [times[100]!, times[190]!];
}

/** The number in the name of a contact. */
const nameOf = (round: number): string => phoneOf((round * 37) % chats).slice(7);

const words =
  'order invoice payment thanks please delivery tomorrow address number confirm received customer price question answer hello good evening package tracking problem help wait photo document contract meeting friday bank transfer'.split(
    ' ',
  );
const rare = ['你好明天见', 'Привет, спасибо', 'ação café', 'สวัสดีครับ'];
/** The newest message is a minute old. Fixed times would pass the retention period one day, and the backend would delete the rows while it is measured. */
let firstAt = Math.floor(Date.now() / 1_000) * 1_000 - 60_000 - total * 1_000;
/** Sets the times of an earlier run, whose database is used again. */
export const messagesSince = (time: number): void => void (firstAt = time);
export const timeOf = (number: number): number => firstAt + number * 1_000;

/** A number that looks random and is always the same. */
export const mixed = (number: number, salt: number): number => {
  let hash = Math.imul(number + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
};

function rowOf(number: number, accountId: string, sessionIds: readonly string[]): Record<string, string | number> {
  const pick = mixed(number, 0);
  const chat = pick % 100 === 0 ? 0 : mixed(number, 1) % chats;
  const person = `${phoneOf(chat)}@c.us`;
  const isGroup = pick % 5 === 4;
  const isInbound = pick % 2 === 0;
  const createdAt = timeOf(number);
  const hex = createdAt.toString(16).padStart(12, '0');
  const chosen = Array.from(
    { length: 8 + (pick % 8) },
    (_, index) => words[(mixed(number, index) % words.length) ** 2 % words.length],
  );
  const other = pick % 50 === 0 ? ` ${rare[pick % rare.length]}` : '';
  const contact = { id: person, phone: `+${phoneOf(chat)}`, lid: null, name: 'Somebody' };
  const text = `${chosen.join(' ')}${other} Nº ${number} `;
  return {
    id: `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${String(number).padStart(12, '0')}`,
    accountId,
    sessionId: sessionIds[number % sessions]!,
    whatsappKey: `3EB0${String(number).padStart(18, '0')}`,
    direction: isInbound ? 'inbound' : 'outbound',
    origin: isInbound ? 'live' : pick % 1_000 === 1 ? 'panel' : pick % 20 === 1 ? 'device' : 'api',
    type: pick % 5_000 === 0 ? 'sticker' : pick % 10 === 0 ? 'image' : 'text',
    status: isInbound
      ? 'delivered'
      : pick % 2_001 === 1
        ? 'failed'
        : pick % 20_011 === 3
          ? 'uncertain'
          : pick % 3
            ? 'read'
            : 'delivered',
    chatId: isGroup ? `120363${String(100_000 + (pick % 300))}@g.us` : person,
    chatType: isGroup ? 'group' : 'private',
    chatName: isGroup ? `Club ${100_000 + (pick % 300)}` : 'Somebody',
    contact: JSON.stringify(contact),
    fromId: isInbound ? person : '5511988880000@c.us',
    toId: isInbound ? '5511988880000@c.us' : person,
    content: JSON.stringify({ type: 'text', message: text }),
    text,
    mentions: '[]',
    timestamp: createdAt,
    createdAt,
  };
}

export async function fill(
  dataDir: string,
  databaseUrl: string | null,
  rowAt: (number: number) => Record<string, string | number>,
): Promise<void> {
  const names = Object.keys(rowAt(0));
  const columns = names.map((name) => `"${name}"`).join(', ');
  if (databaseUrl === null) {
    const file = new Sqlite(join(dataDir, 'chasqui.sqlite'));
    file.pragma('synchronous = OFF');
    const insert = file.prepare(`INSERT INTO messages (${columns}) VALUES (${names.map(() => '?').join(', ')})`);
    const some = file.transaction((start: number) => {
      for (let number = start; number < Math.min(start + batch, total); number += 1) insert.run(...Object.values(rowAt(number)));
    });
    for (let start = 0; start < total; start += batch) some(start);
    for (const sql of [fillConversations, ...fillContacts]) file.exec(sql);
    file.close();
    return;
  }
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const types = names.map((name, index) => `$${index + 1}::${['timestamp', 'createdAt'].includes(name) ? 'bigint' : 'text'}[]`);
  for (let start = 0; start < total; start += batch) {
    const rows = Array.from({ length: Math.min(batch, total - start) }, (_, index) => rowAt(start + index));
    const values = names.map((name) => rows.map((row) => row[name]));
    await client.query(`INSERT INTO messages (${columns}) SELECT * FROM unnest(${types.join(', ')})`, values);
  }
  await client.query('VACUUM ANALYZE messages');
  for (const sql of [fillConversations, ...fillContacts]) await client.query(sql);
  await client.end();
}

async function isIndexed(dataDir: string, databaseUrl: string | null): Promise<boolean> {
  const sql = 'SELECT COUNT(*) AS n FROM (SELECT 1 FROM search_queue LIMIT 1) waiting';
  if (databaseUrl === null) {
    const file = new Sqlite(join(dataDir, 'chasqui.sqlite'), { readonly: true });
    const { n } = file.prepare(sql).get() as { n: number };
    file.close();
    return n === 0;
  }
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ n: string }>(sql);
  await client.end();
  return Number(rows[0]!.n) === 0;
}

/** As autovacuum would have done long before a million. */
async function vacuum(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('VACUUM ANALYZE message_grams');
  await client.end();
}
