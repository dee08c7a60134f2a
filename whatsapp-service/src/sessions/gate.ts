/**
 * Lets a fixed number of browsers start at once, in the order of asking. First starts go before repeated ones: sessions whose browsers fail
 * again and again must not keep a sound one from starting.
 */
export interface Gate {
  /** Resolves with the way out, which may be called twice. Rejects when `signal` aborts while waiting. */
  enter(signal: AbortSignal, isRepeat?: boolean): Promise<() => void>;
}

export function createGate(places: number): Gate {
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
          reject(new Error('The start was called off while it waited for its turn.'));
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
