import type { DataSource } from 'typeorm';
import { among } from './rows.js';
import { runStatement } from './statement.js';

/**
 * Pages of rows are bounded by bytes as well as by number: two hundred rows of the longest text would be tens of megabytes in memory, for
 * each concurrent caller.
 */

/** Bytes of long columns in one page of a list. */
export const pageBytes = 4 * 1024 * 1024;

/** The number of the longest rows that always fit. */
const alwaysFit = 10;

/** Returns how many of the rows, from the first on, fit into `maxBytes`. At least one, so that a reader always makes progress. */
export function countThatFit(rows: readonly { bytes: number | string }[], maxBytes: number): number {
  let bytes = 0;
  const count = rows.findIndex((row) => (bytes += Number(row.bytes)) > maxBytes);
  return count === -1 ? rows.length : Math.max(1, count);
}

/**
 * Returns how many of the rows with these ids, from the first on, fit into `pageBytes`; at least one. `long` names the columns that may be
 * long. SQLite and PostgreSQL know the length of a value without reading it. Ten rows or fewer always fit and are not measured.
 */
export async function countOfFitting(
  reader: DataSource,
  { table, long, ids }: { table: string; long: readonly string[]; ids: readonly string[] },
): Promise<number> {
  if (ids.length <= alwaysFit) return ids.length;
  const { condition, parameter } = among(reader, 'id', ids);
  const bytes = long.map((name) => `COALESCE(octet_length("${name}"), 0)`).join(' + ');
  const { rows: found } = await runStatement<{ id: string; bytes: number | string }>(
    reader,
    `SELECT id, ${bytes} AS bytes FROM ${table} WHERE ${condition}`,
    [parameter],
    { prepare: false },
  );
  const sizes = new Map(found.map((row) => [row.id, row.bytes]));
  return countThatFit(
    ids.map((id) => ({ bytes: sizes.get(id) ?? 0 })),
    pageBytes,
  );
}
