/** Gaps between the messages of jobs, and when the last of them is handed over. All functions are pure; times are milliseconds. */

export interface GapOfJob {
  id: string;
  gapMinMs: number;
  gapMaxMs: number;
}

/** A number from 0 to below 1 that depends on the text alone (FNV-1a with a final mix). */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 4_294_967_296;
}

/**
 * Returns the gap after the message that a job handed over as its `number`th, from 0. It looks random, and is always the same, so that the end of a
 * job can be computed. Messages of jobs are spread evenly over the pace of the session (`perMinute`, 0: none) instead of being sent in bursts.
 */
export function gapAfter({ id, gapMinMs, gapMaxMs }: GapOfJob, number: number, perMinute: number): number {
  const random = gapMinMs + Math.floor(fractionOf(`${id}:${number}`) * (gapMaxMs - gapMinMs + 1));
  return Math.max(random, perMinute > 0 ? Math.ceil(60_000 / perMinute) : 0);
}

export interface EstimatedJob extends GapOfJob {
  /** Messages that it has handed over. */
  fed: number;
  /** Recipients that are still to get one. */
  pending: number;
  /** When it may begin. */
  startsAt: number;
  /** When it last handed one over. */
  fedAt: number | null;
}

/** A quota as it is now. */
export interface Capacity {
  limit: number;
  remaining: number;
  resetAt: number;
  /** Returns the reset after this one. */
  resetAfter(resetAt: number): number;
}

export interface Outlook {
  now: number;
  /** When the session may hand over the next message of a job. */
  nextAt: number;
  perMinute: number;
  /** Jobs of one session that run, wait or are scheduled. */
  jobs: readonly EstimatedJob[];
  /** Returns the end of the time in which nothing is sent and which contains this instant; null if it is in none. */
  closedUntil(at: number): number | null;
  /** Returns how long nothing is closed from an open instant on; any time up to the real one is right. */
  openUntil(at: number): number;
  capacities: readonly Capacity[];
}

/** Beyond this, an estimate says nothing: quotas and quiet hours change. */
const horizonMs = 366 * 86_400_000;

/** Of two jobs, the one that handed a message over longer ago is next; a job that has handed over none comes first. */
export function isBefore(one: { fedAt: number | null; id: string }, other: { fedAt: number | null; id: string }): boolean {
  const [first, second] = [one.fedAt ?? -1, other.fedAt ?? -1];
  return first === second ? one.id < other.id : first < second;
}

/** Returns when each job hands its last message over, by id. Jobs that do not end within a year are left out. */
export function estimateEnds({ now, nextAt, perMinute, jobs, closedUntil, openUntil, capacities }: Outlook): Map<string, number> {
  const ends = new Map<string, number>();
  const left = jobs.filter(({ pending }) => pending > 0).map((job) => ({ ...job }));
  const quotas = capacities.map((capacity) => ({ ...capacity }));
  let open = -Infinity;
  let time = Math.max(now, nextAt);
  while (left.length > 0 && time <= now + horizonMs) {
    const ready = left.filter(({ startsAt }) => startsAt <= time);
    if (ready.length === 0) {
      time = Math.min(...left.map(({ startsAt }) => startsAt));
      continue;
    }
    if (time >= open) {
      const closed = closedUntil(time);
      if (closed !== null) {
        time = Math.max(closed, time + 1);
        continue;
      }
      open = openUntil(time);
    }
    const reset = resetBefore(quotas, time);
    if (reset !== null) {
      time = reset;
      continue;
    }
    const next = ready.reduce((one, other) => (isBefore(other, one) ? other : one));
    for (const quota of quotas) quota.remaining -= 1;
    next.pending -= 1;
    next.fedAt = time;
    ends.set(next.id, time);
    if (next.pending === 0) left.splice(left.indexOf(next), 1);
    time += gapAfter(next, next.fed, perMinute);
    next.fed += 1;
  }
  for (const { id } of left) ends.delete(id);
  return ends;
}

/** Brings the quotas to an instant. Returns when the last one resets that is used up; null if none is. */
function resetBefore(quotas: Capacity[], time: number): number | null {
  let wait: number | null = null;
  for (const quota of quotas) {
    while (quota.resetAt <= time) {
      quota.remaining = quota.limit;
      quota.resetAt = quota.resetAfter(quota.resetAt);
    }
    if (quota.remaining <= 0) wait = Math.max(wait ?? 0, quota.resetAt);
  }
  return wait;
}
