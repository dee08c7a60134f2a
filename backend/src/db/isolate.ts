import { isSystemError } from './database-errors.js';

/**
 * Attempts all items at once. When the attempt fails because of an item, attempts each half alone, and so on, until `failed` has been
 * called for exactly the items that fail by themselves. One bad item among 64 costs about 12 attempts instead of 64.
 *
 * `attempt` must leave nothing behind when it throws. A failure of the database is not caused by an item: `failed` gets all items of
 * that attempt at once, because an attempt whose answer was lost may have been committed and must not be repeated here.
 */
export async function attemptInHalves<T>(
  items: readonly T[],
  attempt: (items: readonly T[]) => Promise<void>,
  failed: (items: readonly T[], error: unknown) => void | Promise<void>,
): Promise<void> {
  if (items.length === 0) return;
  try {
    await attempt(items);
  } catch (error) {
    if (items.length === 1 || isSystemError(error)) return failed(items, error);
    const middle = Math.ceil(items.length / 2);
    await attemptInHalves(items.slice(0, middle), attempt, failed);
    await attemptInHalves(items.slice(middle), attempt, failed);
  }
}

/** Runs work on one item alone: if it fails by itself, the failure is recorded under `subject`, and the other items go on. */
export type RunAlone = (subject: string, work: () => Promise<void>) => Promise<void>;
