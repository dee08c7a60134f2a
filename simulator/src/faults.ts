/**
 * Faults that tests request. The next `count` requests of an operation fail (the server refuses), are dropped (never arrive), are
 * applied with the reply lost or with a reply that says nothing, or are delayed. `op` is an operation of the page's connection, or `upload` or `download`.
 */
export interface Fault {
  op: string;
  mode: 'fail' | 'drop' | 'dropReply' | 'emptyReply' | 'delay';
  count: number;
  delayMs?: number | undefined;
  /** The status of a failed request. By default 500. */
  status?: number | undefined;
  /** Only for the pages of this number. */
  phone?: string | undefined;
}

export function createFaults() {
  let faults: Fault[] = [];
  return {
    order(fault: Fault): void {
      faults.push({ ...fault });
    },
    clear(): void {
      faults = [];
    },
    /** The faults that still wait for a request, with how many. */
    waiting: (): Fault[] => faults.filter(({ count }) => count > 0),
    /** Returns the fault for this request, if there is one, and counts it as used. */
    next(op: string, phone: string | null): Fault | null {
      const fault = faults.find(
        (candidate) => candidate.op === op && candidate.count > 0 && (candidate.phone === undefined || candidate.phone === phone),
      );
      if (!fault) return null;
      fault.count -= 1;
      return fault;
    },
  };
}
export type Faults = ReturnType<typeof createFaults>;
