import {
  chatTypeOf,
  observedMessage,
  parseMessageKey,
  type Contact,
  type ObservedContent,
  type ObservedMessage,
} from '@chasqui/shared';
import { contentOf } from './contents.js';
import { idsOf, idText, list, number, record, shortText, text, type RawMessage } from './raw.js';
import { thumbnailOf } from './thumbnail.js';
import { happenedAt } from './time.js';

export { contentOf } from './contents.js';
export { idsOf, idText, type RawMessage } from './raw.js';
export { chatTypeOf } from '@chasqui/shared';

/**
 * Converts the page's messages to the types of the contract. Pure. The page's data has no types and changes, so it is read field by field; a field
 * that is missing or has another type becomes null, never an error: a message that is only partly understood is still recorded.
 *
 * The data comes from the senders of messages. Every field is read in linear time and cut to the longest valid length.
 */

/** Returns the contact of an id; its `id` is the address to reply to. */
export type Identify = (id: string) => Contact;

/**
 * Returns the id of the message that `raw` is about. WhatsApp Web writes a deletion for everyone as a message of type `revoked`, on some builds under
 * a key of its own; then `protocolMessageKey` names the deleted message. In a private chat each side deletes only what it wrote, so a key
 * with the other direction is ignored, and so is a key of another chat.
 */
function idOf(raw: RawMessage): unknown {
  const own = raw['id'];
  if (raw['type'] !== 'revoked') return own;
  const deleted = partsOf(raw['protocolMessageKey']);
  const at = partsOf(own);
  if (!deleted) return own;
  if (!at) return raw['protocolMessageKey'];
  const isPrivate = chatTypeOf(at.chatId) === 'private' && chatTypeOf(deleted.chatId) === 'private';
  if (isPrivate ? at.fromMe !== deleted.fromMe : at.chatId !== deleted.chatId) return own;
  // The chat is the one of the deletion: the key may name it by the person's other id.
  const { fromMe, key, participant } = deleted;
  const written = [fromMe, at.chatId, key, ...(participant ? [participant] : [])].join('_');
  return { fromMe, remote: at.chatId, id: key, ...(participant ? { participant } : {}), _serialized: written };
}

/** Reads the parts of a message id from text or from an object. Null if it is not one. */
function partsOf(id: unknown): { fromMe: boolean; chatId: string; key: string; participant: string | null } | null {
  const { fromMe, remote, id: key, participant } = record(id);
  const chatId = idText(remote);
  if (typeof fromMe === 'boolean' && chatId !== null && shortText(key) !== null)
    return { fromMe, chatId, key: String(key), participant: idText(participant) };
  return parseMessageKey(idText(id) ?? '');
}

/** The message's id as WhatsApp writes it. */
export function whatsappIdOf(raw: RawMessage): string {
  return idText(idOf(raw)) ?? '';
}

export const keyOf = (raw: RawMessage): string =>
  shortText(record(idOf(raw))['id']) ?? parseMessageKey(whatsappIdOf(raw))?.key ?? whatsappIdOf(raw);
export const chatIdOf = (raw: RawMessage): string =>
  idText(record(idOf(raw))['remote']) ?? parseMessageKey(whatsappIdOf(raw))?.chatId ?? idText(raw['from']) ?? '';
export const isFromMe = (raw: RawMessage): boolean =>
  (record(idOf(raw))['fromMe'] ?? parseMessageKey(whatsappIdOf(raw))?.fromMe) === true;

/**
 * Whether a change of the body is an edit. The page also changes the body when a file's preview arrives (the body is the picture, the text
 * is the caption) and when a message is decrypted late (there was no body before).
 */
export function isEdit(raw: RawMessage, now: unknown, before: unknown): boolean {
  if (isNotice(raw) || raw['type'] === 'ciphertext' || raw['type'] === 'revoked' || typeof now !== 'string' || now === before)
    return false;
  if (text(raw['directPath']) !== null) return now === text(raw['caption']);
  return typeof before === 'string' || raw['latestEditMsgKey'] !== undefined;
}
const isNotice = (raw: RawMessage): boolean => contentOf({ type: raw['type'] }).type === 'notice';

