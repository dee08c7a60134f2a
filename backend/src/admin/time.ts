import { dayOf } from '../messages/quotas/periods.js';
import { startOfDay } from '../statistics/calendar.js';

/** Returns the zone, or UTC when this machine does not know it. Intl's own list has no aliases such as Asia/Kolkata, so the zone is tried. */
export function knownZone(timezone: string): string {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: timezone }).resolvedOptions().timeZone;
  } catch (error) {
    if (error instanceof RangeError) return 'UTC';
    throw error;
  }
}

/** Returns when the current day began in a zone, in milliseconds since 1970. */
export const dayStart = (now: Date, timezone: string): number => startOfDay(dayOf(now, timezone), timezone);

/** The smallest id that a row made at or after this time can have: ids begin with their time (UUID, version 7). */
export function idFrom(time: number): string {
  const hex = Math.max(0, time).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
