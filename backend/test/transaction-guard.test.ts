import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import type { Database } from '../src/db/database.js';
import { insertRow, readRows, readBatch } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { createTransactionGuard, OutsideOfTransactionOnly } from '../src/db/transaction-guard.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { EventCounter } from '../src/events/event.entity.js';
import { databases } from './support/backend.js';
import { closeAfterEach, closers, openOwn } from './support/own-database.js';

/** Inside a transaction only its own connection is used. */

closeAfterEach();

describe.each(await databases())('the guard of transactions on %s', (database) => {
  let opened: Database;
  let closeOpened: (() => Promise<unknown>)[];
  beforeAll(async () => {
    ({ opened } = await openOwn(database));
    // Kept for all tests of this group.
    closeOpened = closers.splice(0).reverse();
  });
  afterAll(async () => {
    for (const close of closeOpened) await close();
  });

  const ways: Record<string, (tx: Transaction) => Promise<unknown>> = {
    'a repository': () => opened.reader.getRepository(EventCounter).findOneBy({ scope: 'x' }),
    'a query builder': () => opened.reader.createQueryBuilder(EventCounter, 'c').getMany(),
    'the entity manager': () => opened.reader.manager.find(EventCounter),
    'a query': () => opened.reader.query('SELECT 1'),
    'a statement that is not prepared': () => runStatement(opened.reader, 'SELECT 1 AS one', [], { prepare: false }),
    runStatement: () => runStatement(opened.reader, 'SELECT 1 AS one', []),
    readRows: () => readRows(opened.reader, EventCounter, 'scope = ?', ['x']),
    readBatch: () => readBatch(opened, EventCounter, 'scope = ?', ['x']),
    'another transaction': () => opened.write.run(async () => undefined),
    'a read after a pause': async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return opened.reader.query('SELECT 1');
    },
    'a read after a read of its own': async (tx) => {
      await tx.manager.query('SELECT 1');
      return opened.reader.query('SELECT 1');
    },
    'a file': async () => readFile(import.meta.filename),
  };

  test.each(Object.keys(ways))('%s inside a transaction fails it, and nothing is written', async (name) => {
    const scope = randomUUID();
    const failed = opened.write.run(async (tx) => {
      await insertRow(tx, EventCounter, { scope, last: 1 });
      await ways[name]!(tx);
    });
    await expect(failed).rejects.toBeInstanceOf(OutsideOfTransactionOnly);
    expect(await opened.reader.getRepository(EventCounter).findOneBy({ scope })).toBeNull();
  });

  test('a read that another caller started in the same tick is no way around it', async () => {
    const outcome = await new Promise<unknown>((resolve) => {
      void opened.write
        .run(async () => {
          await new Promise((next) => setImmediate(next));
          return readBatch(opened, EventCounter, 'scope = ?', ['shared']);
        })
        .then(resolve, resolve);
      const again = (): void => {
        void readBatch(opened, EventCounter, 'scope = ?', ['shared']).then(() => undefined);
      };
      for (let turn = 0; turn < 20; turn += 1) setTimeout(again, turn);
    });
    expect(outcome).toBeInstanceOf(OutsideOfTransactionOnly);
  });

  test('callbacks after the commit, background work that outlives it, and others that read meanwhile are never caught', async () => {
    const rounds = fc.array(fc.record({ transactions: fc.nat(8), reads: fc.nat(8), late: fc.boolean() }), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(rounds, async (list) => {
        const left: Promise<unknown>[] = [];
        const read = (): void => void left.push(runStatement(opened.reader, 'SELECT 1 AS one'));
        for (const { transactions, reads, late } of list) {
          for (let number = 0; number < transactions; number += 1)
            left.push(
              opened.write.run(async (tx) => {
                await tx.manager.query('SELECT 1');
                tx.afterCommit(read);
                // Begun inside, running on after the end.
                if (late) setTimeout(read, 30);
              }),
            );
          for (let number = 0; number < reads; number += 1) read();
        }
        await Promise.all(left);
        await new Promise((resolve) => setTimeout(resolve, 40));
        await Promise.all(left);
      }),
      { numRuns: 10 },
    );
  });

  test('in production it is reported once for each place, and the work continues', async () => {
    const reports: Error[] = [];
    const { opened: lenient } = await openOwn(database, {
      guard: { kind: 'report', report: (error) => void reports.push(error) },
    });
    for (let times = 0; times < 3; times += 1)
      await lenient.write.run(async () => void (await runStatement(lenient.reader, 'SELECT 1 AS one')));
    expect(reports).toHaveLength(1);
  });

  test('in production a transaction inside a transaction does not stop the writers', async () => {
    const { opened: lenient } = await openOwn(database, { guard: { kind: 'report', report: () => undefined } });
    const outer = lenient.write.run(async (tx) => {
      await tx.manager.query('SELECT 1');
      await lenient.write.run(async (inner) => void (await inner.manager.query('SELECT 1')));
    });
    // SQLite has one writer, and the inner one would wait for the outer one for ever.
    const outcome = await outer.then(
      () => 'done',
      (error: unknown) => (error as Error).name,
    );
    expect(outcome).toBe(database === 'sqlite' ? 'OutsideOfTransactionOnly' : 'done');
    const scope = randomUUID();
    await lenient.write.run((tx) => insertRow(tx, EventCounter, { scope, last: 1 }));
    expect(await lenient.reader.getRepository(EventCounter).countBy({ scope })).toBe(1);
  });
});

describe('the guard by itself', () => {
  test('a transaction is watched until its own end, also after others that ran beside it have ended', async () => {
    const guard = createTransactionGuard({ kind: 'throw' });
    const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const long = guard.inside(async () => {
      await pause();
      await pause();
      guard.mustBeOutside('the reader was used');
    });
    await guard.inside(async () => undefined);
    await expect(long).rejects.toBeInstanceOf(OutsideOfTransactionOnly);
    expect(() => guard.mustBeOutside('the reader was used')).not.toThrow();
  });

  test('in production one of 64 transactions whose violations are bounded is watched, beginning with the first', async () => {
    const reports: Error[] = [];
    const guard = createTransactionGuard({ kind: 'report', report: (error) => void reports.push(error) });
    const watched: number[] = [];
    for (let number = 0; number < 130; number += 1) {
      const before = reports.length;
      // Each violation is another one: the same one is reported once.
      await guard.insideSampled(async () => guard.mustBeOutside(`reader ${number} was used`));
      if (reports.length > before) watched.push(number);
    }
    expect(watched).toEqual([0, 64, 128]);
  });
});
