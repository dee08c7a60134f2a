import { Cron } from 'croner';
import { instantsOf, wallTimeOf } from './wall-time.js';

/**
 * Times of a schedule, by the five fields of cron (minute, hour, day of the month, month, day of the week) in a time zone. If both days are given, one
 * of them is enough, as in cron.
 *
 * Where clocks change, a time of day that is written as a number occurs once: if clocks skip it, at the change; if it occurs twice, the first time.
 * Fields with `*` or a step follow the clock: a skipped time does not occur, and a repeated one occurs twice.
 */
export interface CronTimes {
  /** Returns the first time after an instant; null if there is none in the years that can be computed. */
  after(at: Date): Date | null;
}

/** Throws if the text is not a cron expression with five fields. */
export function cronTimes(cron: string, timezone: string): CronTimes {
  // The library also knows nicknames, such as @daily.
  if (!/^\S+(?: +\S+){4}$/.test(cron.trim())) throw new TypeError('A cron expression has five fields.');
  const [minute, hour] = cron.trim().split(/ +/);
  const isFixed = !/[*/?]/.test(`${minute}${hour}`);
  const times = new Cron(cron, { timezone: isFixed ? 'UTC' : timezone, paused: true, mode: '5-part' });
  return { after: isFixed ? (at) => fixedAfter(times, timezone, at) : (at) => times.nextRun(at) };
}

/**
 * Returns the next of times of day that are written as numbers. `times` are those that a clock shows, as if it were one of UTC. The library itself
 * drops a time that clocks skip right before midnight.
 */
function fixedAfter(times: Cron, timezone: string, at: Date): Date | null {
  const { year, month, day, hour, minute, second, millisecond } = wallTimeOf(at, timezone);
  let wall: Date | null = new Date(Date.UTC(year, month - 1, day, hour, minute, second, millisecond));
  while ((wall = times.nextRun(wall)) !== null) {
    const { earliest } = instantsOf(wallTimeOf(wall, 'UTC'), timezone);
    // A time that occurs twice has passed if this is its second occurrence.
    if (earliest > at) return earliest;
  }
  return null;
}

/** Returns up to `count` times after an instant that lie before `endsAt`. */
export function timesAfter(times: CronTimes, at: Date, count: number, endsAt: Date | null): Date[] {
  const found: Date[] = [];
  let last: Date | null = at;
  while (found.length < count) {
    last = times.after(last);
    if (last === null || (endsAt !== null && last >= endsAt)) break;
    found.push(last);
  }
  return found;
}
