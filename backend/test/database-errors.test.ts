import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { Client } from 'pg';
import { QueryFailedError } from 'typeorm';
import { openFaultProxy } from '../../bench/src/fault-proxy.js';
import { defaultLimits, migrationLimits, openConnection } from '../src/db/connections.js';
import { readConfig } from '../src/config.js';
import { openDatabase, type Database, type DatabaseOptions } from '../src/db/database.js';
import { advisoryLocks } from '../src/db/locks.js';
import { StartProblem } from '../src/lib/start-problem.js';
import { insertRow, readRows, readBatch } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { OutsideOfTransactionOnly } from '../src/db/transaction-guard.js';
import { databaseErrorKind, DatabaseConnectionLost, markConnectionError } from '../src/db/database-errors.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { EventCounter } from '../src/events/event.entity.js';
import { asAppError } from '../src/http/server.js';
import type { Log } from '../src/lib/log.js';
import { createAcceptance } from '../src/messages/accept/acceptance.js';
import { IdempotencyRecord } from '../src/messages/accept/idempotency.entity.js';
import { databases, hasPostgres, ownDatabase, serviceKey, startRig, type Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What the database does to us, and that it never stops us for good. Whole servers that fail are in `database-faults.e2e.test.ts`. */

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const describeOnPostgres = (await hasPostgres()) ? describe : describe.skip;

const quickLimits = {
  ...defaultLimits,
  connectMs: 600,
  lockMs: 300,
  idleInTransactionMs: 600,
  statementMs: 900,
  answerMs: 1_200,
};

async function openOwn(
  database: 'sqlite' | 'postgres',
  options: DatabaseOptions = {},
): Promise<{ opened: Database; url: string; file: string }> {
  if (database === 'sqlite') {
    const folder = await mkdtemp(join(tmpdir(), 'chasqui-trouble-'));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'backend.sqlite');
    const opened = await openDatabase({ file }, options);
    closers.push(opened.close);
    return { opened, url: '', file };
  }
  const own = await ownDatabase();
  closers.push(own.drop);
  const opened = await openDatabase({ url: own.url }, options);
  closers.push(opened.close);
  return { opened, url: own.url, file: '' };
}

async function client(url: string): Promise<Client> {
  const made = new Client({ connectionString: url });
  made.on('error', () => undefined);
  await made.connect();
  closers.push(() => made.end());
  return made;
}

