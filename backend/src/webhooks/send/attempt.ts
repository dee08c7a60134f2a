import { AppError, newId } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { isSystemError } from '../../db/database-errors.js';
import { errorFields } from '../../lib/log.js';
import { openingMs } from './circuit.js';
import { waitingSince } from '../deliveries.js';
import { insert, note, putBack, type Item, type Lane, type LaneContext } from './lane-state.js';
import type { OutgoingEvent } from '../payload.js';
import { isSuccess, type Post, type Posted } from './post.js';
import { weightOf, type Slot } from './request-slots.js';
import { requestOf, shownHeaders } from './request.js';
import { nextAttempt, scheduleOf } from './schedule.js';
import type { Webhook, WebhookAttempt, WebhookDelivery } from '../webhook.entity.js';

/** A retry that is due within this time is made within the lane. */
const maxInLaneWaitMs = 2_000;
/** The longest Retry-After that a receiver may request. */
const maxRetryAfterMs = 12 * 3_600_000;
/** The next attempt of a delivery that could not be built. */
const rebuildMs = 60_000;
/** The delay before an event is read again after the database failed. */
const rereadMs = 1_000;
const excerptLength = 2_048;

/** Makes one attempt and records its result. Shrinks `slot` to what the body needs. Never rejects. */
export async function attempt(context: LaneContext, lane: Lane, item: Item, slot: Slot): Promise<void> {
  const { delivery } = item;
  const webhook = lane.webhook!;
  const at = context.clock.now();
  try {
    const outgoing = item.outgoing === undefined ? await readOutgoingEvent(context, delivery) : item.outgoing;
    if (outgoing === 'UNREADABLE') return putBack(context, lane, delivery, rereadMs);
    // Retention removed the event: there is nothing left to send.
    if (outgoing === null) return note(lane, delivery, null, 'failed', null, 0);
    let request: { headers: Record<string, string>; body: string };
    let secret: string[];
    try {
      if (outgoing instanceof Error) throw outgoing;
      if (lane.opened instanceof Error) throw lane.opened;
      secret = Object.keys(lane.opened.headers);
      request = requestOf(webhook, delivery, outgoing, lane.opened, at);
    } catch (error) {
      return notBuilt(context, lane, item, at, error);
    }
    slot.shrinkTo(weightOf(Buffer.byteLength(request.body)));
    const timeoutMs = webhook.retry?.timeoutMs ?? context.options.timeoutMs;
    const trace = context.traces?.begin({ delivery, type: outgoing.type, messageId: outgoing.messageId });
    if (trace) request.headers = { ...request.headers, ...trace.headers };
    const result = await postSafely(context, webhook.url, { ...request, timeoutMs, signal: context.signal });
    trace?.end(result);
    failPoint('webhook.answered');
    if (result.error === 'ABORTED') return putBack(context, lane, delivery);
    conclude(
      context,
      lane,
      item,
      result,
      attemptOf(delivery, at, context.clock.now(), result, shownHeaders(request.headers, secret), request.body),
    );
  } catch (error) {
    context.log.error('A webhook delivery failed because of an internal error; it is retried.', {
      webhookId: lane.webhookId,
      deliveryId: delivery.id,
      ...errorFields(error),
    });
    putBack(context, lane, delivery, rebuildMs);
  }
}

