import type { DataSource } from 'typeorm';
import { runStatement } from './statement.js';

/** A part of a WHERE clause, with `?` for its parameters. */
export interface Condition {
  sql: string;
  parameters: readonly unknown[];
}

/**
 * Several ranges of an index that are read as one list: each range in the order of the list and no further than the list needs. One condition for
 * several values, such as `type IN (…)`, would make the database read and sort all of their rows.
 */
export interface Ranges {
  /** A table, also with another name: `conversations c`. */
  table: string;
  columns: string;
  /** No row belongs to two of them. Their parameters are texts. Without a range there are no rows. */
  ranges: readonly Condition[];
  /** Every row meets all of these conditions. */
  also: readonly Condition[];
  /** The order of the list in an index, by names of result columns: `"createdAt" DESC, id DESC`. */
  order: string;
  limit: number;
}

/** SQLite joins at most 500 selections in one statement. */
const maxRangesOfSqlite = 200;

/** Returns the rows of all ranges. `compare` sorts the rows as `order` does. */
export async function readRanges<Row>(
  reader: DataSource,
  plan: Ranges,
  compare: (one: Row, other: Row) => number,
): Promise<Row[]> {
  const parts = partsOf(reader, plan);
  const rows: Row[] = [];
  for (const part of parts) {
    const { sql, parameters } = rangesSql(reader.options.type, part);
    rows.push(...(await runStatement<Row>(reader, sql, parameters, { prepare: false })).rows);
  }
  return parts.length === 1 ? rows : rows.sort(compare).slice(0, plan.limit);
}

/** Counts the rows of all ranges up to `limit`. */
export async function countRanges(reader: DataSource, plan: Omit<Ranges, 'columns'>): Promise<number> {
  let count = 0;
  for (const part of partsOf(reader, { ...plan, columns: '1 AS one' })) {
    if (count >= plan.limit) break;
    const { sql, parameters } = countSql(reader.options.type, part);
    const { rows } = await runStatement<{ n: number | string }>(reader, sql, parameters, { prepare: false });
    count += Number(rows[0]?.n ?? 0);
  }
  return Math.min(count, plan.limit);
}

/** Divides the ranges, because SQLite cannot join more of them in one statement. */
function partsOf({ options }: DataSource, plan: Ranges): Ranges[] {
  if (plan.ranges.length === 0) return [];
  if (options.type === 'postgres' || plan.ranges.length <= maxRangesOfSqlite) return [plan];
  const parts: Ranges[] = [];
  for (let start = 0; start < plan.ranges.length; start += maxRangesOfSqlite)
    parts.push({ ...plan, ranges: plan.ranges.slice(start, start + maxRangesOfSqlite) });
  return parts;
}

/**
 * Returns the statement for the rows of all ranges, of which there must be at least one. SQLite merges the ordered ranges of a UNION row by row, and
 * has no LATERAL. PostgreSQL takes a quarter of a millisecond to plan each range of a UNION, so it gets the values of the ranges as arrays.
 */
export const rangesSql = (dialect: string, plan: Ranges): { sql: string; parameters: unknown[] } =>
  joined(dialect, plan, `ORDER BY ${plan.order} LIMIT ${plan.limit}`);

/** Returns the statement that counts the rows of all ranges up to `limit`. */
export function countSql(dialect: string, plan: Omit<Ranges, 'columns'>): { sql: string; parameters: unknown[] } {
  const { sql, parameters } = joined(dialect, { ...plan, columns: '1 AS one' }, `LIMIT ${plan.limit}`);
  return { sql: `SELECT COUNT(*) AS n FROM (${sql}) AS counted`, parameters };
}

/** `end` orders and limits the rows of all ranges. */
function joined(dialect: string, plan: Ranges, end: string): { sql: string; parameters: unknown[] } {
  const parts = dialect === 'postgres' ? sameForm(plan.ranges).map((ranges) => onPostgres(plan, ranges)) : onSqlite(plan);
  return {
    sql: `${parts.map(({ sql }) => sql).join(' UNION ALL ')} ${end}`,
    parameters: parts.flatMap(({ parameters }) => parameters),
  };
}

const onSqlite = ({ table, columns, ranges, also }: Ranges): Condition[] =>
  ranges.map((range) => ({
    sql: `SELECT ${columns} FROM ${table} WHERE ${[range, ...also].map(({ sql }) => sql).join(' AND ')}`,
    parameters: [range, ...also].flatMap(({ parameters }) => parameters),
  }));

/** Returns the ranges in groups: those of one group differ in their parameters only. */
function sameForm(ranges: readonly Condition[]): Condition[][] {
  const groups = new Map<string, Condition[]>();
  for (const range of ranges) groups.set(range.sql, [...(groups.get(range.sql) ?? []), range]);
  return [...groups.values()];
}

/**
 * Each range is ordered also where the order does not matter, as for a count. It is what makes PostgreSQL use the index: it does not know how rare the
 * values of an array are, and without an order it would read the whole table for a rare one.
 */
function onPostgres({ table, columns, also, order, limit }: Ranges, [first, ...others]: Condition[]): Condition {
  const { sql, parameters } = first!;
  const select = (range: string): string =>
    `SELECT ${columns} FROM ${table} WHERE ${[range, ...also.map((one) => one.sql)].join(' AND ')} ORDER BY ${order} LIMIT ${limit}`;
  const alsoParameters = also.flatMap((one) => one.parameters);
  if (others.length === 0) return { sql: `SELECT * FROM (${select(sql)}) AS r`, parameters: [...parameters, ...alsoParameters] };
  const names = parameters.map((_, index) => `p${index}`);
  let next = 0;
  const range = sql.replaceAll('?', () => `v.${names[next++]!}`);
  const values = `unnest(${names.map(() => '?::text[]').join(', ')}) AS v(${names.join(', ')})`;
  return {
    sql: `SELECT r.* FROM ${values}, LATERAL (${select(range)}) AS r`,
    parameters: [...names.map((_, index) => [first!, ...others].map((one) => one.parameters[index])), ...alsoParameters],
  };
}
