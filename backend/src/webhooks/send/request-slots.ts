/**
 * Limits the concurrent webhook requests over all endpoints of this process: each costs a socket, and memory for its
 * event and its body until the receiver has answered. The limit of one endpoint bounds nothing when there are a thousand of them.
 *
 * A unit is one request with a body of at most `unitBytes`; a larger body counts as several. One account may use half of the units, so that
 * hanging receivers of one tenant do not delay the others. Waiting accounts take turns; within one account requests are served in order.
 */
export interface RequestSlots {
  /** Resolves when there is room. After `close` it resolves at once. `weight` is capped at what one account may use. */
  enter(accountId: string, weight: number): Promise<Slot>;
  /** Admits every waiting request, for shutdown: each of them checks whether it may continue. */
  close(): void;
}

export interface Slot {
  /** Releases what the request does not need. Never reserves more. */
  shrinkTo(weight: number): void;
  /** Releases the rest. May be called again. */
  leave(): void;
}

/** Bytes of a body that one unit covers. */
export const unitBytes = 65_536;
/** Weight of a request whose body is not known yet and may be long: the largest event and what a transformation may add. */
export const unknownWeight = 24;

export const weightOf = (bodyBytes: number): number => Math.max(1, Math.ceil(bodyBytes / unitBytes));

interface Waiting {
  weight: number;
  enter: () => void;
}

interface State {
  units: number;
  /** The units that one account may use. */
  perAccount: number;
  total: number;
  used: Map<string, number>;
  /** By account; the account whose turn it is next comes first. */
  queues: Map<string, Waiting[]>;
  isClosed: boolean;
}

export function createRequestSlots(units: number): RequestSlots {
  const perAccount = Math.max(1, Math.floor(units / 2));
  const state: State = { units, perAccount, total: 0, used: new Map(), queues: new Map(), isClosed: false };
  return {
    enter(accountId, wanted) {
      const weight = Math.min(wanted, perAccount);
      return new Promise((resolve) => {
        const queue = state.queues.get(accountId) ?? [];
        queue.push({ weight, enter: () => resolve(slotOf(state, accountId, weight)) });
        state.queues.set(accountId, queue);
        admit(state);
      });
    },
    close() {
      state.isClosed = true;
      admit(state);
    },
  };
}

function admit(state: State): void {
  for (let found = next(state); found; found = next(state)) {
    const [accountId, queue] = found;
    const first = queue.shift()!;
    state.queues.delete(accountId);
    if (queue.length > 0) state.queues.set(accountId, queue);
    add(state, accountId, first.weight);
    first.enter();
  }
}

/**
 * Returns the account whose first waiting request is let in next. One that does not fit into what is left of all units keeps the accounts
 * behind it waiting, or small requests would overtake a large one forever; one at its account's own limit does not.
 */
function next(state: State): [string, Waiting[]] | null {
  for (const [accountId, queue] of state.queues) {
    const { weight } = queue[0]!;
    const isWithinAccount = (state.used.get(accountId) ?? 0) + weight <= state.perAccount;
    if (state.isClosed || (isWithinAccount && state.total + weight <= state.units)) return [accountId, queue];
    if (isWithinAccount) return null;
  }
  return null;
}

function add(state: State, accountId: string, weight: number): void {
  state.total += weight;
  const used = (state.used.get(accountId) ?? 0) + weight;
  if (used > 0) state.used.set(accountId, used);
  else state.used.delete(accountId);
}

function slotOf(state: State, accountId: string, weight: number): Slot {
  let left = weight;
  const shrinkTo = (to: number): void => {
    if (to >= left) return;
    add(state, accountId, to - left);
    left = to;
    admit(state);
  };
  return { shrinkTo, leave: () => shrinkTo(0) };
}