/** Reads the event of one delivery. Returns `UNREADABLE` when the database does not answer, and an error when the event itself cannot be read. */
async function readOutgoingEvent(
  context: LaneContext,
  delivery: WebhookDelivery,
): Promise<OutgoingEvent | null | Error | 'UNREADABLE'> {
  try {
    return (await context.deliveries.eventsOf([delivery])).get(delivery.eventCursor) ?? null;
  } catch (error) {
    if (isSystemError(error)) return 'UNREADABLE';
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function postSafely(context: LaneContext, url: string, request: Parameters<Post>[1]): Promise<Posted> {
  const began = context.clock.monotonic();
  try {
    return await context.post(url, request);
  } catch (error) {
    context.log.error('A webhook request failed because of an internal error.', errorFields(error));
    const durationMs = Math.round(context.clock.monotonic() - began);
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

/** Applies the result to the delivery, its session and its endpoint. */
function conclude(context: LaneContext, lane: Lane, item: Item, result: Posted, made: WebhookAttempt): void {
  const { delivery } = item;
  const now = context.clock.now();
  if (isSuccess(result)) {
    lane.memory.pauses.release(delivery);
    lane.retryAt.delete(delivery.sessionId ?? '');
    noteSuccess(lane, now);
    return note(lane, delivery, made, 'delivered', null, 0);
  }
  noteFailure(context, lane, result, now);
  if (result.statusCode === 410) return note(lane, delivery, made, 'failed', null, 0);
  const again = nextTime(context, lane, delivery, now, result.retryAfterMs);
  const waitMs = again === null ? null : again - now.getTime();
  const isPaused = lane.memory.pauses.failed(delivery, waitMs, now.getTime());
  const session = delivery.sessionId ?? '';
  if (waitMs === null) return note(lane, delivery, made, 'failed', null, 0);
  if (isPaused && waitMs <= maxInLaneWaitMs && lane.webhook!.openUntil === null && !context.isStopped()) {
    note(lane, delivery, made, 'sending', now, 0);
    lane.retryAt.set(session, context.clock.monotonic() + waitMs);
    return insert(lane, {
      ...item,
      delivery: { ...delivery, attempts: delivery.attempts + 1, statusCode: made.statusCode, error: made.error },
    });
  }
  note(lane, delivery, made, 'pending', new Date(again!), Math.round(waitMs));
  lane.retryAt.delete(session);
  if (!isPaused) return;
  for (const { delivery: later } of lane.queues.get(session) ?? []) putBack(context, lane, later);
  lane.queues.delete(session);
}

/** Returns when a delivery that has just failed is tried again; null: never. */
function nextTime(
  { options }: LaneContext,
  lane: Lane,
  delivery: WebhookDelivery,
  now: Date,
  retryAfterMs: number,
): number | null {
  return nextAttempt(scheduleOf(options.schedule, lane.webhook!.retry), {
    attempts: delivery.attempts + 1,
    since: waitingSince(delivery).getTime(),
    now: now.getTime(),
    retryAfterMs,
    random: Math.random,
  });
}

function noteSuccess(lane: Lane, now: Date): void {
  const webhook = lane.webhook!;
  const hasClosed = webhook.openUntil !== null;
  lane.memory.circuit.succeeded();
  lane.memory.failedAt = null;
  const healthy = { failures: 0, failingSince: null, failingMs: 0, openUntil: null, openMs: null };
  const fields = { lastDeliveredAt: now, ...(webhook.failures > 0 || hasClosed ? healthy : {}) };
  Object.assign(webhook, fields);
  lane.settling.change(fields, hasClosed ? { hasClosed } : {});
  if (!hasClosed) return;
  lane.memory.circuit.reset();
  lane.memory.pauses.clear();
  lane.memory.probes = 0;
  [lane.isProbe, lane.isWoken, lane.hasClosed] = [false, true, true];
}

function noteFailure(context: LaneContext, lane: Lane, result: Posted, now: Date): void {
  const webhook = lane.webhook!;
  const at = context.clock.monotonic();
  const sinceLastMs = webhook.failingSince === null ? 0 : at - (lane.memory.failedAt ?? at);
  lane.memory.failedAt = at;
  const fields: Partial<Webhook> = {
    failures: webhook.failures + 1,
    failingSince: webhook.failingSince ?? now,
    failingMs: webhook.failingMs + Math.round(sinceLastMs),
  };
  const isOpening = webhook.openUntil === null ? lane.memory.circuit.failed() : lane.isProbe;
  if (isOpening) {
    const openMs = openingMs(webhook.openMs, result.retryAfterMs, maxRetryAfterMs);
    Object.assign(fields, { openUntil: new Date(now.getTime() + openMs), openMs });
    context.wakeLater(lane.webhookId, openMs);
  }
  lane.isProbe = false;
  Object.assign(webhook, fields);
  lane.settling.change(fields, result.statusCode === 410 ? { isGone: true } : {});
  if (result.statusCode === 410) [webhook.isActive, lane.isOff] = [false, true];
}

/** Records a delivery that cannot be built as a failed attempt: the endpoint is not at fault, and other deliveries continue. */
function notBuilt(context: LaneContext, lane: Lane, { delivery }: Item, at: Date, error: unknown): void {
  const reason = error instanceof AppError ? error.code : 'NOT_BUILT';
  context.log.warn('A webhook delivery could not be built; it is retried.', {
    webhookId: lane.webhookId,
    deliveryId: delivery.id,
    reason,
    errorName: error instanceof Error ? error.name : typeof error,
  });
  const now = context.clock.now();
  const result = { durationMs: 0, statusCode: null, error: reason, response: null };
  const again = nextTime(context, lane, delivery, now, rebuildMs);
  lane.memory.pauses.release(delivery);
  lane.retryAt.delete(delivery.sessionId ?? '');
  if (lane.isProbe) {
    // The endpoint was not tested: the next delivery is the probe.
    [lane.isProbe, lane.isWoken] = [false, true];
  }
  const made = attemptOf(delivery, at, now, result, {}, null);
  if (again === null) note(lane, delivery, made, 'failed', null, 0);
  else note(lane, delivery, made, 'pending', new Date(again), again - now.getTime());
}
