/**
 * Limits how many browsers start at once, in the order of `startRank`. Sessions that lost several browsers never have all places. So neither the first
 * start of a healthy session nor its restart after a crash waits behind sessions whose browsers fail again and again, or hang until their time limit.
 */
export interface StartLimit {
  /**
   * Waits for a free place; the lowest rank comes first. Resolves to a function that frees the place; calling it twice has no effect. Rejects when
   * `signal` aborts while waiting.
   */
  enter(signal: AbortSignal, rank: number): Promise<() => void>;
}

/**
 * Returns the rank of a start. `losses`: how many browsers this session lost since it last was connected for some time. A session that was connected when
 * it lost its first browser comes first: its login works, and its messages wait.
 */
export const startRank = (losses: number, wasConnected: boolean): number => (losses === 1 && wasConnected ? 0 : losses + 1);

/** From this rank on the browsers of a session keep failing. */
const failingRank = startRank(2, true);

interface Waiting {
  rank: number;
  admit: () => void;
}

interface State {
  readonly places: number;
  used: number;
  /** The places of sessions whose browsers keep failing. */
  usedByFailing: number;
  /** In the order of the calls. */
  readonly waiting: Waiting[];
}

export function createStartLimit(places: number): StartLimit {
  const state: State = { places, used: 0, usedByFailing: 0, waiting: [] };
  return { enter: (signal, rank) => enter(state, signal, rank) };
}

function enter(state: State, signal: AbortSignal, rank: number): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      const index = state.waiting.indexOf(entry);
      if (index >= 0) state.waiting.splice(index, 1);
      reject(new Error('The start was cancelled while it waited for a free place.'));
    };
    const entry: Waiting = {
      rank,
      admit() {
        signal.removeEventListener('abort', aborted);
        resolve(placeOf(state, rank));
      },
    };
    if (signal.aborted) return aborted();
    state.waiting.push(entry);
    signal.addEventListener('abort', aborted);
    admit(state);
  });
}

/** Occupies a place. Returns the function that frees it. */
function placeOf(state: State, rank: number): () => void {
  const failing = rank >= failingRank ? 1 : 0;
  state.used += 1;
  state.usedByFailing += failing;
  let isInside = true;
  return () => {
    if (!isInside) return;
    isInside = false;
    state.used -= 1;
    state.usedByFailing -= failing;
    admit(state);
  };
}

function admit(state: State): void {
  for (let next = findNext(state); next; next = findNext(state)) {
    state.waiting.splice(state.waiting.indexOf(next), 1);
    next.admit();
  }
}

/**
 * The lowest rank; of several the one that waits longest. Null: no place is free for it. A session that was connected may have one place more than there
 * are: first starts that hang keep theirs until their time limit, for a minute.
 */
function findNext({ places, used, usedByFailing, waiting }: State): Waiting | null {
  const next = waiting.reduce<Waiting | null>((best, one) => (best && best.rank <= one.rank ? best : one), null);
  if (next === null || used >= places + (next.rank === 0 ? 1 : 0)) return null;
  const isFull = next.rank >= failingRank && usedByFailing >= Math.max(1, places - 1);
  return isFull ? null : next;
}
