import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parseAddress } from './ids.js';
import { messageTypes, observedContent } from './message-types/index.js';
import { id, listOf, maxText, someId, someText, text } from './message-types/observed-fields.js';
import { observedThumbnail } from './thumbnail.js';

export { storableId, storableText } from './message-types/observed-fields.js';

/**
 * Schemas for messages that WhatsApp reports. The sender decides what arrives, so these schemas never refuse a value: long values are cut, impossible
 * values become null, and unreadable content becomes `unknown`. `message-types/` has the schemas of the contents.
 */

const dayMs = 86_400_000;
/** There was no WhatsApp before 2009. */
const earliestMs = Date.UTC(2009, 0, 1);

/** The type of chat that an address belongs to. An id of unknown form counts as a private chat. */
export function chatTypeOf(id: string): 'private' | 'group' | 'channel' | 'status' {
  const kind = parseAddress(id)?.kind;
  return kind === 'group' || kind === 'channel' || kind === 'status' ? kind : 'private';
}

/** The time at which something happened. The current time replaces an invalid time, one before WhatsApp existed, and one more than a day ahead. */
export const observedTime = z
  .any()
  .optional()
  .transform((given: unknown) => {
    const at = typeof given === 'string' ? Date.parse(given) : NaN;
    const now = Date.now();
    return new Date(at >= earliestMs && at <= now + dayMs ? at : now).toISOString();
  })
  .pipe(z.iso.datetime());

/** An ack of a message. All errors of WhatsApp (-1 to -7) become -1. A number above 4 becomes 1, because it proves only that the server has the message. */
export const observedAck = z
  .number()
  .transform((given) => (given <= -1 ? -1 : given >= 5 ? 1 : Math.trunc(given)))
  .catch(0);

const chatId = id(80).catch('unknown');
export const observedChat = z
  .object({ id: chatId, name: someText(256) })
  .catch({ id: 'unknown', name: null })
  .transform(({ id: of, name }) => ({ id: of, type: chatTypeOf(of), name }));
const person = z.object({ id: id(80), phone: someText(20), lid: someId(80), name: someText(256) });
/** Null if no contact is named. */
export const observedContact = person.nullable().catch(null);
export const observedPerson = person.catch({ id: 'unknown', phone: null, lid: null, name: null });
export const observedContacts = listOf(person, 2_000);
export const observedText = someText(maxText);
export const observedTexts = listOf(text(1_024), 100);

/** Content of this type exists but was not stored, because the session's storage mode is `metadata`. */
/** A content that the storage mode withholds. `keyword`: the text was this keyword of the account, as `wordOf` writes it. */
const withheldContent = z.object({
  type: z.literal('withheld'),
  of: z.enum(messageTypes).catch('unknown'),
  keyword: z.string().min(1).max(256).optional().catch(undefined),
});

/** A reaction and its sender. */
const reaction = z.object({ contact: observedContact, emoji: text(64), at: observedTime });

/** A group that a text mentions, under the name that its writer's phone gave it. */
const groupMention = z.object({ id: id(80), name: someText(256) });

/** The fields that identify a message: WhatsApp's ids, the direction and the chat. The key alone is not enough. */
const identity = {
  whatsappId: id(160).catch(''),
  /** The part of WhatsApp's id that does not depend on how the chat is written. The sender chooses the key. */
  key: id(80).catch(''),
  fromMe: z.boolean().catch(false),
  chat: observedChat,
};

/** One message as the page shows it. */
const messageFields = z.object({
  ...identity,
  /** The other person of a private chat, or the sender in a group. Null for the account's own message in a group. */
  contact: observedContact,
  from: someId(80),
  to: someId(80),
  content: z.union([withheldContent, observedContent]),
  /** The thumbnail of its file. It is no part of the content, which is stored and published as it is. */
  thumbnail: observedThumbnail,
  ack: observedAck,
  timestamp: observedTime,
  isForwarded: z.boolean().catch(false),
  /** Absent: the worker does not know. */
  starred: z.boolean().optional().catch(undefined),
  mentions: listOf(id(80), 1_024),
  groupMentions: listOf(groupMention, 256),
  quotedWhatsappId: someId(160),
  /** Later changes of the message that the page knows. Null or absent: none, or the page was not asked. */
  editedAt: observedTime.nullable().optional().catch(null),
  revokedAt: observedTime.nullable().optional().catch(null),
  reactions: listOf(reaction, 1_024).nullable().optional().catch(null),
});

/** The identity of a message without a key: a digest of its known fields. */
const keyFor = (message: z.infer<typeof messageFields>): string => {
  const { chat, from, timestamp, content, fromMe } = message;
  const known = JSON.stringify([chat.id, from, fromMe, timestamp, content]);
  return `~${createHash('sha256').update(known).digest('hex').slice(0, 40)}`;
};

/** Parses a worker's report of a message. Never refuses. */
export const observedMessage = z
  .any()
  .optional()
  .transform((given: unknown) =>
    messageFields.parse(typeof given === 'object' && given !== null && !Array.isArray(given) ? given : {}),
  )
  .transform((message) => (message.key === '' ? { ...message, key: keyFor(message) } : message));
export type ObservedMessage = z.infer<typeof observedMessage>;

/** The fields of every event about a change of a message. If a worker does not report the direction, it is read from WhatsApp's id. */
export const aboutObserved = { ...identity, fromMe: z.boolean().optional().catch(undefined), at: observedTime };
