import { setTimeout as sleep } from 'node:timers/promises';
import { MigrationExecutor, type DataSource, type QueryRunner } from 'typeorm';
import { errorFields, type Log } from '../lib/log.js';
import { advisoryLocks } from './locks.js';
import { databaseErrorKind } from './database-errors.js';
import { pendingSchema } from './restored-marks.js';
import { StartProblem } from '../lib/start-problem.js';

/**
 * Brings the database up to date.
 *
 * Closes: two backends start on one empty database; both would create the same tables, and one of them would die. On PostgreSQL all of it
 * runs under an advisory lock on the migrating connection itself: the lock ends with the connection, however that ends. SQLite has one backend.
 *
 * Throws `StartProblem` when a newer version of this program has migrated the database: its tables and columns are unknown here, and its data
 * may be misread.
 */
export async function migrate(source: DataSource, log: Log): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    if (source.options.type === 'postgres') await lockMigrations(runner, log);
    if (source.options.type === 'postgres') await refuseUnfinishedRestore(runner);
    await refuseNewer(source, runner);
    const executor = new MigrationExecutor(source, runner);
    executor.transaction = 'each';
    await executor.executePendingMigrations();
    await requireSchema(source, runner);
    if (source.options.type === 'postgres')
      await runner.query('SELECT pg_advisory_unlock($1, $2)', [...advisoryLocks.migrations]);
  } finally {
    await runner.release();
  }
}

const pollIntervalMs = 250;
const repeatLogMs = 10_000;

async function lockMigrations(runner: QueryRunner, log: Log): Promise<void> {
  let nextLine = 0;
  for (;;) {
    const [row] = (await runner.query('SELECT pg_try_advisory_lock($1, $2) AS got', [...advisoryLocks.migrations])) as {
      got: boolean;
    }[];
    if (row?.got) return;
    if (performance.now() >= nextLine) {
      log.info('Another backend is migrating the database. This one waits until it is done.');
      nextLine = performance.now() + repeatLogMs;
    }
    await sleep(pollIntervalMs);
  }
}

/** A restore that has loaded the data and not yet marked it: what this backend would send may have been sent already. */
async function refuseUnfinishedRestore(runner: QueryRunner): Promise<void> {
  const sql = `SELECT to_regclass('${pendingSchema}.pending')::text AS pending`;
  const [row] = (await runner.query(sql)) as { pending: string | null }[];
  if (row?.pending)
    throw new StartProblem(
      'A restore into this database was not finished. Run the same `npm run restore` again, which continues it.',
    );
}

async function refuseNewer(source: DataSource, runner: QueryRunner): Promise<void> {
  const table = source.options.migrationsTableName ?? 'migrations';
  if (!(await runner.hasTable(table))) return;
  const rows = (await runner.query(`SELECT name FROM "${table}" ORDER BY timestamp`)) as { name: string }[];
  const known = new Set(source.migrations.map((migration) => migration.name ?? migration.constructor.name));
  const unknown = rows.map(({ name }) => name).filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new StartProblem(
    `The database was migrated by a newer version of Chasqui (unknown here: ${unknown.join(', ')}). ` +
      'Start that version or a later one. To go back to this version, restore the backup that was made before the upgrade.',
  );
}

/**
 * Throws `StartProblem` when tables or columns are missing although every migration is recorded: the database was changed by hand, or
 * restored in part. The program would start, and fail at the first request that needs them.
 */
async function requireSchema(source: DataSource, runner: QueryRunner): Promise<void> {
  const { options } = source;
  const schema = options.type === 'postgres' ? (options.schema ?? null) : null;
  const sql =
    options.type === 'postgres'
      ? `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns WHERE table_schema = COALESCE($1, current_schema())`
      : `SELECT m.name AS "table", c.name AS "column" FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'`;
  const rows = (await runner.query(sql, options.type === 'postgres' ? [schema] : [])) as { table: string; column: string }[];
  const present = new Set(rows.map(({ table, column }) => `${table}.${column}`));
  const tables = new Set(rows.map(({ table }) => table));
  const missing = source.entityMetadatas.flatMap(({ tableName, columns }) =>
    tables.has(tableName)
      ? columns.map(({ databaseName }) => `${tableName}.${databaseName}`).filter((name) => !present.has(name))
      : [tableName],
  );
  if (missing.length === 0) return;
  const shown = missing.length > 5 ? `${missing.slice(0, 5).join(', ')} and ${missing.length - 5} more` : missing.join(', ');
  throw new StartProblem(
    `The database lacks tables or columns of this version (${shown}), although its migrations are recorded as done. ` +
      'Restore a complete backup, or name an empty database to start with.',
  );
}

/** For how long the start waits for a database that does not answer, and the pauses between attempts. */
const maxWaitMs = 60_000;
const pausesMs = { first: 500, longest: 5_000 };

/**
 * Opens a connection to a database that may not be ready yet, because it often starts at the same time. Logs every failed attempt. Throws
 * the error after a minute; the process supervisor then restarts this process.
 */
export async function waitForDatabase<T>(open: () => Promise<T>, { where, log }: { where: string; log: Log }): Promise<T> {
  const until = performance.now() + maxWaitMs;
  for (let pause = pausesMs.first; ; pause = Math.min(pause * 2, pausesMs.longest)) {
    try {
      return await open();
    } catch (error) {
      if (databaseErrorKind(error) !== 'unavailable' || isFinal(error) || performance.now() > until)
        throw refusalOf(error, where);
      const { stack: _stack, ...fields } = errorFields(error);
      log.warn('Waiting for the database. Start PostgreSQL, or correct DATABASE_URL.', { where, ...fields });
      await sleep(pause);
    }
  }
}

/** Errors that waiting does not solve: the password is wrong, the database or schema does not exist, or the user lacks rights. */
const isFinal = (error: unknown): boolean => /^(28...|3D000|3F000|42501)$/.test((error as { code?: string }).code ?? '');

function refusalOf(error: unknown, where: string): unknown {
  if (databaseErrorKind(error) !== 'unavailable') return error;
  const { message } = error as Error;
  return new StartProblem(`The database at ${where} cannot be used: ${message}. Start PostgreSQL, or correct DATABASE_URL.`);
}

/** Host, port and name of a database, without user and password. */
export function placeOf(url: string): string {
  const { hostname, port, pathname, searchParams } = new URL(url);
  const host = searchParams.get('host') ?? decodeURIComponent(hostname);
  // A path is the folder of a Unix socket.
  return host.startsWith('/') ? `${host}, database ${pathname.slice(1)}` : `${host || 'localhost'}:${port || 5432}${pathname}`;
}
