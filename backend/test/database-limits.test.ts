import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { postgresPort } from '../../bench/src/database.js';
import { openFaultProxy } from '../../bench/src/fault-proxy.js';
import { openConnection } from '../src/db/connections.js';
import { readConfig } from '../src/config.js';
import { openDatabase } from '../src/db/database.js';
import { insertRow } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { databaseErrorKind } from '../src/db/database-errors.js';
import { EventCounter } from '../src/events/event.entity.js';
import { ownDatabase, serviceKey } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { client, closeAfterEach, closers, describeOnPostgres, openOwn, quickLimits } from './support/own-database.js';

/** Every wait for the database ends, on both sides. */

closeAfterEach();

test('a connection that the server ends while it is opened is a failed attempt, and nothing else', async () => {
  const ready = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);
  // Lets the client in, and breaks the connection at its first statement.
  const server = createServer((socket) => {
    socket
      .on('error', () => undefined)
      .once('data', () => {
        socket.write(ready);
        socket.once('data', () => socket.resetAndDestroy());
      });
  }).listen(0, '127.0.0.1');
  closers.push(() => new Promise<void>((done) => void server.close(() => done())));
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const late: Error[] = [];
  const attempt = openConnection({ url: `postgres://x@127.0.0.1:${port}/x`, name: 'test', onError: (error) => late.push(error) });
  expect(databaseErrorKind(await attempt.catch((error: unknown) => error))).toBe('unavailable');
  expect(late).toEqual([]);
});

describeOnPostgres('time limits on PostgreSQL', () => {
  test('every connection has all of them, and limits in the operator’s URL take precedence', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const opened = await openConnection({ url: `${own.url}?lock_timeout=1234`, name: 'test', onError: () => undefined });
    closers.push(() => opened.end());
    const shown = async (name: string): Promise<string> =>
      Object.values((await opened.query(`SHOW ${name}`)).rows[0] as object)[0] as string;
    const names = [
      'lock_timeout',
      'statement_timeout',
      'idle_in_transaction_session_timeout',
      'tcp_user_timeout',
      'tcp_keepalives_idle',
    ];
    expect(await Promise.all(names.map(shown))).toEqual(['1234ms', '8s', '5s', '10000', '5']);
  });

  test('every form of address that the settings accept is understood: options, and a socket', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const name = new URL(own.url).pathname.slice(1);
    const forms: Record<string, string> = {
      [`${own.url}?options=-c%20lock_timeout%3D1234`]: '1234ms',
    };
    const asked = new Client({ connectionString: own.url });
    await asked.connect();
    const { rows } = await asked.query<{ sockets: string }>(`SELECT current_setting('unix_socket_directories') AS sockets`);
    await asked.end();
    const sockets = rows[0]!.sockets.split(',')[0]!.trim();
    if (existsSync(join(sockets, `.s.PGSQL.${postgresPort}`))) {
      forms[`postgresql:///${name}?host=${sockets}&port=${postgresPort}&user=postgres`] = '4s';
      forms[`postgresql://postgres@localhost:${postgresPort}/${name}?host=${sockets}`] = '4s';
    }
    for (const [url, lockTimeout] of Object.entries(forms)) {
      expect(readConfig({ SERVICE_API_KEY: serviceKey, DATABASE_URL: url }, tmpdir()).database).toEqual({ url });
      const opened = await openDatabase({ url });
      closers.push(opened.close);
      const [row] = await opened.reader.query<{ lock_timeout: string }[]>('SHOW lock_timeout');
      expect([url, row?.lock_timeout]).toEqual([url, lockTimeout]);
    }
  });

  test('a transaction that is frozen loses its locks, and others continue', async () => {
    const { opened, url } = await openOwn('postgres', { limits: quickLimits });
    const other = await openDatabase({ url }, { limits: { ...quickLimits, lockMs: 5_000 } });
    closers.push(other.close);
    await opened.write.run((tx) => insertRow(tx, EventCounter, { scope: 'row', last: 1 }));
    const update = `UPDATE event_counters SET last = last + 1 WHERE scope = 'row'`;
    let goOn = (): void => undefined;
    let outcome: Promise<unknown> = Promise.resolve();
    await new Promise<void>((isStandingStill) => {
      const frozen = opened.write.run(async (tx) => {
        await tx.manager.query(update);
        await new Promise<void>((resolve) => {
          goOn = resolve;
          isStandingStill();
        });
        await tx.manager.query(update);
      });
      outcome = frozen.catch((error: unknown) => error);
    });
    await other.write.run((tx) => tx.manager.query(update));
    goOn();
    expect(databaseErrorKind(await outcome)).toBe('unavailable');
    const {
      rows: [row],
    } = await runStatement<{ last: string }>(other.reader, `SELECT last FROM event_counters WHERE scope = 'row'`);
    expect(Number(row!.last)).toBe(2);
    await opened.write.run((tx) => tx.manager.query(update));
  });

  test('a lock, a slow statement and a pool that is used up end in time, as trouble of the database', async () => {
    const { opened, url } = await openOwn('postgres', { limits: quickLimits });
    await opened.write.run((tx) => insertRow(tx, EventCounter, { scope: 'row', last: 1 }));
    const foreign = await client(url);
    await foreign.query('BEGIN');
    await foreign.query('SELECT * FROM event_counters FOR UPDATE');
    const locked = opened.write.run((tx) => tx.manager.query('UPDATE event_counters SET last = 5'));
    const slow = opened.reader.query('SELECT pg_sleep(5)');
    const many = Array.from({ length: 30 }, () => opened.reader.query('SELECT pg_sleep(5)'));
    const started = performance.now();
    const errors = await Promise.all(
      [locked, slow, ...many].map((one) => (one as Promise<unknown>).catch((error: unknown) => error)),
    );
    expect(new Set(errors.map(databaseErrorKind))).toEqual(new Set(['unavailable']));
    expect(performance.now() - started).toBeLessThan(8_000);
    await foreign.query('ROLLBACK');
    await opened.write.run((tx) => tx.manager.query('UPDATE event_counters SET last = 6'));
  });

  test('connections that are forgotten on their way are noticed all at once, and replaced', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const line = await openFaultProxy(postgresPort);
    closers.push(line.close);
    const url = own.url.replace(`:${postgresPort}`, `:${new URL(line.url).port}`);
    const opened = await openDatabase({ url }, { limits: quickLimits });
    closers.push(opened.close);
    const ask = (): Promise<unknown> => opened.reader.query('SELECT pg_sleep(0.05)');
    // Ten connections, all idle afterwards. A busy machine may not open all of them within the short limits of this test.
    await eventually('ten connections', () =>
      Promise.all(Array.from({ length: 10 }, ask)).then(
        () => true,
        () => false,
      ),
    );
    line.forget();
    const started = performance.now();
    expect(databaseErrorKind(await ask().catch((error: unknown) => error))).toBe('unavailable');
    await eventually('a new connection', () =>
      ask()
        .then(() => true)
        .catch(() => false),
    );
    // Once, not ten times, the time after which silence is believed.
    expect(performance.now() - started).toBeLessThan(quickLimits.answerMs * 4);
  });
});

