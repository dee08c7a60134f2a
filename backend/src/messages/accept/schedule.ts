import { AppError, validationError, warning, type Warning } from '@chasqui/shared';
import { instantsOf } from '../../lib/wall-time.js';

/** The fields of a request that say when a message is sent. */
export interface ScheduleInput {
  /** An instant (`2026-12-24T18:00:00Z`), or a wall time without an offset (`2026-12-24T18:00`), which `timezone` completes. */
  scheduledAt?: string | undefined;
  timezone?: string | undefined;
}

export interface ScheduledTime {
  at: Date;
  warnings: Warning[];
}

/** A message may be scheduled so far ahead. */
export const maxScheduleDays = 366;

const parts = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3})\d*)?)?$/;

/**
 * Returns the instant of a scheduled time; null without one. A wall time that clocks skip moves forward by as much as the clocks do, and of one that
 * occurs twice the first occurrence counts; a warning says so. Throws `SCHEDULE_IN_PAST`, and `VALIDATION_FAILED` for a time too far ahead, and
 * for a `timezone` that would have no effect.
 */
export function resolveSchedule({ scheduledAt, timezone }: ScheduleInput, defaultZone: string, now: Date): ScheduledTime | null {
  const [isWallTime, year, month, day, hour, minute, second = '0', fraction = '0'] = parts.exec(scheduledAt ?? '') ?? [];
  if (timezone !== undefined && isWallTime === undefined) throw invalid('timezone', 'NO_EFFECT', withoutEffect);
  if (scheduledAt === undefined) return null;
  const time: ScheduledTime = { at: new Date(scheduledAt), warnings: [] };
  if (isWallTime !== undefined) {
    const wall = { year: Number(year), month: Number(month), day: Number(day), hour: Number(hour), minute: Number(minute) };
    const rest = { second: Number(second), millisecond: Number(fraction.padEnd(3, '0')) };
    const { kind, shifted } = instantsOf({ ...wall, ...rest }, timezone ?? defaultZone);
    time.at = shifted;
    const detail = `It is sent at ${shifted.toISOString()}.`;
    if (kind === 'skipped') time.warnings.push(warning('SCHEDULE_TIME_SKIPPED', detail));
    if (kind === 'twice') time.warnings.push(warning('SCHEDULE_TIME_TWICE', detail));
  }
  if (time.at <= now) throw new AppError('SCHEDULE_IN_PAST', { scheduledAt: time.at.toISOString(), now: now.toISOString() });
  const latest = now.getTime() + maxScheduleDays * 86_400_000;
  if (time.at.getTime() > latest)
    throw invalid('scheduledAt', 'TOO_FAR_AHEAD', `A message is scheduled at most ${maxScheduleDays} days ahead.`);
  return time;
}

const withoutEffect =
  'A time zone completes a scheduledAt without an offset, such as 2026-12-24T18:00. Leave the zone out, or write the time without an offset.';

const invalid = (path: string, code: string, message: string): AppError => validationError([{ path, code, message }]);
