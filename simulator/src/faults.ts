/**
 * Faults that tests order: the next `count` requests of an operation fail (the server refuses), are dropped (never arrive), are
 * applied with the reply lost, or are delayed. `op` is one of the page's line, or `upload` or `download`.
 */
export interface Fault {
  op: string;
  mode: 'fail' | 'drop' | 'dropReply' | 'delay';
  count: number;
  delayMs?: number | undefined;
  /** What a failed request is refused with; 500 unless told. */
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
    /** The fault that this request meets, if any; it is used up by one. */
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
