import { backoff, type Clock } from '../clock.js';
import type { EngineSession } from '../engine/engine.js';
import type { WorkerEvent } from '../events/worker-event.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Marks } from './marks.js';

/**
 * Takes in what came while nobody listened, once a browser is proven. The watermark is the time of the newest message taken in; it
 * moves only when the past is complete: a mark ahead of a message still to come would hide that one after a crash.
 *
 * | the scan | then |
 * | --- | --- |
 * | fails as a whole | it is repeated until it works, first after 10 s, later every 5 minutes; the mark waits |
 * | cannot read some chats | likewise, at most `maxAttempts` times; then it counts as complete, is told as `truncated`, and staff see it |
 */
export interface CatchUp {
  /**
   * Since the watermark, or since `asked`. Where this worker has no watermark, since `inherited`; where there is none either, there is no
   * past of ours and it begins now. Never rejects.
   */
  run(asked: Date | null): Promise<void>;
  /** A message was observed; milliseconds as WhatsApp tells them. Never throws. */
  saw(at: number): void;
  /** Messages that were observed could not be kept: the past is incomplete again and is scanned from the mark on the disk. */
  missed(): void;
  stop(): void;
}

const perChat = 1_000;
const longestMs = 7 * 86_400_000;
/** What was sent before the mark may arrive after it. What comes twice is told once (the outlet knows the keys). */
const overlapMs = 600_000;
const retryMs = { first: 10_000, longest: 300_000 };
const maxAttempts = 5;
/** Messages that are so much older than the gap are looked at for changes. WhatsApp lets people delete for everyone for two days. */
const compareMs = 3 * 86_400_000;
/** How often the backend is told how far the messages are recorded, at most. */
const tellEveryMs = 60_000;

export function createCatchUp(options: {
  sessionId: string;
  session: EngineSession;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  /** The number of the linked account. */
  phoneNumber: () => string | null;
  /** How far the backend has the messages of this account, where another worker or login recorded them. Milliseconds. */
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
  /** A scan that began before messages were missed says nothing about them. */
  let generation = 0;
  let attempts = 0;
  let toldAt = -Infinity;
  let cancelRetry = (): void => undefined;
  let tail: Promise<void> = Promise.resolve();

  /** Returns how many chats could not be read. */
  async function scan(since: Date, startedAt: number, isAsked: boolean): Promise<number> {
    const oldest = startedAt - longestMs;
    const from = new Date(Math.max(since.getTime(), oldest));
    const compareSince = new Date(from.getTime() - compareMs);
    const watched = options.watched(compareSince.getTime());
    const request = { since: from, perChat, isAsked, compareSince, watched };
    const { failedChats = 0, ...found } = await options.session.backfill(request);
    if (stopped) return 0;
    const truncated = found.truncated || failedChats > 0 || since.getTime() < oldest;
    const payload = { ...found, truncated, from: from.toISOString(), to: new Date(startedAt).toISOString() };
    options.emit({ event: 'session.backfill', payload });
    return failedChats;
  }

  /** From the mark, not from the newest message: the mark waits while messages cannot be kept. */
  function tellCaughtUp(): void {
    const phoneNumber = options.phoneNumber();
    const at = marks.watermark(sessionId);
    if (phoneNumber === null || at === null) return;
    toldAt = clock.monotonic();
    options.emit({ event: 'session.caught_up', payload: { phoneNumber, at: new Date(at).toISOString() } });
  }

  /** While the past is incomplete, a scan that somebody asked for covers it too: it takes the place of the one that is due. */
  function sinceWhen(asked: Date | null, mark: number | null, startedAt: number): Date | null {
    // A mark from a clock that ran ahead must not hide what came since.
    const marked = mark === null ? null : Math.min(mark, startedAt) - overlapMs;
    if (asked === null) return marked === null ? null : new Date(marked);
    return complete || marked === null ? asked : new Date(Math.min(marked, asked.getTime()));
  }

  function again(asked: Date | null): void {
    cancelRetry();
    cancelRetry = clock.after(backoff(attempts, retryMs.first, retryMs.longest, options.random), () => void run(asked));
  }

  async function once(asked: Date | null): Promise<void> {
    if (stopped) return;
    const mine = generation;
    const startedAt = clock.now();
    attempts += 1;
    try {
      const mark = marks.watermark(sessionId) ?? options.inherited();
      const since = sinceWhen(asked, mark, startedAt);
      const failedChats = since ? await scan(since, startedAt, asked !== null) : 0;
      if (stopped || mine !== generation) return;
      if (failedChats > 0) {
        problems.note('BACKFILL_INCOMPLETE', { sessionId, detail: `${failedChats} chats, attempt ${attempts}` });
        if (attempts < maxAttempts) return again(asked);
      }
      attempts = 0;
      complete = true;
      marks.raiseWatermark(sessionId, Math.max(newest, mark ?? startedAt));
      tellCaughtUp();
    } catch (error) {
      if (stopped || mine !== generation) return;
      log.warn('The scan for missed messages failed; it is repeated.', { sessionId, attempt: attempts, ...errorFields(error) });
      again(asked);
    }
  }

  /** One scan at a time. */
  function run(asked: Date | null): Promise<void> {
    cancelRetry();
    tail = tail.then(() => once(asked));
    return tail;
  }

  return {
    run,
    saw(at) {
      // A wrong clock on the other side must not push the mark into the future.
      const time = Math.min(at, clock.now());
      if (!(time > newest)) return;
      newest = time;
      if (!complete) return;
      marks.raiseWatermark(sessionId, time);
      if (clock.monotonic() - toldAt >= tellEveryMs) tellCaughtUp();
    },
    missed() {
      generation += 1;
      attempts = 0;
      complete = false;
      marks.release(sessionId);
      void run(null);
    },
    stop() {
      stopped = true;
      cancelRetry();
    },
  };
}
