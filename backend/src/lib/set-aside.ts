import type { Clock } from './clock.js';

const firstMs = 100;
const longestMs = 60_000;
/** More are not remembered: the one that failed first is tried again early. */
const maxItems = 10_000;

/**
 * Items whose work failed and that are left alone for a while, twice as long after each failure, so that one bad item does not stop the
 * items behind it. In memory: after a restart each is tried at once.
 */
export function createSetAside(clock: Pick<Clock, 'monotonic'>) {
  const items = new Map<string, { until: number; ms: number }>();
  return {
    /** Whether it is to be left alone now. */
    has: (id: string): boolean => (items.get(id)?.until ?? -Infinity) > clock.monotonic(),
    /** Its work failed. Returns for how long it is left alone. */
    add(id: string): number {
      const ms = Math.min(longestMs, (items.get(id)?.ms ?? firstMs / 2) * 2);
      items.delete(id);
      items.set(id, { until: clock.monotonic() + ms, ms });
      if (items.size > maxItems) items.delete(items.keys().next().value!);
      return ms;
    },
    /** Its work succeeded. */
    delete: (id: string): void => void items.delete(id),
    /** All that are to be left alone now. */
    list: (): string[] => [...items].flatMap(([id, { until }]) => (until > clock.monotonic() ? [id] : [])),
  };
}
