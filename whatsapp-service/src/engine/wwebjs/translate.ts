import type { ChatRef, Contact, MediaRef, MessageContent, ObservedMessage } from '@chasqui/shared';
import { parseAddress, parseMessageKey } from '@chasqui/shared';
import { happenedAt } from './time.js';
import { readCard } from './vcard.js';

/**
 * The page's messages in our words. Pure. The page's data has no types and changes; it is read field by field here, and what is
 * missing or of another kind becomes null, never an error: a message that we only half understand is still a message.
 *
 * The data comes from whoever writes to us. Every field is read in time linear in its size, and cut to what an honest one can have.
 */

/** Characters. WhatsApp's own limit for a text is 65,536. */
const maxText = 65_536;
const maxId = 256;
const maxListed = 1_024;
const maxCards = 20;

/** A message as `WWebJS.getMessageModel` gives it, after the bridge. */
export type RawMessage = Readonly<Record<string, unknown>>;

/** Who is behind an id; `id` is the form to answer to. */
export type Identify = (id: string) => Contact;

const text = (value: unknown, most = maxText): string | null =>
  typeof value !== 'string' ? null : value.length > most ? cut(value, most) : value;
/** Not in the middle of a character that takes two units. */
const cut = (value: string, most: number): string =>
  value.slice(0, /[\uD800-\uDBFF]/.test(value.charAt(most - 1)) ? most - 1 : most);
/** The part before the first `separator`, and the part between it and the second. Splitting all of a text could make a list of millions. */
function firstTwo(value: string, separator: string): [string, string] {
  const first = value.indexOf(separator);
  if (first < 0) return [value, ''];
  const second = value.indexOf(separator, first + 1);
  return [value.slice(0, first), value.slice(first + 1, second < 0 ? undefined : second)];
}
const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
const list = (value: unknown, most = maxListed): unknown[] => (Array.isArray(value) ? value.slice(0, most) : []);

/** An id, whether it crossed as text or as an object. What is too long is none. */
export const idText = (value: unknown): string | null => shortText(value) ?? shortText(record(value)['_serialized']);
const shortText = (value: unknown): string | null => (typeof value === 'string' && value.length <= maxId ? value : null);

export const idsOf = (value: unknown): string[] => list(value).flatMap((id) => idText(id) ?? []);

/** The message's id in WhatsApp's written form. */
export function whatsappIdOf(raw: RawMessage): string {
  return idText(raw['id']) ?? '';
}

export const keyOf = (raw: RawMessage): string =>
  shortText(record(raw['id'])['id']) ?? parseMessageKey(whatsappIdOf(raw))?.key ?? whatsappIdOf(raw);
export const chatIdOf = (raw: RawMessage): string => idText(record(raw['id'])['remote']) ?? idText(raw['from']) ?? '';
export const isFromMe = (raw: RawMessage): boolean => record(raw['id'])['fromMe'] === true;

/** WhatsApp's types that are no messages: notices that the page shows between them. */
const notices = new Set([
  'e2e_notification',
  'notification',
  'notification_template',
  'gp2',
  'protocol',
  'ciphertext',
  'debug',
  'broadcast_notification',
  'call_log',
  'pinned_message',
]);
export const isNotice = (raw: RawMessage): boolean => notices.has(text(raw['type'], 64) ?? '');

/**
 * Whether a change of the body is an edit. The page also changes it when a file's preview comes in (its body is the picture, its
 * words are the caption) and when a message is decrypted late (there was none before).
 */
export function isEdit(raw: RawMessage, now: unknown, before: unknown): boolean {
  if (isNotice(raw) || typeof now !== 'string' || now === before) return false;
  if (text(raw['directPath']) !== null) return now === text(raw['caption']);
  return typeof before === 'string' || raw['latestEditMsgKey'] !== undefined;
}

export function chatTypeOf(id: string): ChatRef['type'] {
  switch (parseAddress(id)?.kind) {
    case 'group':
      return 'group';
    case 'channel':
      return 'channel';
    case 'status':
      return 'status';
    default:
      return 'private';
  }
}

/** The writer of a message that is not ours, or the other side of a private chat. Null for our own in a group. */
export function personOf(raw: RawMessage): string | null {
  const chat = chatIdOf(raw);
  if (chatTypeOf(chat) === 'private') return chat;
  return isFromMe(raw) ? null : (idText(raw['author']) ?? idText(record(raw['id'])['participant']));
}

export function observe(raw: RawMessage, identify: Identify, nameOfChat: (id: string) => string | null): ObservedMessage {
  const chatId = chatIdOf(raw);
  const person = personOf(raw);
  const quoted = shortText(raw['quotedStanzaID']);
  return {
    whatsappId: whatsappIdOf(raw),
    key: keyOf(raw),
    fromMe: isFromMe(raw),
    chat: { id: chatId, type: chatTypeOf(chatId), name: nameOfChat(chatId) },
    contact: person ? named(identify(person), raw) : null,
    from: idText(raw['author']) ?? idText(raw['from']),
    to: idText(raw['to']),
    content: contentOf(raw),
    ack: Math.trunc(number(raw['ack']) ?? 0),
    timestamp: happenedAt(raw['t']),
    isForwarded: raw['isForwarded'] === true,
    mentions: idsOf(raw['mentionedJidList']),
    quotedWhatsappId: quoted,
  };
}

