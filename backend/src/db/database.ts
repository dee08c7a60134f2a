import { foldText } from '@chasqui/shared';
import 'reflect-metadata';
import { dirname } from 'node:path';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { ensurePrivateFile } from '../lib/private-files.js';
import type { Log } from '../lib/log.js';
import { damagedProblem } from '../lib/start-problem.js';
import {
  BoundedPool,
  connectionOptions,
  defaultLimits,
  limitSession,
  migrationLimits,
  type ConnectionLimits,
} from './connections.js';
import { entities } from './entities.js';
import { migrate, placeOf, waitForDatabase } from './migrate.js';
import { migrations } from './migrations/index.js';
import { foldFunction } from './sql.js';
import { createTransactionGuard, guardReader, type GuardMode } from './transaction-guard.js';
import { createCoalescer, type Coalescer } from './coalesce.js';
import { createUnitOfWork, type UnitOfWork } from './unit-of-work.js';

export interface Database {
  readonly dialect: 'sqlite' | 'postgres';
  /** Reads committed data. Never used for writing. */
  readonly reader: DataSource;
  /** Runs transactions. All writes go through it. */
  readonly write: UnitOfWork;
  /** Lets concurrent readers share one query. */
  readonly coalescer: Coalescer;
  /** Empties SQLite's journal, which still contains overwritten data. Does nothing on PostgreSQL. */
  checkpoint(): Promise<void>;
  close(): Promise<void>;
}

/** `{ file }` is SQLite, `{ url }` PostgreSQL. */
export type DatabaseLocation = { file: string } | { url: string; schema?: string };

export interface DatabaseOptions {
  /** Absent: nothing is logged. */
  log?: Log;
  /** What happens when code inside a transaction reads through the pool. Absent: the read throws. */
  guard?: GuardMode;
  /** Time limits of connections to PostgreSQL. */
  limits?: ConnectionLimits;
}

const silent: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  isDebug: false,
};

/**
 * Opens the database, migrates it and checks the settings that durability depends on. Waits up to a minute for a PostgreSQL that does not
 * answer yet. SQLite gets two connections: the writer, which `write` queues for, and a read-only one, so that a reader never sees what
 * an open transaction on the same connection may still roll back.
 */
export async function openDatabase(location: DatabaseLocation, options: DatabaseOptions = {}): Promise<Database> {
  const { log = silent, guard: mode = { kind: 'throw' }, limits = defaultLimits } = options;
  const guard = createTransactionGuard(mode);
  const { writer, reader } =
    'file' in location ? await openSqlite(location.file, log) : await openPostgres(location, limits, log);
  const dialect = 'file' in location ? 'sqlite' : 'postgres';
  const coalescer = createCoalescer();
  const write = createUnitOfWork(writer, dialect, coalescer.forget, guard);
  guardReader(reader, guard);
  return {
    dialect,
    reader,
    write,
    coalescer,
    async checkpoint() {
      await write.idle();
      if (dialect === 'sqlite') await emptyJournal(writer);
    },
    async close() {
      await write.idle();
      if (reader !== writer) await reader.destroy();
      await writer.destroy();
    },
  };
}

async function openSqlite(file: string, log: Log): Promise<{ writer: DataSource; reader: DataSource }> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  ensurePrivateFile(file);
  try {
    return await openSqliteFile(file, log);
  } catch (error) {
    throw damagedProblem(error, file);
  }
}

async function openSqliteFile(file: string, log: Log): Promise<{ writer: DataSource; reader: DataSource }> {
  const writer = await new DataSource(writerOptions(file)).initialize();
  try {
    await migrate(writer, log);
    await assertDurable(writer);
    await writer.query(`PRAGMA busy_timeout = ${busyMs.running}`);
    return { writer, reader: await new DataSource(readerOptions(file)).initialize() };
  } catch (error) {
    await writer.destroy();
    throw error;
  }
}

async function openPostgres(
  location: { url: string; schema?: string },
  limits: ConnectionLimits,
  log: Log,
): Promise<{ writer: DataSource; reader: DataSource }> {
  const where = { where: placeOf(location.url), log };
  // A server that restarts during a migration rolls it back; the migration then starts again on a new connection.
  await waitForDatabase(() => migrateOnce(location, log), where);
  const source = await waitForDatabase(
    () => new DataSource(postgresOptions(location, 'chasqui', limits, poolSize)).initialize(),
    where,
  );
  return { writer: source, reader: source };
}

