import type { DataSource, EntityManager } from 'typeorm';
import { foldText } from '../lib/fold.js';
import { runStatement } from './statement.js';

/**
 * Runs hand-written SQL on either database: `?` is a parameter, the caller quotes camelCase names. Dates become
 * milliseconds. For SELECTs; writes go through query builders, whose affected counts are the same on both.
 */
export async function select<T>(
  where: DataSource | EntityManager,
  sql: string,
  parameters: readonly unknown[] = [],
): Promise<T[]> {
  const source = 'connection' in where ? where.connection : where;
  let number = 0;
  const text = source.options.type === 'postgres' ? sql.replace(/\?/g, () => `$${++number}`) : sql;
  return where.query(text, asStored(source, parameters));
}

/** The name of `foldText` in SQLite, where every connection has it. */
export const foldFunction = 'chq_fold';

/**
 * The condition that a text column contains a part, ignoring case, and the parameter's value for that part. Scans every row: for small tables,
 * not for messages, which have an index. On PostgreSQL the database's locale defines upper and lower case.
 */
export function containsText(
  source: DataSource,
  column: string,
  parameter: string,
  part: string,
): { sql: string; value: string } {
  return source.options.type === 'postgres'
    ? { sql: `strpos(lower(normalize(${column}, NFKC)), ${parameter}) > 0`, value: part.normalize('NFKC').toLowerCase() }
    : { sql: `instr(${foldFunction}(${column}), ${parameter}) > 0`, value: foldText(part) };
}

/** Values of a condition as columns store them. */
export const asStored = (source: DataSource, parameters: readonly unknown[]): unknown[] =>
  parameters.map((value) =>
    value instanceof Date
      ? value.getTime()
      : typeof value === 'boolean' && source.options.type !== 'postgres'
        ? Number(value)
        : value,
  );

/** Adds to a number and returns the result, in one statement; null when the row does not exist. */
export async function increment(
  manager: EntityManager,
  table: string,
  column: string,
  where: { column: string; value: string },
  by = 1,
): Promise<number | null> {
  const sql = `UPDATE ${table} SET "${column}" = "${column}" + ? WHERE "${where.column}" = ? RETURNING "${column}" AS n`;
  const { rows } = await runStatement(manager, sql, [by, where.value]);
  const [row] = rows as { n: number | string }[];
  return row ? Number(row.n) : null;
}
