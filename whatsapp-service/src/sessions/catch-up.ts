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
  /** Records that a message was observed; `at` is WhatsApp's time in milliseconds. Never throws. */
  observed(at: number): void;
  /** Scans again from the mark on disk, because observed messages could not be stored. */
  onMissedMessages(): void;
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

export interface CatchUpOptions {
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
}

interface Context extends CatchUpOptions {
  isStopped: boolean;
  /** Whether the past was read up to the start of this browser. Only then live messages move the mark. */
  isComplete: boolean;
  /** The time of the newest message that was observed. */
  newest: number;
  /** Changes when messages are missed: a scan that started earlier does not cover them. */
  generation: number;
  /** The number of scans since the last complete one. */
  attempts: number;
  /** When `session.caught_up` was emitted last, on the monotonic clock. */
  emittedAt: number;
  cancelRetry: () => void;
  /** Resolves when the scans so far have ended. */
  tail: Promise<void>;
}

export function createCatchUp(options: CatchUpOptions): CatchUp {
  const context: Context = {
    ...options,
    isStopped: false,
    isComplete: false,
    newest: 0,
    generation: 0,
    attempts: 0,
    emittedAt: -Infinity,
    cancelRetry: () => undefined,
    tail: Promise.resolve(),
  };
  return {
    run: (requested) => run(context, requested),
    observed: (at) => observed(context, at),
    onMissedMessages: () => onMissedMessages(context),
    stop() {
      context.isStopped = true;
      context.cancelRetry();
    },
  };
}

/** Queues a scan. One scan runs at a time. */
function run(context: Context, requested: Date | null): Promise<void> {
  context.cancelRetry();
  context.tail = context.tail.then(() => runOnce(context, requested));
  return context.tail;
}

async function runOnce(context: Context, requested: Date | null): Promise<void> {
  const { sessionId, marks, clock, log, problems } = context;
  if (context.isStopped) return;
  const { generation } = context;
  const startedAt = clock.now();
  context.attempts += 1;
  try {
    const mark = marks.watermark(sessionId) ?? context.inherited();
    const since = startOfScan(context.isComplete, requested, mark, startedAt);
    const failedChats = since ? await scan(context, since, startedAt, requested !== null) : 0;
    if (context.isStopped || generation !== context.generation) return;
    if (failedChats > 0) {
      problems.note('BACKFILL_INCOMPLETE', { sessionId, detail: `${failedChats} chats, attempt ${context.attempts}` });
      if (context.attempts < maxAttempts) return scheduleRetry(context, requested);
    }
    context.attempts = 0;
    context.isComplete = true;
    marks.raiseWatermark(sessionId, Math.max(context.newest, mark ?? startedAt));
    emitCaughtUp(context);
  } catch (error) {
    if (context.isStopped || generation !== context.generation) return;
    log.warn('The scan for missed messages failed; it is retried.', {
      sessionId,
      attempt: context.attempts,
      ...errorFields(error),
    });
    scheduleRetry(context, requested);
  }
}

/** The start of a scan. While the past is incomplete, a requested scan covers it too and replaces the scan that is due. */
function startOfScan(isComplete: boolean, requested: Date | null, mark: number | null, startedAt: number): Date | null {
  // A mark from a clock that was ahead must not hide later messages.
  const marked = mark === null ? null : Math.min(mark, startedAt) - overlapMs;
  if (requested === null) return marked === null ? null : new Date(marked);
  return isComplete || marked === null ? requested : new Date(Math.min(marked, requested.getTime()));
}

/** Returns the number of chats that could not be read. */
async function scan(context: Context, since: Date, startedAt: number, isRequested: boolean): Promise<number> {
  const oldest = startedAt - longestMs;
  const from = new Date(Math.max(since.getTime(), oldest));
  const compareSince = new Date(from.getTime() - compareMs);
  const watched = context.watched(compareSince.getTime());
  const request = { since: from, perChat, isRequested, compareSince, watched };
  const { failedChats = 0, ...found } = await context.session.backfill(request);
  if (context.isStopped) return 0;
  const truncated = found.truncated || failedChats > 0 || since.getTime() < oldest;
  const payload = { ...found, truncated, from: from.toISOString(), to: new Date(startedAt).toISOString() };
  context.emit({ event: 'session.backfill', payload });
  return failedChats;
}

function scheduleRetry(context: Context, requested: Date | null): void {
  const { attempts, clock, random } = context;
  context.cancelRetry();
  const delayMs = backoff(attempts, retryMs.first, retryMs.longest, random);
  context.cancelRetry = clock.after(delayMs, () => void run(context, requested));
}

/** Reports the mark, not the newest message: the mark does not move while messages cannot be stored. */
function emitCaughtUp(context: Context): void {
  const phoneNumber = context.phoneNumber();
  const at = context.marks.watermark(context.sessionId);
  if (phoneNumber === null || at === null) return;
  context.emittedAt = context.clock.monotonic();
  context.emit({ event: 'session.caught_up', payload: { phoneNumber, at: new Date(at).toISOString() } });
}

function observed(context: Context, at: number): void {
  const { sessionId, marks, clock } = context;
  // A wrong time from WhatsApp must not move the mark into the future.
  const time = Math.min(at, clock.now());
  if (!(time > context.newest)) return;
  context.newest = time;
  if (!context.isComplete) return;
  marks.raiseWatermark(sessionId, time);
  if (clock.monotonic() - context.emittedAt >= progressIntervalMs) emitCaughtUp(context);
}

function onMissedMessages(context: Context): void {
  context.generation += 1;
  context.attempts = 0;
  context.isComplete = false;
  context.marks.unfreeze(context.sessionId);
  void run(context, null);
}
