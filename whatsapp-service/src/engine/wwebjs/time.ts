const secondMs = 1_000;
const dayMs = 86_400_000;
/** The last moment that the contract's ISO form can hold, 9999-12-31T23:59:59.999Z. */
const latestMs = 253_402_300_799_999;

/**
 * A time of WhatsApp's as milliseconds since 1970, or null where none can be told. WhatsApp writes seconds; builds and bridges have been
 * seen to write milliseconds and microseconds, which are recognised by their size: as seconds they would lie after the year 5138.
 */
export function millisecondsOf(value: unknown): number | null {
  const given = typeof value === 'string' && /^\d{1,20}$/.test(value) ? Number(value) : value;
  if (typeof given !== 'number' || !Number.isFinite(given) || given <= 0) return null;
  if (given < 1e11) return Math.round(given * secondMs);
  if (given < 1e14) return Math.round(given);
  if (given < 1e17) return Math.round(given / 1e3);
  if (given < 1e20) return Math.round(given / 1e6);
  return null;
}

/** A time that may lie in the future, such as the end of a mute. Never throws. */
export const isoOf = (value: unknown, now = Date.now()): string =>
  new Date(Math.min(latestMs, millisecondsOf(value) ?? now)).toISOString();

/** When something happened. What cannot be told, or lies more than a day ahead, happened now. Never throws. */
export function happenedAt(value: unknown, now = Date.now()): string {
  const at = millisecondsOf(value);
  return new Date(at === null || at > now + dayMs ? now : at).toISOString();
}
