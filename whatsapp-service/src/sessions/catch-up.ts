import { backoff, type Clock } from '../clock.js';
import type { EngineSession } from '../engine/engine.js';
import type { WorkerEvent } from '../events/worker-event.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Marks } from './marks.js';

/**
 * Reads the messages that arrived while no browser was connected, once a browser is proven. The watermark is the time of the newest message
 * that was read. It moves only when the past is complete: otherwise a message from before the mark could be missed after a crash.
 *
 * | the scan | then |
 * | --- | --- |
 * | fails completely | it is retried until it works, first after 10 s, later every 5 minutes; the mark does not move |
 * | cannot read some chats | the same, at most `maxAttempts` times; then it counts as complete, is emitted as `truncated` and reported to staff |
 */
export interface CatchUp {
  /**
   * Scans since the watermark, or since `requested`. If this worker has no watermark, it scans since `inherited`; without both, there is
   * nothing to scan and the watermark starts now. Never rejects.
   */
  run(requested: Date | null): Promise<void>;
  /** A message was observed; `at` is WhatsApp's time in milliseconds. Never throws. */
  observed(at: number): void;
  /** Observed messages could not be stored: the past is incomplete and is scanned again from the mark on the disk. */
  missed(): void;
  stop(): void;
}

const perChat = 1_000;
const longestMs = 7 * 86_400_000;
/** A message from before the mark may arrive after it. Messages that are found twice are emitted once, because the outlet knows the keys. */
const overlapMs = 600_000;
const retryMs = { first: 10_000, longest: 300_000 };
const maxAttempts = 5;
/** How far before the gap older messages are checked for changes. WhatsApp allows deletions for everyone for two days. */
const compareMs = 3 * 86_400_000;
/** The minimum time between two `session.caught_up` events. */
const progressIntervalMs = 60_000;

export function createCatchUp(options: {
  sessionId: string;
  session: EngineSession;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  /** The number of the linked account. */
  phoneNumber: () => string | null;
  /** Until when the backend has the messages of this account from another worker or login. Milliseconds. */
  inherited: () => number | null;
  /** Keys of messages that had a reaction or a change since a time. */
  watched: (since: number) => string[];
  clock: Clock;
  random: () => number;
  log: Log;
  problems: Problems;
}): CatchUp {
  const { sessionId, marks, clock, log, problems } = options;
  let stopped = false;
  let complete = false;
  let newest = 0;
  /** Changes when messages are missed: a scan that started earlier does not cover them. */
  let generation = 0;
  let attempts = 0;
  let emittedAt = -Infinity;
  let cancelRetry = (): void => undefined;
  let tail: Promise<void> = Promise.resolve();

  /** Returns the number of chats that could not be read. */
  async function scan(since: Date, startedAt: number, isRequested: boolean): Promise<number> {
    const oldest = startedAt - longestMs;
    const from = new Date(Math.max(since.getTime(), oldest));
    const compareSince = new Date(from.getTime() - compareMs);
    const watched = options.watched(compareSince.getTime());
    const request = { since: from, perChat, isRequested, compareSince, watched };
    const { failedChats = 0, ...found } = await options.session.backfill(request);
    if (stopped) return 0;
    const truncated = found.truncated || failedChats > 0 || since.getTime() < oldest;
    const payload = { ...found, truncated, from: from.toISOString(), to: new Date(startedAt).toISOString() };
    options.emit({ event: 'session.backfill', payload });
    return failedChats;
  }

  /** Reports the mark, not the newest message: the mark does not move while messages cannot be stored. */
  function emitCaughtUp(): void {
    const phoneNumber = options.phoneNumber();
    const at = marks.watermark(sessionId);
    if (phoneNumber === null || at === null) return;
    emittedAt = clock.monotonic();
    options.emit({ event: 'session.caught_up', payload: { phoneNumber, at: new Date(at).toISOString() } });
  }

  /** The start of a scan. While the past is incomplete, a requested scan covers it too and replaces the scan that is due. */
  function startOfScan(requested: Date | null, mark: number | null, startedAt: number): Date | null {
    // A mark from a clock that was ahead must not hide later messages.
    const marked = mark === null ? null : Math.min(mark, startedAt) - overlapMs;
    if (requested === null) return marked === null ? null : new Date(marked);
    return complete || marked === null ? requested : new Date(Math.min(marked, requested.getTime()));
  }

  function scheduleRetry(requested: Date | null): void {
    cancelRetry();
    cancelRetry = clock.after(backoff(attempts, retryMs.first, retryMs.longest, options.random), () => void run(requested));
  }

  async function runOnce(requested: Date | null): Promise<void> {
    if (stopped) return;
    const startGeneration = generation;
    const startedAt = clock.now();
    attempts += 1;
    try {
      const mark = marks.watermark(sessionId) ?? options.inherited();
      const since = startOfScan(requested, mark, startedAt);
      const failedChats = since ? await scan(since, startedAt, requested !== null) : 0;
      if (stopped || startGeneration !== generation) return;
      if (failedChats > 0) {
        problems.note('BACKFILL_INCOMPLETE', { sessionId, detail: `${failedChats} chats, attempt ${attempts}` });
        if (attempts < maxAttempts) return scheduleRetry(requested);
      }
      attempts = 0;
      complete = true;
      marks.raiseWatermark(sessionId, Math.max(newest, mark ?? startedAt));
      emitCaughtUp();
    } catch (error) {
      if (stopped || startGeneration !== generation) return;
      log.warn('The scan for missed messages failed; it is retried.', { sessionId, attempt: attempts, ...errorFields(error) });
      scheduleRetry(requested);
    }
  }

  /** One scan at a time. */
  function run(requested: Date | null): Promise<void> {
    cancelRetry();
    tail = tail.then(() => runOnce(requested));
    return tail;
  }

  return {
    run,
    observed(at) {
      // A wrong time from WhatsApp must not move the mark into the future.
      const time = Math.min(at, clock.now());
      if (!(time > newest)) return;
      newest = time;
      if (!complete) return;
      marks.raiseWatermark(sessionId, time);
      if (clock.monotonic() - emittedAt >= progressIntervalMs) emitCaughtUp();
    },
    missed() {
      generation += 1;
      attempts = 0;
      complete = false;
      marks.unfreeze(sessionId);
      void run(null);
    },
    stop() {
      stopped = true;
      cancelRetry();
    },
  };
}