async function migrateOnce(location: { url: string; schema?: string }, log: Log): Promise<void> {
  const migrator = await new DataSource(postgresOptions(location, 'chasqui migrations', migrationLimits, 1)).initialize();
  try {
    await migrate(migrator, log);
  } finally {
    await migrator.destroy();
  }
}

const emptyForMs = 5_000;

/** A reader of another process (a backup) prevents the journal from being emptied; this waits for it without blocking the process. */
async function emptyJournal(writer: DataSource): Promise<void> {
  for (const until = performance.now() + emptyForMs; ;) {
    const [result] = await writer.query<{ busy: number }[]>('PRAGMA wal_checkpoint(TRUNCATE)');
    if (result?.busy !== 1 || performance.now() > until) return;
    await sleep(50);
  }
}

/** The part of better-sqlite3 that is set up here. */
interface SqliteConnection {
  pragma(text: string): unknown;
  function(name: string, options: { deterministic: boolean }, run: (value: unknown) => unknown): unknown;
}

/** Adds the text folding that searches compare by to SQLite. */
const addFolding = (connection: SqliteConnection): unknown =>
  connection.function(foldFunction, { deterministic: true }, (value) => (typeof value === 'string' ? foldText(value) : null));

const common = { entities, migrations, migrationsTableName: 'migrations', synchronize: false, logging: false } as const;

const poolSize = 10;

function postgresOptions(
  { url, schema }: { url: string; schema?: string },
  name: string,
  limits: ConnectionLimits,
  size: number,
): DataSourceOptions {
  return {
    ...common,
    type: 'postgres',
    url,
    ...(schema ? { schema } : {}),
    installExtensions: false,
    poolSize: size,
    // TypeORM reads the pool class from here; the rest of the module is unchanged.
    driver: { ...pg, Pool: BoundedPool },
    extra: { ...connectionOptions(url, name, limits), limit: (client: pg.ClientBase) => limitSession(client, limits) },
  };
}

/**
 * How long SQLite waits inside one call, blocking the whole process, for a file that another process has locked. During the start nothing
 * else has to run; afterwards the waiting is done between calls (unit-of-work.ts).
 */
const busyMs = { starting: 5_000, running: 5, reading: 250 };

function writerOptions(file: string): DataSourceOptions {
  return {
    ...common,
    type: 'better-sqlite3',
    database: file,
    enableWAL: true,
    prepareDatabase: (connection: SqliteConnection) => {
      addFolding(connection);
      connection.pragma(`busy_timeout = ${busyMs.starting}`);
      // FULL: a commit is on the disk before it is answered. NORMAL would lose the last ones with the power.
      connection.pragma('synchronous = FULL');
      connection.pragma('foreign_keys = ON');
      // Pages that are written repeatedly go into the file once: with the default of 1,000 pages accepting is 8 % slower.
      connection.pragma('wal_autocheckpoint = 4000');
      // Deleted data is overwritten: free pages must not contain messages.
      connection.pragma('secure_delete = ON');
      // The undo data of savepoints stays in memory: SQLite would create and delete a file for it with every batch of events.
      connection.pragma('temp_store = MEMORY');
    },
  };
}

function readerOptions(file: string): DataSourceOptions {
  return {
    ...common,
    type: 'better-sqlite3',
    database: file,
    readonly: true,
    prepareDatabase: (connection: SqliteConnection) => {
      addFolding(connection);
      connection.pragma(`busy_timeout = ${busyMs.reading}`);
    },
  };
}

async function assertDurable(source: DataSource): Promise<void> {
  const [mode] = await source.query<{ journal_mode: string }[]>('PRAGMA journal_mode');
  const [synchronous] = await source.query<{ synchronous: number }[]>('PRAGMA synchronous');
  if (mode?.journal_mode !== 'wal' || synchronous?.synchronous !== 2) {
    throw new Error(
      `The database is not durable (journal ${mode?.journal_mode}, synchronous ${synchronous?.synchronous}). Use a local disk for DATA_DIR.`,
    );
  }
}
