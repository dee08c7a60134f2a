/**
 * Computes and formats days and months. Days are named `2026-12-24`, months `2026-12`. They have no time zone; the server decides which one applies.
 */

const dayMs = 86_400_000;
const startOf = (day: string): number => Date.parse(`${day}T00:00:00Z`);
const nameOf = (at: number): string => new Date(at).toISOString().slice(0, 10);

export const monthOf = (day: string): string => day.slice(0, 7);
export const addDays = (day: string, count: number): string => nameOf(startOf(day) + count * dayMs);

/** Returns the same day of another month, or the last day of that month if it is shorter. */
export function addMonths(day: string, count: number): string {
  const date = new Date(startOf(day));
  const first = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + count, 1));
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  return nameOf(first.getTime() + (Math.min(date.getUTCDate(), last) - 1) * dayMs);
}

/** Returns the weeks of a month from Monday to Sunday, with the days of the months before and after it. */
export function weeksOf(month: string): string[][] {
  const first = `${month}-01`;
  const weekday = (new Date(startOf(first)).getUTCDay() + 6) % 7;
  const weeks: string[][] = [];
  for (let monday = addDays(first, -weekday); monday < addMonths(first, 1); monday = addDays(monday, 7))
    weeks.push([0, 1, 2, 3, 4, 5, 6].map((ahead) => addDays(monday, ahead)));
  return weeks;
}

const utc = { timeZone: 'UTC' } as const;
const monthFormat = new Intl.DateTimeFormat('en-GB', { ...utc, month: 'long', year: 'numeric' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { ...utc, weekday: 'long', day: 'numeric', month: 'long' });
export const monthText = (month: string): string => monthFormat.format(startOf(`${month}-01`));
export const dayText = (day: string): string => dayFormat.format(startOf(day));

/** Returns the time of day in a time zone. */
export const timeText = (at: number, timeZone: string): string =>
  new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit' }).format(at);
/** Returns the day and the time in a time zone. */
export const momentText = (at: number, timeZone: string): string =>
  new Intl.DateTimeFormat('en-GB', { timeZone, dateStyle: 'medium', timeStyle: 'short' }).format(at);
