import type { EntityTarget, FindOptionsWhere, ObjectLiteral, QueryDeepPartialEntity } from 'typeorm';
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
  const { affected } = await tx.manager.createQueryBuilder().update(entity).set(values<T>(changes)).where(where).execute();
  return affected ?? 0;
}
