import type { QuotaView } from '../../messages/quotas/quotas.js';
import { readable } from '../../db/unreadable.js';
import { endOfThrottle, factorAt } from '../../lib/throttle.js';
import type { Session } from '../../sessions/session.entity.js';
import type { BulkJob } from '../bulk.entity.js';
import type { Capacity, EstimatedJob, Outlook } from './estimate.js';

/** What the estimate of the jobs of a session depends on, from what is stored now. Pure. */

export interface OutlookInput {
  session: Session;
  /** Jobs that run, wait or are scheduled. */
  jobs: readonly BulkJob[];
  now: Date;
  nextAt: Date | null;
  quotas: readonly QuotaView[];
  resetAfter: (scope: QuotaView['scope'], resetAt: Date) => Date;
  quietUntil: (at: Date) => Date | null;
}

export function outlookOf({ session, jobs, now, nextAt, quotas, resetAfter, quietUntil }: OutlookInput): Outlook {
  const throttle = readable(session.throttle, null);
  const throttledUntil = throttle && factorAt(throttle, now.getTime()) < 1 ? endOfThrottle(throttle) : null;
  const quietAt = (at: number): number | null => quietUntil(new Date(at))?.getTime() ?? null;
  return {
    now: now.getTime(),
    nextAt: nextAt?.getTime() ?? 0,
    perMinute: session.settings.pacing.perMinute,
    jobs: jobs.map(estimatedJob),
    closedUntil: (at) => (throttledUntil !== null && at < throttledUntil ? throttledUntil : quietAt(at)),
    openUntil: openUntilOf(session, quietAt),
    capacities: quotas.map(({ scope, limit, remaining, resetAt }): Capacity => ({
      limit,
      remaining,
      resetAt: resetAt.getTime(),
      resetAfter: (at) => resetAfter(scope, new Date(at)).getTime(),
    })),
  };
}

export const estimatedJob = ({ id, gapMinMs, gapMaxMs, fed, pending, scheduledAt, status, fedAt }: BulkJob): EstimatedJob => ({
  id,
  gapMinMs,
  gapMaxMs,
  fed,
  pending,
  startsAt: status === 'scheduled' ? (scheduledAt?.getTime() ?? 0) : 0,
  fedAt: fedAt?.getTime() ?? null,
});

const minuteMs = 60_000;

/**
 * Returns a function that finds how long it is not quiet from an instant on. It looks ahead in steps of half the length of the quiet hours, so that it
 * asks a few times a day instead of once for each message.
 */
function openUntilOf({ settings }: Session, quietAt: (at: number) => number | null): (at: number) => number {
  const { quietHours } = settings;
  if (!quietHours) return () => Infinity;
  const length = (minutesOf(quietHours.to) - minutesOf(quietHours.from) + 1_440) % 1_440 || 1_440;
  const stepMs = Math.max(1, Math.floor(length / 2)) * minuteMs;
  return (at) => {
    let open = at;
    for (let steps = 0; steps < 2_000; steps += 1) {
      if (quietAt(open + stepMs) !== null) return firstQuiet(open, open + stepMs, quietAt);
      open += stepMs;
    }
    return open;
  };
}

/** The first quiet instant between an open and a quiet one, by bisection. */
function firstQuiet(open: number, quiet: number, quietAt: (at: number) => number | null): number {
  while (quiet - open > 1) {
    const middle = Math.floor((open + quiet) / 2);
    if (quietAt(middle) === null) open = middle;
    else quiet = middle;
  }
  return quiet;
}

const minutesOf = (clock: string): number => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3));
