import type { EntityTarget, ObjectLiteral } from 'typeorm';
import { columnwise, upsertSql } from './entity-sql.js';
import { createPendingSums, type Addition } from './pending-sums.js';
import { insertOrUpdate } from './rows.js';
import { runStatement } from './statement.js';
import type { Transaction } from './unit-of-work.js';

/** Adds the numbers of whole rows to those with the same primary key, or inserts the rows. No two rows may have the same key. */
export async function addToRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  rows: readonly T[],
): Promise<void> {
  if (tx.sums) tx.sums.add([{ entity, rows }]);
  else await insertOrUpdate(tx, entity, rows, 'add');
}

/**
 * Runs a part of a transaction, and writes what the part adds to rows (`addToRows`, `addToTables`) once at its end. For batches that count many
 * changes in the same rows. When the part throws, nothing of that is written: the transaction must end, or the part be behind a savepoint.
 */
export async function withSums<T>(tx: Transaction, part: (tx: Transaction) => Promise<T>): Promise<T> {
  if (tx.sums) return part(tx);
  const sums = createPendingSums(tx.manager.connection);
  const result = await part({ ...tx, sums });
  await addToTables(tx, sums.additions());
  return result;
}

/** A statement with its parameters. */
export interface Statement {
  sql: string;
  parameters: readonly unknown[];
}

/** The same as `addToRows` for several tables, and another insert. On PostgreSQL all of that is one statement. */
export async function addToTables(tx: Transaction, additions: readonly Addition[], other?: Statement): Promise<void> {
  const { connection } = tx.manager;
  if (tx.sums) {
    tx.sums.add(additions);
    if (other) await runStatement(tx.manager, other.sql, [...other.parameters]);
    return;
  }
  const written = additions.filter(({ rows }) => rows.length > 0);
  if (connection.options.type !== 'postgres') {
    for (const { entity, rows } of written) await addToRows(tx, entity, rows);
    if (other) await runStatement(tx.manager, other.sql, [...other.parameters]);
    return;
  }
  const statements = written.map(({ entity, rows }): Statement => {
    const metadata = connection.getMetadata(entity);
    return { sql: upsertSql(metadata, 'add', true), parameters: columnwise(connection, metadata.columns, rows) };
  });
  if (other) statements.push(other);
  const last = statements.at(-1);
  if (!last) return;
  const before = statements.slice(0, -1).map(({ sql }, index) => `t${index} AS (${sql})`);
  const parameters = statements.flatMap((statement) => statement.parameters);
  await runStatement(tx.manager, `${before.length > 0 ? `WITH ${before.join(', ')} ` : ''}${last.sql}`, parameters);
}
