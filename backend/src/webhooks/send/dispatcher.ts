import { setMaxListeners } from 'node:events';
import { AppError } from '@chasqui/shared';
import type { Core } from '../../core.js';
import type { Presence } from '../../db/presence.js';
import { errorFields } from '../../lib/log.js';
import { leaseMs } from '../claims.js';
import type { Deliveries } from '../deliveries.js';
import type { EndpointSecrets } from '../endpoint-secrets.js';
import type { OutgoingEvent } from '../payload.js';
import type { Subscriptions } from '../subscriptions.js';
import type { Webhook } from '../webhook.entity.js';
import type { Webhooks } from '../webhooks.js';
import {
  createMemory,
  type DeliveryTraces,
  type EndpointMemory,
  type Lane,
  type LaneContext,
  type WebhookOptions,
} from './lane-state.js';
import { createLane, leaseMarginMs, runLane } from './lane.js';
import { isSuccess, type Post, type Posted } from './post.js';
import { createRequestSlots } from './request-slots.js';
import { requestOf } from './request.js';

export type { WebhookOptions } from './lane-state.js';

/** The limits of a batch that one lane claims. */
const [minBatch, maxBatch] = [4, 64];
/** All lanes together claim about so many deliveries: each claim is renewed and checked at intervals, in one statement for all. */
const maxClaimed = 4_096;

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
export interface WebhookDispatcher {
  start(): void;
  /**
   * Sends one test request, for a person who tests an endpoint. The endpoint must have its sealed columns. Rejects with `RATE_LIMITED` or
   * `OVERLOADED` when too many tests of this account, or of all accounts, are running.
   */
  tryOut(webhook: Webhook, outgoing: OutgoingEvent): Promise<TestResult>;
  /**
   * Ends within a few seconds: running attempts get a short grace period and are then aborted. Their deliveries are pending again and
   * may be sent twice under one id.
   */
  stop(): Promise<void>;
}

/** The receiver's answer to a test. `ok`: its status is 2xx. */
export interface TestResult extends Pick<Posted, 'statusCode' | 'durationMs' | 'response' | 'error'> {
  ok: boolean;
}

interface DispatcherParts {
  deliveries: Deliveries;
  /** Wakes the lanes of endpoints that have something to send. */
  subscriptions: Pick<Subscriptions, 'onWake'>;
  webhooks: Pick<Webhooks, 'disable' | 'reportBacklog'>;
  secrets: Pick<EndpointSecrets, 'open'>;
  presence: Presence;
  post: Post;
  /** Null or absent: no traces are written. */
  traces?: DeliveryTraces | null;
  options: WebhookOptions;
}

interface Context extends Core, DispatcherParts {
  /** The parts that lanes may use. */
  forLanes: LaneContext;
  /** The lanes that run, by endpoint. */
  lanes: Map<string, Lane>;
  running: Map<string, Promise<void>>;
  /** The state of endpoints that outlives a run of a lane. Only endpoints that fail or wait have an entry between two runs. */
  memories: Map<string, EndpointMemory>;
  /** Planned wake-ups. `at` is a time of the monotonic clock. */
  timers: Map<string, { timer: NodeJS.Timeout; at: number }>;
  /** Aborted when the process cannot wait any longer for answers. */
  abort: AbortController;
  isStopped: boolean;
  pollTimer: NodeJS.Timeout | undefined;
  polling: Promise<void>;
  /** Claims without a lane in the last check. */
  orphans: ReadonlySet<string>;
  /** The difference between the wall clock and the monotonic clock in the last check. */
  clockOffset: number;
  /** When each task last ran, on the monotonic clock. */
  last: { renew: number; backlog: number; repair: number };
  tests: { byAccount: Map<string, number>; total: number };
}

const pollMs = 1_000;
const renewIntervalMs = 15_000;
const backlogIntervalMs = 10_000;
const repairIntervalMs = 60_000;
/** An endpoint with a delivery that waits longer than this is behind. */
const behindAfterMs = 60_000;
/** A wall clock that fell behind the monotonic one by more than this was set back. */
const clockStepMs = 500;
/** The most concurrent tests of endpoints: of one account, and of all. */
const maxTests = { account: 4, all: 32 };
/** How long a stop waits for answers. */
const stopGraceMs = 2_000;
/** The longest planned wake-up. The poll finds what is due later. */
const maxTimerMs = 60_000;

export function createWebhookDispatcher(core: Core, parts: DispatcherParts): WebhookDispatcher {
  const context = createContext(core, parts);
  const unsubscribe = parts.subscriptions.onWake((webhookId) => wake(context, webhookId));
  return {
    start() {
      context.polling = poll(context);
      schedulePoll(context);
    },
    tryOut: (webhook, outgoing) => tryOut(context, webhook, outgoing),
    async stop() {
      unsubscribe();
      await stop(context);
    },
  };
}