describe.each(await databases())('the guard of transactions on %s', (database) => {
  let opened: Database;
  let closeOpened: (() => Promise<unknown>)[];
  beforeAll(async () => {
    ({ opened } = await openOwn(database));
    // Kept for all tests of this group.
    closeOpened = closers.splice(0).reverse();
  });
  afterAll(async () => {
    for (const close of closeOpened) await close();
  });

  const ways: Record<string, (tx: Transaction) => Promise<unknown>> = {
    'a repository': () => opened.reader.getRepository(EventCounter).findOneBy({ scope: 'x' }),
    'a query builder': () => opened.reader.createQueryBuilder(EventCounter, 'c').getMany(),
    'the entity manager': () => opened.reader.manager.find(EventCounter),
    'a query': () => opened.reader.query('SELECT 1'),
    'a statement that is not prepared': () => runStatement(opened.reader, 'SELECT 1 AS one', [], { prepare: false }),
    runStatement: () => runStatement(opened.reader, 'SELECT 1 AS one', []),
    readRows: () => readRows(opened.reader, EventCounter, 'scope = ?', ['x']),
    readBatch: () => readBatch(opened, EventCounter, 'scope = ?', ['x']),
    'another transaction': () => opened.write.run(async () => undefined),
    'a read after a pause': async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return opened.reader.query('SELECT 1');
    },
    'a read after a read of its own': async (tx) => {
      await tx.manager.query('SELECT 1');
      return opened.reader.query('SELECT 1');
    },
    'a file': async () => readFile(import.meta.filename),
  };

  test.each(Object.keys(ways))('%s inside a transaction fails it, and nothing is written', async (name) => {
    const scope = randomUUID();
    const failed = opened.write.run(async (tx) => {
      await insertRow(tx, EventCounter, { scope, last: 1 });
      await ways[name]!(tx);
    });
    await expect(failed).rejects.toBeInstanceOf(OutsideOfTransactionOnly);
    expect(await opened.reader.getRepository(EventCounter).findOneBy({ scope })).toBeNull();
  });

  test('a read that another caller started in the same tick is no way around it', async () => {
    const outcome = await new Promise<unknown>((resolve) => {
      void opened.write
        .run(async () => {
          await new Promise((next) => setImmediate(next));
          return readBatch(opened, EventCounter, 'scope = ?', ['shared']);
        })
        .then(resolve, resolve);
      const again = (): void => {
        void readBatch(opened, EventCounter, 'scope = ?', ['shared']).then(() => undefined);
      };
      for (let turn = 0; turn < 20; turn += 1) setTimeout(again, turn);
    });
    expect(outcome).toBeInstanceOf(OutsideOfTransactionOnly);
  });

  test('callbacks after the commit, background work that outlives it, and others that read meanwhile are never caught', async () => {
    const rounds = fc.array(fc.record({ transactions: fc.nat(8), reads: fc.nat(8), late: fc.boolean() }), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(rounds, async (list) => {
        const left: Promise<unknown>[] = [];
        const read = (): void => void left.push(runStatement(opened.reader, 'SELECT 1 AS one'));
        for (const { transactions, reads, late } of list) {
          for (let number = 0; number < transactions; number += 1)
            left.push(
              opened.write.run(async (tx) => {
                await tx.manager.query('SELECT 1');
                tx.afterCommit(read);
                // Begun inside, running on after the end.
                if (late) setTimeout(read, 30);
              }),
            );
          for (let number = 0; number < reads; number += 1) read();
        }
        await Promise.all(left);
        await new Promise((resolve) => setTimeout(resolve, 40));
        await Promise.all(left);
      }),
      { numRuns: 10 },
    );
  });

  test('in production it is reported once for each place, and the work continues', async () => {
    const reports: Error[] = [];
    const { opened: lenient } = await openOwn(database, {
      guard: { kind: 'report', report: (error) => void reports.push(error) },
    });
    for (let times = 0; times < 3; times += 1)
      await lenient.write.run(async () => void (await runStatement(lenient.reader, 'SELECT 1 AS one')));
    expect(reports).toHaveLength(1);
  });

  test('in production a transaction inside a transaction does not stop the writers', async () => {
    const { opened: lenient } = await openOwn(database, { guard: { kind: 'report', report: () => undefined } });
    const outer = lenient.write.run(async (tx) => {
      await tx.manager.query('SELECT 1');
      await lenient.write.run(async (inner) => void (await inner.manager.query('SELECT 1')));
    });
    // SQLite has one writer, and the inner one would wait for the outer one for ever.
    const outcome = await outer.then(
      () => 'done',
      (error: unknown) => (error as Error).name,
    );
    expect(outcome).toBe(database === 'sqlite' ? 'OutsideOfTransactionOnly' : 'done');
    const scope = randomUUID();
    await lenient.write.run((tx) => insertRow(tx, EventCounter, { scope, last: 1 }));
    expect(await lenient.reader.getRepository(EventCounter).countBy({ scope })).toBe(1);
  });
});

