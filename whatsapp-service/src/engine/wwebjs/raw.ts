/** Reading fields of the page's data, which has no types. Nothing here throws, and everything is bounded. */

/** A message as `WWebJS.getMessageModel` gives it, after the bridge. */
export type RawMessage = Readonly<Record<string, unknown>>;

/** Characters. WhatsApp's own limit for a text is 65,536. */
export const maxText = 65_536;
const maxId = 256;
const maxListed = 1_024;

export const text = (value: unknown, most = maxText): string | null =>
  typeof value !== 'string' ? null : value.length > most ? cut(value, most) : value;
/** Not in the middle of a character that takes two units. */
const cut = (value: string, most: number): string =>
  value.slice(0, /[\uD800-\uDBFF]/.test(value.charAt(most - 1)) ? most - 1 : most);

/** The part before the first `separator`, and the part between it and the second. Splitting all of a text could make a list of millions. */
export function firstTwo(value: string, separator: string): [string, string] {
  const first = value.indexOf(separator);
  if (first < 0) return [value, ''];
  const second = value.indexOf(separator, first + 1);
  return [value.slice(0, first), value.slice(first + 1, second < 0 ? undefined : second)];
}
export const number = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value)
    ? value
    : typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value)
      ? Number(value)
      : null;
export const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
export const list = (value: unknown, most = maxListed): unknown[] => (Array.isArray(value) ? value.slice(0, most) : []);

export const shortText = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' && value.length <= maxId ? value : null;
/** An id, whether it crossed as text or as an object. What is too long is none. */
export const idText = (value: unknown): string | null => shortText(value) ?? shortText(record(value)['_serialized']);
export const idsOf = (value: unknown): string[] => list(value).flatMap((id) => idText(id) ?? []);

/**
 * The words of a field that may also hold a picture's preview, as base64. WhatsApp writes the preview into `body` of everything that has
 * one. A text of base64 characters alone, as long as the smallest preview, is no text of a person.
 */
export function words(value: unknown, most = maxText): string | null {
  const found = text(value, most);
  if (found === null || found === '') return null;
  const isPreview = found.length >= 64 && /^[A-Za-z0-9+/]+={0,2}$/.test(found);
  return isPreview || /^(\/9j\/|iVBORw0KGgo|UklGR|R0lGOD)/.test(found) ? null : found;
}
