import { compatStates, type CompatReport } from '@chasqui/shared';
import type { Patch } from './compat/patch.js';

const maxDetail = 200;

/** The state of each patch as reported by the page; `waiting` until then. Reserved ids are included, because sends depend on them. */
export interface Reports {
  /**
   * Records what the page reports. Any code in the page can call it, so unknown patches and states are ignored: the reports are sent with
   * every heartbeat of the worker.
   */
  set(defect: unknown, state: unknown, detail: unknown): void;
  all(): CompatReport[];
}

export function createReports(patches: readonly Patch[]): Reports {
  const states = new Map<string, CompatReport>();
  for (const defect of [...patches.map((patch) => patch.id), 'reserved-id'])
    states.set(defect, { defect, state: 'waiting', detail: null });
  return {
    set(defect, state, detail) {
      const known = compatStates.find((candidate) => candidate === state);
      if (typeof defect !== 'string' || known === undefined || !states.has(defect)) return;
      states.set(defect, { defect, state: known, detail: typeof detail === 'string' ? detail.slice(0, maxDetail) : null });
    },
    all: () => [...states.values()],
  };
}
