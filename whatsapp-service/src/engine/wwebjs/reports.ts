import { compatStates, type CompatReport } from '@chasqui/shared';
import type { Mend } from './compat/mend.js';

const maxDetail = 200;

/**
 * What the page said of each mend; `waiting` until it did. The reserved ids are among them, because sends rest on that wrap. Whatever runs in
 * the page can call `set`: only mends and states that exist are kept, because they go out with every heartbeat of the worker.
 */
export function createReports(mends: readonly Mend[]) {
  const states = new Map<string, CompatReport>();
  for (const defect of [...mends.map((mend) => mend.id), 'reserved-id'])
    states.set(defect, { defect, state: 'waiting', detail: null });
  return {
    set(defect: unknown, state: unknown, detail: unknown): void {
      const known = compatStates.find((candidate) => candidate === state);
      if (typeof defect !== 'string' || known === undefined || !states.has(defect)) return;
      states.set(defect, { defect, state: known, detail: typeof detail === 'string' ? detail.slice(0, maxDetail) : null });
    },
    all: (): CompatReport[] => [...states.values()],
  };
}
