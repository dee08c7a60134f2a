import { isTimezone } from '@chasqui/shared';
import { dayOf, endOf } from '../messages/quotas/periods.js';

/** Days of a time zone as ranges of instants. Days are named `2026-11-21`; times are milliseconds. */

const dayMs = 86_400_000;

/** Returns the day that is this many days after another. */
export const addDays = (day: string, days: number): string =>
  new Date(Date.parse(`${day}T00:00:00Z`) + days * dayMs).toISOString().slice(0, 10);

/** Returns the number of days from one day to another. */
export const daysBetween = (first: string, last: string): number => Math.round((Date.parse(last) - Date.parse(first)) / dayMs);

/** Returns the instant at which a day begins. */
export const startOfDay = (day: string, timezone: string): number => endOf(addDays(day, -1), timezone).getTime();

/** Returns the first instant after a day. */
export const endOfDay = (day: string, timezone: string): number => endOf(day, timezone).getTime();

/** Returns the Monday of the week of a day. */
export const mondayOf = (day: string): string => addDays(day, -((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7));

/** Returns the day that an input names: a day, or the day that contains an instant. */
export const dayNamed = (input: string, timezone: string): string =>
  input.length === 10 ? input : dayOf(new Date(input), timezone);

/** A range of instants in which the time zone has one offset from UTC. */
export interface Stretch {
  from: number;
  to: number;
  offsetMs: number;
}

/** Divides a range of instants where the offset from UTC changes, as at the beginning of daylight saving time. */
export function stretchesOf(from: number, to: number, timezone: string): Stretch[] {
  const offset = offsetReader(timezone);
  const stretches: Stretch[] = [];
  let current: Stretch = { from, to, offsetMs: offset(from) };
  for (let time = from; time < to;) {
    const next = Math.min(time + dayMs, to);
    if (offset(next) !== current.offsetMs) {
      const change = firstChange(time, next, current.offsetMs, offset);
      stretches.push({ ...current, to: change });
      current = { from: change, to, offsetMs: offset(change) };
      time = change;
    } else time = next;
  }
  return current.from < to ? [...stretches, current] : stretches;
}

/** Returns the first instant after `inside` with another offset, by bisection. `outside` is such an instant. */
function firstChange(inside: number, outside: number, offsetMs: number, offset: (time: number) => number): number {
  let [before, after] = [inside, outside];
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (offset(middle) === offsetMs) before = middle;
    else after = middle;
  }
  return after;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Returns a function that returns by how many milliseconds the clocks of a time zone are ahead of UTC at an instant. */
function offsetReader(timezone: string): (time: number) => number {
  let format = formats.get(timezone);
  if (!format) {
    // A name that this runtime does not know counts as UTC, as it does for quotas.
    const timeZone = isTimezone(timezone) ? timezone : 'UTC';
    const parts = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' } as const;
    format = new Intl.DateTimeFormat('en-US', { timeZone, hourCycle: 'h23', ...parts });
    formats.set(timezone, format);
  }
  const known = format;
  return (time) => {
    const fields = Object.fromEntries(known.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
    const { year, month, day, hour, minute } = fields as Record<'year' | 'month' | 'day' | 'hour' | 'minute', number>;
    return Date.UTC(year, month - 1, day, hour, minute) - Math.floor(time / 60_000) * 60_000;
  };
}
