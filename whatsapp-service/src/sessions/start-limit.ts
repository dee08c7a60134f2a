/**
 * Limits how many browsers start at once, in the order of the calls. First starts have priority over repeated ones, so that sessions whose
 * browsers keep failing do not delay a healthy one.
 */
export interface StartLimit {
  /** Waits for a free place. Resolves to a function that frees the place; calling it twice has no effect. Rejects when `signal` aborts while waiting. */
  enter(signal: AbortSignal, isRepeat?: boolean): Promise<() => void>;
}

export function createStartLimit(places: number): StartLimit {
  let free = places;
  const first: (() => void)[] = [];
  const repeated: (() => void)[] = [];

  const leave = (): void => {
    free += 1;
    (first.shift() ?? repeated.shift())?.();
  };

  return {
    enter: (signal, isRepeat = false) =>
      new Promise((resolve, reject) => {
        const waiting = isRepeat ? repeated : first;
        const aborted = (): void => {
          const place = waiting.indexOf(admit);
          if (place >= 0) waiting.splice(place, 1);
          reject(new Error('The start was cancelled while it waited for a free place.'));
        };
        const admit = (): void => {
          signal.removeEventListener('abort', aborted);
          free -= 1;
          let inside = true;
          resolve(() => {
            if (inside) leave();
            inside = false;
          });
        };
        if (signal.aborted) return aborted();
        if (free > 0) return admit();
        waiting.push(admit);
        signal.addEventListener('abort', aborted);
      }),
  };
}
