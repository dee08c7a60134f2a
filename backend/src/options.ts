import type { SessionSettings } from '@chasqui/shared';
import type { Config } from './config.js';
import type { LimitFigures } from './http/request-limits.js';
import type { WebhookOptions } from './webhooks/send/dispatcher.js';

/** What the settings say, in the words of those who need it. */

/** A lease on a claimed message outlives the worker's own deadline by the time of two calls. */
export const claimLeaseMs = (sendDeadlineMs: number): number => sendDeadlineMs + 45_000;

/** Comments keep a stream open through proxies, which cut what is silent for 30 or 60 s; pings find lines that are dead. */
export const defaultStreamTimes = { beatMs: 15_000, pingMs: 30_000, checkMs: 3_000, stallMs: 10_000 };

export const limitFigures = (config: Config): LimitFigures => ({
  address: { limit: config.IP_RATE_LIMIT, windowMs: config.IP_RATE_WINDOW, factor: config.IP_RATE_AUTHENTICATED_FACTOR },
  key: { limit: config.API_KEY_RATE_LIMIT, windowMs: config.API_KEY_RATE_WINDOW },
});

/** Webhook requests under way at once: each has a descriptor. In units of body size, see webhooks/request-slots.ts. */
const maxWebhookRequests = (openFiles: number): number => Math.max(32, Math.min(512, Math.floor(openFiles / 8)));

/**
 * Connections that are open at once. A connection costs one descriptor and at most one more for the file that it downloads, and the process
 * needs some for itself and for webhooks. One address may hold half of them, unless it is a proxy's, behind which everybody has the same.
 */
export function connectionLimits(
  config: Pick<Config, 'TRUST_PROXY'>,
  openFiles: number,
): { maxConnections: number; maxConnectionsPerAddress: number } {
  const maxConnections = Math.max(64, Math.min(16_384, Math.floor((openFiles - 128 - maxWebhookRequests(openFiles)) / 2)));
  const isBehindProxy = typeof config.TRUST_PROXY === 'number' ? config.TRUST_PROXY > 0 : config.TRUST_PROXY.length > 0;
  return { maxConnections, maxConnectionsPerAddress: isBehindProxy ? Infinity : Math.ceil(maxConnections / 2) };
}

/**
 * The first seven retries follow each other so that a short outage is over for us within seconds of its end, and a receiver that fails now and
 * then keeps up; together they take half a minute, for which the session's later events wait (docs/decisions/065-webhook-recovery.md).
 */
const usualDelays = [200, 500, 1_000, 2_000, 5_000, 8_000, 12_000, 30_000, 120_000, 900_000, 3_600_000, 21_600_000, 43_200_000];

export const webhookOptions = (config: Config, openFiles: number): WebhookOptions => ({
  maxRequests: maxWebhookRequests(openFiles),
  timeoutMs: config.WEBHOOK_TIMEOUT,
  concurrency: config.WEBHOOK_CONCURRENCY,
  disableAfterMs: config.WEBHOOK_DISABLE_AFTER_DAYS * 86_400_000,
  schedule: {
    delays: config.WEBHOOK_RETRY_DELAYS?.split(',').map(Number) ?? usualDelays,
    repeats: config.WEBHOOK_RETRY_DELAYS === undefined,
    maxRetries: config.WEBHOOK_MAX_RETRIES ?? null,
    windowMs: config.WEBHOOK_RETRY_WINDOW_HOURS * 3_600_000,
  },
});

export const defaultSettings = (config: Config): SessionSettings => ({
  autoReconnect: true,
  storeMedia: true,
  countryCode: null,
  queueIfOffline: false,
  maxQueueAgeHours: 24,
  pacing: { perMinute: config.SEND_RATE_PER_MINUTE, chatGapMs: 1_000, jitterMs: 500, typing: false },
});
