/**
 * Reading and writing rows. There are three ways to read, and no fourth (docs/decisions/042-three-ways-to-rows.md):
 *
 * 1. Cold reads (a page, a setting, a start) use TypeORM's finders: `reader.getRepository(Session).find({ where, order, take })`, and
 *    `tx.manager.find` inside a transaction.
 * 2. Hot reads of whole rows, and columns with `select: false`, use `readRows` and its forms: `readAmong` for a list of ids, `readBatch` for
 *    callers that share one query, `readRowsApart` where a damaged row must not hide the others.
 * 3. Joins, counters and aggregates are SQL text, which `runStatement` (statement.ts) runs.
 *
 * Writes use `insertRow`, `updateRows`, `deleteRows` and their forms. Only db/ and the stores that eslint.config.mjs names write SQL text that
 * changes rows. Query builders are used only here and by the panel's tables.
 */
import {
  FindOperator,
  type DataSource,
  type EntityManager,
  type EntityTarget,
  type FindOptionsWhere,
  type ObjectLiteral,
  type QueryDeepPartialEntity,
} from 'typeorm';
import type { Database } from './database.js';
import { columnwise, hydrate, insertOf, selectionOf, toStored, unnested, upsertSql, type Change } from './entity-sql.js';
import { onSqlite, runStatement } from './statement.js';
import { guardOf, readerUsed } from './transaction-guard.js';
import type { Transaction } from './unit-of-work.js';
import { requireReadable } from './unreadable.js';

export { codeOf, isConflict } from './database-errors.js';

/** TypeORM's type for values cannot tell a JSON column from a relation; this is the one place that says so. */
const values = <T>(row: unknown): QueryDeepPartialEntity<T> => row as QueryDeepPartialEntity<T>;

/** Inserts one row. Throws the driver's error on a conflict. Omitted properties get the column's default. */
export async function insertRow<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  row: Partial<T>,
): Promise<void> {
  const { connection } = tx.manager;
  const { columns, sql } = insertOf(connection.getMetadata(entity), [row], 'one');
  const stored = columns.map((column) => toStored(connection, column, row[column.propertyName]));
  if (connection.options.type === 'postgres') await runStatement(tx.manager, sql, stored);
  else onSqlite(connection, sql, stored);
}

/** Inserts whole rows: on PostgreSQL in one statement, whose text does not depend on the number of rows. An omitted property is null. */
export async function insertRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  rows: readonly T[],
): Promise<void> {
  const { connection } = tx.manager;
  if (rows.length < 2 || connection.options.type !== 'postgres') {
    for (const row of rows) await insertRow(tx, entity, row);
    return;
  }
  const { columns, sql } = insertOf(connection.getMetadata(entity), rows, 'many');
  await runStatement(tx.manager, sql, columnwise(connection, columns, rows));
}

/** Inserts whole rows, or replaces those with the same primary key: on PostgreSQL in one statement. No two rows may have the same key. */
export const upsertRows = <T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  rows: readonly T[],
): Promise<void> => insertOrUpdate(tx, entity, rows, 'replace');

/** Inserts whole rows; those with the same primary key are replaced, or added to. No two rows may have the same key. */
export async function insertOrUpdate<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  rows: readonly T[],
  change: Change,
): Promise<void> {
  if (rows.length === 0) return;
  const { connection } = tx.manager;
  const isPostgres = connection.options.type === 'postgres';
  const metadata = connection.getMetadata(entity);
  const sql = upsertSql(metadata, change, isPostgres);
  if (isPostgres) return void (await runStatement(tx.manager, sql, columnwise(connection, metadata.columns, rows)));
  for (const row of rows)
    await runStatement(
      tx.manager,
      sql,
      metadata.columns.map((column) => toStored(connection, column, row[column.propertyName]) ?? null),
    );
}