describe('the meaning of an error of the database', () => {
  const unavailable = [
    ...[
      '08000',
      '08001',
      '08003',
      '08006',
      '08P01',
      '25006',
      '25P03',
      '25P04',
      '28P01',
      '26000',
      '3D000',
      '3F000',
      '40001',
      '40003',
      '40P01',
      '53000',
      '53200',
    ],
    ...[
      '53300',
      '55006',
      '55P03',
      '57000',
      '57014',
      '57P01',
      '57P02',
      '57P03',
      '57P05',
      '58000',
      '58030',
      'XX000',
      'XX001',
      '42501',
    ],
    ...[
      'SQLITE_BUSY',
      'SQLITE_BUSY_SNAPSHOT',
      'SQLITE_BUSY_RECOVERY',
      'SQLITE_LOCKED',
      'SQLITE_LOCKED_SHAREDCACHE',
      'SQLITE_IOERR',
    ],
    ...[
      'SQLITE_IOERR_FSYNC',
      'SQLITE_IOERR_WRITE',
      'SQLITE_READONLY',
      'SQLITE_READONLY_DBMOVED',
      'SQLITE_CANTOPEN',
      'SQLITE_CORRUPT',
    ],
  ];
  const full = ['53100', 'SQLITE_FULL', 'SQLITE_IOERR_NOSPC'];
  const sockets = ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'];
  const withCode = (code: string): Error => Object.assign(new Error('driver'), { code });
  /** As drivers, the ORM and Node hand errors on. */
  const wrapped: ((error: Error) => unknown)[] = [
    (error) => error,
    (error) => new QueryFailedError('SELECT 1', [], error),
    (error) => new Error('outer', { cause: error }),
    (error) => new AggregateError([new Error('first'), error]),
    (error) => new Error('outer', { cause: new QueryFailedError('SELECT 1', [], error) }),
  ];

  test('all trouble of the database is 503, however it is wrapped; nothing else is', () => {
    for (const wrap of wrapped) {
      for (const code of unavailable)
        expect([code, asAppError(wrap(withCode(code))).code]).toEqual([code, 'DATABASE_UNAVAILABLE']);
      for (const code of full) expect([code, asAppError(wrap(withCode(code))).code]).toEqual([code, 'STORAGE_FULL']);
      for (const code of sockets) {
        expect([code, asAppError(wrap(markConnectionError(withCode(code)))).code]).toEqual([code, 'DATABASE_UNAVAILABLE']);
        // Somebody else's socket: of a worker, of a caller that went away.
        expect([code, asAppError(wrap(withCode(code))).code]).toEqual([code, 'INTERNAL_ERROR']);
      }
    }
    for (const code of ['42601', '22001', '23502', 'SQLITE_ERROR', 'SQLITE_CONSTRAINT_NOTNULL'])
      expect([code, asAppError(withCode(code)).code]).toEqual([code, 'INTERNAL_ERROR']);
  });

  test('any thrown value is classified without throwing', () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect([null, 'unavailable', 'full', 'conflict', 'data']).toContain(databaseErrorKind(thrown));
        expect(asAppError(thrown).status).toBeGreaterThanOrEqual(400);
      }),
    );
  });
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
    const sockets = '/var/run/postgresql';
    if (existsSync(join(sockets, '.s.PGSQL.5432'))) {
      forms[`postgresql:///${name}?host=${sockets}&user=postgres`] = '4s';
      forms[`postgresql://postgres@localhost/${name}?host=${sockets}`] = '4s';
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
    const line = await openFaultProxy(5432);
    closers.push(line.close);
    const url = own.url.replace(':5432', `:${new URL(line.url).port}`);
    const opened = await openDatabase({ url }, { limits: quickLimits });
    closers.push(opened.close);
    const ask = (): Promise<unknown> => opened.reader.query('SELECT pg_sleep(0.05)');
    // Ten connections, all idle afterwards.
    await Promise.all(Array.from({ length: 10 }, ask));
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

describeOnPostgres('a schema that is gone while the program runs', () => {
  test('is 503 with Retry-After and a log line with the next step, not 500', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const rig = await startRig({ databaseUrl: own.url });
    closers.push(() => rig.close());
    await rig.database.write.run((tx) => tx.manager.query('ALTER TABLE webhooks RENAME COLUMN url TO gone'));
    const column = await rig.call('GET', '/webhooks');
    await rig.database.write.run((tx) => tx.manager.query('ALTER TABLE webhooks RENAME TO elsewhere'));
    const table = await rig.call('GET', '/webhooks');
    for (const { status, headers, body } of [column, table]) {
      expect([status, body.error?.code]).toEqual([503, 'DATABASE_UNAVAILABLE']);
      expect(headers.get('retry-after')).not.toBeNull();
    }
    expect(rig.lines.join()).toContain('Restart the backend, which migrates it');
  }, 60_000);
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
    const line = await openFaultProxy(5432);
    closers.push(line.close);
    line.set({ kind: 'refuse' });
    const said: string[] = [];
    const note = (sentence: string, fields: object = {}): void => void said.push(`${sentence} ${JSON.stringify(fields)}`);
    const log: Log = { error: note, warn: note, info: note, debug: note, isDebug: false };
    const { port } = new URL(line.url);
    const opening = openDatabase({ url: own.url.replace(':5432', `:${port}`) }, { log });
    await eventually('a line of the log', async () =>
      said.some((one) => one.startsWith('Waiting for the database.') && one.includes(`:${port}/`)),
    );
    line.set({ kind: 'none' });
    const opened = await opening;
    closers.push(opened.close);
    await expect(openDatabase({ url: `${own.url}_not_there` }, { log })).rejects.toThrow(/cannot be used.*correct DATABASE_URL/);
  }, 60_000);
});

