import { randomUUID } from 'node:crypto';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import type { ProbeResult } from '../engine.js';
import { DeadlineError, within } from './deadline.js';
import { brokenListeners } from './listener-reports.js';

/** Checks both directions between worker and page. */
export interface Probe {
  /**
   * Makes a round trip through the page and waits for a canary event that returns through the event bridge. `canary` is false when the event did
   * not return in time, or when the page no longer calls the listener of messages or acks; `broken` names those listeners. Rejects when the page
   * does not answer within `deadlineMs`.
   */
  (deadlineMs: number): Promise<ProbeResult>;
  /** Records that a canary has returned. */
  received(nonce: string): void;
}

type Waiting = Map<string, () => void>;

export function createProbe(page: () => Page): Probe {
  const waiting: Waiting = new Map();
  return Object.assign((deadlineMs: number) => probe(page, waiting, deadlineMs), {
    received: (nonce: string): void => waiting.get(nonce)?.(),
  });
}

async function probe(page: () => Page, waiting: Waiting, deadlineMs: number): Promise<ProbeResult> {
  const nonce = randomUUID();
  const received = new Promise<void>((resolve) => waiting.set(nonce, resolve));
  const started = performance.now();
  try {
    const answer = await callPage<{ listeners?: unknown; challenge?: unknown } | null>(page(), 'ping', { nonce }, deadlineMs);
    const roundTripMs = Math.round(performance.now() - started);
    const broken = brokenListeners(answer?.listeners);
    const hasReturned = await arrivedWithin(received, Math.max(50, deadlineMs - roundTripMs));
    return {
      roundTripMs,
      canary: hasReturned && broken.length === 0,
      ...(broken.length > 0 ? { broken } : {}),
      ...challengeIn(answer?.challenge),
    };
  } finally {
    waiting.delete(nonce);
  }
}

/** Which check WhatsApp wants of the account, if any. */
const challengeIn = (kind: unknown): Pick<ProbeResult, 'challenge'> =>
  kind === 'passkey' || kind === 'other' ? { challenge: kind } : {};

async function arrivedWithin(event: Promise<void>, ms: number): Promise<boolean> {
  try {
    await within(event, ms, 'The canary');
    return true;
  } catch (error) {
    if (error instanceof DeadlineError) return false;
    throw error;
  }
}
