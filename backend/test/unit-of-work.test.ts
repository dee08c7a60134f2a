import 'reflect-metadata';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { DataSource } from 'typeorm';
import { createTransactionGuard } from '../src/db/transaction-guard.js';
import { createUnitOfWork, type UnitOfWork } from '../src/db/unit-of-work.js';

/**
 * SQLite's queue of writers when the statements around the jobs fail: BEGIN, the savepoints, COMMIT, and the ROLLBACK that follows. Whatever
 * fails, every job is settled as it was written, and the queue goes on.
 */
const statements = ['BEGIN IMMEDIATE', 'SAVEPOINT job', 'RELEASE job', 'ROLLBACK TO job', 'COMMIT', 'ROLLBACK'] as const;

interface Connection {
  prepare(sql: string): { reader: boolean; run(...values: unknown[]): unknown; all(...values: unknown[]): unknown[] };
}

describe('the queue of writers on SQLite', () => {
  let source: DataSource;
  let write: UnitOfWork;
  /** How often each statement still fails, after it has passed so many times. */
  const faults = new Map<string, { passes: number; fails: number }>();

  beforeEach(async () => {
    faults.clear();
    source = await new DataSource({ type: 'better-sqlite3', database: ':memory:' }).initialize();
    await source.query('CREATE TABLE written (id INTEGER PRIMARY KEY)');
    const connection = (source.driver as unknown as { databaseConnection: Connection }).databaseConnection;
    const prepare = connection.prepare.bind(connection);
    jest.spyOn(connection, 'prepare').mockImplementation((sql) => {
      const statement = prepare(sql);
      if (!(statements as readonly string[]).includes(sql)) return statement;
      return {
        reader: statement.reader,
        all: (...values) => statement.all(...values),
        run(...values: unknown[]) {
          const fault = faults.get(sql);
          if (fault && fault.passes > 0) fault.passes -= 1;
          else if (fault && fault.fails > 0) {
            fault.fails -= 1;
            throw Object.assign(new Error(`${sql} failed`), { code: 'SQLITE_IOERR_WRITE' });
          }
          return statement.run(...values);
        },
      };
    });
    write = createUnitOfWork(source, 'sqlite', () => undefined, createTransactionGuard({ kind: 'throw' }));
  });
  afterEach(async () => source.destroy());

  const insert = (id: number, throws = false): Promise<number> =>
    write.run(async (tx) => {
      await tx.manager.query('INSERT INTO written (id) VALUES (?)', [id]);
      if (throws) throw new Error('the job itself failed');
      return id;
    });
  const written = async (): Promise<number[]> =>
    (await source.query<{ id: number }[]>('SELECT id FROM written ORDER BY id')).map(({ id }) => id);

  test('a rollback that fails is repeated before the next transaction, and nothing of the failed one is written', async () => {
    faults.set('COMMIT', { passes: 0, fails: 1 }).set('ROLLBACK', { passes: 0, fails: 1 });
    await expect(insert(1)).rejects.toThrow('COMMIT failed');
    await expect(insert(2)).resolves.toBe(2);
    expect(await written()).toEqual([2]);
  });

  test('whichever statement fails, every job settles as it was written, and the queue continues', async () => {
    let next = 0;
    const fault = fc.record({
      sql: fc.constantFrom(...statements),
      passes: fc.integer({ min: 0, max: 3 }),
      fails: fc.integer({ min: 1, max: 3 }),
    });
    const property = fc.asyncProperty(
      fc.array(fault, { minLength: 1, maxLength: 4 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }),
      async (broken, jobs) => {
        await source.query('DELETE FROM written');
        for (const { sql, ...rest } of broken) faults.set(sql, rest);
        const ids = jobs.map(() => (next += 1));
        const results = await Promise.allSettled(jobs.map((throws, index) => insert(ids[index]!, throws)));
        faults.clear();
        const last = await insert((next += 1));
        const resolved = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
        expect(await written()).toEqual([...resolved, last]);
        await write.idle();
      },
    );
    await fc.assert(property, { numRuns: 200 });
  });
});
