import type { DataSource, EntityManager } from 'typeorm';

/**
 * Runs hand-written SQL on either database: `?` stands for a parameter, camelCase names are quoted by the writer. Dates become
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
  const values = parameters.map((value) =>
    value instanceof Date
      ? value.getTime()
      : typeof value === 'boolean' && source.options.type !== 'postgres'
        ? Number(value)
        : value,
  );
  return where.query(text, values);
}
