import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until `check` resolves to something truthy and returns that. The limit only ends a test that fails, so it is generous: on a busy machine
 * everything takes many times as long. A test that promises a duration measures it.
 */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | null | undefined | false>,
  withinMs = 120_000,
): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > until) throw new Error(`Waited ${withinMs} ms in vain for ${what}.`);
    await sleep(15);
  }
}
