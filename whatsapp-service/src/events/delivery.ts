import { AppError, backendInternalRoutes, type OutletEvent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { BackendCall } from '../backend.js';
import { backoff, settlesWithin, sleep, type Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Outlet } from './outlet.js';

/**
 * Sends the outlet to the backend: one batch at a time, oldest events first, with retries until the backend accepts them.
 *
 * | the backend | then |
 * | --- | --- |
 * | does not answer, or answers with a status such as 503 | all events stay and are retried, with backoff |
 * | refuses one event | that event is parked; the others are accepted |
 * | cannot read a batch (4xx) | the batch is halved until only the faulty event remains, which is parked |
 * | fails at a batch (500) | the same; but an event is parked only after it failed alone several times while another event was accepted |
 * | acknowledges more than it was sent | only what it was sent counts |
 * | asks for the same events again and again | it gets them a few times |
 */
export interface Delivery {
  start(): void;
  /** Continues until the outlet is empty or the backend fails, for at most `flushMs`; then stops. */
  stop(flushMs: number): Promise<void>;
}

const maxPerBatch = 500;
/** The smallest batch after a failure. A backend that times out at a full batch may process a small one in time. */
const minAfterFailure = 25;
const callTimeoutMs = 15_000;
const gatherMs = 20;
/** The backend refuses these permanently; a retry would block the queue for ever. */
const permanentCodes = new Set(['VALIDATION_FAILED', 'MALFORMED_REQUEST', 'BODY_TOO_LARGE']);
/** Statuses without an error code that describe the connection or a temporary state, not the events. */
const transientStatuses = new Set([401, 403, 404, 407, 408, 421, 425, 429, 501, 502, 503, 504]);
/** How often an event is sent alone, and how many other events are sent in its place, before it counts as the cause of a failure. */
const maxTriesAlone = 3;
const maxWitnesses = 6;
/** How often the same events are sent again, so that a backend that always asks for them does not block the others. */
const maxResends = 4;
const maxResendEntries = 1_000;

export interface DeliveryOptions {
  outlet: Outlet;
  call: BackendCall;
  worker: { workerId: string; bootId: string };
  /** The epoch under which a session was last assigned to this worker. */
  epochOf: (sessionId: string) => number;
  clock: Clock;
  random: () => number;
  log: Log;
  problems: Problems;
}

interface Context extends DeliveryOptions {
  readonly stopping: AbortController;
  /** Wakes the loop while it waits for a commit. */
  wake: () => void;
  /** The running loop. */
  running: Promise<void>;
  /** The size of the next batch. */
  limit: number;
  /** The number of failures since the last batch that was accepted. */
  failures: number;
  /** When the last batch was read, on the monotonic clock. */
  lastAt: number;
  /** The event that last failed alone, and how often it failed. */
  suspect: { id: string; tries: number };
  /** How often the backend asked for the same events again, oldest first. */
  readonly resends: Map<string, number>;
}

export function createDelivery(options: DeliveryOptions): Delivery {
  const context: Context = {
    ...options,
    stopping: new AbortController(),
    wake: () => undefined,
    running: Promise.resolve(),
    limit: maxPerBatch,
    failures: 0,
    lastAt: -Infinity,
    suspect: { id: '', tries: 0 },
    resends: new Map(),
  };
  return {
    start() {
      context.outlet.onCommit(() => context.wake());
      context.running = loop(context);
    },
    stop: (flushMs) => stop(context, flushMs),
  };
}

async function stop(context: Context, flushMs: number): Promise<void> {
  const { outlet, clock, log } = context;
  outlet.commit();
  context.stopping.abort();
  context.wake();
  const isFlushed = await settlesWithin(clock, context.running, flushMs);
  if (!isFlushed || outlet.pending() > 0)
    log.warn('Stopped with undelivered events; they stay in the outlet.', { pending: outlet.pending() });
}

async function loop(context: Context): Promise<void> {
  const { clock, stopping } = context;
  for (;;) {
    // Created before the read, so that a commit between the read and the wait wakes the loop.
    const woken = new Promise<void>((resolve) => {
      context.wake = resolve;
    });
    await gather(context);
    const events = await nextBatch(context);
    if (events === 'unreadable') {
      if (stopping.signal.aborted) return;
    } else if (events.length > 0) {
      context.lastAt = clock.monotonic();
      const isProgress = await sendBatch(context, events);
      if (stopping.signal.aborted && !isProgress) return;
    } else if (stopping.signal.aborted) return;
    else await woken;
  }
}

/** Waits a few milliseconds in a stream of events, so that they share a batch: one batch costs as much as ten events. The first event after a pause does not wait. */
async function gather({ clock, lastAt, stopping }: Context): Promise<void> {
  const since = clock.monotonic() - lastAt;
  if (since < gatherMs && !stopping.signal.aborted) await sleep(clock, gatherMs - since, stopping.signal);
}

/** Reads the next batch. When the store cannot be read it pauses, and the loop tries again. */
async function nextBatch(context: Context): Promise<OutletEvent[] | 'unreadable'> {
  try {
    return context.outlet.batch(context.limit);
  } catch (error) {
    context.problems.note('STORE_WRITE_FAILED', { detail: 'reading the outlet', error });
    await pause(context);
    return 'unreadable';
  }
}

/** Returns whether there was progress. Never rejects. */
async function sendBatch(context: Context, events: OutletEvent[]): Promise<boolean> {
  const { outlet, log } = context;
  try {
    const isProgress = await deliver(context, events);
    if (context.failures > 0) log.info('The backend accepts events again.', { pending: outlet.pending() });
    context.failures = 0;
    // More faulty events may follow one that failed; growing the batch step by step finds them sooner.
    context.limit = Math.min(maxPerBatch, context.limit * 2);
    if (!isProgress) await pause(context);
    return isProgress;
  } catch (error) {
    if (await isolate(context, events, error)) return true;
    context.limit = Math.min(context.limit, Math.max(minAfterFailure, Math.floor(events.length / 2)));
    if (context.failures === 0)
      log.warn('Events cannot be delivered; they stay in the outlet.', { pending: outlet.pending(), ...errorFields(error) });
    await pause(context);
    return false;
  }
}

async function pause(context: Context): Promise<void> {
  context.failures += 1;
  await sleep(context.clock, backoff(context.failures, 200, 5_000, context.random), context.stopping.signal);
}

/**
 * Parks refused events, then moves the mark. If the process dies before, the same batch is sent again, and the backend repeats its refusals. Returns
 * whether fewer events are pending than before.
 */
async function deliver(context: Context, events: OutletEvent[]): Promise<boolean> {
  const { outlet, log } = context;
  const reply = await post(context, events);
  failPoint('delivery.answered');
  const before = outlet.pending();
  for (const { id, code } of reply.refused) {
    const event = events.find((candidate) => candidate.id === id);
    if (event) park(context, event, code);
  }
  outlet.acknowledge(Math.min(reply.ackCursor, events.at(-1)!.cursor));
  for (const { sessionId, fromSequence } of reply.resend) {
    if (!maySendAgain(context, sessionId, fromSequence) || !outlet.resend(sessionId, fromSequence)) continue;
    log.info('The backend asked for events again.', { sessionId, fromSequence });
  }
  return outlet.pending() < before;
}

async function post({ call, worker }: Context, events: OutletEvent[]) {
  const body = { ...worker, events };
  return (await call(backendInternalRoutes.events, { body }, { timeoutMs: callTimeoutMs })).data;
}

function park({ outlet, log, problems, epochOf }: Context, event: OutletEvent, code: string): void {
  const { sessionId, epoch, type, id } = event;
  outlet.refuse([event], code);
  if (code !== 'STALE_EPOCH') return problems.note('EVENT_REFUSED', { sessionId, detail: `${type} ${code}` });
  // A stale epoch is normal when a session moves to another worker; the event is not at fault.
  log.warn('The backend refused an event.', { sessionId, epoch, type, eventId: id, code });
  outlet.readopt(sessionId, epochOf(sessionId));
}

function maySendAgain({ resends, epochOf }: Context, sessionId: string, fromSequence: number): boolean {
  const key = `${sessionId} ${epochOf(sessionId)} ${fromSequence}`;
  const times = (resends.get(key) ?? 0) + 1;
  resends.delete(key);
  resends.set(key, times);
  for (const oldest of resends.keys()) {
    if (resends.size <= maxResendEntries) break;
    resends.delete(oldest);
  }
  return times <= maxResends;
}

/** Halves a refused batch until only the faulty event remains, and parks that event. Returns false when nothing was isolated. */
async function isolate(context: Context, events: OutletEvent[], error: unknown): Promise<boolean> {
  const { outlet, problems } = context;
  const fault = faultOf(error);
  if (fault === null) return false;
  if (events.length > 1) {
    context.limit = Math.max(1, Math.floor(events.length / 2));
    return true;
  }
  const event = events[0]!;
  if (fault === 'failed' && !(await isAtFault(context, event))) return false;
  try {
    park(context, event, (error as AppError).code);
    outlet.acknowledge(event.cursor);
  } catch (failure) {
    // It could not be parked because the disk is full. It is sent, refused and parked once there is space again.
    problems.note('STORE_WRITE_FAILED', { detail: 'parking an event', error: failure });
    return false;
  }
  return true;
}

/**
 * Whether this event makes the backend fail: it fails each time and another event does not. The check is strict because a parked event is
 * not sent any more.
 */
async function isAtFault(context: Context, event: OutletEvent): Promise<boolean> {
  const { id } = event;
  context.suspect = { id, tries: context.suspect.id === id ? context.suspect.tries + 1 : 1 };
  if (context.suspect.tries < maxTriesAlone) return false;
  for (const witness of context.outlet.witnesses(event, maxWitnesses)) {
    try {
      // The next batch contains it again, and the backend then recognises its id. An event that the backend did not acknowledge proves nothing.
      if ((await post(context, [witness])).ackCursor >= witness.cursor) return true;
    } catch (error) {
      if (faultOf(error) === null) return false;
    }
  }
  return false;
}

/** The meaning of a failure for the batch: `unreadable` and `failed` may be caused by one event; null is a problem of the connection, or temporary. */
function faultOf(error: unknown): 'unreadable' | 'failed' | null {
  if (!(error instanceof AppError)) return null;
  if (permanentCodes.has(error.code)) return 'unreadable';
  if (error.code !== 'INTERNAL_ERROR') return null;
  const { status } = error.details;
  return typeof status === 'number' && transientStatuses.has(status) ? null : 'failed';
}