/** Inserts whole rows and skips those whose unique key exists: on PostgreSQL in one statement. */
export async function insertMissing<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  rows: readonly T[],
): Promise<void> {
  if (rows.length === 0) return;
  const { connection } = tx.manager;
  const { columns, tableName } = connection.getMetadata(entity);
  const names = columns.map((column) => `"${column.databaseName}"`).join(', ');
  const into = `INSERT INTO "${tableName}" (${names})`;
  if (connection.options.type === 'postgres')
    return void (await runStatement(
      tx.manager,
      `${into} ${unnested(columns)} ON CONFLICT DO NOTHING`,
      columnwise(connection, columns, rows),
    ));
  const sql = `${into} VALUES (${columns.map(() => '?').join(', ')}) ON CONFLICT DO NOTHING`;
  for (const row of rows)
    await runStatement(
      tx.manager,
      sql,
      columns.map((column) => toStored(connection, column, row[column.propertyName]) ?? null),
    );
}

/**
 * Returns the entities that meet a condition, in the SQL of `select`: `?` for parameters, camelCase names quoted. Columns with `select: false`
 * are read only when `also` names them. For hot paths; elsewhere TypeORM's finders are easier to read. Each condition text stays prepared, so
 * there must be few of them.
 */
export async function readRows<T extends ObjectLiteral>(
  where: DataSource | EntityManager,
  entity: EntityTarget<T>,
  condition: string,
  parameters: readonly unknown[],
  also: readonly (keyof T & string)[] = [],
): Promise<T[]> {
  const source = 'connection' in where ? where.connection : where;
  const metadata = source.getMetadata(entity);
  const { columns, sql } = selectionOf(metadata, also);
  const { rows } = await runStatement(where, `${sql} WHERE ${condition}`, parameters);
  return rows.map((raw) => hydrate<T>(metadata, columns, raw as Record<string, unknown>));
}

/**
 * Like `readRows`, but one unreadable row (a damaged JSON column) does not hide the others: it is passed to `broken` as stored and
 * left out of the result. `broken` should make sure that the next query excludes the row.
 */
export async function readRowsApart<T extends ObjectLiteral>(
  where: DataSource | EntityManager,
  entity: EntityTarget<T>,
  condition: string,
  parameters: readonly unknown[],
  broken: (raw: Record<string, unknown>, error: unknown) => void,
): Promise<T[]> {
  const source = 'connection' in where ? where.connection : where;
  const metadata = source.getMetadata(entity);
  const { columns, sql } = selectionOf(metadata, []);
  const { rows } = await runStatement(where, `${sql} WHERE ${condition}`, parameters);
  return (rows as Record<string, unknown>[]).flatMap((raw) => {
    try {
      return [requireReadable(hydrate<T>(metadata, columns, raw))];
    } catch (error) {
      broken(raw, error);
      return [];
    }
  });
}

/**
 * Like `readRows` for committed data that many requests read at once: calls in one tick of the event loop share one query, and each gets
 * its own objects. A commit of this process invalidates earlier reads.
 */
export async function readBatch<T extends ObjectLiteral>(
  { reader, coalescer }: Pick<Database, 'reader' | 'coalescer'>,
  entity: EntityTarget<T>,
  condition: string,
  parameters: readonly (string | boolean)[],
  also: readonly (keyof T & string)[] = [],
): Promise<T[]> {
  // Checked here as well: a query that another caller began would not be noticed.
  guardOf(reader)?.mustBeOutside(readerUsed);
  const metadata = reader.getMetadata(entity);
  const { columns, sql } = selectionOf(metadata, also);
  const rows = await coalescer.coalesce(
    batchKey('rows', metadata.tableName, condition, parameters, also),
    async () => (await runStatement(reader, `${sql} WHERE ${condition}`, parameters)).rows,
  );
  return rows.map((raw) => hydrate<T>(metadata, columns, raw as Record<string, unknown>));
}

