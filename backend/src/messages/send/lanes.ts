import { errorFields, type Log } from '../../lib/log.js';

/** One lane for each session: it runs one piece of work at a time. */
export interface Lanes {
  /** Runs `work` in the session's lane. If the lane is busy, `work` is dropped, and the session's queue is drained when the lane is free. */
  run(sessionId: string, work: () => Promise<void>): void;
  /** Drains the session's queue. A call while the lane is busy is not lost: the queue is drained once more afterwards. */
  wake(sessionId: string): void;
  /** Wakes the session after this many milliseconds. A later call replaces an earlier one. */
  wakeIn(sessionId: string, ms: number): void;
  /** Starts nothing any more. Resolves when the running work has ended. */
  stop(): Promise<void>;
}

interface Context {
  /** Sends what is due of a session. */
  drain: (sessionId: string) => Promise<void>;
  log: Log;
  /** The running work, by session. */
  busy: Map<string, Promise<void>>;
  /** Sessions that are drained again when their lane is free. */
  wokenWhileBusy: Set<string>;
  timers: Map<string, NodeJS.Timeout>;
  isStopped: boolean;
}

export function createLanes(parts: { drain: (sessionId: string) => Promise<void>; log: Log }): Lanes {
  const context: Context = { ...parts, busy: new Map(), wokenWhileBusy: new Set(), timers: new Map(), isStopped: false };
  return {
    run: (sessionId, work) => run(context, sessionId, work),
    wake: (sessionId) => wake(context, sessionId),
    wakeIn: (sessionId, ms) => wakeIn(context, sessionId, ms),
    async stop() {
      context.isStopped = true;
      for (const timer of context.timers.values()) clearTimeout(timer);
      await Promise.allSettled(context.busy.values());
    },
  };
}

function run(context: Context, sessionId: string, work: () => Promise<void>): void {
  const { busy, wokenWhileBusy, log } = context;
  if (context.isStopped) return;
  // Closes: a message is accepted just after its session's queue was found empty, and wakes a lane that is about to end.
  if (busy.has(sessionId)) return void wokenWhileBusy.add(sessionId);
  const running = work()
    .catch((error: unknown) =>
      log.error('A session’s queue could not be processed; it is retried.', { sessionId, ...errorFields(error) }),
    )
    .finally(() => {
      busy.delete(sessionId);
      if (wokenWhileBusy.delete(sessionId)) wake(context, sessionId);
    });
  busy.set(sessionId, running);
}

const wake = (context: Context, sessionId: string): void => run(context, sessionId, () => context.drain(sessionId));

function wakeIn(context: Context, sessionId: string, ms: number): void {
  if (context.isStopped) return;
  clearTimeout(context.timers.get(sessionId));
  const timer = setTimeout(() => {
    context.timers.delete(sessionId);
    wake(context, sessionId);
  }, ms);
  context.timers.set(sessionId, timer);
}
