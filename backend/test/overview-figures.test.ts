import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { createOverview, type OverviewReader } from '../src/admin/overview.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { insertRow } from '../src/db/rows.js';
import { createEvents, type Events } from '../src/events/events.js';
import { addMessage, addSession, addWorker, noUpkeep } from './panel.rows.js';

/** The figures of the panel's first page, from rows alone, at a time that the test chooses. */

const hour = 3_600_000;
let folder: string;
let database: Database;
let events: Events;
let overview: OverviewReader;
let accountId: string;
let now: number;
const clock = { now: () => new Date(now), monotonic: () => now };

beforeEach(async () => {
  // Berlin: clocks are set back at 01:00 UTC on this day, so that it has 25 hours. It is 12:30 there.
  now = Date.parse('2026-10-25T11:30:00Z');
  folder = mkdtempSync(join(tmpdir(), 'figures-'));
  database = await openDatabase({ file: join(folder, 'figures.sqlite') });
  events = createEvents({ clock });
  accountId = newId();
  await database.write.run((tx) =>
    insertRow(tx, Account, {
      id: accountId,
      username: 'bakery',
      email: 'a@b.c',
      passwordHash: 'x',
      jwtSecret: 'x',
      role: 'user' as const,
      timezone: 'Europe/Berlin',
      createdAt: new Date(now),
      updatedAt: new Date(now),
    }),
  );
  overview = createOverview({ reader: database.reader, clock, ...noUpkeep, times: { lateMs: 7_000, lostMs: 30_000 } });
});
afterEach(async () => {
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a message counts for the day and the hour that the clocks of the zone showed, on both sides of a change', async () => {
  const sessionId = await addSession(database.write, { accountId, name: 'shop', status: 'connected' });
  // The last minute of the 24th, the first of the 25th, both hours from two to three, and an hour before now.
  const times = ['2026-10-24T21:59:30Z', '2026-10-24T22:00:30Z', '2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'];
  for (const at of [...times, '2026-10-25T10:30:00Z'])
    await addMessage(database, events, { sessionId, text: 'x', at: new Date(at) });
  const zone = 'Europe/Berlin';
  expect((await overview.overview(zone)).today.sent).toBe(4);
  const days = (await overview.chart('14d', zone)).buckets;
  expect(days.slice(-2)).toEqual([
    { at: Date.parse('2026-10-23T22:00:00Z'), sent: 1, received: 0, failed: 0 },
    { at: Date.parse('2026-10-24T22:00:00Z'), sent: 4, received: 0, failed: 0 },
  ]);
  const hours = (await overview.chart('24h', zone)).buckets;
  expect(hours.filter(({ sent }) => sent > 0).map(({ at, sent }) => [new Date(at).toISOString(), sent])).toEqual([
    ['2026-10-24T21:00:00.000Z', 1],
    ['2026-10-24T22:00:00.000Z', 1],
    ['2026-10-25T00:00:00.000Z', 1],
    ['2026-10-25T01:00:00.000Z', 1],
    ['2026-10-25T10:00:00.000Z', 1],
  ]);
  expect(hours.at(-1)?.at).toBe(now - hour / 2);
});

test('a session of a silent worker is not counted as connected, but as not confirmed, whatever was reported last', async () => {
  now += hour;
  await addWorker(database.write, { id: 'worker-1', lastHeartbeatAt: new Date(now) });
  await addWorker(database.write, { id: 'worker-2', lastHeartbeatAt: new Date(now - 20_000) });
  const linked = { accountId, status: 'connected' as const, desired: 'running' as const, phoneNumber: '447400123101' };
  await addSession(database.write, { ...linked, name: 'one', workerId: 'worker-1' });
  await addSession(database.write, { ...linked, name: 'two', workerId: 'worker-2' });
  await addSession(database.write, { ...linked, name: 'three', workerId: 'worker-2', status: 'disconnected' });
  const { sessions } = await overview.overview('UTC');
  expect(sessions).toMatchObject({ total: 3, connected: 1, unconfirmed: 1, byStatus: { connected: 2, disconnected: 1 } });
  expect((await overview.status()).offline).toBe(2);
});
