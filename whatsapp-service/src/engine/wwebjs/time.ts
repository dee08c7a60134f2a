const secondMs = 1_000;
const dayMs = 86_400_000;
/** The last moment that the contract's ISO form can hold, 9999-12-31T23:59:59.999Z. */
const latestMs = 253_402_300_799_999;

/** There was no WhatsApp before 2009. */
const earliestMs = Date.UTC(2009, 0, 1);
const factors = [
  { below: 1e11, factor: secondMs },
  { below: 1e14, factor: 1 },
  { below: 1e17, factor: 1e-3 },
  { below: 1e20, factor: 1e-6 },
] as const;

/**
 * A time of WhatsApp's as milliseconds since 1970, or null where none can be told. WhatsApp writes seconds; builds and bridges have been
 * seen to write milliseconds and microseconds, which are recognised by their size: as seconds they would lie after the year 5138.
 */
export function millisecondsOf(value: unknown): number | null {
  const given = typeof value === 'string' && /^\d{1,20}$/.test(value) ? Number(value) : value;
  if (typeof given !== 'number' || !Number.isFinite(given) || given <= 0) return null;
  const factor = factors.find(({ below }) => given < below)?.factor;
  const at = factor === undefined ? 0 : Math.round(given * factor);
  return at < earliestMs ? null : at;
}

/** A time that may lie in the future, such as the end of a mute. Never throws. */
export const isoOf = (value: unknown, now = Date.now()): string =>
  new Date(Math.min(latestMs, millisecondsOf(value) ?? now)).toISOString();

/** When something happened. What cannot be told, or lies more than a day ahead, happened now. Never throws. */
export function happenedAt(value: unknown, now = Date.now()): string {
  const at = millisecondsOf(value);
  return new Date(at === null || at > now + dayMs ? now : at).toISOString();
}
