import type { Clock } from '../clock.js';
import type { EngineSession } from '../engine/engine.js';
import type { WorkerEvent } from '../events/outlet.js';
import { errorFields, type Log } from '../log.js';
import type { Marks } from './marks.js';

/**
 * Takes in what came while nobody listened, once a browser is proven. The watermark is the time of the newest message taken in; it
 * moves only when the past is complete: a mark ahead of a message still to come would hide that one after a crash.
 */
export interface CatchUp {
  /** Since the watermark, or since `asked`. The first time there is no past of ours: it begins now. Never rejects. */
  run(asked: Date | null): Promise<void>;
  /** A message was observed; milliseconds as WhatsApp tells them. */
  saw(at: number): void;
  stop(): void;
}

const perChat = 1_000;
const longestMs = 7 * 86_400_000;
/** What was sent before the mark may arrive after it. What comes twice is told once (the outlet knows the keys). */
const overlapMs = 600_000;
const againAfterMs = 10_000;

export function createCatchUp(options: {
  sessionId: string;
  session: EngineSession;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  clock: Clock;
  log: Log;
}): CatchUp {
  const { sessionId, marks, clock, log } = options;
  let stopped = false;
  let complete = false;
  let newest = 0;

  async function scan(since: Date, startedAt: number): Promise<void> {
    const oldest = startedAt - longestMs;
    const from = new Date(Math.max(since.getTime(), oldest));
    const found = await options.session.backfill({ since: from, perChat });
    if (stopped) return;
    const truncated = found.truncated || since.getTime() < oldest;
    const payload = { ...found, truncated, from: from.toISOString(), to: new Date(startedAt).toISOString() };
    options.emit({ event: 'session.backfill', payload });
  }

  async function run(asked: Date | null): Promise<void> {
    const mark = marks.watermark(sessionId);
    const startedAt = clock.now();
    try {
      if (asked ?? mark) await scan(asked ?? new Date((mark ?? 0) - overlapMs), startedAt);
      if (stopped) return;
      complete = true;
      marks.raiseWatermark(sessionId, Math.max(newest, mark ?? startedAt));
    } catch (error) {
      if (stopped) return;
      log.warn('What was missed could not be taken in; it is tried again.', { sessionId, ...errorFields(error) });
      clock.after(againAfterMs, () => {
        if (!stopped) void run(asked);
      });
    }
  }

  return {
    run,
    saw(at) {
      // A wrong clock on the other side must not push the mark into the future.
      const time = Math.min(at, clock.now());
      if (!(time > newest)) return;
      newest = time;
      if (complete) marks.raiseWatermark(sessionId, time);
    },
    stop() {
      stopped = true;
    },
  };
}
