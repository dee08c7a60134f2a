import { DateTime, IANAZone } from 'luxon';

/** The time of a wall clock, without its zone. Months count from 1. */
export interface WallTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second?: number;
  millisecond?: number;
}

/**
 * The instants at which a wall clock shows a time.
 *
 * | kind | when | `earliest` and `latest` |
 * | --- | --- | --- |
 * | `once` | usually | the same instant |
 * | `skipped` | clocks were set forward over the time, so no clock shows it | the instant of that change |
 * | `twice` | clocks were set back, so the time occurs twice | its first and its second occurrence |
 *
 * `shifted` is the instant that RFC 5545 gives: a skipped time moves forward by as much as the clocks did, and a repeated one is its first occurrence.
 */
export interface Instants {
  kind: 'once' | 'skipped' | 'twice';
  earliest: Date;
  latest: Date;
  shifted: Date;
}

/** Clocks are set again only after months, so these lie on the two sides of a change that is near a time. */
const besideMs = 36 * 3_600_000;

/** Returns when a clock in this zone shows the time. A zone that this runtime does not know counts as UTC. */
export function instantsOf(wall: WallTime, timezone: string): Instants {
  const zone = zoneOf(timezone);
  const { year, month, day, hour, minute, second = 0, millisecond = 0 } = wall;
  const asUtc = DateTime.utc(year, month, day, hour, minute, second, millisecond).toMillis();
  const offsetMs = (at: number): number => zone.offset(at) * 60_000;
  const before = asUtc - offsetMs(asUtc - besideMs);
  const after = asUtc - offsetMs(asUtc + besideMs);
  const shows = (at: number): boolean => at + offsetMs(at) === asUtc;
  const occurrences = [...new Set([before, after])].filter(shows).sort((one, other) => one - other);
  if (occurrences.length > 0) {
    const earliest = new Date(occurrences[0]!);
    const latest = new Date(occurrences.at(-1)!);
    return { kind: occurrences.length === 1 ? 'once' : 'twice', earliest, latest, shifted: earliest };
  }
  const change = new Date(changeBetween(zone, Math.min(before, after) - 1, Math.max(before, after) + 1));
  return { kind: 'skipped', earliest: change, latest: change, shifted: new Date(before) };
}

/** Returns what a clock in this zone shows at an instant. A zone that this runtime does not know counts as UTC. */
export function wallTimeOf(at: Date, timezone: string): Required<WallTime> {
  const { year, month, day, hour, minute, second, millisecond } = DateTime.fromJSDate(at, { zone: zoneOf(timezone) });
  return { year, month, day, hour, minute, second, millisecond };
}

/** A name that this runtime does not know must not stop an account from sending. */
function zoneOf(timezone: string): IANAZone {
  const zone = IANAZone.create(timezone);
  return zone.isValid ? zone : IANAZone.create('UTC');
}

/** Returns the first millisecond at which the offset differs from the one at `first`. */
function changeBetween(zone: IANAZone, first: number, last: number): number {
  const offset = zone.offset(first);
  let [same, changed] = [first, last];
  while (changed - same > 1) {
    const middle = Math.floor((same + changed) / 2);
    if (zone.offset(middle) === offset) same = middle;
    else changed = middle;
  }
  return changed;
}
