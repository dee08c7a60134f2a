/** How long an answer of WhatsApp about a number is used again. */
const cacheTtlMs = 5 * 60_000;
const maxEntries = 10_000;

/**
 * Caches WhatsApp's answers about which numbers are registered, for one session. WhatsApp may ban an account that asks often, so each answer is used
 * for five minutes.
 */
export interface NumberCache {
  /** The id that WhatsApp uses; null: not registered; undefined: not known. */
  get(id: string): string | null | undefined;
  set(id: string, wid: string | null): void;
}

export function createNumberCache(now: () => number = () => performance.now()): NumberCache {
  const cache = new Map<string, { wid: string | null; readAt: number }>();
  return {
    get(id) {
      const found = cache.get(id);
      return found && now() - found.readAt < cacheTtlMs ? found.wid : undefined;
    },
    set(id, wid) {
      cache.delete(id);
      cache.set(id, { wid, readAt: now() });
      for (const oldest of cache.keys()) {
        if (cache.size <= maxEntries) break;
        cache.delete(oldest);
      }
    },
  };
}
