import { failPoint } from '@chasqui/shared/fail-point';
import { readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { errorFields } from '../../lib/log.js';
import { attempt } from './attempt.js';
import { leaseMs } from '../claims.js';
import { insert, putBack, type EndpointMemory, type Item, type Lane, type LaneContext } from './lane-state.js';
import type { OutgoingEvent } from '../payload.js';
import { unknownWeight } from './request-slots.js';
import { createSettling, type EndpointChange } from './settling.js';
import { Webhook, type WebhookDelivery } from '../webhook.entity.js';

/**
 * The lane of one endpoint: everything that this process sends to it. Deliveries are claimed in batches; sessions go side by side, up to
 * the endpoint's concurrency, and each session's events one after another, in the order of the log. A delivery that fails is retried
 * within the lane when its next attempt is near, and its session waits meanwhile without occupying a slot.
 *
 * Deliveries are isolated from each other: an error while one is read, built, posted or recorded is its own failed attempt.
 */

/** Longer events are read when their attempt begins, so that many claims need little memory. */
const maxEventLength = 8_192;
/** An attempt ends this long before its claim does: the longest timeout, and time to write the result. */
export const leaseMarginMs = 35_000;
/** The interval at which a wait for the database is checked. */
const pollIntervalMs = 500;
/** After a search past waiting sessions the next one waits this many times as long as it took. */
const searchRestFactor = 4;
/** The most batches that one lane has claimed. Sessions that wait for their receiver hold claims, and others need room beside them. */
const maxBatches = 16;
/** The endpoint's row is read again after this time: a change or deletion applies to the next attempt. */
const reloadMs = 1_000;

export function createLane(context: LaneContext, webhookId: string, memory: EndpointMemory): Lane {
  const lane: Lane = {
    webhookId,
    memory,
    settling: createSettling({
      webhookId,
      deliveries: context.deliveries,
      log: context.log,
      also: (tx, change) => writeEndpoint(context, lane, tx, change),
      onSettled(outcomes) {
        for (const { delivery, to } of outcomes) if (to !== 'sending') lane.claims.delete(delivery.id);
        lane.notify();
      },
      isStopped: context.isStopped,
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
    loadedAt: -Infinity,
    leftOut: new Set(),
    notify: () => undefined,
  };
  return lane;
}

/** Sends everything that is due, and returns when nothing is due or may be sent. Rejects only for an internal error. */
export async function runLane(context: LaneContext, lane: Lane): Promise<void> {
  let isClosed = false;
  try {
    while (!context.isStopped() && !isClosed) {
      if (hasCapacity(context, lane)) isClosed = !(await refill(context, lane));
      else if (canStart(context, lane) && isStale(context, lane)) isClosed = !(await reload(context, lane));
      // The circuit opened, or the probe failed.
      if (lane.webhook && !isSendable(lane)) isClosed = true;
      if (isClosed || context.isStopped()) break;
      startAttempts(context, lane);
      if (lane.running.size === 0 && lane.queues.size === 0 && !lane.isWoken && !lane.mayHaveMore) break;
      await nextChange(context, lane);
    }
  } finally {
    for (const queue of lane.queues.values()) for (const { delivery } of queue) putBack(context, lane, delivery);
    lane.queues.clear();
    await Promise.all(lane.running.values());
    await lane.settling.end();
    if (lane.isOff) await context.deliveries.park(lane.webhookId);
    failPoint('webhook.settled');
  }
  // Closes: another backend wrote a delivery and found the lane owned, just before it was released.
  if (!isClosed && !context.isStopped() && context.deliveries.isShared)
    lane.isWoken ||= await context.deliveries.hasClaimable({
      webhookId: lane.webhookId,
      now: context.clock.now(),
      without: waitingSessions(context, lane),
    });
}

const waitingSessions = (context: LaneContext, lane: Lane): string[] =>
  lane.memory.pauses.sessions(context.clock.now().getTime());

/** Whether the endpoint is on and its circuit lets this lane send. */
const isSendable = ({ webhook, isProbe }: Lane): boolean =>
  webhook !== null && webhook.isActive && (webhook.openUntil === null || isProbe);

const isRunnable = (context: LaneContext, lane: Lane, session: string): boolean =>
  !lane.running.has(session) && (lane.retryAt.get(session) ?? 0) <= context.clock.monotonic();

const canStart = (context: LaneContext, lane: Lane): boolean =>
  lane.running.size < context.options.concurrency &&
  [...lane.queues.keys()].some((session) => isRunnable(context, lane, session));

function hasCapacity(context: LaneContext, lane: Lane): boolean {
  if (!lane.isWoken && !lane.mayHaveMore) return false;
  if (lane.isProbe || lane.settling.isBlocked() || lane.running.size >= context.options.concurrency) return false;
  if (canStart(context, lane)) return false;
  if (lane.claims.size >= maxBatches * context.batchSize()) return false;
  const { search } = lane.memory;
  return !search || context.clock.monotonic() >= search.notBefore || search.without !== waitingSessions(context, lane).join();
}

/** Loads the endpoint and claims more. Returns false when nothing may be sent now. */
async function refill(context: LaneContext, lane: Lane): Promise<boolean> {
  const { deliveries, clock, log } = context;
  [lane.isWoken, lane.mayHaveMore] = [false, false];
  try {
    if (lane.hasClosed) await lane.settling.end();
    lane.hasClosed = false;
    const webhook = await load(context, lane);
    if (!webhook) {
      lane.isOff = true;
      return false;
    }
    const now = clock.now();
    const waitMs = lane.memory.circuit.waitMs(webhook, now.getTime());
    if (waitMs > 0) {
      context.wakeLater(lane.webhookId, waitMs);
      return false;
    }
    const isProbe = webhook.openUntil !== null;
    if (isProbe && lane.running.size > 0) return false;
    const held = waitingSessions(context, lane);
    const limit = context.batchSize();
    // Closes: a session with a long queue fills the memory with claims while it waits for its receiver, and the others wait behind it.
    const full = [...lane.queues].flatMap(([session, queue]) => (queue.length >= limit ? [session] : []));
    const began = clock.monotonic();
    // Until the claims are in the queues. Closes: the last attempt settles meanwhile and leaves the lane to another backend.
    lane.isClaiming = true;
    const request = { webhookId: lane.webhookId, now, limit, without: [...new Set([...held, ...full])] };
    const claimed = await (isProbe ? deliveries.claimProbe(lane.webhookId, lane.memory.probes) : deliveries.claim(request));
    for (const { id } of claimed ?? []) lane.claims.add(id);
    // Another backend sends to this endpoint.
    if (claimed === null) return false;
    lane.validUntil = began + leaseMs - leaseMarginMs;
    lane.mayHaveMore = !isProbe && claimed.length === limit;
    lane.leftOut = new Set(full);
    const tookMs = clock.monotonic() - began;
    lane.memory.search =
      request.without.length > 0 ? { notBefore: began + (1 + searchRestFactor) * tookMs, without: held.join() } : null;
    if (claimed.length === 0) return !isProbe;
    if (isProbe) lane.memory.probes += 1;
    lane.isProbe = isProbe;
    failPoint('webhook.claimed');
    await enqueue(context, lane, claimed);
    return true;
  } catch (error) {
    log.error('Webhook deliveries could not be claimed; the claim is retried.', {
      webhookId: lane.webhookId,
      ...errorFields(error),
    });
    return lane.running.size > 0 || lane.queues.size > 0;
  } finally {
    lane.isClaiming = false;
  }
}

const isStale = (context: LaneContext, lane: Lane): boolean => context.clock.monotonic() - lane.loadedAt >= reloadMs;

/** Reads the endpoint again for deliveries that are already claimed. Returns false when it is switched off or deleted. */
async function reload(context: LaneContext, lane: Lane): Promise<boolean> {
  try {
    lane.isOff = (await load(context, lane)) === null;
  } catch (error) {
    const fields = { webhookId: lane.webhookId, ...errorFields(error) };
    context.log.error('The endpoint of webhook deliveries could not be read; the read is retried.', fields);
  }
  return !lane.isOff;
}

async function isAccountActive({ database }: LaneContext, accountId: string): Promise<boolean> {
  const { rows } = await runStatement(database.reader, 'SELECT 1 AS found FROM accounts WHERE id = ? AND "isActive"', [
    accountId,
  ]);
  return rows.length > 0;
}

/** Reads the endpoint's row, with what is newer in memory. Null: it is switched off or deleted, or its account is deactivated. */
async function load(context: LaneContext, lane: Lane): Promise<Webhook | null> {
  const unsaved = lane.settling.unsaved();
  const [row] = await readRows(context.database.reader, Webhook, 'id = ?', [lane.webhookId], ['secret', 'oldSecret', 'headers']);
  if (!row?.isActive || row.deletedAt !== null || !(await isAccountActive(context, row.accountId))) return null;
  const { memory } = lane;
  if (memory.updatedAt !== null && memory.updatedAt !== row.updatedAt.getTime()) {
    memory.pauses.clear();
    memory.circuit.reset();
    for (const session of lane.retryAt.keys()) lane.retryAt.set(session, 0);
  }
  memory.updatedAt = row.updatedAt.getTime();
  // The row may lack what was written during the read.
  lane.webhook = Object.assign(row, unsaved, lane.settling.unsaved());
  lane.loadedAt = context.clock.monotonic();
  try {
    lane.opened = context.secrets.open(row, context.clock.now());
  } catch (error) {
    lane.opened = error instanceof Error ? error : new Error(String(error));
  }
  return lane.webhook;
}

async function enqueue(context: LaneContext, lane: Lane, claimed: readonly WebhookDelivery[]): Promise<void> {
  let events: Map<number, OutgoingEvent | Error>;
  try {
    events = await eventsOf(context, claimed);
  } catch (error) {
    // These claims have no owner now; the check for orphans releases them.
    for (const { id } of claimed) lane.claims.delete(id);
    throw error;
  }
  for (const delivery of claimed) insert(lane, { delivery, outgoing: events.get(delivery.eventCursor) });
}

/** The small events of deliveries, by cursor. An unreadable event is an error in the map. Throws when the database does not answer. */
async function eventsOf(context: LaneContext, claimed: readonly WebhookDelivery[]): Promise<Map<number, OutgoingEvent | Error>> {
  try {
    return await context.deliveries.eventsOf(claimed, maxEventLength);
  } catch (error) {
    context.log.warn(
      'Events of webhook deliveries could not be read in one batch; they are read one by one.',
      errorFields(error),
    );
  }
  const found = new Map<number, OutgoingEvent | Error>();
  for (const delivery of claimed)
    try {
      const outgoing = (await context.deliveries.eventsOf([delivery], maxEventLength)).get(delivery.eventCursor);
      if (outgoing) found.set(delivery.eventCursor, outgoing);
    } catch (error) {
      found.set(delivery.eventCursor, error instanceof Error ? error : new Error(String(error)));
    }
  const isAnyRead = [...found.values()].some((outgoing) => !(outgoing instanceof Error)) || found.size < claimed.length;
  // The database failed, not the events.
  if (!isAnyRead) await readRows(context.database.reader, Webhook, 'id = ?', [claimed[0]!.webhookId]);
  return found;
}

function startAttempts(context: LaneContext, lane: Lane): void {
  if (!isSendable(lane)) return;
  if (context.isStopped() || lane.settling.isBlocked() || (!lane.isProbe && isStale(context, lane))) return;
  if (context.clock.monotonic() >= lane.validUntil) return abandon(context, lane);
  for (const [session, queue] of [...lane.queues]) {
    if (lane.running.size >= context.options.concurrency) return;
    if (!isRunnable(context, lane, session)) continue;
    lane.queues.delete(session);
    const item = queue.shift()!;
    if (!lane.isProbe && lane.memory.pauses.isPaused(item.delivery, context.clock.now().getTime())) {
      for (const { delivery } of [item, ...queue]) putBack(context, lane, delivery);
      continue;
    }
    // Moved behind all others, so that the first sessions do not always come first.
    if (queue.length > 0) lane.queues.set(session, queue);
    if (queue.length < context.batchSize() && lane.leftOut.has(session)) lane.isWoken = true;
    lane.running.set(session, runSession(context, lane, session, item));
  }
}

/** Makes one attempt for a session, then starts what can run next. Never rejects. */
async function runSession(context: LaneContext, lane: Lane, session: string, item: Item): Promise<void> {
  const { accountId, transform } = lane.webhook!;
  // An event that is not read yet is long; what a transformation makes of a short one may be.
  const slot = await context.slots.enter(accountId, item.outgoing === undefined || transform ? unknownWeight : 1);
  try {
    if (await mayStillGo(context, lane)) await attempt(context, lane, item, slot);
    else {
      putBack(context, lane, item.delivery);
      lane.isWoken = true;
    }
  } finally {
    slot.leave();
  }
  lane.running.delete(session);
  startAttempts(context, lane);
  lane.notify();
}

/** Whether the endpoint may still be sent to after the wait for room: meanwhile a person may have changed it, or its circuit may have opened. */
async function mayStillGo(context: LaneContext, lane: Lane): Promise<boolean> {
  if (!context.isStopped() && !lane.isProbe && isStale(context, lane) && !(await reload(context, lane))) return false;
  return isSendable(lane) && !context.isStopped() && context.clock.monotonic() < lane.validUntil;
}

/** Drops claims that another backend may own by now, because this process froze or could not renew them. */
function abandon(context: LaneContext, lane: Lane): void {
  if (lane.queues.size > 0)
    context.log.warn('Webhook claims were not renewed in time; another backend may claim them.', {
      webhookId: lane.webhookId,
    });
  for (const queue of lane.queues.values()) for (const { delivery } of queue) lane.claims.delete(delivery.id);
  lane.queues.clear();
  lane.mayHaveMore = true;
}

/** Writes the endpoint's row in the commit of the results. */
async function writeEndpoint(context: LaneContext, lane: Lane, tx: Transaction, change: EndpointChange): Promise<void> {
  const { deliveries, clock, options } = context;
  if (change.hasClosed) await deliveries.hasten(tx, lane.webhookId, clock.now());
  if (Object.keys(change.fields).length > 0) await updateRows(tx, Webhook, { id: lane.webhookId }, change.fields);
  const failingSince = change.fields.failingSince?.getTime() ?? Infinity;
  // Both clocks: the time of the wall alone would count a clock that was set, and days in which this process was off.
  const hasFailedLong = (change.fields.failingMs ?? 0) >= options.disableAfterMs / 2;
  const isFailing = hasFailedLong && clock.now().getTime() - failingSince >= options.disableAfterMs;
  if (change.isGone || isFailing) await context.webhooks.disable(tx, lane.webhook!, change.isGone ? 'GONE' : 'FAILING');
  if (lane.queues.size === 0 && lane.running.size === 0 && !lane.isClaiming) await deliveries.leaveLane(tx, lane.webhookId);
}

/** Waits until an attempt ends, the lane is woken, or the next retry within it is due. */
async function nextChange(context: LaneContext, lane: Lane): Promise<void> {
  if (hasCapacity(context, lane)) return;
  const now = context.clock.monotonic();
  const times = [...lane.retryAt].flatMap(([session, at]) => (lane.queues.has(session) && at > now ? [at - now] : []));
  if (lane.isWoken || lane.mayHaveMore || lane.settling.isBlocked()) times.push(pollIntervalMs);
  if ((lane.isWoken || lane.mayHaveMore) && lane.memory.search && lane.memory.search.notBefore > now)
    times.push(lane.memory.search.notBefore - now);
  if (canStart(context, lane)) times.push(pollIntervalMs);
  // Lost leases are detected in any case.
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
