import type { MessageContent } from '@chasqui/shared';
import type { Sealer } from '../lib/sealer.js';
import type { Message } from './message.entity.js';

/** What is needed to send a message, and to nobody once it is final. */
export interface Contents {
  content: MessageContent;
  mentions: string[];
  /** For the time that typing takes. */
  text: string | null;
}

const placeOf = (message: Pick<Message, 'id'>): string => `messages.content:${message.id}`;

export type ContentStore = ReturnType<typeof createContentStore>;

/** The content of messages in the storage mode `metadata`: on the row only sealed, and only until the message is final. */
export function createContentStore(sealer: Sealer) {
  return {
    /** The row as it may be written: its content sealed, and none of it in the open. */
    seal(message: Message): void {
      const { content, mentions, text } = message;
      if (!content) return;
      const contents: Contents = { content: content as MessageContent, mentions, text };
      const options = message.options && { ...message.options, mentions: [] };
      const sealed = sealer.seal(JSON.stringify(contents), placeOf(message));
      Object.assign(message, { sealed, content: null, text: null, mentions: [], options } satisfies Partial<Message>);
    },
    /** Returns the sealed content under the current key. Null if it is sealed under that key already. */
    resealed: ({ id, sealed }: Pick<Message, 'id' | 'sealed'>): string | null =>
      sealed !== null && sealer.isStale(sealed) ? sealer.seal(sealer.open(sealed, placeOf({ id })), placeOf({ id })) : null,
    /** Null: it was removed. */
    open(message: Message): Contents | null {
      if (message.sealed !== null) return JSON.parse(sealer.open(message.sealed, placeOf(message))) as Contents;
      const { content, mentions, text } = message;
      // Only messages that are to be sent are opened, and what they hold was accepted for sending.
      return content && { content: content as MessageContent, mentions, text };
    },
  };
}
