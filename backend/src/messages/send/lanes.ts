import { errorFields, type Log } from '../../lib/log.js';

export type Lanes = ReturnType<typeof createLanes>;

/**
 * One piece of work at a time for each session, and a second look after every one that came too late. Interleaving that this closes:
 * a message that is accepted while its session's queue is just found empty wakes a lane that is about to end; it runs once more.
 */
export function createLanes({ drain, log }: { drain: (sessionId: string) => Promise<void>; log: Log }) {
  const busy = new Map<string, Promise<void>>();
  const again = new Set<string>();
  const timers = new Map<string, NodeJS.Timeout>();
  let stopped = false;

  function run(sessionId: string, work: () => Promise<void>): void {
    if (stopped) return;
    if (busy.has(sessionId)) return void again.add(sessionId);
    const running = work()
      .catch((error: unknown) =>
        log.error('A session’s queue could not be processed; it is retried.', { sessionId, ...errorFields(error) }),
      )
      .finally(() => {
        busy.delete(sessionId);
        if (again.delete(sessionId)) wake(sessionId);
      });
    busy.set(sessionId, running);
  }
  const wake = (sessionId: string): void => run(sessionId, () => drain(sessionId));

  return {
    run,
    wake,
    /** Wakes the session in so many milliseconds; a later call replaces an earlier one. */
    comeBack(sessionId: string, ms: number): void {
      if (stopped) return;
      clearTimeout(timers.get(sessionId));
      const timer = setTimeout(() => {
        timers.delete(sessionId);
        wake(sessionId);
      }, ms);
      timers.set(sessionId, timer);
    },
    /** Resolves when what runs has ended; nothing starts any more. */
    async stop(): Promise<void> {
      stopped = true;
      for (const timer of timers.values()) clearTimeout(timer);
      await Promise.allSettled(busy.values());
    },
  };
}
