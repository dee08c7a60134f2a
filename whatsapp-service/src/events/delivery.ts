import { AppError, backendInternalRoutes, type OutletEvent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { BackendCall } from '../backend.js';
import { backoff, settlesWithin, sleep, type Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Outlet } from './outlet.js';

/** Carries the outlet to the backend: one batch in flight, oldest first, for as long as it takes. */
export interface Delivery {
  start(): void;
  /** Goes on until the outlet is empty or the backend fails, at most `flushMs`; then stops. */
  stop(flushMs: number): Promise<void>;
}

const mostPerBatch = 500;
const callTimeoutMs = 15_000;
const gatherMs = 20;
/** The backend has read these and will never take them as they are; repeating would stop the queue for good. */
const hopeless = new Set(['VALIDATION_FAILED', 'MALFORMED_REQUEST', 'BODY_TOO_LARGE']);

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

  /** Settles refusals, then moves the mark: killed in between, the same batch comes again and is refused again. */
  async function deliver(events: OutletEvent[]): Promise<'moved' | 'stuck'> {
    const body = { ...options.worker, events };
    const { data } = await call(backendInternalRoutes.events, { body }, { timeoutMs: callTimeoutMs });
    failPoint('delivery.answered');
    const before = outlet.pending();
    for (const { id, code } of data.refused) {
      const event = events.find((candidate) => candidate.id === id);
      if (event) refused(event, code);
    }
    outlet.acknowledge(data.ackCursor);
    for (const { sessionId, fromSequence } of data.resend) {
      if (!outlet.resend(sessionId, fromSequence)) continue;
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

  /** A batch that cannot be read is cut down to the one event that is at fault, and that one is parked. False: nothing was isolated. */
  function isolated(events: OutletEvent[], error: unknown): boolean {
    if (!(error instanceof AppError) || !hopeless.has(error.code)) return false;
    if (events.length > 1) {
      limit = Math.max(1, Math.floor(events.length / 2));
      return true;
    }
    try {
      refused(events[0]!, error.code);
    } catch (failure) {
      // It could not be parked: the disk takes nothing. It is sent, refused and parked once there is room again.
      problems.note('STORE_WRITE_FAILED', { detail: 'parking an event', error: failure });
      return false;
    }
    outlet.acknowledge(events[0]!.cursor);
    return true;
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
      limit = mostPerBatch;
      if (progress === 'stuck') await pause();
      return progress === 'moved';
    } catch (error) {
      if (isolated(events, error)) return true;
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
