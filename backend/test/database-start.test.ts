import { describe, expect, test } from '@jest/globals';
import { postgresPort } from '../../bench/src/database.js';
import { openFaultProxy } from '../../bench/src/fault-proxy.js';
import { migrationLimits, openConnection } from '../src/db/connections.js';
import { openDatabase } from '../src/db/database.js';
import { advisoryLocks } from '../src/db/locks.js';
import { StartProblem } from '../src/lib/start-problem.js';
import { insertRow } from '../src/db/rows.js';
import { EventCounter } from '../src/events/event.entity.js';
import type { Log } from '../src/lib/log.js';
import { databases, ownDatabase, startRig } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { client, closeAfterEach, closers, describeOnPostgres, openOwn } from './support/own-database.js';

/** Backends that start on a database that is new, newer, missing or shared. */

closeAfterEach();

describe.each(await databases())('at the start on %s', (database) => {
  test('a database that a newer version has migrated is refused with a sentence', async () => {
    const { opened, url, file } = await openOwn(database);
    await opened.write.run((tx) =>
      tx.manager.query(`INSERT INTO migrations (timestamp, name) VALUES (9999999999999, 'Future9999999999999')`),
    );
    const again = openDatabase(database === 'sqlite' ? { file } : { url });
    await expect(again).rejects.toThrow(StartProblem);
    await expect(again).rejects.toThrow(/newer version of Chasqui \(unknown here: Future9999999999999\).*restore the backup/);
  });
});

describe.each(await databases())('a schema that does not fit, on %s', (database) => {
  test('is named at the start, although the migrations are recorded', async () => {
    const { opened, url, file } = await openOwn(database);
    await opened.write.run((tx) => tx.manager.query('ALTER TABLE webhooks DROP COLUMN "behindSince"'));
    await opened.write.run((tx) => tx.manager.query('DROP TABLE failures'));
    const again = openDatabase(database === 'sqlite' ? { file } : { url });
    await expect(again).rejects.toThrow(StartProblem);
    await expect(again).rejects.toThrow(/lacks tables or columns .*webhooks\.behindSince.*Restore a complete backup/);
    await expect(again).rejects.toThrow(/\(failures,|, failures\)/);
  });
});

describeOnPostgres('several backends start at once', () => {
  test('on one empty database: all of them become ready, and one first admin is shown', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const rigs = await Promise.all([1, 2, 3].map(() => startRig({ databaseUrl: own.url })));
    closers.push(() => Promise.all(rigs.map((rig) => rig.close())));
    expect(rigs.filter(({ firstAdmin }) => firstAdmin !== null)).toHaveLength(1);
    for (const rig of rigs) expect((await rig.call('GET', '//health/ready', { key: null })).status).toBe(200);
  }, 60_000);

  test('a backend that freezes while it migrates does not keep the others from starting', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const limits = { ...migrationLimits, idleMs: 500, idleInTransactionMs: 500 };
    const frozen = await openConnection({ url: own.url, name: 'frozen', limits, onError: () => undefined });
    await frozen.query('SELECT pg_advisory_lock($1, $2)', [...advisoryLocks.migrations]);
    const opened = await openDatabase({ url: own.url });
    closers.push(opened.close);
    const shown = (await opened.reader.query('SELECT 1 AS one')) as unknown[];
    expect(shown).toHaveLength(1);
    expect([migrationLimits.idleMs, migrationLimits.idleInTransactionMs]).toEqual([expect.any(Number), expect.any(Number)]);
    expect(Math.min(migrationLimits.idleMs, migrationLimits.idleInTransactionMs)).toBeGreaterThan(0);
  }, 60_000);

  test('a server that ends the connection during the migrations is waited for, and they are begun again', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const operator = await client(own.url);
    let isOpen = false;
    const opening = openDatabase({ url: own.url }).finally(() => (isOpen = true));
    let ended = 0;
    await eventually('the migrating connection to be ended twice', async () => {
      const { rows } = await operator.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chasqui migrations' AND query <> ''`,
      );
      ended += rows.length;
      return ended >= 2 || isOpen;
    });
    const opened = await opening;
    closers.push(opened.close);
    expect(ended).toBeGreaterThan(0);
    await opened.write.run((tx) => insertRow(tx, EventCounter, { scope: 'row', last: 1 }));
  }, 60_000);

  test('a database that is not there yet is waited for, and the log says so; a name that does not exist is not', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const line = await openFaultProxy(postgresPort);
    closers.push(line.close);
    line.set({ kind: 'refuse' });
    const said: string[] = [];
    const note = (sentence: string, fields: object = {}): void => void said.push(`${sentence} ${JSON.stringify(fields)}`);
    const log: Log = { error: note, warn: note, info: note, debug: note, isDebug: false };
    const { port } = new URL(line.url);
    const opening = openDatabase({ url: own.url.replace(`:${postgresPort}`, `:${port}`) }, { log });
    await eventually('a line of the log', async () =>
      said.some((one) => one.startsWith('Waiting for the database.') && one.includes(`:${port}/`)),
    );
    line.set({ kind: 'none' });
    const opened = await opening;
    closers.push(opened.close);
    await expect(openDatabase({ url: `${own.url}_not_there` }, { log })).rejects.toThrow(/cannot be used.*correct DATABASE_URL/);
  }, 60_000);
});
