import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DataSource, QueryRunner } from 'typeorm';
import type { Database } from '../src/db/database.js';
import { runStatement } from '../src/db/statement.js';
import { createSearchStore, factOf, type SearchStore } from '../src/search/store.js';
import { databases } from './support/backend.js';
import { closers, openOwn } from './support/own-database.js';

/** How many rows PostgreSQL reads for a page of places, whatever its planner expects of the numbers. */

const total = 40_000;
const account = factOf.account('an account');
/** One of the numbers of ordinary texts. */
const ordinary = [5];
const nowhere = [factOf.chat('nowhere'), factOf.author('nowhere')];
const range = { order: 'desc', after: null, last: null } as const;

describe.each((await databases()).filter((database) => database === 'postgres'))('places of a search on %s', (dialect) => {
  let database: Database;
  let runner: QueryRunner;
  let store: SearchStore;

  beforeAll(async () => {
    database = (await openOwn(dialect)).opened;
    await runStatement(
      database.reader,
      `INSERT INTO message_grams (id, grams) SELECT lpad(n::text, 8, '0') || '-0000', ARRAY[${account}]
        || (SELECT array_agg((n * 7919 + i * 104729) % 3000) FROM generate_series(1, 12) AS i) FROM generate_series(1, ${total}) AS n`,
    );
    await runStatement(database.reader, 'VACUUM ANALYZE message_grams');
    // One transaction: PostgreSQL counts what it reads.
    runner = database.reader.createQueryRunner();
    await runner.startTransaction();
    store = createSearchStore({ dialect: 'postgres', reader: runner.manager as unknown as DataSource });
  }, 60_000);
  afterAll(async () => {
    await runner?.rollbackTransaction();
    await runner?.release();
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function rowsReadBy(read: () => Promise<unknown>): Promise<number> {
    const count = async (): Promise<number> => {
      const [row] = (await runner.query(
        `SELECT seq_tup_read + idx_tup_fetch AS n FROM pg_stat_xact_user_tables WHERE relname = 'message_grams'`,
      )) as { n: string }[];
      return Number(row!.n);
    };
    const before = await count();
    await read();
    return (await count()) - before;
  }

  test.each([
    ['a number that is nowhere', nowhere, 0],
    ['a number of few messages', ordinary, 17],
    ['a number of every message', [account], 17],
  ])('of %s cost little for a short page', async (_, any, found) => {
    let places: string[] = [];
    const read = await rowsReadBy(async () => {
      places = await store.places({ all: [account], any: [any] }, range, 17);
    });
    expect(places).toHaveLength(found);
    expect(places).toEqual([...places].sort().reverse());
    expect(read).toBeLessThan(1_000);
  });
});
