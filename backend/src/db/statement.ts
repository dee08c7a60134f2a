import type { DataSource, EntityManager } from 'typeorm';
import { guardOf, readerUsed } from './transaction-guard.js';

/** The result of a statement: the rows of a SELECT or a RETURNING, and the number of rows written. */
export interface Result {
  rows: unknown[];
  affected: number;
}

/** The part of better-sqlite3 that is used here. */
interface SqliteStatement {
  readonly reader: boolean;
  all(...values: unknown[]): unknown[];
  run(...values: unknown[]): { changes: number };
}
interface SqliteConnection {
  prepare(sql: string): SqliteStatement;
}

/** The part of pg that is used here. A named statement is parsed and planned once per connection. */
interface PostgresConnection {
  query(statement: {
    name: string;
    text: string;
    values: readonly unknown[];
  }): Promise<{ rows: unknown[]; rowCount: number | null }>;
}

/**
 * Runs one statement directly through the driver, prepared once. TypeORM's overhead is several times SQLite's own time, so the hot paths use
 * only this. Inside a transaction it uses the transaction's connection. `?` is a parameter, and values are as the columns store them.
 * Throws the driver's errors, with their codes.
 *
 * Every text stays prepared, so a caller must use few different texts.
 */
export async function runStatement(where: DataSource | EntityManager, sql: string, values: readonly unknown[]): Promise<Result> {
  const source = 'connection' in where ? where.connection : where;
  if (source === where) guardOf(source)?.mustBeOutside(readerUsed);
  return source.options.type === 'postgres' ? onPostgres(where, source, sql, values) : onSqlite(source, sql, values);
}

const prepared = new WeakMap<DataSource, Map<string, SqliteStatement>>();

/** The synchronous form for SQLite, whose driver is synchronous; awaiting a present result would cost time. */
export function onSqlite(source: DataSource, sql: string, values: readonly unknown[] = []): Result {
  let known = prepared.get(source);
  if (!known) prepared.set(source, (known = new Map()));
  let statement = known.get(sql);
  if (!statement) known.set(sql, (statement = connectionOf(source).prepare(sql)));
  if (statement.reader) {
    const rows = statement.all(...values);
    return { rows, affected: rows.length };
  }
  return { rows: [], affected: statement.run(...values).changes };
}

/** TypeORM keeps the connection in a property that its types do not declare. */
const connectionOf = (source: DataSource): SqliteConnection =>
  (source.driver as unknown as { databaseConnection: SqliteConnection }).databaseConnection;

interface PostgresText {
  name: string;
  text: string;
}
const texts = new Map<string, PostgresText>();

function postgresText(sql: string): PostgresText {
  let known = texts.get(sql);
  if (!known) {
    let number = 0;
    known = { name: `chq_${texts.size}`, text: sql.replace(/\?/g, () => `$${++number}`) };
    texts.set(sql, known);
  }
  return known;
}

async function onPostgres(
  where: DataSource | EntityManager,
  source: DataSource,
  sql: string,
  values: readonly unknown[],
): Promise<Result> {
  const ownRunner = 'connection' in where ? where.queryRunner : undefined;
  const runner = ownRunner ?? source.createQueryRunner();
  try {
    const client = (await runner.connect()) as PostgresConnection;
    const { rows, rowCount } = await client.query({ ...postgresText(sql), values });
    return { rows, affected: rowCount ?? 0 };
  } finally {
    if (!ownRunner) await runner.release();
  }
}
