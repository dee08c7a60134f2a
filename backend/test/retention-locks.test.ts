import { afterEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createThumbnails } from '../src/media/thumbnails.js';
import { createRetention } from '../src/jobs/retention.js';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Retention at the same time as transactions that lock the same rows. SQLite runs one transaction at a time, so only PostgreSQL can interleave them. */

let core: Core | undefined;
let other: Client | undefined;
afterEach(async () => {
  await other?.end();
  await core?.close();
});

const postgres = (await databases()).filter((database) => database === 'postgres');
const logRow = `SELECT last FROM event_counters WHERE scope = 'log' FOR UPDATE`;
/** What other transactions lock before the event log: the creation of a session, and a change of a message. */
const cases: [what: string, lock: string][] = [
  ['the account', 'SELECT id FROM accounts FOR UPDATE'],
  ['a message', 'SELECT id FROM messages FOR UPDATE'],
];

(postgres.length > 0 ? test : test.skip).each(cases)(
  'messages are deleted while another transaction locks %s and then the event log',
  async (_, lock) => {
    core = await startCore({ database: 'postgres' });
    const { rig } = core;
    const { id } = dataOf(await core.send('old'));
    await core.reaches(id, 'sent');
    other = new Client({ connectionString: rig.databaseUrl! });
    await other.connect();
    await other.query('BEGIN');
    await other.query(lock);
    const failures: unknown[] = [];
    const clock = { now: () => new Date(Date.now() + 100 * 86_400_000), monotonic: () => performance.now() };
    const retention = createRetention(
      { database: rig.database, clock, report: (failure) => failures.push(failure) },
      {
        media: { remove: () => Promise.resolve(), expire: () => Promise.resolve() } as never,
        thumbnails: createThumbnails(rig),
        days: { messages: 90, media: 0, events: 0 },
      },
    );
    const deleting = retention.ofMessages().catch((error: unknown) => error);
    await eventually('the deletion to wait for the lock', async () => {
      await other!.query('SELECT pg_stat_clear_snapshot()');
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      return (await other!.query(waiting)).rows.length > 0;
    });
    const deadlock = await other.query(logRow).then(
      () => null,
      (error: { code?: string }) => error.code,
    );
    await other.query(deadlock === null ? 'COMMIT' : 'ROLLBACK');
    expect([deadlock, await deleting, failures]).toEqual([null, 1, []]);
    const { rows } = await other.query(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`);
    expect(Number((rows as { deadlocks: string }[])[0]!.deadlocks)).toBe(0);
  },
);
