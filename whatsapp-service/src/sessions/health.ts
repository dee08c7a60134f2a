import { readFile } from 'node:fs/promises';
import type { SessionReason } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { EngineSession } from '../engine/engine.js';
import { createCpuMeter } from './cpu.js';

/**
 * Proves a connected session alive, again and again. A probe that fails is repeated at once; two in a row and the page is in trouble.
 * With probes every 5 s and 4 s for an answer, a frozen browser is noticed within 13 s.
 */
export interface Health {
  stop(): void;
  lastRoundTripAt(): Date | null;
  metrics(): {
    memoryMb: number | null;
    /** Of one processor, since the measurement before. */
    cpuPercent: number | null;
    processes: number;
    browserUptimeSeconds: number | null;
    roundTripMs: number | null;
  };
}

const deadlineMs = 4_000;
/** Memory and processor time are measured with every sixth probe: reading it costs the kernel a walk over the pages. */
const memoryEvery = 6;

export function createHealth(options: {
  session: EngineSession;
  clock: Clock;
  everyMs: number;
  onDoubt: (reason: SessionReason) => void;
  onLost: (reason: SessionReason, detail: string) => void;
  /** Each time that it was measured, in megabytes. */
  onMemory: (mb: number) => void;
  /** A round threw; probes go on. */
  onFailure: (error: unknown) => void;
}): Health {
  const { session, clock } = options;
  const since = clock.monotonic();
  let stopped = false;
  let count = 0;
  let last: { at: Date; ms: number } | null = null;
  let memory: { mb: number | null; processes: number } = { mb: null, processes: 0 };
  let cpuPercent: number | null = null;
  const cpu = createCpuMeter();
  let cancel = (): void => undefined;

  /** The next round comes whatever became of this one. */
  async function rounds(): Promise<void> {
    try {
      await round();
    } catch (error) {
      options.onFailure(error);
    }
    if (!stopped) cancel = clock.after(options.everyMs, () => void rounds());
  }

  async function once(): Promise<{ reason: SessionReason; detail: string } | null> {
    try {
      const { roundTripMs, canary } = await session.probe(deadlineMs);
      last = { at: new Date(clock.now()), ms: roundTripMs };
      return canary ? null : { reason: 'EVENT_BRIDGE_BROKEN', detail: 'The canary did not come back.' };
    } catch (error) {
      return { reason: 'PAGE_UNRESPONSIVE', detail: error instanceof Error ? error.message : String(error) };
    }
  }

  async function round(): Promise<void> {
    const doubt = await once();
    if (stopped) return;
    if (doubt) {
      options.onDoubt(doubt.reason);
      const lost = await once();
      if (stopped) return;
      if (lost) {
        // Whoever is told decides what follows; this page is not probed any more.
        stopped = true;
        return options.onLost(lost.reason, lost.detail);
      }
    }
    // The browser may end while it is looked at; its own signal tells that.
    if (count++ % memoryEvery === 0) {
      const pids = await session.pids().catch(() => null);
      if (pids) {
        memory = await memoryOf(pids);
        cpuPercent = await cpu(pids, clock.monotonic());
      }
      if (!stopped && memory.mb !== null) options.onMemory(memory.mb);
    }
  }
  cancel = clock.after(options.everyMs, () => void rounds());

  return {
    stop() {
      stopped = true;
      cancel();
    },
    lastRoundTripAt: () => last?.at ?? null,
    metrics: () => ({
      memoryMb: memory.mb,
      cpuPercent,
      processes: memory.processes,
      browserUptimeSeconds: Math.round((clock.monotonic() - since) / 1000),
      roundTripMs: last?.ms ?? null,
    }),
  };
}

/** Proportional set size of all processes together, in megabytes; null where the system does not tell. */
export async function memoryOf(pids: readonly number[]): Promise<{ mb: number | null; processes: number }> {
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => null); // Gone, or another system.
      const kb = /^Pss:\s+(\d+) kB$/m.exec(text ?? '')?.[1];
      return kb ? Number(kb) : null;
    }),
  );
  const known = sizes.filter((size) => size !== null);
  return { mb: known.length > 0 ? Math.round(known.reduce((sum, size) => sum + size, 0) / 1024) : null, processes: pids.length };
}
