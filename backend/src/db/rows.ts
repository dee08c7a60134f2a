import { FindOperator, type EntityTarget, type FindOptionsWhere, type ObjectLiteral, type QueryDeepPartialEntity } from 'typeorm';
import { select } from './sql.js';
import type { Transaction } from './unit-of-work.js';

/** TypeORM's type for values cannot tell a JSON column from a relation; this is the one place that says so. */
const values = <T>(row: unknown): QueryDeepPartialEntity<T> => row as QueryDeepPartialEntity<T>;

/** Inserts one row. Throws the driver's error on a conflict. */
export async function insertRow<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  row: Partial<T>,
): Promise<void> {
  await tx.manager.createQueryBuilder().insert().into(entity).values(values<T>(row)).updateEntity(false).execute();
}

/** Inserts one row, or nothing when one with the same unique key is there. */
export async function insertIfAbsent<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  row: Partial<T>,
): Promise<void> {
  await tx.manager.createQueryBuilder().insert().into(entity).values(values<T>(row)).orIgnore().updateEntity(false).execute();
}

/** A conditional update: gives the number of rows that met the condition. Zero means that somebody else was first; mean it. */
export async function updateRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  where: FindOptionsWhere<T>,
  changes: Partial<{ [K in keyof T]: T[K] | (() => string) }>,
): Promise<number> {
  const { affected } = await tx.manager.createQueryBuilder().update(entity).set(values<T>(changes)).where(inMs(where)).execute();
  return affected ?? 0;
}

/** Deletes what meets the condition; gives the number of rows. */
export async function deleteRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  where: FindOptionsWhere<T>,
): Promise<number> {
  const { affected } = await tx.manager.createQueryBuilder().delete().from(entity).where(inMs(where)).execute();
  return affected ?? 0;
}

/**
 * TypeORM turns times into milliseconds in the conditions of a find, but not inside the operators (`LessThan`, `In`) of an update or a
 * delete: PostgreSQL refuses those, and SQLite compares a number with a text, which is always the smaller one.
 */
function inMs<T>(where: FindOptionsWhere<T>): FindOptionsWhere<T> {
  for (const condition of Object.values(where))
    if (condition instanceof FindOperator)
      condition.transformValue({
        to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
        from: (value: unknown) => value,
      });
  return where;
}

const conflictCodes: readonly unknown[] = ['23505', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY'];

/** Whether a write met a unique key that is taken. */
export const isConflict = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && conflictCodes.includes(error.code);

/**
 * Holds rows until the end of the transaction, in the order of their ids. SQLite has one transaction at a time and needs none of it.
 * Whoever writes to sessions or their messages and then to the event log holds the sessions first: two transactions that took them
 * in different orders would wait for each other.
 */
export async function holdRows<T extends ObjectLiteral>(
  tx: Transaction,
  entity: EntityTarget<T>,
  ids: readonly string[],
): Promise<void> {
  const { connection } = tx.manager;
  if (connection.options.type !== 'postgres' || ids.length === 0) return;
  const { tableName } = connection.getMetadata(entity);
  const marks = ids.map(() => '?').join(', ');
  await select(tx.manager, `SELECT id FROM ${tableName} WHERE id IN (${marks}) ORDER BY id FOR UPDATE`, ids);
}
