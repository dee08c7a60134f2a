/**
 * Pages of rows are bounded by bytes as well as by number: two hundred rows of the longest text would be tens of megabytes in memory, for
 * each concurrent caller.
 */

/** Bytes of long columns in one page of a list. */
export const pageBytes = 4 * 1024 * 1024;

/** Returns how many of the rows, from the first on, fit into `maxBytes`. At least one, so that a reader always makes progress. */
export function countThatFit(rows: readonly { bytes: number | string }[], maxBytes: number): number {
  let bytes = 0;
  const count = rows.findIndex((row) => (bytes += Number(row.bytes)) > maxBytes);
  return count === -1 ? rows.length : Math.max(1, count);
}

/** Returns the SQL for the bytes of a row in these columns, which may be long. SQLite and PostgreSQL know the length of a value without reading it. */
export const bytesSql = (columns: readonly string[]): string =>
  columns.map((name) => `COALESCE(octet_length("${name}"), 0)`).join(' + ');