/**
 * The message as far as it can be read. One whose content nobody here can read is still recorded, as `unknown`. Null only for what has no
 * key: it cannot be told from any other message.
 */
export function observeAny(
  raw: RawMessage,
  identify: Identify,
  nameOfChat: (id: string) => string | null,
): { message: ObservedMessage | null; error: unknown } {
  try {
    return { message: keyOf(raw) === '' ? null : observe(raw, identify, nameOfChat), error: null };
  } catch (error) {
    const bare: RawMessage = { id: raw['id'], from: raw['from'], author: raw['author'], t: raw['t'], type: 'unreadable' };
    return { message: observe(bare, bareContact, () => null), error };
  }
}
const bareContact: Identify = (id) => ({ id, phone: null, lid: null, name: null });

/** The name that came with the message, where we know none. */
const named = (contact: Contact, raw: RawMessage): Contact =>
  contact.name || isFromMe(raw) ? contact : { ...contact, name: text(raw['notifyName'], maxId) };

function mediaOf(raw: RawMessage): MediaRef {
  return {
    id: null,
    mimetype: firstTwo(text(raw['mimetype'], maxId) ?? '', ';')[0].trim() || 'application/octet-stream',
    size: number(raw['size']),
    filename: text(raw['filename'], 1_024),
    sha256: hexOf(raw['filehash']),
    width: number(raw['width']),
    height: number(raw['height']),
    seconds: number(raw['duration']) ?? (Number(shortText(raw['duration'])) || null),
  };
}

/** WhatsApp writes SHA-256 in base64. */
function hexOf(base64: unknown): string | null {
  const bytes = Buffer.from(shortText(base64) ?? '', 'base64');
  return bytes.length === 32 ? bytes.toString('hex') : null;
}

const withCaption = (raw: RawMessage) => ({ media: mediaOf(raw), caption: text(raw['caption']) });

/** WhatsApp's type → our content. One row each; what is not here becomes `unknown` under its own name. */
const contents: Record<string, (raw: RawMessage) => MessageContent> = {
  chat: (raw) => ({ type: 'text', message: text(raw['body']) ?? '' }),
  image: (raw) => ({ type: 'image', ...withCaption(raw), ...(raw['isViewOnce'] === true ? { viewOnce: true } : {}) }),
  video: (raw) => ({
    type: 'video',
    ...withCaption(raw),
    ...(raw['isGif'] === true ? { gif: true } : {}),
    ...(raw['isViewOnce'] === true ? { viewOnce: true } : {}),
  }),
  audio: (raw) => ({ type: 'audio', media: mediaOf(raw) }),
  ptt: (raw) => ({ type: 'voice', media: mediaOf(raw) }),
  document: (raw) => ({ type: 'document', ...withCaption(raw) }),
  sticker: (raw) => ({ type: 'sticker', media: mediaOf(raw) }),
  location: (raw) => {
    const [name, address] = firstTwo(text(raw['loc']) ?? '', '\n');
    return {
      type: 'location',
      latitude: number(raw['lat']) ?? 0,
      longitude: number(raw['lng']) ?? 0,
      name: name || null,
      address: address || null,
    };
  },
  vcard: (raw) => ({ type: 'contact', contacts: [card(text(raw['body']) ?? '', text(raw['vcardFormattedName'], maxId))] }),
  multi_vcard: (raw) => {
    const cards = list(raw['vcardList'], maxCards).map((item) =>
      card(text(record(item)['vcard'], maxText / 4) ?? '', text(record(item)['displayName'], maxId)),
    );
    return cards.length > 0
      ? { type: 'contact', contacts: cards }
      : { type: 'unknown', whatsappType: 'multi_vcard', message: null };
  },
  poll_creation: (raw) => ({
    type: 'poll',
    question: text(raw['pollName']) ?? '',
    options: list(raw['pollOptions'], 100).flatMap((option) => text(record(option)['name'], 1_024) ?? []),
    multiple: raw['pollSelectableOptionsCount'] === 0,
  }),
  groups_v4_invite: (raw) => ({
    type: 'group_invite',
    groupId: idText(raw['inviteGrp']) ?? '',
    groupName: text(raw['inviteGrpName']),
    message: text(raw['comment']) ?? text(raw['caption']),
  }),
};

export function contentOf(raw: RawMessage): MessageContent {
  const type = text(raw['type'], 64) ?? 'unknown';
  const make = Object.hasOwn(contents, type) ? contents[type] : undefined;
  return make ? make(raw) : { type: 'unknown', whatsappType: type, message: text(raw['body']) ?? text(raw['caption']) };
}

function card(vcard: string, name: string | null): { name: string; phone: string | null; vcard: string } {
  const found = readCard(vcard);
  return { name: name ?? found.name ?? '', phone: found.phone, vcard };
}
