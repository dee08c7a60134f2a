/** Computes the gaps between the messages of jobs, and when each job queues its last message. All functions are pure; times are milliseconds. */

/** The bounds of the gaps of a job. */
export interface GapOfJob {
  id: string;
  gapMinMs: number;
  gapMaxMs: number;
}

/** Returns a number from 0 to below 1 that depends only on the text (FNV-1a with a final mix). */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 4_294_967_296;
}

/**
 * Returns the gap after the message with this number, which counts the messages that the job has queued, from 0. It looks random and is always the
 * same, so that the end of a job can be computed. Messages of jobs are spread evenly over the pace of the session (`perMinute`, 0: none) instead of
 * being sent in bursts.
 */
export function gapAfter({ id, gapMinMs, gapMaxMs }: GapOfJob, number: number, perMinute: number): number {
  const shortest = perMinute > 0 ? Math.ceil(60_000 / perMinute) : 0;
  if (gapMaxMs <= shortest) return shortest;
  return Math.max(shortest, gapMinMs + Math.floor(fractionOf(`${id}:${number}`) * (gapMaxMs - gapMinMs + 1)));
}

export interface EstimatedJob extends GapOfJob {
  /** Messages that it has queued. */
  fed: number;
  /** Recipients that have not got a message yet. */
  pending: number;
  /** When it may begin. */
  startsAt: number;
  /** When it last handed one over. */
  fedAt: number | null;
}

/** A quota as it is now. */
export interface Capacity {
  /** Infinity: there is no limit in this period. */
  remaining: number;
  resetAt: number;
  /** Returns the limit of the period that begins with this reset; Infinity without one. */
  limitFrom(resetAt: number): number;
  /** Returns the reset after this one. */
  resetAfter(resetAt: number): number;
}

/** The state of a session and the rules that decide when its jobs end. */
export interface Outlook {
  now: number;
  /** When the session may queue the next message of a job. */
  nextAt: number;
  perMinute: number;
  /** Jobs of one session that run, wait or are scheduled. */
  jobs: readonly EstimatedJob[];
  /** Returns when the period without sends ends that contains this instant; null if the session may send at this instant. */
  closedUntil(at: number): number | null;
  /**
   * Returns an instant until which the session may send, for an instant at which it may. It may be earlier than the true end, which only costs
   * another call.
   */
  openUntil(at: number): number;
  capacities: readonly Capacity[];
}

/** The maximum time ahead of an estimate. A later end would not be reliable, because quotas and quiet hours change. */
const horizonMs = 366 * 86_400_000;

/** Whether a job is fed before another one: the job whose last message is older, or that has queued none. Otherwise the lower id comes first. */
export function isBefore(one: { fedAt: number | null; id: string }, other: { fedAt: number | null; id: string }): boolean {
  const [first, second] = [one.fedAt ?? -1, other.fedAt ?? -1];
  return first === second ? one.id < other.id : first < second;
}

/** The messages and waits that one estimate computes: some hundredths of a second, in which nothing else runs. */
const maxTurns = 100_000;

/**
 * Returns when each job queues its last message, by id. Jobs that do not end within a year, and those that end after more messages than one
 * estimate computes, are left out.
 */
export function estimateEnds({ now, nextAt, perMinute, jobs, closedUntil, openUntil, capacities }: Outlook): Map<string, number> {
  const ends = new Map<string, number>();
  const later = jobs.filter(({ pending }) => pending > 0).map((job) => ({ ...job }));
  later.sort((one, other) => other.startsAt - one.startsAt);
  /** The jobs that have begun, the one that is next first. */
  const ready: EstimatedJob[] = [];
  const quotas = capacities.map((capacity) => ({ ...capacity }));
  let open = -Infinity;
  let time = Math.max(now, nextAt);
  for (let turn = 0; turn < maxTurns && time <= now + horizonMs; turn += 1) {
    while (later.length > 0 && later.at(-1)!.startsAt <= time) insert(ready, later.pop()!);
    if (ready.length === 0) {
      if (later.length === 0) break;
      time = later.at(-1)!.startsAt;
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
    const reset = latestReset(quotas, time);
    if (reset !== null) {
      time = reset;
      continue;
    }
    const next = ready.shift()!;
    for (const quota of quotas) quota.remaining -= 1;
    next.pending -= 1;
    next.fedAt = time;
    if (next.pending === 0) ends.set(next.id, time);
    else insert(ready, next);
    time += gapAfter(next, next.fed, perMinute);
    next.fed += 1;
  }
  return ends;
}

/** Inserts a job into a list that is in the order of `isBefore`. */
function insert(list: EstimatedJob[], job: EstimatedJob): void {
  let [first, last] = [0, list.length];
  while (first < last) {
    const middle = Math.floor((first + last) / 2);
    if (isBefore(list[middle]!, job)) first = middle + 1;
    else last = middle;
  }
  list.splice(first, 0, job);
}

/** Applies the resets up to an instant to the quotas. Returns the latest reset among the quotas that are used up; null if none is. */
function latestReset(quotas: Capacity[], time: number): number | null {
  let wait: number | null = null;
  for (const quota of quotas) {
    while (quota.resetAt <= time) {
      quota.remaining = quota.limitFrom(quota.resetAt);
      quota.resetAt = quota.resetAfter(quota.resetAt);
    }
    if (quota.remaining <= 0) wait = Math.max(wait ?? 0, quota.resetAt);
  }
  return wait;
}
