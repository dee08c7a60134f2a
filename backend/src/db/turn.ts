/** What was read in the present turn of the event loop. */
export interface Turn {
  /** What `read` gives, or gave when it was asked for under this name before. Without a value of its own for each: do not change it. */
  once(name: string, read: () => Promise<unknown[]>): Promise<unknown[]>;
  /** Something was committed: what was read before is out of date. */
  forget(): void;
}

export function createTurn(): Turn {
  const known = new Map<string, Promise<unknown[]>>();
  let isEnding = false;
  const forget = (): void => known.clear();

  return {
    once(name, read) {
      const earlier = known.get(name);
      if (earlier) return earlier;
      if (!isEnding) {
        isEnding = true;
        setImmediate(() => {
          isEnding = false;
          forget();
        });
      }
      const reading = read();
      known.set(name, reading);
      return reading;
    },
    forget,
  };
}
