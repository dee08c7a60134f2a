import { failPoints, type FailPoint } from '@chasqui/shared/fail-point';

export const victims = ['backend', 'worker', 'chromium'] as const;
export type Victim = (typeof victims)[number];

/** One kill: at the `pass`-th pass of a point, in a run of sends and arrivals that the seed decides. */
export interface Case {
  id: string;
  point: FailPoint;
  victim: Victim;
  seed: number;
  pass: number;
}

/** Points that a message does not pass; they have separate runs (see special.ts). */
export const special: readonly FailPoint[] = [
  'migration.half',
  'erasure.half',
  'profile.deleting',
  'lookup.unacknowledged',
  'identity.written',
  'identity.held',
  'bulk.accepted',
  'bulk.expanded',
  'bulk.fed',
  'bulk.counted',
  'bulk.paused',
  'bulk.resumed',
  'bulk.cancelled',
  'occurrence.written',
  'occurrence.committed',
  'ring.recorded',
  'ring.rejected',
  // Killed there by backend/test/backups/killed.e2e.test.ts.
  'backup.snapshot',
  'backup.written',
  'backup.named',
  'restore.extracted',
  'restore.checked',
  'restore.loaded',
  'restore.moved',
  // No test kills there yet.
  'restore.settled',
  // Killed there by backend/test/idempotent-calls.e2e.test.ts.
  'call.done',
];

export const ordinary = (Object.keys(failPoints) as FailPoint[]).filter((point) => !special.includes(point));

/** Later passes of a point meet messages in other states. Points that a run passes only once or twice are killed at those. */
const maxPasses: Partial<Record<FailPoint, number>> = { 'lookup.received': 1 };

/** Every point with every victim, once a seed, in an order that depends on the seed, so that the remains of one case meet a different case each time. */
export function casesOf(seed: number, points: readonly FailPoint[], whom: readonly Victim[]): Case[] {
  const random = randomOf(seed);
  const cases = points.flatMap((point) =>
    whom.map((victim) => {
      const pass = 1 + Math.floor(random() * (maxPasses[point] ?? 4));
      return { id: `${seed}-${point}-${victim}`.replace(/\./g, '_'), point, victim, seed, pass };
    }),
  );
  for (let last = cases.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [cases[last], cases[other]] = [cases[other]!, cases[last]!];
  }
  return cases;
}

/** Mulberry32: small, and the same numbers for the same seed everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
