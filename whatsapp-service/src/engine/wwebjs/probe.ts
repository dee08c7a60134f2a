import { randomUUID } from 'node:crypto';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError, within } from './deadline.js';

/** Checks both directions between worker and page. */
export interface Probe {
  /**
   * Makes a round trip through the page and waits for a canary event that returns through the event bridge. `canary` is false when it did
   * not return in time. Rejects when the page does not answer within `deadlineMs`.
   */
  (deadlineMs: number): Promise<{ roundTripMs: number; canary: boolean }>;
  /** A canary has returned. */
  received(nonce: string): void;
}

type Waiting = Map<string, () => void>;

export function createProbe(page: () => Page): Probe {
  const waiting: Waiting = new Map();
  return Object.assign((deadlineMs: number) => probe(page, waiting, deadlineMs), {
    received: (nonce: string): void => waiting.get(nonce)?.(),
  });
}

async function probe(page: () => Page, waiting: Waiting, deadlineMs: number): Promise<{ roundTripMs: number; canary: boolean }> {
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

async function arrivedWithin(event: Promise<void>, ms: number): Promise<boolean> {
  try {
    await within(event, ms, 'The canary');
    return true;
  } catch (error) {
    if (error instanceof DeadlineError) return false;
    throw error;
  }
}
