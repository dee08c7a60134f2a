import type { DataSource, EntityManager } from 'typeorm';
import { guardOf, readerUsed } from './transaction-guard.js';

/** The result of a statement: the rows of a SELECT or a RETURNING, and the number of rows written. */
export interface Result<Row = unknown> {
  rows: Row[];
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
  query(statement: PostgresText & { values: readonly unknown[] }): Promise<{ rows: unknown[]; rowCount: number | null }>;
}

/**
 * Runs SQL text, directly through the driver: TypeORM's overhead is several times SQLite's own time. Inside a transaction pass `tx.manager`, which
 * has the transaction's connection; elsewhere pass the reader. Throws the driver's errors, with their codes.
 *
 * The text quotes camelCase names, and each `?` is a parameter. Values are numbers, strings, bytes, null, times and booleans; on PostgreSQL also
 * arrays of them. Times become milliseconds, as columns store them.
 *
 * PostgreSQL prepares the text once per connection and never forgets it. Pass `prepare: false` for a text that varies, and for a query whose best
 * plan depends on its values.
 */
export async function runStatement<Row = unknown>(
  where: DataSource | EntityManager,
  sql: string,
  values: readonly unknown[] = [],
  { prepare = true }: { prepare?: boolean } = {},
): Promise<Result<Row>> {
  const source = 'connection' in where ? where.connection : where;
  if (source.options.type === 'postgres') {
    const text = prepare ? preparedText(sql) : { text: numbered(sql) };
    return (await onPostgres(where, source, text, asStored(values, true))) as Result<Row>;
  }
  // On PostgreSQL the query runner checks this.
  if (source === where) guardOf(source)?.mustBeOutside(readerUsed);
  return onSqlite(source, sql, asStored(values, false)) as Result<Row>;
}

/** The values as columns store them: SQLite has no booleans, and a time is a number of milliseconds. */
function asStored(values: readonly unknown[], hasBooleans: boolean): readonly unknown[] {
  const isOther = (value: unknown): boolean => value instanceof Date || (typeof value === 'boolean' && !hasBooleans);
  return values.some(isOther) ? values.map((value) => (isOther(value) ? Number(value) : value)) : values;
}

/** SQLite forgets the oldest text after this many. All fixed texts of the program fit, with those of many searches. */
const maxPrepared = 1_000;
const prepared = new WeakMap<DataSource, Map<string, SqliteStatement>>();

/** The synchronous form for SQLite, whose driver is synchronous; awaiting a present result would cost time. */
export function onSqlite(source: DataSource, sql: string, values: readonly unknown[] = []): Result {
  let known = prepared.get(source);
  if (!known) prepared.set(source, (known = new Map()));
  let statement = known.get(sql);
  if (!statement) {
    known.set(sql, (statement = connectionOf(source).prepare(sql)));
    const [oldest] = known.keys();
    if (known.size > maxPrepared) known.delete(oldest!);
  }
  if (!statement.reader) return { rows: [], affected: statement.run(...values).changes };
  const rows = statement.all(...values);
  return { rows, affected: rows.length };
}

/** TypeORM keeps the connection in a property that its types do not declare. */
const connectionOf = (source: DataSource): SqliteConnection =>
  (source.driver as unknown as { databaseConnection: SqliteConnection }).databaseConnection;

/** Without a name, the statement is planned for its values and forgotten. */
interface PostgresText {
  name?: string;
  text: string;
}
const texts = new Map<string, PostgresText>();

function preparedText(sql: string): PostgresText {
  let known = texts.get(sql);
  if (!known) texts.set(sql, (known = { name: `chq_${texts.size}`, text: numbered(sql) }));
  return known;
}

/** PostgreSQL numbers its parameters. */
function numbered(sql: string): string {
  let number = 0;
  return sql.replace(/\?/g, () => `$${++number}`);
}

async function onPostgres(
  where: DataSource | EntityManager,
  source: DataSource,
  text: PostgresText,
  values: readonly unknown[],
): Promise<Result> {
  const ownRunner = 'connection' in where ? where.queryRunner : undefined;
  const runner = ownRunner ?? source.createQueryRunner();
  try {
    const client = (await runner.connect()) as PostgresConnection;
    const { rows, rowCount } = await client.query({ ...text, values });
    return { rows, affected: rowCount ?? 0 };
  } finally {
    if (!ownRunner) await runner.release();
  }
}
