import { newId } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Database } from '../db/database.js';
import type { Presence } from '../db/presence.js';
import { readRows, updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Deliveries, Outcome } from './deliveries.js';
import { createHolds } from './holds.js';
import { bodyOf, type Told } from './payload.js';
import type { Post, Posted } from './post.js';
import { nextAttempt, scheduleOf, type Schedule } from './schedule.js';
import { plainSignature, sign } from './signing.js';
import { Webhook, type WebhookDelivery } from './webhook.entity.js';

export interface WebhookOptions {
  timeoutMs: number;
  concurrency: number;
  schedule: Schedule;
  /** After so long with nothing but failures an endpoint is switched off. */
  disableAfterMs: number;
}

/** What is secret of an endpoint, opened. */
export interface Opened {
  secrets: string[];
  headers: Record<string, string>;
}

const pollMs = 1_000;
const together = 64;
/** So many failures in a row open the circuit, or few over so long; then one probe in so long. */
const opensAfter = 10;
const opensAfterFew = { failures: 3, ms: 30_000 };
const probeEveryMs = 60_000;
/** As long as a receiver may ask to be left alone. */
const longestRestMs = 12 * 3_600_000;
const excerptLength = 2_048;

/** Headers of ours in the log of an attempt; the values of all others are not shown. */
const shown = (headers: Record<string, string>, secret: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, secret.includes(name) || name.endsWith('signature') ? '…' : value]),
  );

export type WebhookDispatcher = ReturnType<typeof createWebhookDispatcher>;

/**
 * Sends deliveries. Each endpoint has a lane of its own: a batch is claimed in one commit, the sessions in it are sent side by side and each
 * session's events one after another, so that a session's order holds while the endpoint answers; outcomes are committed in groups. Over a short
 * outage it holds as well (holds.ts), and over a long one the probe is the oldest that waits, and what waits goes on from there.
 *
 * | the process dies | then |
 * | --- | --- |
 * | before the claim's commit | they are pending, and are found |
 * | after it, before or after the POST | the lease runs out, or its backend is known to be gone: pending again, and perhaps sent twice under one id |
 * | after the outcome's commit | it is over |
 */
