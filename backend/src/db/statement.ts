import type { DataSource, EntityManager } from 'typeorm';
import { guardOf, readerUsed } from './transaction-guard.js';

/** What a statement gave: the rows of a SELECT or a RETURNING, and how many it wrote. */
export interface Result {
  rows: unknown[];
  affected: number;
}

/** The little of better-sqlite3 that is used here. */
interface SqliteStatement {
  readonly reader: boolean;
  all(...values: unknown[]): unknown[];
  run(...values: unknown[]): { changes: number };
}
interface SqliteConnection {
  prepare(sql: string): SqliteStatement;
}

/** The little of pg. A named statement is parsed and planned once per connection. */
interface PostgresConnection {
  query(statement: {
    name: string;
    text: string;
    values: readonly unknown[];
  }): Promise<{ rows: unknown[]; rowCount: number | null }>;
}

/**
 * Runs one statement through the driver itself, prepared once: TypeORM's own way costs several times what SQLite takes for it, and the
 * paths of every message use nothing else. Inside of a transaction it is the transaction's connection. `?` stands for a parameter, and
 * values are as the columns store them. Throws the driver's errors, with their codes.
 *
 * Only for texts that are few: every one stays prepared.
 */
export async function runStatement(where: DataSource | EntityManager, sql: string, values: readonly unknown[]): Promise<Result> {
  const source = 'connection' in where ? where.connection : where;
  if (source === where) guardOf(source)?.mustBeOutside(readerUsed);
  return source.options.type === 'postgres' ? onPostgres(where, source, sql, values) : onSqlite(source, sql, values);
}

const prepared = new WeakMap<DataSource, Map<string, SqliteStatement>>();

/** The same, at once: SQLite has no other way, and waiting for what is there costs time. */
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

/** TypeORM keeps the connection in a property that its types do not tell of. */
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
  const given = 'connection' in where ? where.queryRunner : undefined;
  const runner = given ?? source.createQueryRunner();
  try {
    const client = (await runner.connect()) as PostgresConnection;
    const { rows, rowCount } = await client.query({ ...postgresText(sql), values });
    return { rows, affected: rowCount ?? 0 };
  } finally {
    if (!given) await runner.release();
  }
}
