import { setImmediate as nextTick } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { createSharedLookup } from './shared-lookup.js';

/** A store of people who opted out, which counts its reads. */
function createStore() {
  const out = new Map<string, Set<string>>();
  const reads: string[][] = [];
  const lookup = createSharedLookup(async (accountId, addresses) => {
    reads.push([accountId, ...addresses]);
    const found = new Set(addresses.filter((address) => out.get(accountId)?.has(address)));
    await nextTick();
    return found;
  });
  return { out, reads, lookup };
}

test('look-ups of one tick are one read for each account, and each caller gets its own addresses', async () => {
  const { out, reads, lookup } = createStore();
  out.set('a', new Set(['2', '3'])).set('b', new Set(['1']));
  const asked: [string, string[]][] = [
    ['a', ['1', '2']],
    ['b', ['1', '2']],
    ['a', ['3']],
    ['a', ['4', '2']],
    ['a', []],
  ];
  const results = await Promise.all(asked.map(([accountId, addresses]) => lookup(accountId, addresses)));
  expect(results.map((found) => [...found])).toEqual([['2'], ['1'], ['3'], ['2'], []]);
  expect(reads).toEqual([
    ['a', '1', '2', '3', '4'],
    ['b', '1', '2'],
  ]);
});

test('a caller sees what was committed before its call, also while an earlier read is under way', async () => {
  const { out, reads, lookup } = createStore();
  const earlier = lookup('a', ['1']);
  await nextTick();
  expect(reads).toHaveLength(1);
  out.set('a', new Set(['1']));
  expect([...(await lookup('a', ['1']))]).toEqual(['1']);
  expect([...(await earlier)]).toEqual([]);
});

test('an error reaches every caller of the read, and no later one', async () => {
  let isBroken = true;
  const lookup = createSharedLookup((_, addresses) =>
    isBroken ? Promise.reject(new Error('down')) : Promise.resolve(new Set(addresses)),
  );
  const results = await Promise.allSettled([lookup('a', ['1']), lookup('a', ['2'])]);
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  isBroken = false;
  expect([...(await lookup('a', ['1']))]).toEqual(['1']);
});
