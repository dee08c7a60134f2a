import { setMaxListeners } from 'node:events';
import { AppError } from '@chasqui/shared';
import type { Presence } from '../../db/presence.js';
import { errorFields } from '../../lib/log.js';
import { leaseMs, type Backlog } from '../deliveries.js';
import { createMemory, type EndpointMemory, type Lane, type LaneParts, type WebhookOptions } from './lane-state.js';
import { createLane, leaseMarginMs, runLane } from './lane.js';
import type { OutgoingEvent } from '../payload.js';
import type { Posted } from './post.js';
import { createRequestSlots } from './request-slots.js';
import { requestOf } from './request.js';
import type { Webhook } from '../webhook.entity.js';

export type { WebhookOptions } from './lane-state.js';

export interface WebhookDispatcher {
  /** Called when there is something to send to this endpoint, or its row has changed. */
  wake(webhookId: string): void;
  start(): void;
  /**
   * Sends one test request, for a person who tests an endpoint. Rejects with `RATE_LIMITED` or `OVERLOADED` when too many
   * tests of this account, or of all accounts, are running.
   */
  tryOut(webhook: Webhook, outgoing: OutgoingEvent): Promise<Posted>;
  /**
   * Ends within a few seconds: running attempts get a short grace period and are then aborted. Their deliveries are pending again and
   * may be sent twice under one id.
   */
  stop(): Promise<void>;
}

const pollMs = 1_000;
const renewIntervalMs = 15_000;
const backlogIntervalMs = 10_000;
const repairIntervalMs = 60_000;
/** A delivery that waits longer than this puts its endpoint behind. */
const behindAfterMs = 60_000;
/** A wall clock that fell behind the monotonic one by more than this was set back. */
const clockStepMs = 500;
/** The most concurrent tests of endpoints: of one account, and of all. */
const maxTests = { account: 4, all: 32 };
/** How long a stop waits for answers. */
const stopGraceMs = 2_000;

/**
 * Sends deliveries: one lane for each endpoint (lane.ts), and a poll each second for deliveries without a wake-up. With several backends one
 * backend at a time owns an endpoint's lane, so that concurrency and order apply across all of them.
 *
 * | the process dies | then |
 * | --- | --- |
 * | before the claim's commit | they are pending, and are found |
 * | after it, before or after the POST | its backend is known to be gone, or the lease runs out: pending again, and perhaps sent twice under one id |
 * | after the result's commit | it is over |
 */
