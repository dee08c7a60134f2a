/** How long an answer of WhatsApp about a number counts. */
const cacheTtlMs = 5 * 60_000;
const maxEntries = 10_000;

/**
 * WhatsApp's answers about which numbers are registered, of one session. Many such questions in a short time can cost an account, so an answer
 * is used again for five minutes.
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
