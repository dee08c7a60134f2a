import { mediaOf, type StoredContent } from '@chasqui/shared';
import { updateRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Thumbnails } from '../../media/thumbnails.js';
import { Message } from '../message.entity.js';

/** Stores the thumbnails of observed messages, in the transaction that records them. */

interface Parts {
  thumbnails: Pick<Thumbnails, 'store'>;
}

/** Stores the thumbnail of a message that is being recorded. Returns its address; null if there is none or the message may have none. */
export async function storeThumbnail(
  { thumbnails }: Parts,
  tx: Transaction,
  { id, sessionId, content }: Pick<Message, 'id' | 'sessionId'> & { content: StoredContent },
  data: string | null | undefined,
): Promise<string | null> {
  if (!data || !mayHaveThumbnail(content)) return null;
  await thumbnails.store(tx, { messageId: id, sessionId }, data);
  return `/api/v1/messages/${id}/thumbnail`;
}

/** Stores the thumbnail of a recorded message, unless it has or had one, or may have none. Publishes nothing. */
export async function addThumbnail(parts: Parts, tx: Transaction, message: Message, data: string): Promise<void> {
  const { id, sessionId, content, mediaId, revokedAt, deletedAt } = message;
  if (!content || !mediaId || revokedAt || deletedAt || mediaOf(content)?.thumbnailUrl) return;
  const thumbnailUrl = await storeThumbnail(parts, tx, { id, sessionId, content }, data);
  if (thumbnailUrl === null) return;
  message.content = withThumbnailUrl(content, thumbnailUrl);
  await updateRows(tx, Message, { id }, { content: message.content });
}

/** Whether a content has a file that may be looked at more than once. */
const mayHaveThumbnail = (content: StoredContent): boolean =>
  mediaOf(content) !== null && !('viewOnce' in content && content.viewOnce === true);

/** Returns the content with the address of its thumbnail; a content without a file as it is. */
export function withThumbnailUrl<T extends StoredContent>(content: T, thumbnailUrl: string | null): T {
  const file = mediaOf(content);
  return file ? { ...content, media: { ...file, thumbnailUrl } } : content;
}
