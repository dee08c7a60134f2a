import { Cron } from 'croner';

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

/** Throws if the text is not a form of cron with five fields. */
export function cronTimes(cron: string, timezone: string): CronTimes {
  // The library also knows nicknames, such as @daily.
  if (!/^\S+(?: +\S+){4}$/.test(cron.trim())) throw new TypeError('A form of cron has five fields.');
  const times = new Cron(cron, { timezone, paused: true, mode: '5-part', fixedTimeRule: 'no-wildcard' });
  return { after: (at) => times.nextRun(at) };
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
