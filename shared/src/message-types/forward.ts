import { isMediaType, messageContent, optionsOf, textOf, type MessageContent, type StoredContent } from './index.js';

/**
 * The content of a forwarded message: the same for the reader, as a new message of its own. Null if such a message cannot be sent: a notice, an
 * order, or a message that is seen once. A file keeps its description; its bytes are the caller's matter.
 */
export function forwardedContent(content: StoredContent): MessageContent | null {
  if ('viewOnce' in content && content.viewOnce === true) return null;
  return sendable(candidateOf(content));
}

/** What would be sent, before its schema has checked it: a received content may lack what a sent one needs. */
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
      // A received one cannot be sent; ours is sent as its text. Its options belong to the chat that they were offered in.
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

/** An empty text arrives nowhere. */
const hasWords = (content: MessageContent): boolean => content.type !== 'text' || content.message !== '';
