import { readdirSync } from 'node:fs';
import { readProcess } from '../processes.js';
import type { Fleet, Member } from './fleet.js';
import type { Sink } from './sinks.js';

interface Sample {
  at: number;
  pid: number;
  memoryMb: number;
  descriptors: number;
}

/** How one figure moved during the part of the soak that has no faults. */
export interface Trend {
  what: string;
  first: number;
  last: number;
  perMinute: number;
  isFlat: boolean;
}

const everyMs = 2_000;

function measure({ pid, isUp }: Member): Omit<Sample, 'at'> | null {
  if (!isUp()) return null;
  const id = pid();
  const memory = readProcess(id, 'smaps_rollup');
  const kilobytes = Number(/^Pss:\s+(\d+)/m.exec(memory ?? '')?.[1] ?? 0);
  try {
    return { pid: id, memoryMb: kilobytes / 1024, descriptors: readdirSync(`/proc/${id}/fd`).length };
  } catch {
    return null; // It ended meanwhile.
  }
}

/** Measures every process, and how far the receivers of webhooks are behind the event log, until it is stopped. */
export function startSampling(fleet: Fleet, sinks: readonly { name: string; sink: Sink }[], outboxOf: () => Promise<number>) {
  const samples = new Map<string, Sample[]>(fleet.members.map(({ name }) => [name, []]));
  const backlogs = new Map<string, { at: number; value: number }[]>();
  const started = performance.now();
  let stopped = false;
  let events = 0;

  const note = (name: string, value: number): void => {
    const list = backlogs.get(name) ?? [];
    list.push({ at: performance.now() - started, value });
    backlogs.set(name, list);
  };

  async function round(): Promise<void> {
    for (const member of fleet.members) {
      const found = measure(member);
      if (found) samples.get(member.name)!.push({ at: performance.now() - started, ...found });
    }
    const outbox = await outboxOf().catch(() => null);
    if (outbox !== null) note('messages that wait to be sent', outbox);
    const { body } = await fleet.api('GET', '/events?limit=1');
    events = Number(body.meta?.['latestCursor'] ?? events);
    for (const { name, sink } of sinks) note(`events that the ${name} receiver has not`, events - sink.taken.size);
  }

  const timer = setInterval(() => {
    if (!stopped) round().catch(() => undefined); // The system is down now: the next round measures.
  }, everyMs);

  return {
    elapsed: () => performance.now() - started,
    stop(): void {
      stopped = true;
      clearInterval(timer);
    },
    /** Trends from `fromMs` on, of the processes that have run since then. */
    trends(fromMs: number): Trend[] {
      const trends: Trend[] = [];
      for (const [name, list] of samples) {
        const last = list.at(-1);
        const own = list.filter(({ at, pid }) => at >= fromMs && pid === last?.pid);
        if (own.length < 5) continue;
        trends.push(
          trendOf(
            `${name}, memory (MB, PSS)`,
            own.map(({ at, memoryMb }) => ({ at, value: memoryMb })),
            { share: 0.15, least: 12 },
          ),
        );
        trends.push(
          trendOf(
            `${name}, descriptors`,
            own.map(({ at, descriptors }) => ({ at, value: descriptors })),
            { share: 0.1, least: 8 },
          ),
        );
      }
      for (const [name, list] of backlogs) {
        const own = list.filter(({ at }) => at >= fromMs);
        if (own.length >= 5) trends.push(trendOf(name, own, { share: 0, least: 60 }));
      }
      return trends;
    },
  };
}

/** A line through all points (least squares). It is flat when the growth over the whole time stays below the tolerance. */
function trendOf(
  what: string,
  points: readonly { at: number; value: number }[],
  tolerance: { share: number; least: number },
): Trend {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const middle = { at: mean(points.map(({ at }) => at)), value: mean(points.map(({ value }) => value)) };
  const spread = points.reduce((sum, { at }) => sum + (at - middle.at) ** 2, 0);
  const slope =
    spread === 0 ? 0 : points.reduce((sum, { at, value }) => sum + (at - middle.at) * (value - middle.value), 0) / spread;
  const growth = slope * (points.at(-1)!.at - points[0]!.at);
  return {
    what,
    first: points[0]!.value,
    last: points.at(-1)!.value,
    perMinute: slope * 60_000,
    isFlat: growth <= Math.max(tolerance.least, tolerance.share * middle.value),
  };
}
