import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Database } from '../src/db/database.js';
import { createStoredWindows } from '../src/db/stored-windows.js';
import { hasPostgres, startRig, type Rig } from './support/backend.js';
import { silentLog } from './support/silent-log.js';

/** Windows in PostgreSQL, whose transactions are counted. */

const minuteMs = 60_000;

((await hasPostgres()) ? describe : describe.skip)('windows in PostgreSQL', () => {
  let rig: Rig;
  const transactions = { all: 0, running: 0, most: 0 };
  let at = 0;

  function open() {
    Object.assign(transactions, { all: 0, running: 0, most: 0 });
    const { database } = rig;
    const counted: Database = {
      ...database,
      write: {
        ...database.write,
        async run(work) {
          transactions.all += 1;
          transactions.running += 1;
          transactions.most = Math.max(transactions.most, transactions.running);
          return database.write.run(work).finally(() => void (transactions.running -= 1));
        },
      },
    };
    return createStoredWindows({ database: counted, log: silentLog, clock: { monotonic: () => at } });
  }

  beforeAll(async () => {
    rig = await startRig({ database: 'postgres' });
  });
  afterAll(() => rig?.close());

  test('a flood of requests for one window uses one connection, and a full window is looked at once a second', async () => {
    const windows = open();
    const flood = (): Promise<boolean[]> =>
      Promise.all(Array.from({ length: 300 }, async () => (await windows.count('flood', 10, minuteMs)).isAllowed));
    expect((await flood()).filter(Boolean)).toHaveLength(10);
    // The eleventh is refused by the database; one more transaction deletes expired rows.
    expect([transactions.most <= 2, transactions.all <= 12]).toEqual([true, true]);
    const before = transactions.all;
    await flood();
    expect(transactions.all).toBe(before);
    at += 1_001;
    await flood();
    expect(transactions.all - before).toBeLessThanOrEqual(2);
  });

  test('a refund and a reset end a refusal at once, in the order of the calls', async () => {
    const windows = open();
    const count = async (): Promise<boolean> => (await windows.count('refunded', 1, minuteMs)).isAllowed;
    const [first, second, , third, fourth] = await Promise.all([count(), count(), windows.refund('refunded'), count(), count()]);
    expect([first, second, third, fourth]).toEqual([true, false, true, false]);
    const [, fifth, sixth] = await Promise.all([windows.forget('refunded', minuteMs), count(), count()]);
    expect([fifth, sixth]).toEqual([true, false]);
  });

  test('a higher limit applies at once, and the time until there is room becomes shorter', async () => {
    const windows = open();
    await windows.count('limits', 1, minuteMs);
    const refused = await windows.count('limits', 1, minuteMs);
    at += 500;
    const later = await windows.count('limits', 1, minuteMs);
    expect([refused.isAllowed, later.isAllowed, later.resetMs <= refused.resetMs - 500]).toEqual([false, false, true]);
    expect((await windows.count('limits', 2, minuteMs)).isAllowed).toBe(true);
  });

  test('a failed transaction does not block the next one of its window', async () => {
    const windows = open();
    const { run } = rig.database.write;
    rig.database.write.run = () => Promise.reject(new Error('down'));
    const failed = windows.count('down', 1, minuteMs);
    await expect(failed).rejects.toThrow('down');
    rig.database.write.run = run;
    expect((await windows.count('down', 1, minuteMs)).isAllowed).toBe(true);
  });
});
