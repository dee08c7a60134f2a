import { AppError, erased, parseRecipient } from '@chasqui/shared';
import type { WebhookFilter } from './webhook.entity.js';

/**
 * A filter as it is stored: chats by their ids, numbers by the id that belongs to them. Throws `INVALID_RECIPIENT` for a chat that is no id and no
 * number in international form: it would never match.
 */
export function filterWith(filter: WebhookFilter): WebhookFilter {
  if (!filter.chats) return filter;
  const chats = filter.chats.map((chat, index) => {
    // What an erasure left in a filter may be sent back with the rest of it.
    if (chat === erased) return chat;
    const parsed = parseRecipient(chat);
    if (parsed.ok) return parsed.address.id;
    const field = { path: `filter.chats.${index}`, code: 'INVALID_RECIPIENT', message: parsed.message };
    throw new AppError('INVALID_RECIPIENT', { input: chat, fields: [field] }, `filter.chats[${index}]: ${parsed.message}`);
  });
  return { ...filter, chats: [...new Set(chats)] };
}
