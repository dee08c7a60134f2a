/** Shares reads that are requested in the same tick of the event loop. */
export interface Coalescer {
  /** Calls `read`, or returns the result of an earlier call with this key in the same tick. Callers share the result and must not change it. */
  coalesce(key: string, read: () => Promise<unknown[]>): Promise<unknown[]>;
  /** Called after a commit: results that were read before are out of date. */
  forget(): void;
}

export function createCoalescer(): Coalescer {
  const pending = new Map<string, Promise<unknown[]>>();
  let isEndScheduled = false;
  const forget = (): void => pending.clear();

  return {
    coalesce(key, read) {
      const earlier = pending.get(key);
      if (earlier) return earlier;
      if (!isEndScheduled) {
        isEndScheduled = true;
        setImmediate(() => {
          isEndScheduled = false;
          forget();
        });
      }
      const reading = read();
      pending.set(key, reading);
      return reading;
    },
    forget,
  };
}
