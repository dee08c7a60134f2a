import { z } from 'zod';

/**
 * The small picture that WhatsApp sends along with a picture, a video or a document, as base64 without a prefix. The sender chooses it, so it is used
 * only if its bytes are those of a JPEG or a PNG and if it is small; every other value counts as no thumbnail.
 */

export type ThumbnailType = 'image/jpeg' | 'image/png';

/** 64 KiB as base64. WhatsApp's own thumbnails have a few KiB. */
const maxCharacters = Math.floor(65_536 / 3) * 4;
/** The first bytes of each type, in base64. */
const starts: readonly [string, ThumbnailType][] = [
  ['/9j/', 'image/jpeg'],
  ['iVBORw0KGgo', 'image/png'],
];

/** Returns the type of a thumbnail, which its first bytes show. Null: the value is no thumbnail. Takes linear time. */
export function thumbnailTypeOf(value: unknown): ThumbnailType | null {
  if (typeof value !== 'string' || value.length > maxCharacters || value.length % 4 !== 0) return null;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return null;
  return starts.find(([start]) => value.startsWith(start))?.[1] ?? null;
}

/** The thumbnail of an observed message. Never refuses: null if the value is no thumbnail. */
export const observedThumbnail = z
  .unknown()
  .transform((value): string | null => (thumbnailTypeOf(value) === null ? null : (value as string)))
  .optional();
