import type { Clock } from './clock.js';

const firstMs = 100;
const maxMs = 60_000;
/** The maximum number of postponed items. Above it, the one that failed first is retried early. */
const maxItems = 10_000;

/**
 * Postpones items whose work failed, twice as long after each failure, so that one bad item does not block the items behind it. In memory:
 * after a restart each is retried at once.
 */
export function createItemBackoff(clock: Pick<Clock, 'monotonic'>) {
  const items = new Map<string, { until: number; ms: number }>();
  return {
    /** Whether the item is postponed now. */
    has: (id: string): boolean => (items.get(id)?.until ?? -Infinity) > clock.monotonic(),
    /** Postpones an item whose work failed. Returns for how long, in milliseconds. */
    add(id: string): number {
      const ms = Math.min(maxMs, (items.get(id)?.ms ?? firstMs / 2) * 2);
      items.delete(id);
      items.set(id, { until: clock.monotonic() + ms, ms });
      if (items.size > maxItems) items.delete(items.keys().next().value!);
      return ms;
    },
    /** Removes an item whose work succeeded. */
    delete: (id: string): void => void items.delete(id),
    /** All items that are postponed now. */
    list: (): string[] => [...items].flatMap(([id, { until }]) => (until > clock.monotonic() ? [id] : [])),
  };
}