/** Like `readBatch` for callers that only read: all of them get the same objects, which are frozen. */
export async function readShared<T extends ObjectLiteral>(
  { reader, coalescer }: Pick<Database, 'reader' | 'coalescer'>,
  entity: EntityTarget<T>,
  condition: string,
  parameters: readonly (string | boolean)[],
  also: readonly (keyof T & string)[] = [],
): Promise<readonly Readonly<T>[]> {
  guardOf(reader)?.mustBeOutside(readerUsed);
  const { tableName } = reader.getMetadata(entity);
  return coalescer.coalesce(batchKey('objects', tableName, condition, parameters, also), async () =>
    (await readRows(reader, entity, condition, parameters, also)).map((row) => Object.freeze(row)),
  );
}

/** Names a read among those of one tick. */
const batchKey = (
  form: 'rows' | 'objects',
  table: string,
  condition: string,
  parameters: readonly unknown[],
  also: readonly string[],
): string => [form, table, also.join(), condition, ...parameters].join('\0');

/** Returns the rows whose column is in a list of any length. One statement text serves all lengths. */
export async function readAmong<T extends ObjectLiteral>(
  where: DataSource | EntityManager,
  entity: EntityTarget<T>,
  column: keyof T & string,
  values: readonly string[],
  also: readonly (keyof T & string)[] = [],
): Promise<T[]> {
  const { condition, parameter } = among(where, column, values);
  return readRows(where, entity, condition, [parameter], also);
}

/** The condition that a column is in a list, as one text for any length. */
export const among = (where: DataSource | EntityManager, column: string, values: readonly (string | number)[]) =>
  expressionAmong(where, `"${column}"`, values);

/** The condition that an expression of SQL is in a list. */
export function expressionAmong(
  where: DataSource | EntityManager,
  expression: string,
  values: readonly (string | number)[],
): { condition: string; parameter: unknown } {
  const source = 'connection' in where ? where.connection : where;
  return source.options.type === 'postgres'
    ? { condition: `${expression} = ANY(?)`, parameter: values }
    : { condition: `${expression} IN (SELECT value FROM json_each(?))`, parameter: JSON.stringify(values) };
}

/** The condition that a column is not in a list. */
export function notAmong(
  where: DataSource | EntityManager,
  column: string,
  values: readonly (string | number)[],
): { condition: string; parameter: unknown } {
  const { condition, parameter } = among(where, column, values);
  return { condition: `NOT (${condition})`, parameter };
}

/** Inserts one row, unless one with the same unique key exists. */
export async function insertIfAbsent<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  row: Partial<T>,
): Promise<void> {
  await tx.manager.createQueryBuilder().insert().into(entity).values(values<T>(row)).orIgnore().updateEntity(false).execute();
}

/** Updates rows conditionally. Returns the number of rows that met the condition; zero means that another writer was first. Ignores undefined values. */
export async function updateRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  where: FindOptionsWhere<T>,
  changes: { [K in keyof T]?: T[K] | (() => string) | undefined },
): Promise<number> {
  if (Object.values(changes).every((value) => value === undefined)) return tx.manager.countBy(entity, inMs(where));
  const plain = plainUpdate(tx, entity, where, changes);
  if (plain) return (await runStatement(tx.manager, plain.sql, plain.parameters)).affected;
  const { affected } = await tx.manager.createQueryBuilder().update(entity).set(values<T>(changes)).where(inMs(where)).execute();
  return affected ?? 0;
}

/**
 * Returns the statement of an update that sets plain values where columns equal plain values or are in a short list, as most steps of a
 * message do; building it costs a tenth of TypeORM's builder. Null for every other update. There are as few texts as places that write.
 */
