import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for a condition, never for a duration; gives what the check gave. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | null | undefined | false>,
  withinMs = 40_000,
): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > until) throw new Error(`Waited ${withinMs} ms in vain for ${what}.`);
    await sleep(15);
  }
}
