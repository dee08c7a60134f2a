import type { Clock } from './clock.js';

/**
 * Values that were read from the database, cached for a short time. Another backend's change is seen after the TTL at the latest; a change
 * that this process learns of invalidates the entry. Reads go like this, so that a hit costs no extra await:
 *
 *     const cached = cache.get(id);
 *     if (cached) return cached;
 *     const { version } = cache;
 *     const row = await read(id);
 *     if (row) cache.set(id, row, version);
 *
 * Closes: a value is read before a change and cached after it. `set` ignores a value that was read at an older version.
 */
export interface TtlCache<V> {
  /** Grows with each invalidation. Read it before the value. */
  readonly version: number;
  /** Returns the cached value, unless its TTL has passed. */
  get(key: string): V | undefined;
  /** Caches a value that was read when the cache had this version. Does nothing if the version has changed. */
  set(key: string, value: V, version: number): void;
  /** Removes one entry; null removes all. */
  invalidate(key: string | null): void;
  /** Removes the entries whose value matches. */
  invalidateWhere(matches: (value: V) => boolean): void;
}

export interface TtlCacheOptions {
  clock: Pick<Clock, 'monotonic'>;
  ttlMs: number;
  /** Above this number of entries the cache is emptied. */
  maxEntries: number;
}

export function createTtlCache<V>({ clock, ttlMs, maxEntries }: TtlCacheOptions): TtlCache<V> {
  const entries = new Map<string, { value: V; expiresAt: number }>();
  let version = 0;
  return {
    get version() {
      return version;
    },
    get(key) {
      const entry = entries.get(key);
      return entry && entry.expiresAt > clock.monotonic() ? entry.value : undefined;
    },
    set(key, value, readAtVersion) {
      if (readAtVersion !== version) return;
      if (entries.size > maxEntries) entries.clear();
      entries.set(key, { value, expiresAt: clock.monotonic() + ttlMs });
    },
    invalidate(key) {
      version += 1;
      if (key === null) entries.clear();
      else entries.delete(key);
    },
    invalidateWhere(matches) {
      version += 1;
      for (const [key, { value }] of entries) if (matches(value)) entries.delete(key);
    },
  };
}
