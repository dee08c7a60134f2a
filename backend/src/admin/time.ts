/** How far a zone's clocks are ahead of UTC at a moment, in milliseconds; an unknown zone counts as UTC. */
export function offsetMs(at: Date, timezone: string): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: knownZone(timezone),
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(at);
  const of = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.find((part) => part.type === type)?.value);
  const local = Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second'));
  return local - Math.floor(at.getTime() / 1000) * 1000;
}

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
export function dayStart(now: Date, timezone: string): number {
  const offset = offsetMs(now, timezone);
  const dayMs = 86_400_000;
  return Math.floor((now.getTime() + offset) / dayMs) * dayMs - offset;
}

/** The smallest id that a row made at or after this time can have: ids begin with their time (UUID, version 7). */
export function idFrom(time: number): string {
  const hex = Math.max(0, time).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
