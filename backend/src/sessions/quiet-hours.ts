import { weekdays, type QuietHours, type SessionSettings } from '@chasqui/shared';
import { DateTime } from 'luxon';
import { instantsOf, wallTimeOf } from '../lib/wall-time.js';

/** The settings on which quiet hours depend. `timezone` is the session's or else the account's; see `timezoneOf`. */
export interface QuietSettings {
  quietHours?: QuietHours | null | undefined;
  timezone: string;
}

/** The time zone of a session: its own, otherwise that of its account. */
export const timezoneOf = (settings: Pick<SessionSettings, 'timezone'>, accountTimezone: string): string =>
  settings.timezone ?? accountTimezone;

/** Spans that follow one another for longer than this never end in practice: each of the seven days is quiet. */
const maxSpans = 16;
/** A year and some days. */
const daysAhead = 400;

/**
 * Returns the end of the quiet hours in which `at` lies; null outside them. Quiet hours that follow one another without a gap count as one.
 *
 * `from` belongs to the quiet hours and `to` does not. If `to` is not later than `from`, the quiet hours end on the next day; if both are equal, they
 * last for a whole day. `days` names the days on which they begin.
 *
 * Where clocks change, nothing is sent in a time that may be quiet: a `from` that occurs twice is its first occurrence, a `to` that occurs twice its
 * second. A time that clocks skip is the instant of the change.
 */
export function quietUntil({ quietHours, timezone }: QuietSettings, at: Date): Date | null {
  if (!quietHours) return null;
  const zone = quietHours.timezone ?? timezone;
  const { year, month, day } = wallTimeOf(at, zone);
  const today = DateTime.utc(year, month, day);
  let end: Date | null = null;
  // A span that began two days ago ended yesterday at the latest, or today where a zone skips a day.
  for (let offset = -2; offset < maxSpans; offset++) {
    const span = spanOf(quietHours, zone, today.plus({ days: offset }));
    const until: Date = end ?? at;
    if (span && span.start > until) break;
    if (span && span.end > until) end = span.end;
  }
  return end;
}

export interface QuietSpan {
  start: Date;
  end: Date;
}

/**
 * Yields the quiet hours that end after an instant, in order, for more than a year. Those that follow one another without a gap are one. To ask
 * `quietUntil` for each day costs several times as much.
 */
export function* quietSpans({ quietHours, timezone }: QuietSettings, after: Date): Generator<QuietSpan> {
  if (!quietHours) return;
  const zone = quietHours.timezone ?? timezone;
  const { year, month, day } = wallTimeOf(after, zone);
  const today = DateTime.utc(year, month, day);
  let last: QuietSpan | null = null;
  for (let offset = -2; offset < daysAhead; offset++) {
    const span = spanOf(quietHours, zone, today.plus({ days: offset }));
    if (!span) continue;
    if (last && span.start <= last.end) {
      if (span.end > last.end) last = { start: last.start, end: span.end };
      continue;
    }
    if (last && last.end > after) yield last;
    last = span;
  }
}

/** Returns the quiet hours that begin on a day; null if none do. */
function spanOf({ from, to, days }: QuietHours, zone: string, date: DateTime): QuietSpan | null {
  if (days && !days.includes(weekdays[date.weekday - 1]!)) return null;
  const last = to <= from ? date.plus({ days: 1 }) : date;
  return { start: instantsOf(wallAt(date, from), zone).earliest, end: instantsOf(wallAt(last, to), zone).latest };
}

function wallAt({ year, month, day }: DateTime, clock: string) {
  const [hour = 0, minute = 0] = clock.split(':').map(Number);
  return { year, month, day, hour, minute };
}
