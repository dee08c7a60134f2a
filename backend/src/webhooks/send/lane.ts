import { failPoint } from '@chasqui/shared/fail-point';
import { readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { errorFields } from '../../lib/log.js';
import { attempt } from './attempt.js';
import { leaseMs } from '../deliveries.js';
import { insert, putBack, type EndpointMemory, type Item, type Lane, type LaneParts } from './lane-state.js';
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

const batchSize = 64;
/** Longer events are read when their attempt begins, so that many claims need little memory. */
const maxEventLength = 8_192;
/** An attempt ends this long before its claim does: the longest timeout, and time to write the result. */
export const leaseMarginMs = 35_000;
/** The interval at which a wait for the database is checked. */
const pollIntervalMs = 500;
/** After a search past waiting sessions the next one waits this many times as long as it took. */
const searchRestFactor = 4;
/** The most deliveries that one lane claims. */
const maxClaims = 1_024;
/** The endpoint's row is read again after this time: a change or deletion applies to the next attempt. */
const reloadMs = 1_000;

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
    loadedAt: -Infinity,
    leftOut: new Set(),
    notify: () => undefined,
  };
  return lane;
}

/** Sends everything that is due, and returns when nothing is due or may be sent. Rejects only for an internal error. */
export async function runLane(parts: LaneParts, lane: Lane): Promise<void> {
  let isClosed = false;
  try {
    while (!parts.isStopped() && !isClosed) {
      if (hasCapacity(parts, lane)) isClosed = !(await refill(parts, lane));
      else if (canStart(parts, lane) && isStale(parts, lane)) isClosed = !(await reload(parts, lane));
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
  // Closes: another backend wrote a delivery and found the lane owned, just before it was released.
  if (!isClosed && !parts.isStopped() && parts.deliveries.isShared)
    lane.isWoken ||= await parts.deliveries.hasClaimable({
      webhookId: lane.webhookId,
      now: parts.clock.now(),
      without: waitingSessions(parts, lane),
    });
}

const waitingSessions = (parts: LaneParts, lane: Lane): string[] => lane.memory.pauses.sessions(parts.clock.now().getTime());

const isRunnable = (parts: LaneParts, lane: Lane, session: string): boolean =>
  !lane.running.has(session) && (lane.retryAt.get(session) ?? 0) <= parts.monotonic();

const canStart = (parts: LaneParts, lane: Lane): boolean =>
  lane.running.size < parts.options.concurrency && [...lane.queues.keys()].some((session) => isRunnable(parts, lane, session));

function hasCapacity(parts: LaneParts, lane: Lane): boolean {
  if (!lane.isWoken && !lane.mayHaveMore) return false;
  if (lane.isProbe || lane.settling.isBlocked() || lane.running.size >= parts.options.concurrency) return false;
  if (canStart(parts, lane)) return false;
  if (lane.claims.size >= maxClaims) return false;
  const { search } = lane.memory;
  return !search || parts.monotonic() >= search.notBefore || search.without !== waitingSessions(parts, lane).join();
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
    const held = waitingSessions(parts, lane);
    // Closes: a session with a long queue fills the memory with claims while it waits for its receiver, and the others wait behind it.
    const full = [...lane.queues].flatMap(([session, queue]) => (queue.length >= batchSize ? [session] : []));
    const began = monotonic();
    // Until the claims are in the queues. Closes: the last attempt settles meanwhile and leaves the lane to another backend.
    lane.isClaiming = true;
    const request = { webhookId: lane.webhookId, now, limit: batchSize, without: [...new Set([...held, ...full])] };
    const claimed = await (isProbe ? deliveries.claimProbe(lane.webhookId, lane.memory.probes) : deliveries.claim(request));
    for (const { id } of claimed ?? []) lane.claims.add(id);
    // Another backend sends to this endpoint.
    if (claimed === null) return false;
    lane.validUntil = began + leaseMs - leaseMarginMs;
    lane.mayHaveMore = !isProbe && claimed.length === batchSize;
    lane.leftOut = new Set(full);
    const tookMs = monotonic() - began;
    lane.memory.search =
      request.without.length > 0 ? { notBefore: began + (1 + searchRestFactor) * tookMs, without: held.join() } : null;
    if (claimed.length === 0) return !isProbe;
    if (isProbe) lane.memory.probes += 1;
    lane.isProbe = isProbe;
    failPoint('webhook.claimed');
    await enqueue(parts, lane, claimed);
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

const isStale = (parts: LaneParts, lane: Lane): boolean => parts.monotonic() - lane.loadedAt >= reloadMs;

/** Reads the endpoint again for deliveries that are already claimed. Returns false when it is switched off or deleted. */
async function reload(parts: LaneParts, lane: Lane): Promise<boolean> {
  try {
    lane.isOff = (await load(parts, lane)) === null;
  } catch (error) {
    const fields = { webhookId: lane.webhookId, ...errorFields(error) };
    parts.log.error('The endpoint of webhook deliveries could not be read; the read is retried.', fields);
  }
  return !lane.isOff;
}

async function isAccountActive({ database }: LaneParts, accountId: string): Promise<boolean> {
  const { rows } = await runStatement(database.reader, 'SELECT 1 AS found FROM accounts WHERE id = ? AND "isActive"', [
    accountId,
  ]);
  return rows.length > 0;
}

/** Reads the endpoint's row, with what is newer in memory. Null: it is switched off or deleted, or its account is deactivated. */
async function load(parts: LaneParts, lane: Lane): Promise<Webhook | null> {
  const unsaved = lane.settling.unsaved();
  const [row] = await readRows(parts.database.reader, Webhook, 'id = ?', [lane.webhookId], ['secret', 'oldSecret', 'headers']);
  if (!row?.isActive || row.deletedAt !== null || !(await isAccountActive(parts, row.accountId))) return null;
  const { memory } = lane;
  if (memory.updatedAt !== null && memory.updatedAt !== row.updatedAt.getTime()) {
    memory.pauses.clear();
    memory.circuit.reset();
    for (const session of lane.retryAt.keys()) lane.retryAt.set(session, 0);
  }
  memory.updatedAt = row.updatedAt.getTime();
  // The row may lack what was written during the read.
  lane.webhook = Object.assign(row, unsaved, lane.settling.unsaved());
  lane.loadedAt = parts.monotonic();
  try {
    lane.opened = parts.open(row, parts.clock.now());
  } catch (error) {
    lane.opened = error instanceof Error ? error : new Error(String(error));
  }
  return lane.webhook;
}

async function enqueue(parts: LaneParts, lane: Lane, claimed: readonly WebhookDelivery[]): Promise<void> {
  let events: Map<number, OutgoingEvent | Error>;
  try {
    events = await eventsOf(parts, claimed);
  } catch (error) {
    // These claims have no owner now; the check for orphans releases them.
    for (const { id } of claimed) lane.claims.delete(id);
    throw error;
  }
  for (const delivery of claimed) insert(lane, { delivery, outgoing: events.get(delivery.eventCursor) });
}

/** The small events of deliveries, by cursor. An unreadable event is an error in the map. Throws when the database does not answer. */
async function eventsOf(parts: LaneParts, claimed: readonly WebhookDelivery[]): Promise<Map<number, OutgoingEvent | Error>> {
  try {
    return await parts.deliveries.eventsOf(claimed, maxEventLength);
  } catch (error) {
    parts.log.warn('Events of webhook deliveries could not be read in one batch; they are read one by one.', errorFields(error));
  }
  const found = new Map<number, OutgoingEvent | Error>();
  for (const delivery of claimed)
    try {
      const outgoing = (await parts.deliveries.eventsOf([delivery], maxEventLength)).get(delivery.eventCursor);
      if (outgoing) found.set(delivery.eventCursor, outgoing);
    } catch (error) {
      found.set(delivery.eventCursor, error instanceof Error ? error : new Error(String(error)));
    }
  const isAnyRead = [...found.values()].some((outgoing) => !(outgoing instanceof Error)) || found.size < claimed.length;
  // The database failed, not the events.
  if (!isAnyRead) await readRows(parts.database.reader, Webhook, 'id = ?', [claimed[0]!.webhookId]);
  return found;
}

function startAttempts(parts: LaneParts, lane: Lane): void {
  if (!lane.webhook?.isActive || (lane.webhook.openUntil !== null && !lane.isProbe)) return;
  if (parts.isStopped() || lane.settling.isBlocked() || (!lane.isProbe && isStale(parts, lane))) return;
  if (parts.monotonic() >= lane.validUntil) return abandon(parts, lane);
  for (const [session, queue] of [...lane.queues]) {
    if (lane.running.size >= parts.options.concurrency) return;
    if (!isRunnable(parts, lane, session)) continue;
    lane.queues.delete(session);
    const item = queue.shift()!;
    if (!lane.isProbe && lane.memory.pauses.isPaused(item.delivery, parts.clock.now().getTime())) {
      for (const { delivery } of [item, ...queue]) putBack(parts, lane, delivery);
      continue;
    }
    // Moved behind all others, so that the first sessions do not always come first.
    if (queue.length > 0) lane.queues.set(session, queue);
    if (queue.length < batchSize && lane.leftOut.has(session)) lane.isWoken = true;
    lane.running.set(session, runSession(parts, lane, session, item));
  }
}

/** Makes one attempt for a session, then starts what can run next. Never rejects. */
async function runSession(parts: LaneParts, lane: Lane, session: string, item: Item): Promise<void> {
  const { accountId, transform } = lane.webhook!;
  // An event that is not read yet is long; what a transformation makes of a short one may be.
  const slot = await parts.slots.enter(accountId, item.outgoing === undefined || transform ? unknownWeight : 1);
  try {
    if (await mayStillGo(parts, lane)) await attempt(parts, lane, item, slot);
    else {
      putBack(parts, lane, item.delivery);
      lane.isWoken = true;
    }
  } finally {
    slot.leave();
  }
  lane.running.delete(session);
  startAttempts(parts, lane);
  lane.notify();
}

/** Whether the endpoint may still be sent to after the wait for room: meanwhile a person may have changed it, or its circuit may have opened. */
async function mayStillGo(parts: LaneParts, lane: Lane): Promise<boolean> {
  if (!parts.isStopped() && !lane.isProbe && isStale(parts, lane) && !(await reload(parts, lane))) return false;
  const { webhook } = lane;
  const isOpen = !webhook?.isActive || (webhook.openUntil !== null && !lane.isProbe);
  return !isOpen && !parts.isStopped() && parts.monotonic() < lane.validUntil;
}

/** Drops claims that another backend may own by now, because this process froze or could not renew them. */
function abandon(parts: LaneParts, lane: Lane): void {
  if (lane.queues.size > 0)
    parts.log.warn('Webhook claims were not renewed in time; another backend may claim them.', {
      webhookId: lane.webhookId,
    });
  for (const queue of lane.queues.values()) for (const { delivery } of queue) lane.claims.delete(delivery.id);
  lane.queues.clear();
  lane.mayHaveMore = true;
}

/** Writes the endpoint's row in the commit of the results. */
async function writeEndpoint(parts: LaneParts, lane: Lane, tx: Transaction, change: EndpointChange): Promise<void> {
  const { deliveries, clock, options } = parts;
  if (change.hasClosed) await deliveries.hasten(tx, lane.webhookId, clock.now());
  if (Object.keys(change.fields).length > 0) await updateRows(tx, Webhook, { id: lane.webhookId }, change.fields);
  const failingSince = change.fields.failingSince?.getTime() ?? Infinity;
  // Both clocks: the time of the wall alone would count a clock that was set, and days in which this process was off.
  const hasFailedLong = (change.fields.failingMs ?? 0) >= options.disableAfterMs / 2;
  const isFailing = hasFailedLong && clock.now().getTime() - failingSince >= options.disableAfterMs;
  if (change.isGone || isFailing) await parts.disable(tx, lane.webhook!, change.isGone ? 'GONE' : 'FAILING');
  if (lane.queues.size === 0 && lane.running.size === 0 && !lane.isClaiming) await deliveries.leaveLane(tx, lane.webhookId);
}

/** Waits until an attempt ends, the lane is woken, or the next retry within it is due. */
async function nextChange(parts: LaneParts, lane: Lane): Promise<void> {
  if (hasCapacity(parts, lane)) return;
  const now = parts.monotonic();
  const times = [...lane.retryAt].flatMap(([session, at]) => (lane.queues.has(session) && at > now ? [at - now] : []));
  if (lane.isWoken || lane.mayHaveMore || lane.settling.isBlocked()) times.push(pollIntervalMs);
  if ((lane.isWoken || lane.mayHaveMore) && lane.memory.search && lane.memory.search.notBefore > now)
    times.push(lane.memory.search.notBefore - now);
  if (canStart(parts, lane)) times.push(pollIntervalMs);
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