function plainUpdate<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  where: FindOptionsWhere<T>,
  changes: object,
): { sql: string; parameters: unknown[] } | null {
  const { connection } = tx.manager;
  const metadata = connection.getMetadata(entity);
  const parameters: unknown[] = [];
  const set: string[] = [];
  for (const [name, value] of Object.entries(changes)) {
    const column = metadata.findColumnWithPropertyName(name);
    if (!column || value === undefined || typeof value === 'function') return null;
    parameters.push(toStored(connection, column, value));
    set.push(`"${column.databaseName}" = ?`);
  }
  const conditions: string[] = [];
  for (const [name, value] of Object.entries(where) as [string, unknown][]) {
    const column = metadata.findColumnWithPropertyName(name);
    const among = value instanceof FindOperator && value.type === 'in' ? (value.value as unknown as unknown[]) : [value];
    if (!column || among.length === 0 || among.some((one) => one === null || one === undefined || one instanceof FindOperator))
      return null;
    parameters.push(...among.map((one) => toStored(connection, column, one)));
    conditions.push(`"${column.databaseName}" ${among.length === 1 ? '= ?' : `IN (${among.map(() => '?').join(', ')})`}`);
  }
  if (set.length === 0 || conditions.length === 0 || parameters.length > maxPlain) return null;
  return { sql: `UPDATE "${metadata.tableName}" SET ${set.join(', ')} WHERE ${conditions.join(' AND ')}`, parameters };
}

/** With more parameters the condition is a list of ids, whose length, and so the statement text, differs each time. */
const maxPlain = 40;

/** Deletes the rows that meet the condition. Returns their number. */
export async function deleteRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  where: FindOptionsWhere<T>,
): Promise<number> {
  const { affected } = await tx.manager.createQueryBuilder().delete().from(entity).where(inMs(where)).execute();
  return affected ?? 0;
}

const deleteBatchSize = 1_000;

/**
 * Deletes all rows whose `time` is not after `before`, a thousand per commit: after a long pause a single statement would exceed its time
 * limit on every run. `key` is a column that distinguishes rows well enough to form batches. Returns the number of rows deleted.
 */
export async function deleteBefore<T extends ObjectLiteral>(
  database: Pick<Database, 'write'>,
  entity: EntityTarget<T>,
  { time, key, before }: { time: keyof T & string; key: keyof T & string; before: Date },
): Promise<number> {
  let total = 0;
  for (let deleted = deleteBatchSize; deleted >= deleteBatchSize; total += deleted)
    deleted = await database.write.run(async (tx) => {
      const { tableName } = tx.manager.connection.getMetadata(entity);
      const oldest = `SELECT "${key}" FROM "${tableName}" WHERE "${time}" <= ? ORDER BY "${time}" LIMIT ${deleteBatchSize}`;
      const sql = `DELETE FROM "${tableName}" WHERE "${time}" <= ? AND "${key}" IN (${oldest})`;
      return (await runStatement(tx.manager, sql, [before.getTime(), before.getTime()])).affected;
    });
  return total;
}

/**
 * TypeORM turns times into milliseconds in the conditions of a find, but not inside the operators (`LessThan`, `In`) of an update or a
 * delete: PostgreSQL refuses those, and SQLite compares a number with a text, and a number is always the smaller one.
 */
function inMs<T>(where: FindOptionsWhere<T>): FindOptionsWhere<T> {
  for (const condition of Object.values(where))
    if (condition instanceof FindOperator)
      condition.transformValue({
        to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
        from: (value: unknown) => value,
      });
  return where;
}

/**
 * Locks rows until the end of the transaction, in the order of their ids. Does nothing on SQLite, which runs one transaction at a time.
 * A transaction that writes to sessions or their messages and then to the event log locks the sessions first: two transactions that lock
 * in different orders would deadlock.
 */
export async function lockRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  ids: readonly string[],
): Promise<void> {
  const { connection } = tx.manager;
  if (connection.options.type !== 'postgres' || ids.length === 0) return;
  const { tableName } = connection.getMetadata(entity);
  await runStatement(tx.manager, `SELECT id FROM ${tableName} WHERE id = ANY(?) ORDER BY id FOR UPDATE`, [ids]);
}
