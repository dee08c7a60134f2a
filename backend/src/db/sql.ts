import { foldText } from '@chasqui/shared';
import { Raw, type DataSource, type EntityManager, type FindOperator } from 'typeorm';
import { runStatement } from './statement.js';

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

/** The condition of `containsText` for a finder. */
export const containing = (source: DataSource, part: string): FindOperator<string> =>
  Raw((column) => containsText(source, column, ':part', part).sql, { part: containsText(source, '', ':part', part).value });

/** Adds to a number and returns the result, in one statement; null when the row does not exist. */
export async function increment(
  manager: EntityManager,
  table: string,
  column: string,
  where: { column: string; value: string },
  by = 1,
): Promise<number | null> {
  const sql = `UPDATE ${table} SET "${column}" = "${column}" + ? WHERE "${where.column}" = ? RETURNING "${column}" AS n`;
  const [row] = (await runStatement<{ n: number | string }>(manager, sql, [by, where.value])).rows;
  return row ? Number(row.n) : null;
}