/** Returns the sender of an incoming message, or the other person of a private chat. Null for the account's own message in a group. */
export function personOf(raw: RawMessage): string | null {
  const chat = chatIdOf(raw);
  if (chatTypeOf(chat) === 'private') return chat;
  if (isFromMe(raw)) return null;
  const participant = idText(record(idOf(raw))['participant']);
  // An admin who deletes another member's message did not write it.
  return raw['type'] === 'revoked' && participant !== null ? participant : (idText(raw['author']) ?? participant);
}

/** The reactions, if the message comes from a backfill; otherwise null, because they were not read. */
function reactionsOf(raw: RawMessage, identify: Identify): ObservedMessage['reactions'] {
  if (!Array.isArray(raw['chasquiReactions'])) return null;
  return list(raw['chasquiReactions']).flatMap((one) => {
    const { sender, emoji, t } = record(one);
    const id = idText(sender);
    return id !== null && typeof emoji === 'string' && emoji !== '' ? [{ contact: identify(id), emoji, at: happenedAt(t) }] : [];
  });
}
/** The mentioned groups. A group without a readable id is left out. */
const groupsMentionedIn = (raw: RawMessage): { id: string; name: string | null }[] =>
  list(raw['groupMentions']).flatMap((one) => {
    const { groupJid, groupSubject } = record(one);
    const id = idText(groupJid);
    return id === null ? [] : [{ id, name: text(groupSubject, 256) }];
  });

/** The ids of the people in a message. */
export const peopleIn = (raw: RawMessage): (string | null)[] => [
  chatIdOf(raw),
  personOf(raw),
  ...list(raw['chasquiReactions']).map((one) => idText(record(one)['sender'])),
];

/** Converts a message. Throws if it cannot be read. */
export function observe(raw: RawMessage, identify: Identify, nameOfChat: (id: string) => string | null): ObservedMessage {
  return observed(raw, contentOf(raw), identify, nameOfChat);
}

function observed(
  raw: RawMessage,
  content: ObservedContent,
  identify: Identify,
  nameOfChat: (id: string) => string | null,
): ObservedMessage {
  const chatId = chatIdOf(raw);
  const person = personOf(raw);
  const edited = raw['latestEditSenderTimestampMs'] ?? null;
  const thumbnail = thumbnailOf(raw);
  return observedMessage.parse({
    whatsappId: whatsappIdOf(raw),
    key: keyOf(raw),
    fromMe: isFromMe(raw),
    chat: { id: chatId === '' ? undefined : chatId, name: nameOfChat(chatId) },
    contact: person ? named(identify(person), raw) : null,
    from: idText(raw['author']) ?? idText(raw['from']),
    to: idText(raw['to']),
    content,
    ...(thumbnail === null ? {} : { thumbnail }),
    ack: Math.trunc(number(raw['ack']) ?? 0),
    timestamp: happenedAt(raw['t']),
    isForwarded: raw['isForwarded'] === true,
    starred: raw['star'] === true,
    mentions: idsOf(raw['mentionedJidList']),
    groupMentions: groupsMentionedIn(raw),
    quotedWhatsappId: shortText(raw['quotedStanzaID']),
    editedAt: edited === null ? null : happenedAt(edited),
    revokedAt: raw['type'] === 'revoked' ? happenedAt(raw['revokeTimestamp']) : null,
    reactions: reactionsOf(raw, identify),
  });
}

/** Converts a message as far as it can be read. An unreadable message becomes `unknown`, with the `error`, so that it is still recorded. Never throws. */
export function observeAny(
  raw: RawMessage,
  identify: Identify,
  nameOfChat: (id: string) => string | null,
): { message: ObservedMessage; error: unknown } {
  try {
    return { message: observe(raw, identify, nameOfChat), error: null };
  } catch (error) {
    const { id, type, protocolMessageKey, from, author, t } = raw;
    const bare: RawMessage = { id, type, protocolMessageKey, from, author, t };
    const unreadable = { type: 'unknown' as const, whatsappType: 'unreadable', message: null };
    return { message: observed(bare, unreadable, bareContact, () => null), error };
  }
}
const bareContact: Identify = (id) => ({ id, phone: null, lid: null, name: null });

/** Adds the name that came with the message if the contact has none. */
const named = (contact: Contact, raw: RawMessage): Contact =>
  contact.name || isFromMe(raw) ? contact : { ...contact, name: text(raw['notifyName'], 256) };
