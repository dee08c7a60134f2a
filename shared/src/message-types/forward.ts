import { isMediaType, messageContent, optionsOf, textOf, type MessageContent, type StoredContent } from './index.js';

/**
 * Returns the content of a new message that forwards a stored one. Returns null if WhatsApp Web cannot send such a message: a notice, an order, or
 * a message that may be viewed only once. A file is returned as its description; the caller provides the bytes.
 */
export function forwardedContent(content: StoredContent): MessageContent | null {
  if ('viewOnce' in content && content.viewOnce === true) return null;
  return sendable(candidateOf(content));
}

/** Returns what would be sent, not yet checked by its schema: received content may lack fields that sent content needs. */
function candidateOf(content: StoredContent): unknown {
  switch (content.type) {
    case 'text':
      return { type: 'text', message: content.message };
    case 'image':
    case 'video':
    case 'document': {
      const { viewOnce: _, videoNote: __, ...rest } = content as Record<string, unknown>;
      return { caption: null, ...rest };
    }
    case 'location': {
      const { latitude, longitude, name, address } = content;
      return { type: 'location', latitude, longitude, name, address };
    }
    case 'poll':
      return content.options.length >= 2 ? content : null;
    case 'calendar_event':
      return { callType: 'none', ...content };
    case 'audio':
    case 'voice':
    case 'sticker':
    case 'contact':
      return content;
    case 'list':
    case 'buttons':
      // Only a list or buttons that this gateway sent can be forwarded, as text: their options can be chosen only in the original chat.
      return optionsOf(content).length > 0 ? { type: 'text', message: textOf(content) } : null;
    case 'template':
    case 'product':
    case 'order':
    case 'payment':
    case 'album':
    case 'group_invite':
    case 'notice':
    case 'unknown':
      return null;
  }
}

function sendable(candidate: unknown): MessageContent | null {
  const { data } = messageContent.safeParse(candidate);
  return data && (isMediaType(data.type) || hasWords(data)) ? data : null;
}

/** WhatsApp does not deliver an empty text. */
const hasWords = (content: MessageContent): boolean => content.type !== 'text' || content.message !== '';
