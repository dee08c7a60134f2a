import { validationError } from '@chasqui/shared';
import { cronTimes, timesAfter, type CronTimes } from '../../lib/cron.js';
import type { Schedule } from './schedule.entity.js';

/** Checks the times of a schedule that a request names. All functions are pure. */

interface TimesInput {
  cron: string;
  timezone: string;
  endsAt: Date | null;
}

/** How many of the next times the API returns. */
const shownTimes = 5;

/** Returns the next times, at most `shownTimes`. Throws `VALIDATION_FAILED` if there is none, and for a cron expression without five valid fields. */
export function nextTimes({ cron, timezone, endsAt }: TimesInput, now: Date): Date[] {
  const times = timesAfter(parseCron(cron, timezone), now, shownTimes, endsAt);
  if (times.length > 0) return times;
  const path = endsAt === null ? 'cron' : 'endsAt';
  throw validationError([{ path, code: 'NO_OCCURRENCE', message: 'The schedule has no occurrence from now on.' }]);
}

/** Returns the next time. Throws as `nextTimes`. */
export const firstTime = (input: TimesInput, now: Date): Date => nextTimes(input, now)[0]!;

function parseCron(cron: string, timezone: string): CronTimes {
  try {
    return cronTimes(cron, timezone);
  } catch {
    const message =
      'Write five fields: minute, hour, day of the month, month and day of the week. `0 9 * * 1-5` is nine o’clock on weekdays.';
    throw validationError([{ path: 'cron', code: 'INVALID_CRON', message }]);
  }
}

/** Returns the times of the next occurrences of a schedule; none unless it is active. */
export function shownTimesOf({ nextAt, cron, timezone, endsAt, maxOccurrences, occurrences }: Schedule): Date[] {
  const left = maxOccurrences === null ? shownTimes : Math.min(shownTimes, maxOccurrences - occurrences);
  if (!nextAt || left <= 0) return [];
  return [nextAt, ...timesAfter(cronTimes(cron, timezone), nextAt, left - 1, endsAt)];
}

/** Whether an occurrence that is due, and not made yet, is one of the changed schedule too. Then it is still made. */
export function isDueAsBefore({ status, nextAt, cron, timezone }: Schedule, changed: TimesInput, now: Date): boolean {
  if (status !== 'active' || nextAt === null || nextAt > now) return false;
  const isSame = changed.cron === cron && changed.timezone === timezone;
  return isSame && (changed.endsAt === null || nextAt < changed.endsAt);
}
