import { thumbnailTypeOf } from '@chasqui/shared';
import { contentOf } from './contents.js';
import { record, type RawMessage } from './raw.js';

const typesWithThumbnail: ReadonlySet<string> = new Set(['image', 'video', 'document']);

/**
 * Returns the thumbnail of the file of a message, in base64; null if the page has none or if it is no small picture. WhatsApp Web stores it in `body`,
 * where a text has its text, and older builds also in the preview of the file. View-once media has no thumbnail here.
 */
export function thumbnailOf(raw: RawMessage): string | null {
  const preview = record(record(raw['mediaData'])['preview']);
  return [raw['body'], preview['_b64']].map((value) => thumbnailIn(raw, value)).find((found) => found !== null) ?? null;
}

/** Returns a new body of a message if it is the thumbnail of its file; otherwise null. */
export function thumbnailIn(raw: RawMessage, body: unknown): string | null {
  if (typeof body !== 'string' || thumbnailTypeOf(body) === null || raw['isViewOnce'] === true) return null;
  return typesWithThumbnail.has(contentOf(raw).type) ? body : null;
}
