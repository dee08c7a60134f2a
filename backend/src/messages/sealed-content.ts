import type { MessageContent } from '@chasqui/shared';
import type { Sealer } from '../lib/sealer.js';
import type { GroupMention, Message, SendOptions } from './message.entity.js';

/** The data that sending a message needs. It is deleted once the status of the message is final. */
export interface Contents {
  content: MessageContent;
  mentions: string[];
  groupMentions?: GroupMention[];
  /** Its length determines how long typing is shown. */
  text: string | null;
}

type Sealed = Pick<Message, 'id' | 'sealed'>;

/**
 * The content of messages in the storage mode `metadata`. The row contains it only sealed, and only until the status of the message is final
 * (state.ts deletes it).
 */
export interface ContentStore {
  /** Seals the content of a row that is about to be written, and removes it from the columns that are readable. */
  seal(message: Message): void;
  /** Returns the sealed content under the current key. Null if there is none or it is sealed under that key already. */
  resealed(message: Sealed): string | null;
  /** Returns what is to be sent, sealed or not. Null if it was deleted. */
  open(message: Message): Contents | null;
  /** Returns the sealed content. Null if there is none. */
  unseal(message: Sealed): Contents | null;
  /** Returns changed content, sealed for the same message. Null if there is none. */
  rewrite(message: Sealed, change: (contents: Contents) => Contents): string | null;
}

export function createContentStore(sealer: Sealer): ContentStore {
  return {
    seal: (message) => seal(sealer, message),
    resealed: ({ id, sealed }) =>
      sealed !== null && sealer.isStale(sealed) ? sealer.seal(sealer.open(sealed, placeOf(id)), placeOf(id)) : null,
    open: (message) => open(sealer, message),
    unseal: (message) => unseal(sealer, message),
    rewrite(message, change) {
      const contents = unseal(sealer, message);
      return contents && sealer.seal(JSON.stringify(change(contents)), placeOf(message.id));
    },
  };
}

/** Sealed text opens only at the place for which it was sealed. */
const placeOf = (messageId: string): string => `messages.content:${messageId}`;

function seal(sealer: Sealer, message: Message): void {
  const { content, mentions, text } = message;
  if (!content) return;
  const { groupMentions, ...others } = message.options ?? {};
  const contents: Contents = { content: content as MessageContent, mentions, ...(groupMentions ? { groupMentions } : {}), text };
  const options = message.options && { ...(others as SendOptions), mentions: [] };
  const sealed = sealer.seal(JSON.stringify(contents), placeOf(message.id));
  Object.assign(message, { sealed, content: null, text: null, mentions: [], options } satisfies Partial<Message>);
}

function open(sealer: Sealer, message: Message): Contents | null {
  if (message.sealed !== null) return unseal(sealer, message);
  const { content, mentions, text } = message;
  // Only messages that are to be sent are opened, and their content was accepted for sending.
  const groupMentions = message.options?.groupMentions;
  return content && { content: content as MessageContent, mentions, ...(groupMentions ? { groupMentions } : {}), text };
}

const unseal = (sealer: Sealer, { id, sealed }: Sealed): Contents | null =>
  sealed === null ? null : (JSON.parse(sealer.open(sealed, placeOf(id))) as Contents);