describe.each(await databases())('requests on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  }, 60_000);
  afterAll(async () => core?.close());

  /** Keeps everybody from writing, as a backup, a migration by hand or a frozen backend would. */
  async function lockOut(): Promise<() => Promise<void>> {
    if (core.rig.databaseUrl) {
      const foreign = await client(core.rig.databaseUrl);
      await foreign.query('BEGIN');
      await foreign.query('LOCK TABLE event_counters IN ACCESS EXCLUSIVE MODE');
      return async () => void (await foreign.query('ROLLBACK'));
    }
    const file = new Sqlite(join(core.rig.dataDir, 'chasqui.sqlite'), { fileMustExist: true });
    file.exec('BEGIN IMMEDIATE');
    return async () => {
      file.exec('ROLLBACK');
      file.close();
    };
  }

  test('while no write is possible, sends get 503 with Retry-After, ready is 503 in time, and the process replies; afterwards all works', async () => {
    const release = await lockOut();
    try {
      const sends = Array.from({ length: 5 }, () => core.send('locked out', { async: true }));
      // A result is good for a second.
      await eventually('to be unready', async () => (await core.rig.call('GET', '//health/ready', { key: null })).status === 503);
      const started = performance.now();
      const probes = await Promise.all(Array.from({ length: 30 }, () => core.rig.call('GET', '//health/ready', { key: null })));
      expect(performance.now() - started).toBeLessThan(5_000);
      expect(new Set(probes.map(({ status, headers }) => `${status} ${headers.get('retry-after')}`))).toEqual(new Set(['503 5']));
      expect((await core.rig.call('GET', '//health', { key: null })).status).toBe(503);
      let slowest = 0;
      for (let times = 0; times < 10; times += 1) {
        const asked = performance.now();
        expect((await core.rig.call('GET', '//health/live', { key: null })).status).toBe(200);
        slowest = Math.max(slowest, performance.now() - asked);
      }
      expect(slowest).toBeLessThan(1_500);
      for (const { status, headers, body } of await Promise.all(sends))
        expect([status, headers.get('retry-after'), body.error?.code]).toEqual([503, '5', 'DATABASE_UNAVAILABLE']);
    } finally {
      await release();
    }
    await eventually(
      'to be ready again',
      async () => (await core.rig.call('GET', '//health/ready', { key: null })).status === 200,
    );
    expect((await core.send('after the lock', { async: true })).status).toBe(202);
  }, 60_000);

  test('ready is 503 while any table that accepting needs is locked', async () => {
    if (!core.rig.databaseUrl) return; // SQLite locks the whole file, see above.
    const foreign = await client(core.rig.databaseUrl);
    for (const table of ['sessions', 'messages', 'events', 'idempotency_records', 'quota_usage']) {
      await foreign.query('BEGIN');
      await foreign.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
      // A result is good for a second.
      await eventually(`to be unready while ${table} is locked`, async () => {
        const { status, headers } = await core.rig.call('GET', '//health/ready', { key: null });
        return status === 503 && headers.get('retry-after') === '5';
      });
      await foreign.query('ROLLBACK');
      await eventually('to be ready', async () => (await core.rig.call('GET', '//health/ready', { key: null })).status === 200);
    }
  }, 60_000);

  test('however many wait to be accepted, they are refused together, not one time limit after the other', async () => {
    let attempts = 0;
    const run = async (): Promise<never> => {
      attempts += 1;
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      throw new DatabaseConnectionLost('PostgreSQL did not answer.');
    };
    const unused = {} as never;
    const accept = createAcceptance(
      { database: { write: { run } } as never, events: unused, report: () => undefined },
      { contacts: unused, media: unused, idempotency: unused, quotas: unused, enterQueue: async () => undefined },
    );
    const waiting = Array.from({ length: 1_000 }, () =>
      accept({ session: unused, message: {} as never, key: null, file: null }).catch((error: unknown) =>
        databaseErrorKind(error),
      ),
    );
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['unavailable']));
    // A thousand are sixteen commits.
    expect(attempts).toBeLessThanOrEqual(3);
  }, 60_000);

  test('however many ask whether it is ready, one probe at a time tries', async () => {
    const { write } = core.rig.database;
    const run = write.run.bind(write);
    let running = 0;
    let most = 0;
    let begun = 0;
    write.run = async (work) => {
      begun += 1;
      most = Math.max(most, (running += 1));
      return run(work).finally(() => (running -= 1));
    };
    try {
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      begun = most = 0;
      await Promise.all(Array.from({ length: 200 }, () => core.rig.call('GET', '//health/ready', { key: null })));
      // Others may write meanwhile; two hundred probes did not.
      expect(most).toBeLessThan(10);
      expect(begun).toBeLessThan(50);
    } finally {
      write.run = run;
    }
  });

  const forms: Record<string, (path: string, body: unknown) => string> = {
    'with the prefix of the API': (path, body) => sha256(`POST /api/v1${path}\n${JSON.stringify({ body, file: null })}`),
    'without it': (path, body) => sha256(`POST ${path}\n${JSON.stringify({ body, file: null })}`),
  };
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

  test.each(Object.keys(forms))(
    'a repeat under a key that an earlier version has stored (%s) gets its message; another request does not',
    async (form) => {
      const key = randomUUID();
      const text = { recipient: '5511999990001', message: `upgrade ${form}`, async: true };
      const first = await core.post('/messages/send-text', text, { 'idempotency-key': key });
      expect(first.status).toBe(202);
      // The body as the contract has parsed it, in the order of its fields.
      const record = await core.rig.database.reader.getRepository(IdempotencyRecord).findOneByOrFail({ key });
      expect(record.requestHash).toMatch(/^v2:/);
      const parsed = await parsedBody(record.requestHash, text);
      await core.rig.database.write.run((tx) =>
        tx.manager.update(IdempotencyRecord, { key }, { requestHash: forms[form]!('/messages/send-text', parsed) }),
      );
      const again = await core.post('/messages/send-text', text, { 'idempotency-key': key });
      expect([again.status, again.body.data]).toEqual([first.status, first.body.data]);
      const other = await core.post('/messages/send-text', { ...text, message: 'another' }, { 'idempotency-key': key });
      expect([other.status, other.body.error?.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED']);
    },
  );

  /** The contract adds defaults; which, the present hash tells. */
  async function parsedBody(hash: string, text: object): Promise<unknown> {
    const { sendTyped } = await import('../src/messages/contract.js');
    const parsed: unknown = sendTyped.text.body.parse(text);
    const now = createHash('sha256').update(`POST /api/v1/messages/send-text\n${JSON.stringify({ body: parsed, file: null })}`);
    expect(hash).toBe(`v2:${now.digest('base64url')}`);
    return parsed;
  }
});

