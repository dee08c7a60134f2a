import { readFile } from 'node:fs/promises';
import type { SessionReason } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import type { ChallengeKind, EngineSession } from '../engine/engine.js';
import { createCpuMeter, type CpuMeter } from './cpu.js';

/**
 * Probes a connected session at an interval. A failed probe is repeated at once; two failures in a row count as a lost page. With a probe
 * every 5 s and a deadline of 4 s, a frozen browser is noticed within 13 s.
 */
export interface Health {
  stop(): void;
  lastRoundTripAt(): Date | null;
  /** When events of the page last came through the event bridge. */
  lastCanaryAt(): Date | null;
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

export interface HealthOptions {
  session: EngineSession;
  clock: Clock;
  everyMs: number;
  /** A probe failed; it is repeated at once. */
  onProbeFailed: (reason: SessionReason) => void;
  /** The page answers, and WhatsApp wants to check the account in it. */
  onChallenged: (kind: ChallengeKind) => void;
  /** Two probes in a row failed. This page is not probed any more; the caller decides what follows. */
  onLost: (reason: SessionReason, detail: string) => void;
  /** Receives each measurement, in megabytes. */
  onMemory: (mb: number) => void;
  /** A round threw; probing continues. */
  onFailure: (error: unknown) => void;
}

interface Context extends HealthOptions {
  isStopped: boolean;
  cancelNext: () => void;
  /** The number of rounds that succeeded. */
  rounds: number;
  lastRoundTrip: { at: Date; ms: number } | null;
  lastCanaryAt: Date | null;
  memory: { mb: number | null; processes: number };
  cpuPercent: number | null;
  readonly measureCpu: CpuMeter;
}

export function createHealth(options: HealthOptions): Health {
  const { clock } = options;
  const startedAt = clock.monotonic();
  const context: Context = {
    ...options,
    isStopped: false,
    cancelNext: () => undefined,
    rounds: 0,
    lastRoundTrip: null,
    lastCanaryAt: null,
    memory: { mb: null, processes: 0 },
    cpuPercent: null,
    measureCpu: createCpuMeter(),
  };
  scheduleRound(context);
  return {
    stop() {
      context.isStopped = true;
      context.cancelNext();
    },
    lastCanaryAt: () => context.lastCanaryAt,
    lastRoundTripAt: () => context.lastRoundTrip?.at ?? null,
    metrics: () => ({
      memoryMb: context.memory.mb,
      cpuPercent: context.cpuPercent,
      processes: context.memory.processes,
      browserUptimeSeconds: Math.round((clock.monotonic() - startedAt) / 1000),
      roundTripMs: context.lastRoundTrip?.ms ?? null,
    }),
  };
}

function scheduleRound(context: Context): void {
  context.cancelNext = context.clock.after(context.everyMs, () => void runRound(context));
}

/** Schedules the next round even if this one failed. */
async function runRound(context: Context): Promise<void> {
  try {
    await probeAndMeasure(context);
  } catch (error) {
    context.onFailure(error);
  }
  if (!context.isStopped) scheduleRound(context);
}

async function probeAndMeasure(context: Context): Promise<void> {
  const firstFailure = await probeOnce(context);
  if (context.isStopped) return;
  if (firstFailure) {
    context.onProbeFailed(firstFailure.reason);
    const secondFailure = await probeOnce(context);
    if (context.isStopped) return;
    if (secondFailure) {
      context.isStopped = true;
      return context.onLost(secondFailure.reason, secondFailure.detail);
    }
  }
  if (context.rounds++ % memoryEvery === 0) await measure(context);
}

async function probeOnce(context: Context): Promise<{ reason: SessionReason; detail: string } | null> {
  try {
    const { roundTripMs, canary, broken, challenge } = await context.session.probe(deadlineMs);
    context.lastRoundTrip = { at: new Date(context.clock.now()), ms: roundTripMs };
    if (canary) context.lastCanaryAt = new Date(context.clock.now());
    if (canary && challenge && !context.isStopped) context.onChallenged(challenge);
    if (canary) return null;
    const detail = broken ? `The page does not report ${broken.join(' and ')} any more.` : 'The canary did not come back.';
    return { reason: 'EVENT_BRIDGE_BROKEN', detail };
  } catch (error) {
    return { reason: 'PAGE_UNRESPONSIVE', detail: error instanceof Error ? error.message : String(error) };
  }
}

async function measure(context: Context): Promise<void> {
  // The browser may end during the measurement; the engine reports that with a signal.
  const pids = await context.session.pids().catch(() => null);
  if (pids) {
    context.memory = await memoryOf(pids);
    context.cpuPercent = await context.measureCpu(pids, context.clock.monotonic());
  }
  if (!context.isStopped && context.memory.mb !== null) context.onMemory(context.memory.mb);
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
