import { jobCatalogue, jobNames, type JobName, type JobSchedules, type JobTrigger } from '@chasqui/shared';
import { cronTimes, type CronTimes } from '../lib/cron.js';
import type { JobState } from './job.entity.js';

/** Computes when jobs are due. Pure. */

/** The schedule of one job. `cron`: null if it has none. */
export interface JobTimes {
  cron: string | null;
  timezone: string;
  times: CronTimes | null;
}

/** Returns the schedule of each job: that of the operator if there is one, and otherwise that of the catalogue. */
export function jobTimes(schedules: JobSchedules, timezone: string): Record<JobName, JobTimes> {
  const entries = jobNames.map((name) => {
    const cron = schedules[name] === undefined ? jobCatalogue[name].cron : schedules[name];
    return [name, { cron, timezone, times: cron === null ? null : cronTimes(cron, timezone) }];
  });
  return Object.fromEntries(entries) as Record<JobName, JobTimes>;
}

/** A run that begins later than this after its time is a catch-up: nothing ran the job at its time. Milliseconds. */
const onTimeMs = 30_000;
/** Clocks of backends may differ by this much. A stored time that is further ahead was written before the clock was set back. */
const clockSkewMs = 60_000;

type StoredState = Pick<JobState, 'isStopped' | 'handledUntil' | 'failures' | 'retryAt'>;

/** Returns when a job runs next without a request: at its next scheduled time, or earlier to retry a failed run. Null: never. */
export function nextRun({ times }: JobTimes, state: StoredState, now: Date): { at: Date; isRetry: boolean } | null {
  if (state.isStopped) return null;
  const isSetBack = state.handledUntil.getTime() > now.getTime() + clockSkewMs;
  const scheduled = times?.after(isSetBack ? now : state.handledUntil) ?? null;
  // A retry that is further ahead than the longest delay was planned before the clock was set back.
  const latest = now.getTime() + 3_600_000;
  const retry = state.retryAt && new Date(Math.min(state.retryAt.getTime(), latest));
  if (retry && (!scheduled || retry < scheduled)) return { at: retry, isRetry: true };
  return scheduled && { at: scheduled, isRetry: false };
}

/** Returns why a job is due now; null if it is not. One run handles all scheduled times that were missed. */
export function dueRun(
  times: JobTimes,
  state: StoredState,
  now: Date,
): { trigger: JobTrigger; scheduledFor: Date | null } | null {
  const next = nextRun(times, state, now);
  if (!next || next.at > now) return null;
  if (next.isRetry) return { trigger: 'retry', scheduledFor: null };
  const isLate = now.getTime() - next.at.getTime() > onTimeMs;
  return { trigger: isLate ? 'catch_up' : 'schedule', scheduledFor: next.at };
}
