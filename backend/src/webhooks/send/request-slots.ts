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

export function createRequestSlots(units: number): RequestSlots {
  const perAccount = Math.max(1, Math.floor(units / 2));
  const used = new Map<string, number>();
  let total = 0;
  let isClosed = false;
  /** By account; the account whose turn it is next comes first. */
  const queues = new Map<string, Waiting[]>();

  const fits = (accountId: string, weight: number): boolean =>
    isClosed || (total + weight <= units && (used.get(accountId) ?? 0) + weight <= perAccount);

  function add(accountId: string, weight: number): void {
    total += weight;
    const now = (used.get(accountId) ?? 0) + weight;
    if (now > 0) used.set(accountId, now);
    else used.delete(accountId);
  }

  /**
   * Returns the account whose first waiting request is let in next. One that does not fit into what is left of all units keeps the accounts
   * behind it waiting, or small requests would overtake a large one forever; one at its account's own limit does not.
   */
  function next(): [string, Waiting[]] | null {
    for (const [accountId, queue] of queues) {
      if (fits(accountId, queue[0]!.weight)) return [accountId, queue];
      if ((used.get(accountId) ?? 0) + queue[0]!.weight <= perAccount) return null;
    }
    return null;
  }

  function admit(): void {
    for (let found = next(); found; found = next()) {
      const [accountId, queue] = found;
      const first = queue.shift()!;
      queues.delete(accountId);
      if (queue.length > 0) queues.set(accountId, queue);
      add(accountId, first.weight);
      first.enter();
    }
  }

  function slotOf(accountId: string, weight: number): Slot {
    let left = weight;
    const shrinkTo = (to: number): void => {
      if (to >= left) return;
      add(accountId, to - left);
      left = to;
      admit();
    };
    return { shrinkTo, leave: () => shrinkTo(0) };
  }

  return {
    enter(accountId, wanted) {
      const weight = Math.min(wanted, perAccount);
      return new Promise((resolve) => {
        const queue = queues.get(accountId) ?? [];
        queue.push({ weight, enter: () => resolve(slotOf(accountId, weight)) });
        queues.set(accountId, queue);
        admit();
      });
    },
    close() {
      isClosed = true;
      admit();
    },
  };
}
