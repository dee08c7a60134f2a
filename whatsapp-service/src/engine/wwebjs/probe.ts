import { randomUUID } from 'node:crypto';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError, within } from './deadline.js';

/** Checks both directions: a round trip through the page, and a canary event that returns through the event bridge. */
export function createProbe(page: () => Page) {
  const waiting = new Map<string, () => void>();

  async function probe(deadlineMs: number): Promise<{ roundTripMs: number; canary: boolean }> {
    const nonce = randomUUID();
    const received = new Promise<void>((resolve) => waiting.set(nonce, resolve));
    const started = performance.now();
    try {
      await callPage(page(), 'ping', { nonce }, deadlineMs);
      const roundTripMs = Math.round(performance.now() - started);
      return { roundTripMs, canary: await arrivedWithin(received, Math.max(50, deadlineMs - roundTripMs)) };
    } finally {
      waiting.delete(nonce);
    }
  }

  return Object.assign(probe, { received: (nonce: string): void => waiting.get(nonce)?.() });
}

async function arrivedWithin(event: Promise<void>, ms: number): Promise<boolean> {
  try {
    await within(event, ms, 'The canary');
    return true;
  } catch (error) {
    if (error instanceof DeadlineError) return false;
    throw error;
  }
}