describeOnPostgres('one batch of events at two backends', () => {
  test('is stored once, and is no error of either, also when it names a session that does not exist', async () => {
    const core = await startCore({ database: 'postgres' });
    closers.push(core.close);
    const second: Rig = await startRig({ databaseUrl: core.rig.databaseUrl!, settings: { WORKER_URLS: core.worker.url } });
    closers.push(second.close);
    const hand = (url: string, events: unknown[]): Promise<Response> =>
      fetch(`${url}/internal/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-api-key': serviceKey },
        body: JSON.stringify({ workerId: core.worker.workerId, bootId: 'boot-1', events }),
      });
    const keys: string[] = [];
    for (let round = 0; round < 8; round += 1) {
      const events = [1, 2, 3].map(() => {
        const message = core.inbound('twice');
        keys.push(message.key);
        return core.worker.queue(core.sessionId, 'message.observed', { message, origin: 'live' });
      });
      const unknown = { ...events[0]!, id: randomUUID(), sessionId: randomUUID(), sequence: 1 };
      const answers = await Promise.all(
        [core.rig.url, second.url, core.rig.url, second.url].map((url) => hand(url, [...events, unknown])),
      );
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    }
    const { rows } = await runStatement<{ whatsappKey: string }>(
      core.rig.database.reader,
      `SELECT "whatsappKey" FROM messages WHERE direction = 'inbound'`,
    );
    expect(rows.map(({ whatsappKey }) => whatsappKey).sort()).toEqual([...keys].sort());
    const complaints = [...core.rig.lines, ...second.lines].filter((line) =>
      /could not be ingested|A request failed|are refused/.test(line),
    );
    expect(complaints).toEqual([]);
  }, 60_000);
});
