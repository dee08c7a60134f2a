import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { attemptInHalves } from '../src/db/isolate.js';
import { isSystemError } from '../src/db/database-errors.js';
import { createEvents } from '../src/events/events.js';
import { systemClock as clock } from '../src/lib/clock.js';

/** The two ways in which one bad item of several is isolated, without a database. */

/** Which items of a chain are bad. */
const patterns = (most: number) => fc.array(fc.boolean(), { minLength: 1, maxLength: most });

describe('attempts in halves', () => {
  test('everything is done but exactly the bad items, whichever they are', async () => {
    await fc.assert(
      fc.asyncProperty(patterns(80), async (bad) => {
        const items = bad.map((isBad, index) => ({ index, isBad }));
        const done: number[] = [];
        const failed: number[] = [];
        let attempts = 0;
        await attemptInHalves(
          items,
          async (some) => {
            attempts += 1;
            if (some.some(({ isBad }) => isBad)) throw new Error('bad');
            done.push(...some.map(({ index }) => index));
          },
          (some) => void failed.push(...some.map(({ index }) => index)),
        );
        const of = (isBad: boolean) => items.filter((item) => item.isBad === isBad).map(({ index }) => index);
        expect([done, failed]).toEqual([of(false), of(true)]);
        expect(attempts).toBeLessThanOrEqual(1 + 2 * failed.length * Math.ceil(Math.log2(items.length + 1)));
      }),
    );
  });

  test('trouble of the database fails all of an attempt at once, and nothing is repeated', async () => {
    let attempts = 0;
    const failed: number[] = [];
    await attemptInHalves(
      [1, 2, 3],
      () => {
        attempts += 1;
        return Promise.reject(Object.assign(new Error('away'), { code: '57P01' }));
      },
      (some) => void failed.push(...some),
    );
    expect([attempts, failed]).toEqual([1, [1, 2, 3]]);
  });

  test.each([
    ['SQLITE_BUSY', true],
    ['SQLITE_BUSY_SNAPSHOT', true],
    ['SQLITE_FULL', true],
    ['SQLITE_IOERR_WRITE', true],
    ['ECONNRESET', true],
    ['ENOSPC', true],
    ['08006', true],
    ['25006', true],
    ['40P01', true],
    ['53300', true],
    ['55P03', true],
    ['57014', true],
    ['SQLITE_CONSTRAINT_UNIQUE', false],
    ['SQLITE_MISMATCH', false],
    ['SQLITE_TOOBIG', false],
    ['22001', false],
    ['22021', false],
    ['23505', false],
    ['54000', false],
    ['P0001', false],
    ['ERR_INVALID_ARG_TYPE', false],
    ['VALIDATION_FAILED', false],
    [undefined, false],
  ])('an error %s is trouble of the database: %s', (code, expected) => {
    expect(isSystemError(Object.assign(new Error('x'), code === undefined ? {} : { code }))).toBe(expected);
  });
});

describe('listeners', () => {
  test('a listener that throws, at any position, keeps the event from no other', async () => {
    fc.assert(
      fc.property(patterns(6), (bad) => {
        const failed: unknown[] = [];
        const events = createEvents({ clock, listenerFailed: (error) => failed.push(error) });
        const processed: number[] = [];
        for (const [index, isBad] of bad.entries())
          events.subscribe(() => {
            if (isBad) throw new Error('bad');
            processed.push(index);
          });
        events.receive({ cursor: 1, accountId: 'a', sessionId: null, messageId: null, type: 'message.queued', data: null });
        expect(processed).toEqual([...bad.entries()].filter(([, isBad]) => !isBad).map(([index]) => index));
        expect(failed).toHaveLength(bad.filter(Boolean).length);
      }),
    );
  });
});