function createContext(core: Core, parts: DispatcherParts): Context {
  const { database, clock, log } = core;
  const { deliveries, webhooks, secrets, post, traces = null, options } = parts;
  const abort = new AbortController();
  // Each attempt of every endpoint adds a listener.
  setMaxListeners(0, abort.signal);
  const now = clock.monotonic();
  const context: Context = {
    ...core,
    ...parts,
    forLanes: {
      database,
      clock,
      log,
      deliveries,
      webhooks,
      secrets,
      post,
      traces,
      options,
      slots: createRequestSlots(options.maxRequests),
      isStopped: () => context.isStopped,
      signal: abort.signal,
      wakeLater: (webhookId, ms) => wakeLater(context, webhookId, ms),
      batchSize: () => Math.min(maxBatch, Math.max(minBatch, Math.floor(maxClaimed / context.lanes.size))),
    },
    lanes: new Map(),
    running: new Map(),
    memories: new Map(),
    timers: new Map(),
    abort,
    isStopped: false,
    pollTimer: undefined,
    polling: Promise.resolve(),
    orphans: new Set(),
    clockOffset: clock.now().getTime() - now,
    last: { renew: now, backlog: -Infinity, repair: -Infinity },
    tests: { byAccount: new Map(), total: 0 },
  };
  return context;
}

/** Wakes the lane of an endpoint, or starts it. */
function wake(context: Context, webhookId: string): void {
  const { lanes, running, memories, forLanes, clock, log } = context;
  if (context.isStopped) return;
  const present = lanes.get(webhookId);
  if (present) {
    present.isWoken = true;
    return present.notify();
  }
  const memory = memories.get(webhookId) ?? createMemory(() => clock.monotonic());
  memories.set(webhookId, memory);
  const lane = createLane(forLanes, webhookId, memory);
  lanes.set(webhookId, lane);
  const done = runLane(forLanes, lane)
    .catch((error: unknown) =>
      log.error('The lane of a webhook ended with an error; it starts again.', { webhookId, ...errorFields(error) }),
    )
    .then(() => {
      lanes.delete(webhookId);
      running.delete(webhookId);
      if (lane.isOff || (memory.pauses.isEmpty() && memory.circuit.isEmpty())) memories.delete(webhookId);
      if (lane.isWoken) wake(context, webhookId);
    });
  running.set(webhookId, done);
}

function wakeLater(context: Context, webhookId: string, ms: number): void {
  const { timers, clock } = context;
  const at = clock.monotonic() + ms;
  const present = timers.get(webhookId);
  if (context.isStopped || ms > maxTimerMs || (present && present.at <= at)) return;
  clearTimeout(present?.timer);
  const timer = setTimeout(() => {
    timers.delete(webhookId);
    wake(context, webhookId);
  }, ms).unref();
  timers.set(webhookId, { timer, at });
}

function schedulePoll(context: Context): void {
  context.pollTimer = setTimeout(() => {
    context.polling = poll(context).finally(() => {
      if (!context.isStopped) schedulePoll(context);
    });
  }, pollMs);
}

/** Isolates each step: one that fails must not stop the others. */
async function poll(context: Context): Promise<void> {
  const { deliveries, presence, lanes, last, clock } = context;
  const now = clock.monotonic();
  await step(context, 'Claims of backends that are gone could not be released.', async () =>
    deliveries.release(await presence.gone(await deliveries.owners())),
  );
  await step(context, 'Orphaned webhook claims could not be released.', () => releaseOrphans(context));
  if (lanes.size > 0 && now - last.renew >= renewIntervalMs) {
    await step(context, 'Webhook claims could not be renewed.', () => renew(context));
    last.renew = now;
  }
  await step(context, 'Times of webhook deliveries could not be repaired.', () => repairTimes(context));
  if (now - last.backlog >= backlogIntervalMs) {
    last.backlog = now;
    await step(context, 'The backlog of webhooks could not be determined.', () => reportBacklogs(context));
  }
  await step(context, 'Due webhook deliveries could not be found.', async () => {
    for (const webhookId of await deliveries.due(clock.now())) wake(context, webhookId);
  });
}

async function step(context: Context, failure: string, work: () => Promise<unknown>): Promise<void> {
  if (context.isStopped) return;
  try {
    await work();
  } catch (error) {
    context.log.error(`${failure} This is repeated in a second.`, errorFields(error));
  }
}

