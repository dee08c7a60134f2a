/** Shares reads that are requested in the same tick of the event loop. */
export interface Coalescer {
  /** Calls `read`, or returns the result of an earlier call with this key in the same tick. Callers share the result and must not change it. */
  coalesce<Row = unknown>(key: string, read: () => Promise<Row[]>): Promise<Row[]>;
  /** Called after a commit: results that were read before are out of date. */
  forget(): void;
}

export function createCoalescer(): Coalescer {
  const pending = new Map<string, Promise<unknown[]>>();
  let isEndScheduled = false;
  const forget = (): void => pending.clear();

  return {
    coalesce<Row>(key: string, read: () => Promise<Row[]>) {
      // A key names one read, so its rows have one type.
      const earlier = pending.get(key) as Promise<Row[]> | undefined;
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
