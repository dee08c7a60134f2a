import { readFile } from 'node:fs/promises';
import type { SessionReason } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { EngineSession } from '../engine/engine.js';
import { createCpuMeter } from './cpu.js';

/**
 * Probes a connected session at an interval. A failed probe is repeated at once; two failures in a row count as a lost page. With a probe
 * every 5 s and a deadline of 4 s, a frozen browser is noticed within 13 s.
 */
export interface Health {
  stop(): void;
  lastRoundTripAt(): Date | null;
  metrics(): {
    memoryMb: number | null;
    /** In percent of one processor, since the previous measurement. */
    cpuPercent: number | null;
    processes: number;
    browserUptimeSeconds: number | null;
    roundTripMs: number | null;
  };
}

const deadlineMs = 4_000;
/** Memory and processor time are measured with every sixth probe, because the kernel walks over all memory pages to read them. */
const memoryEvery = 6;

export function createHealth(options: {
  session: EngineSession;
  clock: Clock;
  everyMs: number;
  /** A probe failed; it is repeated at once. */
  onProbeFailed: (reason: SessionReason) => void;
  onLost: (reason: SessionReason, detail: string) => void;
  /** Receives each measurement, in megabytes. */
  onMemory: (mb: number) => void;
  /** A round threw; probing continues. */
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

  /** Schedules the next round even if this one failed. */
  async function rounds(): Promise<void> {
    try {
      await round();
    } catch (error) {
      options.onFailure(error);
    }
    if (!stopped) cancel = clock.after(options.everyMs, () => void rounds());
  }

  async function probeOnce(): Promise<{ reason: SessionReason; detail: string } | null> {
    try {
      const { roundTripMs, canary } = await session.probe(deadlineMs);
      last = { at: new Date(clock.now()), ms: roundTripMs };
      return canary ? null : { reason: 'EVENT_BRIDGE_BROKEN', detail: 'The canary did not come back.' };
    } catch (error) {
      return { reason: 'PAGE_UNRESPONSIVE', detail: error instanceof Error ? error.message : String(error) };
    }
  }

  async function round(): Promise<void> {
    const firstFailure = await probeOnce();
    if (stopped) return;
    if (firstFailure) {
      options.onProbeFailed(firstFailure.reason);
      const secondFailure = await probeOnce();
      if (stopped) return;
      if (secondFailure) {
        // The caller decides what follows; this page is not probed any more.
        stopped = true;
        return options.onLost(secondFailure.reason, secondFailure.detail);
      }
    }
    // The browser may end during the measurement; the engine reports that with a signal.
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

/** The total proportional set size of all processes, in megabytes; null if the system does not report it. */
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