export function createWebhookDispatcher(parts: {
  database: Database;
  deliveries: Deliveries;
  presence: Presence;
  post: Post;
  /** Opens what is sealed on an endpoint's row. */
  open: (webhook: Webhook, now: Date) => Opened;
  /** Switches an endpoint off in this transaction, and tells. */
  disable: (tx: Transaction, webhook: Webhook, reason: 'GONE' | 'FAILING') => Promise<void>;
  clock: Clock;
  log: Log;
  options: WebhookOptions;
}) {
  const { database, deliveries, presence, post, clock, log, options } = parts;
  const lanes = new Map<string, { again: boolean; done: Promise<void> }>();
  const holds = createHolds();
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let polling: Promise<void> = Promise.resolve();

  const load = async (id: string): Promise<Webhook | null> => {
    const [row] = await readRows(database.reader, Webhook, 'id = ?', [id], ['secret', 'oldSecret', 'headers']);
    return row && row.isActive && row.deletedAt === null ? row : null;
  };

  function wake(webhookId: string): void {
    if (stopped) return;
    const lane = lanes.get(webhookId);
    if (lane) return void (lane.again = true);
    const begun = { again: false, done: Promise.resolve() };
    lanes.set(webhookId, begun);
    begun.done = run(webhookId, begun)
      .catch((error: unknown) =>
        log.error('Deliveries of a webhook stopped; they are tried again.', { webhookId, ...errorFields(error) }),
      )
      .finally(() => lanes.delete(webhookId));
  }

  async function run(webhookId: string, lane: { again: boolean }): Promise<void> {
    do {
      lane.again = false;
      while (!stopped && (await batch(webhookId)));
    } while (lane.again && !stopped);
  }

  /** Gives whether there may be more. */
  async function batch(webhookId: string): Promise<boolean> {
    const webhook = await load(webhookId);
    if (!webhook) return false;
    const now = clock.now();
    const isOpen = webhook.openUntil !== null;
    if (isOpen && webhook.openUntil! > now) return false;
    const timeoutMs = webhook.retry?.timeoutMs ?? options.timeoutMs;
    // A closed circuit lets all through, an open one a single probe.
    const size = isOpen ? 1 : together;
    const leaseMs = timeoutMs * together + 60_000;
    const mine = await (isOpen
      ? deliveries.claimProbe(webhookId, now, leaseMs)
      : deliveries.claim(webhookId, now, leaseMs, size));
    if (mine.length === 0) return false;
    failPoint('webhook.claimed');
    const told = await deliveries.told(mine);
    await sendAll(webhook, mine, told, timeoutMs);
    return mine.length === size;
  }

  async function sendAll(webhook: Webhook, mine: WebhookDelivery[], told: Map<number, Told>, timeoutMs: number): Promise<void> {
    const opened = parts.open(webhook, clock.now());
    const writer = createWriter(webhook);
    const queues = bySession(mine);
    const runner = async (): Promise<void> => {
      for (let queue = queues.shift(); queue; queue = queues.shift())
        for (const delivery of queue) {
          const now = clock.now();
          const later = holds.until(webhook, delivery, now.getTime());
          // Left as it was: a circuit that opened, or a stop, ends the batch, not the delivery.
          if (stopped || (webhook.openUntil !== null && !writer.isProbe)) writer.putBack(delivery, webhook.openUntil ?? now);
          else if (later && !writer.isProbe) writer.putBack(delivery, later);
          else await sendOne(webhook, delivery, told.get(delivery.eventCursor) ?? null, opened, timeoutMs, writer);
        }
    };
    await Promise.all(Array.from({ length: Math.min(options.concurrency, queues.length) }, runner));
    await writer.end();
    failPoint('webhook.settled');
  }

  async function sendOne(
    webhook: Webhook,
    delivery: WebhookDelivery,
    told: Told | null,
    opened: Opened,
    timeoutMs: number,
    writer: ReturnType<typeof createWriter>,
  ): Promise<void> {
    const at = clock.now();
    // Retention took the event: there is nothing to send any more.
    if (!told) return writer.expired(delivery);
    const { headers, body } = requestOf(webhook, delivery, told, opened, at);
    const result = await post(webhook.url, { headers, body, timeoutMs });
    failPoint('webhook.answered');
    writer.sent(delivery, result, at, { headers: shown(headers, Object.keys(opened.headers)), body });
  }

  /** Collects what became of attempts, and writes what is there in one commit while others are still under way. */
  function createWriter(webhook: Webhook) {
    let waiting: Outcome[] = [];
    let writing: Promise<void> | null = null;
    let change: Partial<Webhook> = {};
    let off: 'GONE' | null = null;
    let isBack = false;
    const isProbe = webhook.openUntil !== null;
    const schedule = scheduleOf(options.schedule, webhook.retry);

    function flush(): void {
      writing ??= (async () => {
        await new Promise((resolve) => setImmediate(resolve));
        while (waiting.length > 0 || Object.keys(change).length > 0) {
          const [outcomes, changes, gone, back] = [waiting, change, off, isBack];
          [waiting, change, off, isBack] = [[], {}, null, false];
          await deliveries.settle(outcomes, async (tx) => {
            if (back) await deliveries.hasten(tx, webhook.id, clock.now());
            if (Object.keys(changes).length > 0) await updateRows(tx, Webhook, { id: webhook.id }, changes);
            const since = webhook.failingSince?.getTime() ?? Infinity;
            const isFailing = clock.now().getTime() - since >= options.disableAfterMs;
            if (gone || isFailing) await parts.disable(tx, webhook, gone ?? 'FAILING');
          });
        }
      })().finally(() => (writing = null));
    }
    const note = (outcome: Outcome): void => {
      waiting.push(outcome);
      flush();
    };
    const touch = (changes: Partial<Webhook>): void => {
      Object.assign(webhook, changes);
      change = { ...change, ...changes };
    };

    return {
      isProbe,
      putBack: (delivery: WebhookDelivery, until: Date): void =>
        note({ delivery, attempt: null, to: 'pending', nextAttemptAt: until }),
      expired: (delivery: WebhookDelivery): void => note({ delivery, attempt: null, to: 'failed', nextAttemptAt: null }),
      sent(
        delivery: WebhookDelivery,
        result: Posted,
        at: Date,
        request: { headers: Record<string, string>; body: string },
      ): void {
        const now = clock.now();
        const isDelivered = result.statusCode !== null && result.statusCode >= 200 && result.statusCode < 300;
        const attempt = {
          id: newId(now.getTime()),
          deliveryId: delivery.id,
          webhookId: webhook.id,
          at,
          durationMs: result.durationMs,
          statusCode: result.statusCode,
          error: result.error,
          requestHeaders: request.headers,
          requestBody: request.body.slice(0, excerptLength),
          response: result.response,
        };
        if (isDelivered) {
          holds.settled(webhook.id, delivery);
          isBack ||= isProbe;
          touch({
            lastDeliveredAt: now,
            ...(webhook.failures > 0 || webhook.openUntil ? { failures: 0, failingSince: null, openUntil: null } : {}),
          });
          return note({ delivery, attempt, to: 'delivered', nextAttemptAt: null });
        }
        const failures = webhook.failures + 1;
        const failingSince = webhook.failingSince ?? now;
        const isFewButLong = failures >= opensAfterFew.failures && now.getTime() - failingSince.getTime() >= opensAfterFew.ms;
        const opens = isProbe || failures >= opensAfter || isFewButLong;
        const probeInMs = Math.max(probeEveryMs, Math.min(result.retryAfterMs, longestRestMs));
        const openUntil = opens ? new Date(now.getTime() + probeInMs) : null;
        touch({ failures, failingSince, openUntil });
        if (result.statusCode === 410) {
          off = 'GONE';
          return note({ delivery, attempt, to: 'failed', nextAttemptAt: null });
        }
        const again = nextAttempt(schedule, {
          attempts: delivery.attempts + 1,
          since: delivery.createdAt.getTime(),
          now: now.getTime(),
          retryAfterMs: result.retryAfterMs,
          random: Math.random,
        });
        holds.failed(webhook.id, delivery, again, now.getTime());
        note({
          delivery,
          attempt,
          to: again === null ? 'failed' : 'pending',
          nextAttemptAt: again === null ? null : new Date(again),
        });
      },
      async end(): Promise<void> {
        while (writing) await writing;
      },
    };
  }

  async function poll(): Promise<void> {
    const now = clock.now();
    await deliveries.release(now, await presence.gone(await deliveries.owners()));
    for (const webhookId of await deliveries.due(now)) wake(webhookId);
  }

  function schedulePoll(): void {
    timer = setTimeout(() => {
      polling = poll()
        .catch((error: unknown) =>
          log.error('Webhook deliveries could not be looked through; it is tried again.', errorFields(error)),
        )
        .finally(() => {
          if (!stopped) schedulePoll();
        });
    }, pollMs);
  }

  return {
    wake,
    start(): void {
      polling = poll().catch((error: unknown) =>
        log.error('Webhook deliveries could not be looked through; it is tried again.', errorFields(error)),
      );
      schedulePoll();
    },
    /** One POST that is no delivery: for a person who tries an endpoint. */
    async tryOut(webhook: Webhook, told: Told): Promise<Posted> {
      const at = clock.now();
      const delivery = { id: told.id, attempts: 0 };
      const { headers, body } = requestOf(webhook, delivery, told, parts.open(webhook, at), at);
      return post(webhook.url, { headers, body, timeoutMs: webhook.retry?.timeoutMs ?? options.timeoutMs });
    },
    async stop(): Promise<void> {
      stopped = true;
      clearTimeout(timer);
      await polling;
      await Promise.all([...lanes.values()].map(({ done }) => done));
    },
  };
}

