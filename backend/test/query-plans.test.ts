import { afterAll, beforeAll, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { createOverview } from '../src/admin/overview.js';
import { runStatement } from '../src/db/statement.js';
import { systemClock } from '../src/lib/clock.js';
import { noUpkeep } from './panel.rows.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/**
 * How SQLite finds the rows of large tables. It has no statistics here, and may choose the index of a whole account or session where an id, a key or a
 * chat names a few rows.
 */

const texts = new Set<string>();
/** How often each statement that returns rows has run. */
const runs = new Map<string, number>();
const { prepare } = Sqlite.prototype;
let core: Core;
beforeAll(async () => {
  Sqlite.prototype.prepare = function (this: Sqlite.Database, sql: string) {
    texts.add(sql);
    const statement = prepare.call(this, sql);
    const all = statement.all.bind(statement) as (...values: unknown[]) => unknown[];
    return Object.assign(statement, {
      all(...values: unknown[]) {
        runs.set(sql, (runs.get(sql) ?? 0) + 1);
        return all(...values);
      },
    });
  } as typeof prepare;
  core = await startCore({ database: 'sqlite' });
});
afterAll(async () => {
  Sqlite.prototype.prepare = prepare;
  await core?.close();
});

const receive = (text: string): Promise<unknown> =>
  core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text), origin: 'live' });

/** Returns the plans of the statements that `act` uses for the first time and that read the table: what each compares in the index. */
async function plansOf(table: string, act: () => Promise<unknown>): Promise<string[]> {
  const before = new Set(texts);
  await act();
  return explain(
    table,
    [...texts].filter((sql) => !before.has(sql)),
  );
}

async function explain(table: string, statements: readonly string[]): Promise<string[]> {
  const plans: string[] = [];
  for (const sql of statements) {
    if (!/^\s*(SELECT|UPDATE|DELETE|WITH)/.test(sql) || /LIMIT (\?|1000|51|\d+ OFFSET)/.test(sql)) continue;
    const values = Array.from({ length: sql.match(/\?/g)?.length ?? 0 }, () => '1');
    const { rows } = await runStatement<{ detail: string }>(core.rig.database.reader, `EXPLAIN QUERY PLAN ${sql}`, values);
    const alias = new RegExp(`\\b${table}"? (?:AS )?(\\w)\\b`).exec(sql)?.[1] ?? table;
    for (const { detail } of rows)
      if (new RegExp(`^(SCAN|SEARCH) (${table}|${alias})\\b`).test(detail)) plans.push(`${detail} — ${sql.slice(0, 4_000)}`);
  }
  return plans;
}

/** Plans that read all rows of an account, a session or the table. */
const wide = (plans: readonly string[]): string[] =>
  plans.filter((plan) => /^SCAN|\((accountId|sessionId)=\?( AND createdAt[<>]\?)*\) —/.test(plan));

test('of a list of conversations, the last messages are found by their ids', async () => {
  await receive('hello');
  const plans = await plansOf('messages', () => core.get('/conversations'));
  expect(plans.length).toBeGreaterThan(0);
  expect(wide(plans)).toEqual([]);
});

test('a message is found by its WhatsApp id', async () => {
  const { whatsappId } = await core.reaches(dataOf(await core.send('x')).id, 'sent');
  const plans = await plansOf('messages', async () => {
    expect((await core.get(`/messages/${encodeURIComponent(whatsappId!)}`)).status).toBe(200);
  });
  expect(plans.length).toBeGreaterThan(0);
  expect(wide(plans)).toEqual([]);
});

test('the options that a received text answers are found in its chat', async () => {
  const choices = {
    recipient: ana,
    message: 'Which?',
    buttons: [
      { id: '1', text: 'One' },
      { id: '2', text: 'Two' },
    ],
  };
  const offer = dataOf(await core.post('/messages/send-buttons', choices));
  await core.reaches(offer.id, 'sent');
  const plans = await plansOf('messages', () => receive('2'));
  expect(plans.some((plan) => plan.includes(`direction = 'outbound' AND origin = 'api'`))).toBe(true);
  expect(wide(plans)).toEqual([]);
});

test('the messages that a send may answer are found in their chats, and only the newest is read if nobody waits', async () => {
  const readings = (limit: number): string[] =>
    [...texts].filter((sql) => sql.includes('direction, status, "createdAt", timestamp') && sql.endsWith(`LIMIT ${limit}`));
  const answers = async (): Promise<number[]> => {
    const count = (limit: number): number => readings(limit).reduce((sum, sql) => sum + (runs.get(sql) ?? 0), 0);
    const before = [count(1), count(50)];
    await core.reaches(dataOf(await core.send('x')).id, 'sent');
    return [count(1) - before[0]!, count(50) - before[1]!];
  };
  await receive('hello');
  expect(await answers()).toEqual([1, 1]);
  expect(await answers()).toEqual([1, 0]);
  const plans = await explain('messages', [...readings(1), ...readings(50)]);
  expect(plans.length).toBeGreaterThan(0);
  expect(plans.filter((plan) => !plan.includes('messages_chat (accountId=? AND chatId=?'))).toEqual([]);
});

test('the uploads of an account are counted without its other files', async () => {
  const mediaBase64 = Buffer.from('R0lGODlhAQABAAAAACw=', 'base64').toString('base64');
  const plans = await plansOf('media_files', async () => {
    expect((await core.post('/media', { mediaBase64, filename: 'a.gif' })).status).toBe(201);
  });
  const counting = plans.filter((plan) => plan.includes('COUNT(*)'));
  expect(counting.map((plan) => plan.split(' — ')[0])).toEqual([expect.stringContaining('media_files_room')]);
});

test('the overview of the panel reads the newest failed messages, not all that ever failed', async () => {
  const { reader } = core.rig.database;
  const overview = createOverview({ reader, clock: systemClock, ...noUpkeep, times: { lateMs: 1_000, lostMs: 1_000 } });
  const plans = await plansOf('messages', () => overview.overview('UTC'));
  expect(plans.filter((plan) => plan.startsWith('SCAN'))).toEqual([]);
  const failed = plans.filter((plan) => plan.includes('"failedAt"'));
  expect(failed.map((plan) => plan.split(' — ')[0])).toEqual([expect.stringContaining('messages_failed')]);
});
