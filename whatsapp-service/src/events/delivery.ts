import { AppError, backendInternalRoutes, type OutletEvent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { BackendCall } from '../backend.js';
import { backoff, settlesWithin, sleep, type Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Outlet } from './outlet.js';

/**
 * Carries the outlet to the backend: one batch in flight, oldest first, for as long as it takes.
 *
 * | the backend | then |
 * | --- | --- |
 * | does not answer, or answers 503 and the like | everything is kept and repeated, with growing pauses |
 * | refuses one event | that event is parked; the others count |
 * | cannot read a batch (4xx) | the batch is halved down to the event at fault, which is parked |
 * | fails at a batch (500) | likewise; but one event is parked only after it has failed alone several times while another event was taken |
 * | acknowledges more than it was sent | what it was sent counts |
 * | asks for the same events without end | it gets them a few times |
 */
export interface Delivery {
  start(): void;
  /** Goes on until the outlet is empty or the backend fails, at most `flushMs`; then stops. */
  stop(flushMs: number): Promise<void>;
}

const mostPerBatch = 500;
/** A backend that cannot take a full batch in its time may take a small one. */
const minAfterFailure = 25;
const callTimeoutMs = 15_000;
const gatherMs = 20;
/** The backend has read these and will never take them as they are; repeating would stop the queue for good. */
const hopeless = new Set(['VALIDATION_FAILED', 'MALFORMED_REQUEST', 'BODY_TOO_LARGE']);
/** Statuses without an error of ours that speak of the way or the moment, not of what was sent. */
const passing = new Set([401, 403, 404, 407, 408, 421, 425, 429, 501, 502, 503, 504]);
/** So often is one event tried alone, and so many others are tried in its place, before it counts as the cause of a failure. */
const maxTriesAlone = 3;
const maxWitnesses = 6;
/** A backend that asks for the same events again and again must not keep the others from going. */
const maxResends = 4;
const maxResendsKept = 1_000;

export function createDelivery(options: {
  outlet: Outlet;
  call: BackendCall;
  worker: { workerId: string; bootId: string };
  /** The epoch under which a session was last given to this worker. */
  epochOf: (sessionId: string) => number;
  clock: Clock;
  random: () => number;
  log: Log;
  problems: Problems;
}): Delivery {
  const { outlet, call, clock, log, problems } = options;
  const stopping = new AbortController();
  let wake = (): void => undefined;
  let running: Promise<void> = Promise.resolve();
  let limit = mostPerBatch;
  let failures = 0;
  let lastAt = -Infinity;
  /** The event that failed alone last, and how often. */
  let suspect = { id: '', tries: 0 };
  const resends = new Map<string, number>();

  async function hand(events: OutletEvent[]) {
    const body = { ...options.worker, events };
    return (await call(backendInternalRoutes.events, { body }, { timeoutMs: callTimeoutMs })).data;
  }

  function maySendAgain(sessionId: string, fromSequence: number): boolean {
    const key = `${sessionId} ${options.epochOf(sessionId)} ${fromSequence}`;
    const times = (resends.get(key) ?? 0) + 1;
    resends.delete(key);
    resends.set(key, times);
    for (const oldest of resends.keys()) {
      if (resends.size <= maxResendsKept) break;
      resends.delete(oldest);
    }
    return times <= maxResends;
  }

  /** Settles refusals, then moves the mark: killed in between, the same batch comes again and is refused again. */
  async function deliver(events: OutletEvent[]): Promise<'moved' | 'stuck'> {
    const data = await hand(events);
    failPoint('delivery.answered');
    const before = outlet.pending();
    for (const { id, code } of data.refused) {
      const event = events.find((candidate) => candidate.id === id);
      if (event) refused(event, code);
    }
    outlet.acknowledge(Math.min(data.ackCursor, events.at(-1)!.cursor));
    for (const { sessionId, fromSequence } of data.resend) {
      if (!maySendAgain(sessionId, fromSequence) || !outlet.resend(sessionId, fromSequence)) continue;
      log.info('The backend asked for events again.', { sessionId, fromSequence });
    }
    return outlet.pending() < before ? 'moved' : 'stuck';
  }

  function refused(event: OutletEvent, code: string): void {
    const { sessionId, epoch, type, id } = event;
    outlet.refuse([event], code);
    // A stale epoch is how a session moves to another worker, no fault of the event.
    if (code === 'STALE_EPOCH') log.warn('The backend refused an event.', { sessionId, epoch, type, eventId: id, code });
    else problems.note('EVENT_REFUSED', { sessionId, detail: `${type} ${code}` });
    if (code === 'STALE_EPOCH') outlet.readopt(sessionId, options.epochOf(sessionId));
  }

  /** A batch that cannot be taken is cut down to the one event that is at fault, and that one is parked. False: nothing was isolated. */
  async function isolated(events: OutletEvent[], error: unknown): Promise<boolean> {
    const fault = faultOf(error);
    if (fault === null) return false;
    if (events.length > 1) {
      limit = Math.max(1, Math.floor(events.length / 2));
      return true;
    }
    const event = events[0]!;
    if (fault === 'failed' && !(await isAtFault(event))) return false;
    try {
      refused(event, (error as AppError).code);
      outlet.acknowledge(event.cursor);
      // The backend may ask for what it misses before the next one.
      outlet.remove(event.cursor);
    } catch (failure) {
      // It could not be parked: the disk takes nothing. It is sent, refused and parked once there is room again.
      problems.note('STORE_WRITE_FAILED', { detail: 'parking an event', error: failure });
      return false;
    }
    return true;
  }

  /**
   * The backend failed at this event. That is the event's fault only where it fails each time and another one does not: what is parked
   * is not sent any more.
   */
  async function isAtFault(event: OutletEvent): Promise<boolean> {
    const { id } = event;
    suspect = { id, tries: suspect.id === id ? suspect.tries + 1 : 1 };
    if (suspect.tries < maxTriesAlone) return false;
    for (const witness of outlet.witnesses(event, maxWitnesses)) {
      try {
        // The next round sends it again, and the backend knows its id then. One that it only asked to wait proves nothing.
        if ((await hand([witness])).ackCursor >= witness.cursor) return true;
      } catch (error) {
        if (faultOf(error) === null) return false;
      }
    }
    return false;
  }

  async function pause(): Promise<void> {
    failures += 1;
    await sleep(clock, backoff(failures, 200, 5_000, options.random), stopping.signal);
  }

  /** Returns whether something moved on. Never rejects. */
  async function round(events: OutletEvent[]): Promise<boolean> {
    try {
      const progress = await deliver(events);
      if (failures > 0) log.info('The backend takes events again.', { pending: outlet.pending() });
      failures = 0;
      // A batch that just failed has more behind it: growing step by step finds them sooner.
      limit = Math.min(mostPerBatch, limit * 2);
      if (progress === 'stuck') await pause();
      return progress === 'moved';
    } catch (error) {
      if (await isolated(events, error)) return true;
      limit = Math.min(limit, Math.max(minAfterFailure, Math.floor(events.length / 2)));
      if (failures === 0)
        log.warn('Events cannot be delivered; they are kept.', { pending: outlet.pending(), ...errorFields(error) });
      await pause();
      return false;
    }
  }

  /** The first event after silence goes at once; in a stream those of some milliseconds go together, for a batch costs as much as ten events. */
  async function gather(): Promise<void> {
    const since = clock.monotonic() - lastAt;
    if (since < gatherMs && !stopping.signal.aborted) await sleep(clock, gatherMs - since, stopping.signal);
  }

  /** When the store cannot be read it waits a moment; the loop looks again. */
  async function nextBatch(): Promise<OutletEvent[] | 'unreadable'> {
    try {
      return outlet.batch(limit);
    } catch (error) {
      problems.note('STORE_WRITE_FAILED', { detail: 'reading the outlet', error });
      await pause();
      return 'unreadable';
    }
  }

  async function loop(): Promise<void> {
    for (;;) {
      // Made before looking, so that a commit between the look and the wait is not slept through.
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await gather();
      const events = await nextBatch();
      if (events === 'unreadable') {
        if (stopping.signal.aborted) return;
      } else if (events.length > 0) {
        lastAt = clock.monotonic();
        const moved = await round(events);
        if (stopping.signal.aborted && !moved) return;
      } else if (stopping.signal.aborted) return;
      else await woken;
    }
  }

  return {
    start() {
      outlet.onCommit(() => wake());
      running = loop();
    },
    async stop(flushMs) {
      outlet.commit();
      stopping.abort();
      wake();
      const flushed = await settlesWithin(clock, running, flushMs);
      if (!flushed || outlet.pending() > 0)
        log.warn('Stopped with events still to be delivered; they are kept.', { pending: outlet.pending() });
    },
  };
}

/** What a failure says of the batch: `unreadable` and `failed` may be one event's fault; null is the way or the moment. */
function faultOf(error: unknown): 'unreadable' | 'failed' | null {
  if (!(error instanceof AppError)) return null;
  if (hopeless.has(error.code)) return 'unreadable';
  if (error.code !== 'INTERNAL_ERROR') return null;
  const { status } = error.details;
  return typeof status === 'number' && passing.has(status) ? null : 'failed';
}
