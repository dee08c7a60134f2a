import type { DataSource, EntityManager } from 'typeorm';

/**
 * The time that all backends of one database agree on, as an SQL expression: on PostgreSQL the server's clock, read when the statement
 * runs; on SQLite, which has one backend, the time that this backend passes. Milliseconds.
 */
export function sharedNow(where: DataSource | EntityManager, ownMs: number): { sql: string; parameters: number[] } {
  const source = 'connection' in where ? where.connection : where;
  return source.options.type === 'postgres'
    ? { sql: `CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)`, parameters: [] }
    : { sql: 'CAST(? AS integer)', parameters: [Math.floor(ownMs)] };
}
