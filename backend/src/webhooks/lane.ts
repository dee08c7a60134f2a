import { AppError, newId } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Database } from '../db/database.js';
import { readRows, updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { createCircuit, openingMs, type Circuit } from './circuit.js';
import { leaseMs, type Deliveries } from './deliveries.js';
import { createHolds, type Holds } from './holds.js';
import type { Told } from './payload.js';
import type { Post, Posted } from './post.js';
import { requestOf, shownHeaders, type Opened } from './request.js';
import { nextAttempt, scheduleOf, type Schedule } from './schedule.js';
import { createSettling, type EndpointChange, type Settling } from './settling.js';
import { Webhook, type WebhookAttempt, type WebhookDelivery } from './webhook.entity.js';

/**
 * The lane of one endpoint: everything that this process sends to it. Deliveries are claimed in batches; sessions go side by side, up to
 * the endpoint's concurrency, and each session's events one after another, in the order of the log. A delivery that fails is tried
 * again within the lane when its next attempt is near, and its session waits meanwhile without taking a place of another one.
 *
 * Nothing that happens to one delivery reaches another: what throws while it is read, built, posted or recorded is its own failed attempt.
 */

export interface WebhookOptions {
  timeoutMs: number;
  concurrency: number;
  schedule: Schedule;
  /** After so long with nothing but failures an endpoint is switched off. */
  disableAfterMs: number;
}

/** What lanes need of the process. */
export interface LaneParts {
  database: Database;
  deliveries: Deliveries;
  post: Post;
  /** Decrypts what is sealed on an endpoint's row. */
  open: (webhook: Webhook, now: Date) => Opened;
  /** Switches an endpoint off in this transaction, with its event. */
  disable: (tx: Transaction, webhook: Webhook, reason: 'GONE' | 'FAILING') => Promise<void>;
  clock: Clock;
  /** Milliseconds that no change of the clock moves. */
  monotonic: () => number;
  log: Log;
  options: WebhookOptions;
  isStopped: () => boolean;
  /** Aborted when the process cannot wait any longer for answers. */
  signal: AbortSignal;
  wakeLater: (webhookId: string, ms: number) => void;
}

/** What is remembered of an endpoint between two runs of its lane. */
export interface EndpointMemory {
  holds: Holds;
  circuit: Circuit;
  /** Probes since the circuit opened. */
  probes: number;
  /** `updatedAt` of the row that this belongs to: a change by a person ends all waiting. */
  updatedAt: number | null;
}

export const createMemory = (monotonic: () => number): EndpointMemory => ({
  holds: createHolds(monotonic),
  circuit: createCircuit(monotonic),
  probes: 0,
  updatedAt: null,
});

interface Item {
  delivery: WebhookDelivery;
  /** The event; null: retention removed it; an error: it cannot be read. */
  told: Told | null | Error;
}

export interface Lane {
  readonly webhookId: string;
  readonly memory: EndpointMemory;
  readonly settling: Settling;
  /** Claimed deliveries that are not under way, by session, the oldest first. '' stands for events of the account. */
  readonly queues: Map<string, Item[]>;
  /** Sessions whose first delivery is tried again at this time of the monotonic clock. */
  readonly retryAt: Map<string, number>;
  readonly running: Map<string, Promise<void>>;
  /** Ids of all claims that this lane still answers for. */
  readonly claims: Set<string>;
  webhook: Webhook | null;
  opened: Opened | Error;
  /** The endpoint is switched off or deleted. */
  isOff: boolean;
  isProbe: boolean;
  /** The circuit has closed: what follows is claimed when all that waits has been made due. */
  hasClosed: boolean;
  isClaiming: boolean;
  isWoken: boolean;
  mayHaveMore: boolean;
  /** No attempt begins after this time of the monotonic clock: the claims may be another backend's. */
  validUntil: number;
  /** When a search found nothing because sessions wait, and for which. */
  fruitless: { at: number; without: string } | null;
  /** Ends the present waiting of the lane. */
  notify: () => void;
}

const batchSize = 64;
/** A retry that is at most so far away is made within the lane. */
const maxInLaneWaitMs = 2_000;
/** The longest time for which a receiver may ask to be left alone. */
const maxRestMs = 12 * 3_600_000;
/** The next attempt of a delivery that could not be built. */
const rebuildMs = 60_000;
/** An attempt ends this long before its claim does: the longest timeout, and time to write the result. */
export const leaseMarginMs = 35_000;
/** The queue is searched past waiting sessions at most so often. */
const searchEveryMs = 500;
const excerptLength = 2_048;

export function createLane(parts: LaneParts, webhookId: string, memory: EndpointMemory): Lane {
  const lane: Lane = {
    webhookId,
    memory,
    settling: createSettling({
      webhookId,
      deliveries: parts.deliveries,
      log: parts.log,
      also: (tx, change) => writeEndpoint(parts, lane, tx, change),
      onSettled(outcomes) {
        for (const { delivery, to } of outcomes) if (to !== 'sending') lane.claims.delete(delivery.id);
        lane.notify();
      },
      isStopped: parts.isStopped,
    }),
    queues: new Map(),
    retryAt: new Map(),
    running: new Map(),
    claims: new Set(),
    webhook: null,
    opened: new Error('The endpoint is not loaded.'),
    isOff: false,
    isProbe: false,
    hasClosed: false,
    isClaiming: false,
    isWoken: true,
    mayHaveMore: false,
    validUntil: 0,
    fruitless: null,
    notify: () => undefined,
  };
  return lane;
}

/** Sends everything that is due, and returns when nothing is, or nothing may go. Rejects only for a fault of its own. */
export async function runLane(parts: LaneParts, lane: Lane): Promise<void> {
  let isClosed = false;
  try {
    while (!parts.isStopped() && !isClosed) {
      if (wantsMore(parts, lane)) isClosed = !(await refill(parts, lane));
      // The circuit opened, or the probe failed.
      if (lane.webhook && (!lane.webhook.isActive || (lane.webhook.openUntil !== null && !lane.isProbe))) isClosed = true;
      if (isClosed || parts.isStopped()) break;
      startAttempts(parts, lane);
      if (lane.running.size === 0 && lane.queues.size === 0 && !lane.isWoken && !lane.mayHaveMore) break;
      await nextChange(parts, lane);
    }
  } finally {
    for (const queue of lane.queues.values()) for (const { delivery } of queue) putBack(parts, lane, delivery);
    lane.queues.clear();
    await Promise.all(lane.running.values());
    await lane.settling.end();
    if (lane.isOff) await parts.deliveries.park(lane.webhookId);
    failPoint('webhook.settled');
  }
  // Closes: another backend wrote a delivery and found the lane taken, just before it was free.
  if (!isClosed && !parts.isStopped() && parts.deliveries.isShared)
    lane.isWoken ||= await parts.deliveries.hasClaimable({
      webhookId: lane.webhookId,
      now: parts.clock.now(),
      without: waitingSessions(parts, lane),
    });
}

const waitingSessions = (parts: LaneParts, lane: Lane): string[] => lane.memory.holds.sessions(parts.clock.now().getTime());

const isRunnable = (parts: LaneParts, lane: Lane, session: string): boolean =>
  !lane.running.has(session) && (lane.retryAt.get(session) ?? 0) <= parts.monotonic();

function wantsMore(parts: LaneParts, lane: Lane): boolean {
  if (!lane.isWoken && !lane.mayHaveMore) return false;
  if (lane.isProbe || lane.settling.isBlocked() || lane.running.size >= parts.options.concurrency) return false;
  for (const session of lane.queues.keys()) if (isRunnable(parts, lane, session)) return false;
  const { fruitless } = lane;
  return (
    !fruitless || parts.monotonic() - fruitless.at >= searchEveryMs || fruitless.without !== waitingSessions(parts, lane).join()
  );
}

/** Loads the endpoint and claims more. Returns false when nothing may be sent now. */
async function refill(parts: LaneParts, lane: Lane): Promise<boolean> {
  const { deliveries, clock, monotonic, log } = parts;
  [lane.isWoken, lane.mayHaveMore] = [false, false];
  try {
    if (lane.hasClosed) await lane.settling.end();
    lane.hasClosed = false;
    const webhook = await load(parts, lane);
    if (!webhook) {
      lane.isOff = true;
      return false;
    }
    const now = clock.now();
    const waitMs = lane.memory.circuit.waitMs(webhook, now.getTime());
    if (waitMs > 0) {
      parts.wakeLater(lane.webhookId, waitMs);
      return false;
    }
    const isProbe = webhook.openUntil !== null;
    if (isProbe && lane.running.size > 0) return false;
    const without = waitingSessions(parts, lane);
    const began = monotonic();
    lane.isClaiming = true;
    const request = { webhookId: lane.webhookId, now, limit: batchSize, without };
    const claimed = await (isProbe ? deliveries.claimProbe(lane.webhookId, lane.memory.probes) : deliveries.claim(request));
    for (const { id } of claimed ?? []) lane.claims.add(id);
    lane.isClaiming = false;
    // Another backend sends to this endpoint.
    if (claimed === null) return false;
    lane.validUntil = began + leaseMs - leaseMarginMs;
    lane.mayHaveMore = !isProbe && claimed.length === batchSize;
    lane.fruitless = claimed.length === 0 && without.length > 0 ? { at: began, without: without.join() } : null;
    if (claimed.length === 0) return !isProbe;
    if (isProbe) lane.memory.probes += 1;
    lane.isProbe = isProbe;
    failPoint('webhook.claimed');
    await enqueue(parts, lane, claimed);
    return true;
  } catch (error) {
    log.error('Webhook deliveries could not be claimed; this is repeated.', { webhookId: lane.webhookId, ...errorFields(error) });
    return lane.running.size > 0 || lane.queues.size > 0;
  } finally {
    lane.isClaiming = false;
  }
}

/** Reads the endpoint's row, with what is newer in memory. Null: it is switched off or deleted. */
async function load(parts: LaneParts, lane: Lane): Promise<Webhook | null> {
  const [row] = await readRows(parts.database.reader, Webhook, 'id = ?', [lane.webhookId], ['secret', 'oldSecret', 'headers']);
  if (!row?.isActive || row.deletedAt !== null) return null;
  const { memory } = lane;
  if (memory.updatedAt !== null && memory.updatedAt !== row.updatedAt.getTime()) {
    memory.holds.clear();
    memory.circuit.reset();
    for (const session of lane.retryAt.keys()) lane.retryAt.set(session, 0);
  }
  memory.updatedAt = row.updatedAt.getTime();
  lane.webhook = Object.assign(row, lane.settling.unsaved());
  try {
    lane.opened = parts.open(row, parts.clock.now());
  } catch (error) {
    lane.opened = error instanceof Error ? error : new Error(String(error));
  }
  return lane.webhook;
}

async function enqueue(parts: LaneParts, lane: Lane, claimed: readonly WebhookDelivery[]): Promise<void> {
  let events: Map<number, Told | Error>;
  try {
    events = await eventsOf(parts, claimed);
  } catch (error) {
    // Nothing works on these claims any more; they are released as such.
    for (const { id } of claimed) lane.claims.delete(id);
    throw error;
  }
  for (const delivery of claimed) insert(lane, { delivery, told: events.get(delivery.eventCursor) ?? null });
}

/** The events of deliveries, by cursor. One that cannot be read is an error of its own. Throws when the database does not answer. */
async function eventsOf(parts: LaneParts, claimed: readonly WebhookDelivery[]): Promise<Map<number, Told | Error>> {
  try {
    return await parts.deliveries.told(claimed);
  } catch (error) {
    parts.log.warn('Events of webhook deliveries could not be read together; each is read by itself.', errorFields(error));
  }
  const found = new Map<number, Told | Error>();
  for (const delivery of claimed)
    try {
      const told = (await parts.deliveries.told([delivery])).get(delivery.eventCursor);
      if (told) found.set(delivery.eventCursor, told);
    } catch (error) {
      found.set(delivery.eventCursor, error instanceof Error ? error : new Error(String(error)));
    }
  const isAnyRead = [...found.values()].some((told) => !(told instanceof Error)) || found.size < claimed.length;
  // Not the events, but the database.
  if (!isAnyRead) await readRows(parts.database.reader, Webhook, 'id = ?', [claimed[0]!.webhookId]);
  return found;
}

function insert(lane: Lane, item: Item): void {
  const key = item.delivery.sessionId ?? '';
  const queue = lane.queues.get(key) ?? [];
  const after = queue.findIndex(({ delivery }) => delivery.eventCursor > item.delivery.eventCursor);
  queue.splice(after === -1 ? queue.length : after, 0, item);
  lane.queues.set(key, queue);
}

function startAttempts(parts: LaneParts, lane: Lane): void {
  if (!lane.webhook?.isActive || (lane.webhook.openUntil !== null && !lane.isProbe)) return;
  if (parts.isStopped() || lane.settling.isBlocked()) return;
  if (parts.monotonic() >= lane.validUntil) return abandon(parts, lane);
  for (const [session, queue] of [...lane.queues]) {
    if (lane.running.size >= parts.options.concurrency) return;
    if (!isRunnable(parts, lane, session)) continue;
    lane.queues.delete(session);
    const item = queue.shift()!;
    if (!lane.isProbe && lane.memory.holds.isHeld(item.delivery, parts.clock.now().getTime())) {
      for (const { delivery } of [item, ...queue]) putBack(parts, lane, delivery);
      continue;
    }
    // Behind all others: those that come first must not always be the first.
    if (queue.length > 0) lane.queues.set(session, queue);
    lane.running.set(session, runSession(parts, lane, session, item));
  }
}

/** Makes one attempt for a session, and starts what can go in its place. Never rejects. */
async function runSession(parts: LaneParts, lane: Lane, session: string, item: Item): Promise<void> {
  await attempt(parts, lane, item);
  lane.running.delete(session);
  startAttempts(parts, lane);
  lane.notify();
}

/** Forgets claims that may be another backend's by now: this process stood still, or could not renew them. */
function abandon(parts: LaneParts, lane: Lane): void {
  if (lane.queues.size > 0)
    parts.log.warn('Webhook claims were not renewed in time; they are left to whichever backend takes them.', {
      webhookId: lane.webhookId,
    });
  for (const queue of lane.queues.values()) for (const { delivery } of queue) lane.claims.delete(delivery.id);
  lane.queues.clear();
  lane.mayHaveMore = true;
}

/** Makes one attempt and records its result. Never rejects. */
async function attempt(parts: LaneParts, lane: Lane, item: Item): Promise<void> {
  const { delivery, told } = item;
  const webhook = lane.webhook!;
  const at = parts.clock.now();
  try {
    // Retention removed the event: there is nothing to send any more.
    if (told === null) return note(lane, delivery, null, 'failed', null, 0);
    let request: { headers: Record<string, string>; body: string };
    let secret: string[];
    try {
      if (told instanceof Error) throw told;
      if (lane.opened instanceof Error) throw lane.opened;
      secret = Object.keys(lane.opened.headers);
      request = requestOf(webhook, delivery, told, lane.opened, at);
    } catch (error) {
      return notBuilt(parts, lane, item, at, error);
    }
    const timeoutMs = webhook.retry?.timeoutMs ?? parts.options.timeoutMs;
    const result = await postSafely(parts, webhook.url, { ...request, timeoutMs, signal: parts.signal });
    failPoint('webhook.answered');
    if (result.error === 'ABORTED') return putBack(parts, lane, delivery);
    conclude(
      parts,
      lane,
      item,
      result,
      attemptOf(delivery, at, parts.clock.now(), result, shownHeaders(request.headers, secret), request.body),
    );
  } catch (error) {
    parts.log.error('A webhook delivery failed for a fault of ours; it is tried again.', {
      webhookId: lane.webhookId,
      deliveryId: delivery.id,
      ...errorFields(error),
    });
    putBack(parts, lane, delivery, rebuildMs);
  }
}

async function postSafely(parts: LaneParts, url: string, request: Parameters<Post>[1]): Promise<Posted> {
  const began = parts.monotonic();
  try {
    return await parts.post(url, request);
  } catch (error) {
    parts.log.error('A webhook request failed for a fault of ours.', errorFields(error));
    const durationMs = Math.round(parts.monotonic() - began);
    return { statusCode: null, error: 'NOT_SENT', response: null, retryAfterMs: 0, durationMs };
  }
}

const attemptOf = (
  delivery: WebhookDelivery,
  at: Date,
  now: Date,
  { durationMs, statusCode, error, response }: Pick<Posted, 'durationMs' | 'statusCode' | 'error' | 'response'>,
  requestHeaders: Record<string, string>,
  body: string | null,
): WebhookAttempt => ({
  id: newId(now.getTime()),
  deliveryId: delivery.id,
  webhookId: delivery.webhookId,
  at,
  durationMs,
  statusCode,
  error,
  requestHeaders,
  requestBody: body?.slice(0, excerptLength) ?? null,
  response,
});

/** Whether it is delivered, and what follows for the delivery, its session and its endpoint. */
function conclude(parts: LaneParts, lane: Lane, item: Item, result: Posted, made: WebhookAttempt): void {
  const { delivery } = item;
  const now = parts.clock.now();
  if (result.statusCode !== null && result.statusCode >= 200 && result.statusCode < 300) {
    lane.memory.holds.release(delivery);
    lane.retryAt.delete(delivery.sessionId ?? '');
    noteSuccess(lane, now);
    return note(lane, delivery, made, 'delivered', null, 0);
  }
  noteFailure(parts, lane, result, now);
  if (result.statusCode === 410) return note(lane, delivery, made, 'failed', null, 0);
  const again = nextAttempt(scheduleOf(parts.options.schedule, lane.webhook!.retry), {
    attempts: delivery.attempts + 1,
    since: delivery.createdAt.getTime(),
    now: now.getTime(),
    retryAfterMs: result.retryAfterMs,
    random: Math.random,
  });
  const waitMs = again === null ? null : again - now.getTime();
  const isHeld = lane.memory.holds.failed(delivery, waitMs, now.getTime());
  const session = delivery.sessionId ?? '';
  if (waitMs === null) return note(lane, delivery, made, 'failed', null, 0);
  if (isHeld && waitMs <= maxInLaneWaitMs && lane.webhook!.openUntil === null && !parts.isStopped()) {
    note(lane, delivery, made, 'sending', now, 0);
    lane.retryAt.set(session, parts.monotonic() + waitMs);
    return insert(lane, {
      ...item,
      delivery: { ...delivery, attempts: delivery.attempts + 1, statusCode: made.statusCode, error: made.error },
    });
  }
  note(lane, delivery, made, 'pending', new Date(again!), Math.round(waitMs));
  lane.retryAt.delete(session);
  if (!isHeld) return;
  for (const { delivery: later } of lane.queues.get(session) ?? []) putBack(parts, lane, later);
  lane.queues.delete(session);
}

function noteSuccess(lane: Lane, now: Date): void {
  const webhook = lane.webhook!;
  const hasClosed = webhook.openUntil !== null;
  lane.memory.circuit.succeeded();
  const healthy = { failures: 0, failingSince: null, openUntil: null, openMs: null };
  const fields = { lastDeliveredAt: now, ...(webhook.failures > 0 || hasClosed ? healthy : {}) };
  Object.assign(webhook, fields);
  lane.settling.change(fields, hasClosed ? { hasClosed } : {});
  if (!hasClosed) return;
  lane.memory.circuit.reset();
  lane.memory.holds.clear();
  lane.memory.probes = 0;
  [lane.isProbe, lane.isWoken, lane.hasClosed] = [false, true, true];
}

function noteFailure(parts: LaneParts, lane: Lane, result: Posted, now: Date): void {
  const webhook = lane.webhook!;
  const fields: Partial<Webhook> = { failures: webhook.failures + 1, failingSince: webhook.failingSince ?? now };
  const isOpening = webhook.openUntil === null ? lane.memory.circuit.failed() : lane.isProbe;
  if (isOpening) {
    const openMs = openingMs(webhook.openMs, result.retryAfterMs, maxRestMs);
    Object.assign(fields, { openUntil: new Date(now.getTime() + openMs), openMs });
    parts.wakeLater(lane.webhookId, openMs);
  }
  lane.isProbe = false;
  Object.assign(webhook, fields);
  lane.settling.change(fields, result.statusCode === 410 ? { isGone: true } : {});
  if (result.statusCode === 410) [webhook.isActive, lane.isOff] = [false, true];
}

/** A delivery that cannot be built is a failed attempt of its own: the endpoint is not at fault, and the others go on. */
function notBuilt(parts: LaneParts, lane: Lane, { delivery }: Item, at: Date, error: unknown): void {
  const reason = error instanceof AppError ? error.code : 'NOT_BUILT';
  parts.log.warn('A webhook delivery could not be built; it is tried again.', {
    webhookId: lane.webhookId,
    deliveryId: delivery.id,
    reason,
    errorName: error instanceof Error ? error.name : typeof error,
  });
  const now = parts.clock.now();
  const result = { durationMs: 0, statusCode: null, error: reason, response: null };
  const again = nextAttempt(scheduleOf(parts.options.schedule, lane.webhook!.retry), {
    attempts: delivery.attempts + 1,
    since: delivery.createdAt.getTime(),
    now: now.getTime(),
    retryAfterMs: rebuildMs,
    random: Math.random,
  });
  lane.memory.holds.release(delivery);
  lane.retryAt.delete(delivery.sessionId ?? '');
  if (lane.isProbe) {
    // It said nothing about the endpoint: the next delivery is the probe.
    [lane.isProbe, lane.isWoken] = [false, true];
  }
  const made = attemptOf(delivery, at, now, result, {}, null);
  if (again === null) note(lane, delivery, made, 'failed', null, 0);
  else note(lane, delivery, made, 'pending', new Date(again), again - now.getTime());
}

/** Leaves a claimed delivery as it was; with `waitMs`, for a later attempt. */
function putBack(parts: LaneParts, lane: Lane, delivery: WebhookDelivery, waitMs = 0): void {
  const now = parts.clock.now();
  const at = waitMs > 0 ? new Date(now.getTime() + waitMs) : (delivery.nextAttemptAt ?? now);
  note(lane, delivery, null, 'pending', at, waitMs > 0 ? waitMs : (delivery.waitMs ?? 0));
}

function note(
  lane: Lane,
  delivery: WebhookDelivery,
  made: WebhookAttempt | null,
  to: 'pending' | 'sending' | 'delivered' | 'failed',
  nextAttemptAt: Date | null,
  waitMs: number,
): void {
  lane.settling.note({ delivery, attemptsBefore: delivery.attempts, attempt: made, to, nextAttemptAt, waitMs });
}

/** What the results mean for the endpoint's row, in their commit. */
async function writeEndpoint(parts: LaneParts, lane: Lane, tx: Transaction, change: EndpointChange): Promise<void> {
  const { deliveries, clock, options } = parts;
  if (change.hasClosed) await deliveries.hasten(tx, lane.webhookId, clock.now());
  if (Object.keys(change.fields).length > 0) await updateRows(tx, Webhook, { id: lane.webhookId }, change.fields);
  const failingSince = change.fields.failingSince?.getTime() ?? Infinity;
  const isFailing = clock.now().getTime() - failingSince >= options.disableAfterMs;
  if (change.isGone || isFailing) await parts.disable(tx, lane.webhook!, change.isGone ? 'GONE' : 'FAILING');
  if (lane.queues.size === 0 && lane.running.size === 0 && !lane.isClaiming) await deliveries.leaveLane(tx, lane.webhookId);
}

/** Waits until an attempt ends, the lane is woken, or the next retry within it is due. */
async function nextChange(parts: LaneParts, lane: Lane): Promise<void> {
  if (wantsMore(parts, lane)) return;
  const now = parts.monotonic();
  const times = [...lane.retryAt].flatMap(([session, at]) => (lane.queues.has(session) && at > now ? [at - now] : []));
  // Searching the queue again, or a database that refuses, is looked at from time to time.
  if (lane.isWoken || lane.mayHaveMore || lane.settling.isBlocked()) times.push(searchEveryMs);
  // Lost leases are noticed in any case.
  const waitMs = Math.min(...times, leaseMs);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, Math.ceil(waitMs));
    lane.notify = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  lane.notify = () => undefined;
}
