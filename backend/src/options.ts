import type { SessionSettings } from '@chasqui/shared';
import type { Config } from './config.js';
import type { LimitFigures } from './http/request-limits.js';
import type { WebhookOptions } from './webhooks/send/dispatcher.js';

/** Converts settings to the options of the modules. */

/** The lease of a claimed message is longer than the worker's own deadline by the time of two calls. */
export const claimLeaseMs = (sendDeadlineMs: number): number => sendDeadlineMs + 45_000;

/** Comments keep a stream open through proxies, which close idle connections after 30 or 60 s. Pings detect dead connections. */
export const defaultStreamTimes = { beatMs: 15_000, pingMs: 30_000, checkMs: 3_000, stallMs: 10_000 };

export const limitFigures = (config: Config): LimitFigures => ({
  address: { limit: config.IP_RATE_LIMIT, windowMs: config.IP_RATE_WINDOW, factor: config.IP_RATE_AUTHENTICATED_FACTOR },
  key: { limit: config.API_KEY_RATE_LIMIT, windowMs: config.API_KEY_RATE_WINDOW },
});

/** The maximum of concurrent webhook requests: each needs a descriptor. Counted in units of body size (webhooks/send/request-slots.ts). */
const maxWebhookRequests = (openFiles: number): number => Math.max(32, Math.min(512, Math.floor(openFiles / 8)));

/**
 * The maximum of open connections. A connection needs one descriptor and at most one more for the file that it downloads, and the process
 * needs some for itself and for webhooks. One address may have half of the connections, unless the backend is behind a proxy: then all clients
 * have the same address.
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
 * The first seven retries follow quickly, so that deliveries continue within seconds after a short outage, and a receiver that fails now and
 * then is not left behind. They take half a minute, during which the session's later events wait (docs/decisions/065-webhook-recovery.md).
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
