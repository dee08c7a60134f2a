/** Reads fields of the page's data, which has no types. Nothing here throws, and all results are bounded. */

/** A message as `WWebJS.getMessageModel` returns it, after the bridge. */
export type RawMessage = Readonly<Record<string, unknown>>;

/** Characters. WhatsApp's own limit for a text is 65,536. */
export const maxText = 65_536;
const maxId = 256;
const maxListed = 1_024;

/** Returns a text of at most `limit` UTF-16 units. Null if the value is not a text. */
export const text = (value: unknown, limit = maxText): string | null =>
  typeof value !== 'string' ? null : value.length > limit ? cut(value, limit) : value;
/** Does not cut a surrogate pair in half. */
const cut = (value: string, limit: number): string =>
  value.slice(0, /[\uD800-\uDBFF]/.test(value.charAt(limit - 1)) ? limit - 1 : limit);

/** Returns the part before the first `separator` and the part between it and the second. Splitting the whole text could create a list of millions. */
export function firstTwo(value: string, separator: string): [string, string] {
  const first = value.indexOf(separator);
  if (first < 0) return [value, ''];
  const second = value.indexOf(separator, first + 1);
  return [value.slice(0, first), value.slice(first + 1, second < 0 ? undefined : second)];
}
/** Reads a number, also from text. Null if the value is not one. */
export const number = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value)
    ? value
    : typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value)
      ? Number(value)
      : null;
export const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
export const list = (value: unknown, limit = maxListed): unknown[] => (Array.isArray(value) ? value.slice(0, limit) : []);

/** Returns a text that can be an id: not empty, and at most 256 UTF-16 units. */
export const shortText = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' && value.length <= maxId ? value : null;
/** Reads an id from text or from an object. Null if it is too long. */
export const idText = (value: unknown): string | null => shortText(value) ?? shortText(record(value)['_serialized']);
export const idsOf = (value: unknown): string[] => list(value).flatMap((id) => idText(id) ?? []);

/**
 * Reads the text of a field that may also contain a picture's preview as base64; returns null for a preview. WhatsApp stores previews in
 * `body`. A text of base64 characters only, as long as the smallest preview, counts as a preview.
 */
export function words(value: unknown, limit = maxText): string | null {
  const found = text(value, limit);
  if (found === null || found === '') return null;
  const isPreview = found.length >= 64 && /^[A-Za-z0-9+/]+={0,2}$/.test(found);
  return isPreview || /^(\/9j\/|iVBORw0KGgo|UklGR|R0lGOD)/.test(found) ? null : found;
}
