const secondMs = 1_000;
const dayMs = 86_400_000;
/** The last moment that the contract's ISO form can hold, 9999-12-31T23:59:59.999Z. */
const latestMs = 253_402_300_799_999;

/** WhatsApp did not exist before 2009. */
const earliestMs = Date.UTC(2009, 0, 1);
const factors = [
  { below: 1e11, factor: secondMs },
  { below: 1e14, factor: 1 },
  { below: 1e17, factor: 1e-3 },
  { below: 1e20, factor: 1e-6 },
] as const;

/**
 * Converts a time of WhatsApp to milliseconds since 1970; null if it is invalid. WhatsApp writes seconds; some builds write milliseconds or
 * microseconds, which are recognised by their size: as seconds they would be after the year 5138.
 */
export function millisecondsOf(value: unknown): number | null {
  const units = typeof value === 'string' && /^\d{1,20}$/.test(value) ? Number(value) : value;
  if (typeof units !== 'number' || !Number.isFinite(units) || units <= 0) return null;
  const factor = factors.find(({ below }) => units < below)?.factor;
  const at = factor === undefined ? 0 : Math.round(units * factor);
  return at < earliestMs ? null : at;
}

/** A time that may be in the future, such as the end of a mute. An invalid time becomes `now`. Never throws. */
export const isoOf = (value: unknown, now = Date.now()): string =>
  new Date(Math.min(latestMs, millisecondsOf(value) ?? now)).toISOString();

/** The time of an event. An invalid time, or one more than a day in the future, becomes `now`. Never throws. */
export function happenedAt(value: unknown, now = Date.now()): string {
  const at = millisecondsOf(value);
  return new Date(at === null || at > now + dayMs ? now : at).toISOString();
}