/** Releases claims whose commit got no answer or whose result could not be written: those seen twice without a lane. */
async function releaseOrphans(context: Context): Promise<void> {
  const { deliveries, lanes, orphans } = context;
  const found = new Set<string>();
  for (const { id, webhookId } of await deliveries.own()) {
    const lane = lanes.get(webhookId);
    if (!lane?.claims.has(id) && !lane?.isClaiming) found.add(id);
  }
  context.orphans = found;
  const certain = [...found].filter((id) => orphans.has(id));
  if (certain.length > 0) await deliveries.releaseOwn(certain);
}

async function renew({ deliveries, lanes, clock }: Context): Promise<void> {
  const began = clock.monotonic();
  const own = await deliveries.renew();
  for (const lane of lanes.values())
    // A lane that was not renewed in time stays lost, even if no backend has claimed it yet.
    if ((!own || own.has(lane.webhookId)) && clock.monotonic() < lane.validUntil)
      lane.validUntil = Math.max(lane.validUntil, began + leaseMs - leaseMarginMs);
}

/** Repairs times after the wall clock was set back, which would delay every scheduled attempt by that much. */
async function repairTimes(context: Context): Promise<void> {
  const { deliveries, clock, last, log } = context;
  const now = clock.now();
  const offset = now.getTime() - clock.monotonic();
  const isSetBack = offset < context.clockOffset - clockStepMs;
  if (!isSetBack && clock.monotonic() - last.repair < repairIntervalMs) return;
  const repaired = await deliveries.repairTimes(now);
  context.clockOffset = offset;
  last.repair = clock.monotonic();
  if (repaired > 0) log.warn('The clock was set back; webhook deliveries that it would delay are sent now.', { repaired });
}

async function reportBacklogs(context: Context): Promise<void> {
  const { deliveries, webhooks, clock } = context;
  const now = clock.now().getTime();
  for (const { id, behindSince, oldestAt } of await deliveries.oldest()) {
    const isBehind = oldestAt !== null && now - oldestAt.getTime() > behindAfterMs;
    if (isBehind === (behindSince !== null)) continue;
    await step(context, 'The backlog of a webhook could not be reported.', async () => {
      const backlog = (await deliveries.backlogOf([id])).get(id)!;
      await webhooks.reportBacklog(id, isBehind, backlog);
    });
  }
}

async function tryOut(context: Context, webhook: Webhook, outgoing: OutgoingEvent): Promise<TestResult> {
  const { secrets, post, abort, options, clock, log } = context;
  const leave = enterTest(context, webhook.accountId);
  const at = clock.now();
  try {
    const { headers, body } = requestOf(webhook, { id: outgoing.id, attempts: 0 }, outgoing, secrets.open(webhook, at), at);
    const timeoutMs = webhook.retry?.timeoutMs ?? options.timeoutMs;
    const posted = await post(webhook.url, { headers, body, timeoutMs, signal: abort.signal });
    const { statusCode, durationMs, response, error } = posted;
    return { ok: isSuccess(posted), statusCode, durationMs, response, error };
  } catch (error) {
    log.warn('A test request to a webhook could not be built.', { webhookId: webhook.id, ...errorFields(error) });
    return { ok: false, statusCode: null, durationMs: 0, response: null, error: 'NOT_BUILT' };
  } finally {
    leave();
  }
}

/** Counts a test: each occupies a connection until its receiver answers. Returns the function that ends it. Throws `RATE_LIMITED` or `OVERLOADED`. */
function enterTest({ tests }: Context, accountId: string): () => void {
  const own = tests.byAccount.get(accountId) ?? 0;
  if (own >= maxTests.account)
    throw new AppError(
      'RATE_LIMITED',
      { scope: 'webhook tests', limit: maxTests.account, retryAfterSeconds: 5 },
      `This account has ${maxTests.account} webhook tests running, which is the limit. Wait until one has ended.`,
    );
  if (tests.total >= maxTests.all)
    throw new AppError('OVERLOADED', { retryAfterSeconds: 5 }, 'Too many webhook tests at the same time. Try again in a moment.');
  tests.byAccount.set(accountId, own + 1);
  tests.total += 1;
  return () => {
    tests.total -= 1;
    const left = tests.byAccount.get(accountId)! - 1;
    if (left > 0) tests.byAccount.set(accountId, left);
    else tests.byAccount.delete(accountId);
  };
}

async function stop(context: Context): Promise<void> {
  const { forLanes, timers, lanes, running, abort } = context;
  context.isStopped = true;
  forLanes.slots.close();
  clearTimeout(context.pollTimer);
  for (const { timer } of timers.values()) clearTimeout(timer);
  for (const lane of lanes.values()) lane.notify();
  const grace = setTimeout(() => abort.abort(), stopGraceMs);
  await context.polling;
  await Promise.all(running.values());
  clearTimeout(grace);
}
