import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { countRanges, countSql, rangesSql, readRanges, type Condition } from '../src/db/ranges.js';
import { runStatement } from '../src/db/statement.js';
import type { Database } from '../src/db/database.js';
import { databases } from './support/backend.js';
import { closers, openOwn } from './support/own-database.js';

/** A list that is read in several ranges has the rows, order and number that one condition for all of them would give. */

interface Row {
  place: number | string;
  id: string;
}

const kinds = 700;
const rows = Array.from({ length: 2_000 }, (_, number) => ({
  id: `row-${String(number).padStart(5, '0')}`,
  kind: `kind ${(number * 7) % kinds}`,
  type: number % 3 === 0 ? 'a' : 'b',
  place: (number * 131) % 997,
}));

const byPlace = (one: Row, other: Row): number => Number(one.place) - Number(other.place) || (one.id < other.id ? -1 : 1);
const ofKind = (number: number): Condition => ({ sql: 'kind = ?', parameters: [`kind ${number}`] });
/** The same rows in another form, with the parameters in another order. */
const ofKindAndType = (number: number): Condition[] =>
  ['a', 'b'].map((type) => ({ sql: `type = ? AND kind || '' = ?`, parameters: [type, `kind ${number}`] }));

const plans = fc.record({
  chosen: fc.uniqueArray(fc.nat({ max: kinds + 5 }), { minLength: 0, maxLength: kinds, size: 'max' }),
  isMixed: fc.boolean(),
  from: fc.nat({ max: 900 }),
  limit: fc.integer({ min: 1, max: 400 }),
  direction: fc.constantFrom('ASC', 'DESC'),
});

describe.each(await databases())('ranges on %s', (dialect) => {
  let database: Database;
  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
  beforeAll(async () => {
    database = (await openOwn(dialect)).opened;
    await database.write.run(async ({ manager }) => {
      await runStatement(manager, 'CREATE TABLE ranged (id text PRIMARY KEY, kind text, type text, place integer)');
      await runStatement(manager, 'CREATE INDEX ranged_kind ON ranged (kind, place, id)');
      for (const { id, kind, type, place } of rows)
        await runStatement(manager, 'INSERT INTO ranged VALUES (?, ?, ?, ?)', [id, kind, type, place]);
    });
  });

  test('rows, order and number are those of one condition, however many ranges there are', async () => {
    await fc.assert(
      fc.asyncProperty(plans, async ({ chosen, isMixed, from, limit, direction }) => {
        const ranges = chosen.flatMap((number, index) => (isMixed && index % 2 ? ofKindAndType(number) : [ofKind(number)]));
        const plan = { table: 'ranged r', ranges, also: [{ sql: 'place >= ?', parameters: [from] }], limit };
        const names = new Set(chosen.map((number) => `kind ${number}`));
        const all = rows.filter(({ kind, place }) => names.has(kind) && place >= from).sort(byPlace);
        if (direction === 'DESC') all.reverse();
        const order = `place ${direction}, id ${direction}`;
        const compare = (one: Row, other: Row): number => byPlace(one, other) * (direction === 'ASC' ? 1 : -1);
        const found = await readRanges<Row>(database.reader, { ...plan, columns: 'r.place, r.id', order }, compare);
        expect(found.map(({ id }) => id)).toEqual(all.slice(0, limit).map(({ id }) => id));
        expect(await countRanges(database.reader, { ...plan, order: 'place, id' })).toBe(Math.min(limit, all.length));
      }),
      { numRuns: 40 },
    );
  });

  test('rare values are read and counted from the index, not from the whole table', async () => {
    const { reader, write } = database;
    await write.run(async ({ manager }) => {
      const row = `'many-' || n, CASE WHEN n % 20000 = 0 THEN 'rare ' || n / 20000 ELSE 'frequent' END, n`;
      const numbers =
        dialect === 'postgres'
          ? 'generate_series(1, 100000) AS n'
          : '(WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100000) SELECT n FROM r)';
      await runStatement(manager, 'CREATE TABLE skewed (id text PRIMARY KEY, kind text, place integer)');
      await runStatement(manager, 'CREATE INDEX skewed_kind ON skewed (kind, place, id)');
      await runStatement(manager, `INSERT INTO skewed SELECT ${row} FROM ${numbers}`);
    });
    if (dialect === 'postgres') await reader.query('VACUUM ANALYZE skewed');
    const ranges = [1, 2, 3].map((number) => ({ sql: 'kind = ?', parameters: [`rare ${number}`] }));
    const plan = { table: 'skewed', columns: 'place, id', ranges, also: [], order: 'place, id', limit: 1_000 };
    for (const { sql, parameters } of [rangesSql(dialect, plan), countSql(dialect, plan)]) {
      const explained = `EXPLAIN ${dialect === 'postgres' ? '' : 'QUERY PLAN '}${sql}`;
      const { rows: steps } = await runStatement(reader, explained, parameters, { prepare: false });
      expect(JSON.stringify(steps)).toMatch(/skewed_kind/);
      expect(JSON.stringify(steps)).not.toMatch(/Seq Scan|SCAN skewed/);
    }
  });
});
