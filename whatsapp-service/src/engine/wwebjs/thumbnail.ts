import { thumbnailTypeOf } from '@chasqui/shared';
import { contentOf } from './contents.js';
import type { RawMessage } from './raw.js';

const typesWithThumbnail: ReadonlySet<string> = new Set(['image', 'video', 'document']);

/**
 * Returns the thumbnail of the file of a message, in base64; null if the page has none or if it is no small picture. WhatsApp Web stores it in `body`,
 * where a text has its text. View-once media has no thumbnail here.
 */
export const thumbnailOf = (raw: RawMessage): string | null => thumbnailIn(raw, raw['body']);

/** Returns a new body of a message if it is the thumbnail of its file; otherwise null. */
export function thumbnailIn(raw: RawMessage, body: unknown): string | null {
  if (typeof body !== 'string' || thumbnailTypeOf(body) === null || raw['isViewOnce'] === true) return null;
  return typesWithThumbnail.has(contentOf(raw).type) ? body : null;
}