/** One queue for each session, in the order of the log. */
function bySession(deliveries: readonly WebhookDelivery[]): WebhookDelivery[][] {
  const queues = new Map<string | null, WebhookDelivery[]>();
  for (const delivery of deliveries) {
    const queue = queues.get(delivery.sessionId);
    if (queue) queue.push(delivery);
    else queues.set(delivery.sessionId, [delivery]);
  }
  return [...queues.values()];
}

/** The request of one attempt: a new time and new signatures, the same id and the same body. */
function requestOf(
  webhook: Webhook,
  delivery: Pick<WebhookDelivery, 'id' | 'attempts'>,
  told: Told,
  { secrets, headers }: Opened,
  at: Date,
): { headers: Record<string, string>; body: string } {
  const { event, body } = bodyOf(told, webhook);
  const timestamp = Math.floor(at.getTime() / 1000);
  return {
    body,
    headers: {
      ...headers,
      'content-type': 'application/json',
      'user-agent': 'Chasqui-Webhook/1',
      'webhook-id': told.id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': secrets.map((secret) => sign(secret, told.id, timestamp, body)).join(' '),
      'x-webhook-event': event,
      'x-webhook-id': told.id,
      'x-webhook-delivery': delivery.id,
      'x-webhook-attempt': String(delivery.attempts + 1),
      'x-webhook-signature': plainSignature(secrets[0]!, body),
      ...(told.session ? { 'x-webhook-session': told.session.id, 'x-webhook-instance': told.session.id } : {}),
    },
  };
}