export function createWebhookDispatcher(
  parts: Omit<LaneParts, 'isStopped' | 'signal' | 'wakeLater' | 'monotonic' | 'slots'> & {
    presence: Presence;
    /** Writes the event that an endpoint is behind, or that it has caught up. */
    reportBacklog?: (webhookId: string, isBehind: boolean, backlog: Backlog) => Promise<void>;
    options: WebhookOptions;
  },
): WebhookDispatcher {
  const { deliveries, presence, post, clock, log, options, reportBacklog } = parts;
  const monotonic = (): number => clock.monotonic();
  const lanes = new Map<string, Lane>();
  const running = new Map<string, Promise<void>>();
  const memories = new Map<string, EndpointMemory>();
  const timers = new Map<string, { timer: NodeJS.Timeout; at: number }>();
  const abort = new AbortController();
  // Each attempt of every endpoint adds a listener.
  setMaxListeners(0, abort.signal);
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let polling: Promise<void> = Promise.resolve();
  /** Claims without a lane in the last check. */
  let orphans = new Set<string>();
  let clockOffset = clock.now().getTime() - monotonic();
  /** When each task last ran, on the monotonic clock. */
  const last = { renew: monotonic(), backlog: -Infinity, repair: -Infinity };

  const slots = createRequestSlots(options.maxRequests);
  const laneParts: LaneParts = { ...parts, monotonic, slots, isStopped: () => stopped, signal: abort.signal, wakeLater };
  const tests = createTestLimit();

  function wake(webhookId: string): void {
    if (stopped) return;
    const present = lanes.get(webhookId);
    if (present) {
      present.isWoken = true;
      return present.notify();
    }
    const memory = memories.get(webhookId) ?? createMemory(monotonic);
    memories.set(webhookId, memory);
    const lane = createLane(laneParts, webhookId, memory);
    lanes.set(webhookId, lane);
    const done = runLane(laneParts, lane)
      .catch((error: unknown) =>
        log.error('The lane of a webhook ended with an error; it starts again.', { webhookId, ...errorFields(error) }),
      )
      .then(() => {
        lanes.delete(webhookId);
        running.delete(webhookId);
        if (lane.isOff || (memory.pauses.isEmpty() && memory.circuit.isEmpty())) memories.delete(webhookId);
        if (lane.isWoken) wake(webhookId);
      });
    running.set(webhookId, done);
  }

  function wakeLater(webhookId: string, ms: number): void {
    const at = monotonic() + ms;
    const present = timers.get(webhookId);
    // Longer than a timer can wait: the poll finds it.
    if (stopped || ms > 60_000 || (present && present.at <= at)) return;
    clearTimeout(present?.timer);
    const next = setTimeout(() => {
      timers.delete(webhookId);
      wake(webhookId);
    }, ms).unref();
    timers.set(webhookId, { timer: next, at });
  }

  /** Isolates each step: one that fails must not stop the others. */
  async function poll(): Promise<void> {
    const now = monotonic();
    await step('Claims of backends that are gone could not be released.', async () =>
      deliveries.release(await presence.gone(await deliveries.owners())),
    );
    await step('Orphaned webhook claims could not be released.', releaseOrphans);
    if (lanes.size > 0 && now - last.renew >= renewIntervalMs) {
      await step('Webhook claims could not be renewed.', renew);
      last.renew = now;
    }
    await step('Times of webhook deliveries could not be repaired.', repairTimes);
    if (reportBacklog && now - last.backlog >= backlogIntervalMs) {
      last.backlog = now;
      await step('The backlog of webhooks could not be determined.', reportBacklogs);
    }
    await step('Due webhook deliveries could not be found.', async () => {
      for (const webhookId of await deliveries.due(clock.now())) wake(webhookId);
    });
  }

  async function step(failure: string, work: () => Promise<unknown>): Promise<void> {
    if (stopped) return;
    try {
      await work();
    } catch (error) {
      log.error(`${failure} This is repeated in a second.`, errorFields(error));
    }
  }

  /** Releases claims whose commit got no answer or whose result could not be written: those seen twice without a lane. */
  async function releaseOrphans(): Promise<void> {
    const found = new Set<string>();
    for (const { id, webhookId } of await deliveries.own()) {
      const lane = lanes.get(webhookId);
      if (!lane?.claims.has(id) && !lane?.isClaiming) found.add(id);
    }
    const certain = [...found].filter((id) => orphans.has(id));
    orphans = found;
    if (certain.length > 0) await deliveries.releaseOwn(certain);
  }

  async function renew(): Promise<void> {
    const began = monotonic();
    const own = await deliveries.renew();
    for (const lane of lanes.values())
      // A lane that was not renewed in time stays lost, even if no backend has claimed it yet.
      if ((!own || own.has(lane.webhookId)) && monotonic() < lane.validUntil)
        lane.validUntil = Math.max(lane.validUntil, began + leaseMs - leaseMarginMs);
  }

  /** Repairs times after the wall clock was set back, which would delay every scheduled attempt by that much. */
  async function repairTimes(): Promise<void> {
    const now = clock.now();
    const offset = now.getTime() - monotonic();
    const isSetBack = offset < clockOffset - clockStepMs;
    if (!isSetBack && monotonic() - last.repair < repairIntervalMs) return;
    const repaired = await deliveries.repairTimes(now);
    clockOffset = offset;
    last.repair = monotonic();
    if (repaired > 0) log.warn('The clock was set back; webhook deliveries that it would delay are sent now.', { repaired });
  }

  async function reportBacklogs(): Promise<void> {
    const now = clock.now().getTime();
    for (const { id, behindSince, oldestAt } of await deliveries.oldest()) {
      const isBehind = oldestAt !== null && now - oldestAt.getTime() > behindAfterMs;
      if (isBehind === (behindSince !== null)) continue;
      await step('The backlog of a webhook could not be reported.', async () => {
        const backlog = (await deliveries.backlogOf([id])).get(id)!;
        await reportBacklog!(id, isBehind, backlog);
      });
    }
  }

  function schedulePoll(): void {
    timer = setTimeout(() => {
      polling = poll().finally(() => {
        if (!stopped) schedulePoll();
      });
    }, pollMs);
  }

  return {
    wake,
    start(): void {
      polling = poll();
      schedulePoll();
    },
    async tryOut(webhook, outgoing): Promise<Posted> {
      const leave = tests.enter(webhook.accountId);
      const at = clock.now();
      try {
        const { headers, body } = requestOf(webhook, { id: outgoing.id, attempts: 0 }, outgoing, parts.open(webhook, at), at);
        const timeoutMs = webhook.retry?.timeoutMs ?? options.timeoutMs;
        return await post(webhook.url, { headers, body, timeoutMs, signal: abort.signal });
      } catch (error) {
        log.warn('A test request to a webhook could not be built.', { webhookId: webhook.id, ...errorFields(error) });
        return { statusCode: null, error: 'NOT_BUILT', response: null, retryAfterMs: 0, durationMs: 0 };
      } finally {
        leave();
      }
    },
    async stop(): Promise<void> {
      stopped = true;
      slots.close();
      clearTimeout(timer);
      for (const { timer: later } of timers.values()) clearTimeout(later);
      for (const lane of lanes.values()) lane.notify();
      const grace = setTimeout(() => abort.abort(), stopGraceMs);
      await polling;
      await Promise.all(running.values());
      clearTimeout(grace);
    },
  };
}

/** Limits tests of endpoints: each occupies a connection until its receiver answers. */
function createTestLimit() {
  const running = new Map<string, number>();
  let total = 0;
  return {
    /** Returns the function that ends the test. Throws `RATE_LIMITED` or `OVERLOADED`. */
    enter(accountId: string): () => void {
      const own = running.get(accountId) ?? 0;
      if (own >= maxTests.account)
        throw new AppError(
          'RATE_LIMITED',
          { scope: 'webhook tests', limit: maxTests.account, retryAfterSeconds: 5 },
          `This account has ${maxTests.account} webhook tests running, which is the limit. Wait until one has ended.`,
        );
      if (total >= maxTests.all)
        throw new AppError(
          'OVERLOADED',
          { retryAfterSeconds: 5 },
          'Too many webhook tests at the same time. Try again in a moment.',
        );
      running.set(accountId, own + 1);
      total += 1;
      return () => {
        total -= 1;
        const left = running.get(accountId)! - 1;
        if (left > 0) running.set(accountId, left);
        else running.delete(accountId);
      };
    },
  };
}
