import type { Repository, SelectQueryBuilder } from 'typeorm';
import { readAmong } from './rows.js';

/**
 * Pages of rows are bounded by bytes as well as by number: two hundred rows of the longest text would be tens of megabytes in memory, for
 * each caller that asks at the same time.
 */

/** Bytes of long columns in one page of a list. */
export const pageBytes = 4 * 1024 * 1024;

/** How many of the rows, from the first on, fit into `maxBytes` together. At least one, so that a reader always gets on. */
export function countThatFit(rows: readonly { bytes: number | string }[], maxBytes: number): number {
  let bytes = 0;
  const count = rows.findIndex((row) => (bytes += Number(row.bytes)) > maxBytes);
  return count === -1 ? rows.length : Math.max(1, count);
}

/**
 * Reads one page of a list whose rows may be long: first ids and lengths in the order of `query`, then as many whole rows as fit into
 * `maxBytes`. `query` selects from `rows` under the alias `alias` and has its conditions, order, limit and offset. `isCut` says that rows
 * were left out because of their length.
 */
export async function readPage<T extends { id: string }>(
  rows: Repository<T>,
  query: SelectQueryBuilder<T>,
  { alias, long, maxBytes = pageBytes }: { alias: string; long: readonly (keyof T & string)[]; maxBytes?: number },
): Promise<{ page: T[]; isCut: boolean }> {
  // SQLite and PostgreSQL know the length of a value without reading it.
  const bytes = long.map((name) => `COALESCE(octet_length(${alias}.${name}), 0)`).join(' + ');
  const found = await query.select(`${alias}.id`, 'id').addSelect(bytes, 'bytes').getRawMany<{ id: string; bytes: number }>();
  const ids = found.slice(0, countThatFit(found, maxBytes)).map(({ id }) => id);
  const read = new Map((await readAmong(rows.manager.connection, rows.target, 'id', ids)).map((row) => [row.id, row]));
  // A row that was deleted in between is left out.
  return { page: ids.flatMap((id) => read.get(id) ?? []), isCut: ids.length < found.length };
}
