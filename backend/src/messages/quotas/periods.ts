import { isTimezone } from '@chasqui/shared';

/** Days and months of a time zone. Periods are named `2026-11-21` and `2026-11`; times are instants. */

const formats = new Map<string, Intl.DateTimeFormat>();
const days = new Map<string, { minute: number; day: string }>();

/** Returns the day that contains an instant. */
export function dayOf(at: Date, timezone: string): string {
  // Every time zone's offset is a whole number of minutes, so the day changes only at the start of a minute.
  const minute = Math.floor(at.getTime() / 60_000);
  const known = days.get(timezone);
  if (known?.minute === minute) return known.day;
  let format = formats.get(timezone);
  if (!format) {
    // A name that this runtime does not know must not stop an account from sending.
    const timeZone = isTimezone(timezone) ? timezone : 'UTC';
    format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' });
    formats.set(timezone, format);
  }
  const day = format.format(at);
  days.set(timezone, { minute, day });
  return day;
}

export const monthOf = (day: string): string => day.slice(0, 7);

/** Returns the instant at which the next period starts. Found by bisection, because a day may have 23, 24 or 25 hours. */
export function endOf(period: string, timezone: string): Date {
  const length = period.length;
  // The first instant is inside the period in every time zone, and the second is after it in every time zone.
  const first = Date.parse(`${period.padEnd(10, '-01')}T00:00:00Z`);
  let inside = first + (length === 10 ? -1 : 20) * 86_400_000;
  let outside = first + (length === 10 ? 3 : 34) * 86_400_000;
  const isOver = (time: number): boolean => dayOf(new Date(time), timezone).slice(0, length) > period;
  while (outside - inside > 1) {
    const middle = Math.floor((inside + outside) / 2);
    if (isOver(middle)) outside = middle;
    else inside = middle;
  }
  return new Date(outside);
}