describeOnPostgres('a server that changes while connections are open', () => {
  test('a database that was read-only for a while is written to again, without new connections from outside', async () => {
    const { opened, url } = await openOwn('postgres');
    const name = new URL(url).pathname.slice(1);
    const operator = await client(url.replace(`/${name}`, '/postgres'));
    const write = (): Promise<unknown> => opened.write.run((tx) => insertRow(tx, EventCounter, { scope: randomUUID(), last: 1 }));
    await write();
    await operator.query(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
    await operator.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    // Until each connection of the pool is one that was opened meanwhile.
    await eventually('writes to be refused as read-only', async () => {
      const errors = await Promise.all(Array.from({ length: 20 }, () => write().catch((error: unknown) => error)));
      return errors.every((error) => (error as { code?: string } | undefined)?.code === '25006');
    });
    await operator.query(`ALTER DATABASE ${name} RESET default_transaction_read_only`);
    await eventually('writes to be taken again', async () => {
      const errors = await Promise.all(
        Array.from({ length: 20 }, () =>
          write()
            .then(() => null)
            .catch((error: unknown) => error),
        ),
      );
      return errors.every((error) => error === null);
    });
  });

  test('a prepared statement whose table was changed is prepared again', async () => {
    const { opened, url } = await openOwn('postgres');
    const operator = await client(url);
    await operator.query('CREATE TABLE shapes (id int)');
    const read = (): Promise<unknown> => runStatement(opened.reader, 'SELECT * FROM shapes', []);
    await Promise.all(Array.from({ length: 10 }, read));
    await operator.query('ALTER TABLE shapes ADD COLUMN more text');
    await eventually('all connections to know the new form', async () => {
      const errors = await Promise.all(
        Array.from({ length: 10 }, () =>
          read()
            .then(() => null)
            .catch((error: unknown) => error),
        ),
      );
      return errors.every((error) => error === null);
    });
  });
});
