import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';

/** What is added to the numbers of one table. The rows are whole. */
export interface Addition {
  entity: EntityTarget<ObjectLiteral>;
  rows: readonly ObjectLiteral[];
}

/**
 * Numbers that a transaction adds to rows before it commits: the additions of a batch to one row become one statement. Until then neither the
 * transaction nor anyone else reads them. See `withSums` of additions.ts.
 */
export interface PendingSums {
  add(additions: readonly Addition[]): void;
  /** Returns the sums, no two with the same primary key, without rows to which nothing is added in the end. */
  additions(): Addition[];
}

/** The sums of one table by their primary keys, and the columns that are added. */
interface Table {
  keys: readonly string[];
  numbers: readonly string[];
  rows: Map<string, Record<string, unknown>>;
}

export function createPendingSums(source: DataSource): PendingSums {
  const tables = new Map<Addition['entity'], Table>();
  const tableOf = (entity: Addition['entity']): Table => {
    let table = tables.get(entity);
    if (!table) {
      const { columns } = source.getMetadata(entity);
      const named = (isKey: boolean): string[] =>
        columns.filter(({ isPrimary }) => isPrimary === isKey).map(({ propertyName }) => propertyName);
      tables.set(entity, (table = { keys: named(true), numbers: named(false), rows: new Map() }));
    }
    return table;
  };
  return {
    add(additions) {
      for (const { entity, rows } of additions) {
        const table = tableOf(entity);
        for (const row of rows as readonly Record<string, unknown>[]) {
          const key = table.keys.map((name) => String(row[name])).join('\0');
          const sum = table.rows.get(key);
          // The row becomes the sum; its caller does not use it any more.
          if (!sum) table.rows.set(key, row);
          else for (const name of table.numbers) sum[name] = (sum[name] as number) + (row[name] as number);
        }
      }
    },
    additions: () =>
      [...tables].map(([entity, { numbers, rows }]) => ({
        entity,
        rows: [...rows.values()].filter((row) => numbers.some((name) => row[name] !== 0)),
      })),
  };
}
