import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { Client } from 'pg';
import { hasPostgres } from './database.js';
import { startAlone, type Line } from './events.js';
import { openPlace, type Filled, type Place } from './kept.js';
import { chats, fill, messagesSince, mixed, phoneOf, sessions, timed, timeOf, total } from './lists.js';

/**
 * The statistics at a million messages over HTTP from a built backend without a worker. The rows have no counts yet: the nightly reconciliation, which
 * the backend catches up on at its start, makes them, and its time is printed too. `ROWS=20000` for a quick look.
 */

const limitMs = 50;
const maxCountingMs = 600_000;
const dayMs = 86_400_000;
const days = Math.max(1, Math.floor((total * 1_000) / dayMs));

export async function statistics(line: Line): Promise<void> {
  const wanted = process.env['DATABASES']?.split(',') ?? ['SQLite', 'PostgreSQL'];
  for (const dialect of ['SQLite', 'PostgreSQL']) {
    if (!wanted.includes(dialect) || (dialect === 'PostgreSQL' && !(await hasPostgres()))) continue;
    const place = await openPlace('statistics', dialect, total);
    try {
      await measure(line, dialect, place);
    } finally {
      await place.close();
    }
  }
}

/** The last days of the messages, another number of them in each round. */
const range = (round: number): string =>
  `startDate=${dayOf(timeOf(total) - (round % days) * dayMs)}&endDate=${dayOf(timeOf(total))}`;
const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10);

const queries: Record<string, (round: number, sessionId: string) => string> = {
  'of the account': () => '/statistics',
  'of one session': (_, sessionId) => `/sessions/${sessionId}/statistics`,
  'of some days': (round) => `/messages/statistics?${range(round)}`,
  'day by day': (round) => `/statistics/daily?${range(round)}`,
  'report of 30 days': () => '/statistics/report',
  'report of one session': (_, sessionId) => `/statistics/report?sessionId=${sessionId}`,
  'report of some days': (round) => `/statistics/report?${range(round)}`,
};
/** In the second one, days and hours begin at other times than in UTC: those statistics cannot be read from the counts of whole days. */
const zones = ['UTC', 'Asia/Kolkata'];

async function measure(line: Line, dialect: string, place: Place): Promise<void> {
  const { dataDir, databaseUrl } = place;
  const { key, sessionIds } = await filledOnce(dialect, place);
  const backend = await startAlone(dataDir, databaseUrl, key);
  try {
    const [bare] = await timed(() => backend.call('GET', '/auth/me'));
    for (const timezone of zones) {
      await change(dataDir, databaseUrl, `UPDATE accounts SET timezone = '${timezone}'`);
      for (const [what, path] of Object.entries(queries)) {
        const [median, p95] = await timed((round) => backend.call('GET', path(round, sessionIds[round % sessions]!)));
        line(
          `statistics of ${dialect}, ${total.toLocaleString('en')} messages, ${timezone}, ${what}, p95`,
          `< ${limitMs} ms`,
          `${p95.toFixed(1)} ms, median ${median.toFixed(1)} (a request without statistics ${bare.toFixed(1)})`,
          p95 < limitMs,
        );
      }
    }
  } finally {
    await backend.end();
  }
}

/** Fills the database and waits until all messages are counted, unless an earlier run did. */
async function filledOnce(dialect: string, place: Place): Promise<Filled> {
  const { dataDir, databaseUrl } = place;
  if (place.filled) {
    messagesSince(place.filled.firstAt);
    return place.filled;
  }
  // Started once to create tables and an account, and again when the table is full.
  const first = await startAlone(dataDir, databaseUrl);
  const { id } = await first.call<{ id: string }>('GET', '/auth/me');
  const sessionIds: string[] = [];
  for (let number = 0; number < sessions; number += 1)
    sessionIds.push((await first.call<{ id: string }>('POST', '/sessions', { name: `statistics-${number}` })).id);
  await first.end();
  await fill(dataDir, databaseUrl, (number) => rowOf(number, id, sessionIds));
  const missed = Date.now() - 2 * dayMs;
  await change(dataDir, databaseUrl, `UPDATE job_states SET "handledUntil" = ${missed} WHERE name = 'statistics.reconcile'`);
  const backend = await startAlone(dataDir, databaseUrl, first.key());
  try {
    const countedMs = await waitForCounts(() => backend.call<Summary>('GET', '/statistics'));
    console.log(`      ${dialect}: the first reconciliation counted ${total} messages in ${(countedMs / 1_000).toFixed(1)} s.`);
  } finally {
    await backend.end();
  }
  const filled = { measurement: 'statistics', key: first.key(), sessionIds, rows: total, firstAt: timeOf(0) };
  place.keep(filled);
  return filled;
}

/** Runs a statement while the backend is stopped, or beside it. */
async function change(dataDir: string, databaseUrl: string | null, sql: string): Promise<void> {
  if (databaseUrl === null) {
    const file = new Sqlite(join(dataDir, 'chasqui.sqlite'));
    file.exec(sql);
    file.close();
    return;
  }
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(sql);
  await client.end();
}

interface Summary {
  sent: { total: number };
  received: { total: number };
  failed: { total: number };
}

/** Waits until all messages are counted. Returns how long that took since the start. */
async function waitForCounts(read: () => Promise<Summary>): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    const { sent, received, failed } = await read();
    const tookMs = performance.now() - startedAt;
    if (sent.total + received.total + failed.total === total) return tookMs;
    if (tookMs > maxCountingMs) throw new Error(`After ${Math.round(tookMs / 1_000)} s, not all messages are counted.`);
    await sleep(500);
  }
}

/** One message a second, day and night. Each person writes to one session, most texts are read, and every chat is in use every day. */
function rowOf(number: number, accountId: string, sessionIds: readonly string[]): Record<string, string | number> {
  const pick = mixed(number, 0);
  const chat = mixed(number, 1) % chats;
  const person = `${phoneOf(chat)}@c.us`;
  const isGroup = chat % 20 === 0;
  const isInbound = pick % 2 === 0;
  const isFailed = !isInbound && pick % 201 === 1;
  const createdAt = timeOf(number);
  const hex = createdAt.toString(16).padStart(12, '0');
  return {
    id: `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${String(number).padStart(12, '0')}`,
    accountId,
    sessionId: sessionIds[chat % sessions]!,
    whatsappKey: `3EB0${String(number).padStart(18, '0')}`,
    direction: isInbound ? 'inbound' : 'outbound',
    origin: isInbound ? 'live' : 'api',
    type: (['text', 'text', 'text', 'text', 'text', 'text', 'text', 'image', 'audio', 'document'] as const)[(pick >>> 4) % 10]!,
    status: isInbound ? 'delivered' : isFailed ? 'failed' : pick % 3 ? 'read' : 'delivered',
    reasonCode: isFailed ? ['RECIPIENT_NOT_ON_WHATSAPP', 'EXPIRED', 'WHATSAPP_REFUSED'][pick % 3]! : '',
    chatId: isGroup ? `120363${String(100_000 + chat)}@g.us` : person,
    chatType: isGroup ? 'group' : 'private',
    fromId: isInbound ? person : '5511988880000@c.us',
    toId: isInbound ? '5511988880000@c.us' : person,
    mentions: '[]',
    timestamp: createdAt,
    createdAt,
  };
}
