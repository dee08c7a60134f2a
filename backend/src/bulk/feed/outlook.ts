import type { SessionSettings } from '@chasqui/shared';
import type { QuotaView } from '../../messages/quotas/quotas.js';
import { readable } from '../../db/unreadable.js';
import { endOfThrottle, factorAt } from '../../lib/throttle.js';
import { quietSpans, timezoneOf, type QuietSettings, type QuietSpan } from '../../sessions/quiet-hours.js';
import { noSettings, type Session } from '../../sessions/session.entity.js';
import type { BulkJob } from '../bulk.entity.js';
import type { Capacity, EstimatedJob, Outlook } from './estimate.js';

/** Builds the input of `estimateEnds` from the stored state of a session and its jobs. Each outlook is for one estimate, whose times never go back. */

export interface OutlookInput {
  session: Session;
  /** Jobs that run, wait or are scheduled. */
  jobs: readonly BulkJob[];
  now: Date;
  nextAt: Date | null;
  quotas: readonly QuotaView[];
  resetAfter: (scope: QuotaView['scope'], resetAt: Date) => Date;
  /** Returns the warm-up limit of the day that contains this instant; null if there is none. */
  warmUpAt: (at: Date) => number | null;
  /** The time zone of the account. */
  timezone: string;
}

/** Nothing is sent with damaged settings, so the estimate is one without limits. */
const settingsOf = ({ settings }: Session): SessionSettings => readable(settings, noSettings);

export function outlookOf(input: OutlookInput): Outlook {
  const { session, jobs, now, nextAt, timezone } = input;
  const settings = settingsOf(session);
  const quiet: QuietSettings = { quietHours: settings.quietHours, timezone: timezoneOf(settings, timezone) };
  const throttle = readable(session.throttle, null);
  const throttledUntil = throttle && factorAt(throttle, now.getTime()) < 1 ? endOfThrottle(throttle) : null;
  const quietAfter = inOrder(quietSpans(quiet, now));
  return {
    now: now.getTime(),
    nextAt: nextAt?.getTime() ?? 0,
    perMinute: settings.pacing.perMinute,
    jobs: jobs.map(estimatedJob),
    closedUntil(at) {
      if (throttledUntil !== null && at < throttledUntil) return throttledUntil;
      const next = quietAfter(at);
      return next && next.start.getTime() <= at ? next.end.getTime() : null;
    },
    openUntil: (at) => quietAfter(at)?.start.getTime() ?? Infinity,
    capacities: capacitiesOf(input),
  };
}

/** Returns a function that returns the first of the spans that end after an instant. Each instant is at or after the one before. */
function inOrder(spans: Iterator<QuietSpan, void>): (at: number) => QuietSpan | null {
  let next = spans.next();
  return (at) => {
    while (!next.done && next.value.end.getTime() <= at) next = spans.next();
    return next.done ? null : next.value;
  };
}

/** Returns the quotas as they are now. The limit of a warm-up plan grows each day, and the plan may begin on a later day. */
function capacitiesOf({ session, now, quotas, resetAfter, warmUpAt }: OutlookInput): Capacity[] {
  const warmUp = 'session.warm_up';
  const beginsLater = settingsOf(session).warmUp && !quotas.some(({ scope }) => scope === warmUp);
  const later = { scope: warmUp, limit: Infinity, remaining: Infinity, resetAt: resetAfter(warmUp, now) } as const;
  return [...quotas, ...(beginsLater ? [later] : [])].map(({ scope, limit, remaining, resetAt }) => ({
    remaining,
    resetAt: resetAt.getTime(),
    limitFrom: (at) => (scope === warmUp ? (warmUpAt(new Date(at)) ?? Infinity) : limit),
    resetAfter: (at) => resetAfter(scope, new Date(at)).getTime(),
  }));
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
