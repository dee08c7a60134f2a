import { expect, test } from '@jest/globals';
import { createTtlCache } from '../src/lib/ttl-cache.js';

function makeCache(maxEntries = 10) {
  const time = { now: 0 };
  const cache = createTtlCache<{ owner: string }>({ clock: { monotonic: () => time.now }, ttlMs: 1_000, maxEntries });
  return { time, cache };
}
const value = { owner: 'ana' };

test('a value is returned until its time is over', () => {
  const { time, cache } = makeCache();
  cache.set('key', value, cache.version);
  time.now = 999;
  expect(cache.get('key')).toBe(value);
  time.now = 1_000;
  expect(cache.get('key')).toBeUndefined();
});

test.each([
  ['the same key', (cache: ReturnType<typeof makeCache>['cache']) => cache.invalidate('key')],
  ['another key', (cache: ReturnType<typeof makeCache>['cache']) => cache.invalidate('other')],
  ['all keys', (cache: ReturnType<typeof makeCache>['cache']) => cache.invalidate(null)],
  ['matching values', (cache: ReturnType<typeof makeCache>['cache']) => cache.invalidateWhere(() => false)],
])('a value that was read before a change of %s is not cached after it', (_what, change) => {
  const { cache } = makeCache();
  const { version } = cache;
  change(cache);
  cache.set('key', value, version);
  expect(cache.get('key')).toBeUndefined();
  cache.set('key', value, cache.version);
  expect(cache.get('key')).toBe(value);
});

test('an invalidation removes what it names and nothing else', () => {
  const { cache } = makeCache();
  const fill = (): void => {
    for (const owner of ['ana', 'ben', 'eva']) cache.set(owner, { owner }, cache.version);
  };
  const present = (): string[] => ['ana', 'ben', 'eva'].filter((owner) => cache.get(owner));
  fill();
  cache.invalidate('ana');
  expect(present()).toEqual(['ben', 'eva']);
  cache.invalidateWhere(({ owner }) => owner === 'ben');
  expect(present()).toEqual(['eva']);
  fill();
  cache.invalidate(null);
  expect(present()).toEqual([]);
});

test('a flood of keys empties the cache instead of the memory', () => {
  const { cache } = makeCache(3);
  for (let n = 0; n < 100; n += 1) cache.set(`${n}`, value, cache.version);
  expect(Array.from({ length: 100 }, (_, n) => cache.get(`${n}`)).filter(Boolean).length).toBeLessThanOrEqual(4);
});
