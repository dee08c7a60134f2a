import type { CompatReport } from '@chasqui/shared';
import type { Mend } from './compat/mend.js';

/** What the page said of each mend; `waiting` until it did. The reserved ids stand among them, because sends rest on that wrap. */
export function createReports(mends: readonly Mend[]) {
  const states = new Map<string, CompatReport>();
  for (const defect of [...mends.map((mend) => mend.id), 'reserved-id'])
    states.set(defect, { defect, state: 'waiting', detail: null });
  return {
    set: (defect: string, state: CompatReport['state'], detail: string | null): void =>
      void states.set(defect, { defect, state, detail }),
    all: (): CompatReport[] => [...states.values()],
  };
}
