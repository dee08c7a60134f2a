import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { MediaRef, MessageContent } from './content.js';
import { parseAddress } from './ids.js';

/**
 * Schemas for data received from WhatsApp, as opposed to what may be sent (`content.ts`). The sender decides what arrives, so these schemas
 * never refuse: long values are cut, impossible values become null, and unreadable content becomes `unknown`.
 * Each field fits its database column.
 */

/** The longest text of WhatsApp, in UTF-16 units. */
const maxText = 65_536;
const dayMs = 86_400_000;
/** There was no WhatsApp before 2009. */
const earliestMs = Date.UTC(2009, 0, 1);

/** At most `most` UTF-16 units of a text, never half a character. */
export const cutText = (text: string, most: number): string =>
  text.length <= most ? text : text.slice(0, /[\uD800-\uDBFF]/.test(text.charAt(most - 1)) ? most - 1 : most);

/** A text that every database stores: without NUL, and with U+FFFD for half a surrogate pair. */
export function storableText(text: string): string {
  return text.replaceAll('\0', '').replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD');
}

/**
 * An id as it can be stored. One that is longer than `most`, or has characters that no id has, gets a digest in place of its end, so that
 * two different ids stay different and the same id always becomes the same.
 */
export function storableId(id: string, most: number): string {
  if (id.length <= most && /^[\x21-\x7e]*$/.test(id)) return id;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 24);
  return `${id.replace(/[^\x21-\x7e]/g, '').slice(0, most - digest.length - 1)}~${digest}`;
}

/** The type of chat that an address belongs to. An id of unknown form counts as a private chat. */
export function chatTypeOf(id: string): 'private' | 'group' | 'channel' | 'status' {
  const kind = parseAddress(id)?.kind;
  return kind === 'group' || kind === 'channel' || kind === 'status' ? kind : 'private';
}

const text = (most: number) => z.string().transform((given) => cutText(storableText(given), most));
const textOr = (most: number, otherwise: string) => text(most).catch(otherwise);
/** Null where there is none. */
const someText = (most: number) => text(most).nullable().catch(null);
const id = (most: number) => z.string().transform((given) => storableId(given, most));
const someId = (most: number) => id(most).nullable().catch(null);
const someNumber = (least: number, most: number) => z.number().min(least).max(most).nullable().catch(null);
const someCount = (most: number) =>
  z
    .number()
    .min(0)
    .max(most)
    .transform((given) => Math.round(given))
    .nullable()
    .catch(null);
const flag = z.boolean().optional().catch(undefined);
/** A list of which the items that cannot be read are left out. */
const listOf = <T extends z.ZodType>(item: T, most: number) =>
  z
    .array(z.unknown())
    .catch([])
    .transform((given): z.output<T>[] =>
      given.slice(0, most).flatMap((one) => {
        const { success, data } = item.safeParse(one);
        return success ? [data] : [];
      }),
    );

/** When something happened. What is no time, lies before WhatsApp or more than a day ahead, happened now. */
export const observedTime = z
  .any()
  .optional()
  .transform((given: unknown) => {
    const at = typeof given === 'string' ? Date.parse(given) : NaN;
    const now = Date.now();
    return new Date(at >= earliestMs && at <= now + dayMs ? at : now).toISOString();
  })
  .pipe(z.iso.datetime());
/** A time that may lie anywhere, such as the beginning of an event. */
const plannedTime = z.iso.datetime().nullable().catch(null);

/** Every error of WhatsApp's (-1 to -7) is -1. A number above 4 proves that the server has the message, and no more. */
export const observedAck = z
  .number()
  .transform((given) => (given <= -1 ? -1 : given >= 5 ? 1 : Math.trunc(given)))
  .catch(0);

export const observedMedia = z.object({
  id: z.null().catch(null),
  mimetype: z
    .string()
    .regex(/^[a-z0-9][\w!#$&^.+-]*\/[\w!#$&^.+-]+$/i)
    .max(127)
    .catch('application/octet-stream'),
  size: someCount(Number.MAX_SAFE_INTEGER),
  filename: someText(255),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable()
    .catch(null),
  width: someCount(1_000_000).optional(),
  height: someCount(1_000_000).optional(),
  seconds: someNumber(0, 10_000_000).optional(),
});
const noMedia = { id: null, mimetype: 'application/octet-stream', size: null, filename: null, sha256: null };
const media = observedMedia.catch(noMedia);
const caption = someText(maxText).optional();

/** Which answer of those that a message offered was chosen. */
export const selectedOption = z.object({ id: someText(1_024), title: someText(1_024) });
export type SelectedOption = z.infer<typeof selectedOption>;

const option = z.object({ id: someText(1_024), title: someText(1_024), description: someText(1_024) });
const offer = { message: someText(maxText), title: someText(1_024), footer: someText(1_024), options: listOf(option, 100) };
const price = { amount: someNumber(-1e15, 1e15), currency: someText(8) };
const card = z.object({ name: textOr(256, ''), phone: someText(64), vcard: textOr(maxText, '') });

/**
 * Why a message has no content yet. `undecrypted`: WhatsApp could not decrypt it here so far. `view_once`: it can be opened on the phone
 * alone. When the content comes after all, the same message is completed.
 */
export const placeholders = ['undecrypted', 'view_once'] as const;

const unknownContent = z.object({
  type: z.literal('unknown'),
  /** WhatsApp's own name for the type. */
  whatsappType: textOr(64, 'unknown'),
  message: someText(maxText),
  placeholder: z.enum(placeholders).optional().catch(undefined),
  media: observedMedia.optional().catch(undefined),
});

export const observedContent = z
  .discriminatedUnion('type', [
    z.object({
      type: z.literal('text'),
      message: textOr(maxText, ''),
      /** Set for an answer to buttons, a list or a template. */
      selectedOption: selectedOption.optional().catch(undefined),
    }),
    z.object({ type: z.literal('image'), media, caption, viewOnce: flag }),
    /** `videoNote`: a round one, recorded in the chat. */
    z.object({ type: z.literal('video'), media, caption, viewOnce: flag, gif: flag, videoNote: flag }),
    z.object({ type: z.literal('audio'), media, viewOnce: flag }),
    z.object({ type: z.literal('voice'), media, viewOnce: flag }),
    z.object({ type: z.literal('document'), media, caption }),
    z.object({ type: z.literal('sticker'), media }),
    z.object({
      type: z.literal('location'),
      latitude: someNumber(-90, 90),
      longitude: someNumber(-180, 180),
      name: someText(256),
      address: someText(512),
      /** A live location: where the person was when it began. */
      live: flag,
      comment: someText(maxText).optional(),
    }),
    z.object({ type: z.literal('contact'), contacts: listOf(card, 20) }),
    z.object({
      type: z.literal('poll'),
      question: textOr(maxText, ''),
      options: listOf(text(1_024), 100),
      multiple: z.boolean().catch(false),
    }),
    z.object({
      type: z.literal('group_invite'),
      groupId: id(80).catch(''),
      groupName: someText(256),
      message: someText(maxText),
    }),
    z.object({
      type: z.literal('calendar_event'),
      name: textOr(1_024, ''),
      description: someText(maxText),
      startsAt: plannedTime,
      endsAt: plannedTime,
      location: someText(1_024),
      joinUrl: someText(2_048),
      isCancelled: z.boolean().catch(false),
    }),
    z.object({ type: z.literal('list'), ...offer, buttonText: someText(1_024) }),
    z.object({ type: z.literal('buttons'), ...offer }),
    z.object({ type: z.literal('template'), ...offer }),
    z.object({
      type: z.literal('product'),
      productId: someText(256),
      title: someText(1_024),
      description: someText(maxText),
      message: someText(maxText),
      ...price,
      url: someText(2_048),
      sellerId: someId(80),
    }),
    z.object({
      type: z.literal('order'),
      orderId: someText(256),
      title: someText(1_024),
      message: someText(maxText),
      itemCount: someCount(1_000_000),
      ...price,
      sellerId: someId(80),
    }),
    z.object({ type: z.literal('payment'), message: someText(maxText), ...price, status: someText(64), recipientId: someId(80) }),
    /** The frame around several images and videos, which are messages of their own. */
    z.object({ type: z.literal('album'), images: someCount(10_000), videos: someCount(10_000) }),
    /** What WhatsApp itself writes into a chat: members who come and go, encryption, calls. It has no sender. */
    z.object({
      type: z.literal('notice'),
      whatsappType: textOr(64, 'unknown'),
      subtype: someText(64),
      message: someText(maxText),
      participants: listOf(id(80), 1_024),
    }),
    unknownContent,
  ])
  .catch({ type: 'unknown', whatsappType: 'unreadable', message: null });
export type ObservedContent = z.infer<typeof observedContent>;

/** The content of any stored message, sent or observed. */
export type StoredContent = MessageContent | ObservedContent;
export type MessageType = StoredContent['type'];

/** Every type a message can have. Total: a type that is missing here does not compile. */
const everyType: { [T in MessageType]: true } = {
  text: true,
  image: true,
  video: true,
  audio: true,
  voice: true,
  document: true,
  sticker: true,
  location: true,
  contact: true,
  poll: true,
  calendar_event: true,
  list: true,
  buttons: true,
  template: true,
  product: true,
  order: true,
  payment: true,
  album: true,
  group_invite: true,
  notice: true,
  unknown: true,
};
export const messageTypes = Object.keys(everyType) as [MessageType, ...MessageType[]];

/** The file of a message, where it has one. */
export function mediaOf(content: StoredContent): MediaRef | null {
  return 'media' in content ? (content.media ?? null) : null;
}

/** What a person would read of a message: the body, the caption, the question; null where there is nothing to read. */
export function textOf(content: StoredContent): string | null {
  switch (content.type) {
    case 'text':
      return content.message;
    case 'image':
    case 'video':
    case 'document':
      return content.caption ?? null;
    case 'poll':
      return content.question;
    case 'location':
      return ('comment' in content ? content.comment : null) ?? content.name ?? content.address ?? null;
    case 'contact':
      return content.contacts.map((one) => one.name).join(', ');
    case 'calendar_event':
      return content.name || content.description;
    case 'product':
    case 'order':
      return content.title ?? content.message;
    case 'list':
    case 'buttons':
    case 'template':
      return content.message ?? content.title;
    case 'group_invite':
    case 'payment':
    case 'notice':
    case 'unknown':
      return content.message ?? null;
    case 'audio':
    case 'voice':
    case 'sticker':
    case 'album':
      return null;
  }
}

/** Which option an answer to buttons, a list or a template chose; null for everything else. */
export const selectedOptionOf = (content: StoredContent | null): SelectedOption | null =>
  content?.type === 'text' && 'selectedOption' in content ? (content.selectedOption ?? null) : null;

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
const withheldContent = z.object({ type: z.literal('withheld'), of: z.enum(messageTypes).catch('unknown') });

/** Who reacted with what. */
const reaction = z.object({ contact: observedContact, emoji: text(64), at: observedTime });

/** Which message it is: WhatsApp's ids, the direction and the chat. Two messages are the same when all of it fits. */
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
  /** Who wrote it: the other side in a private chat, the participant in a group; null when it is ours. */
  contact: observedContact,
  from: someId(80),
  to: someId(80),
  content: z.union([withheldContent, observedContent]),
  ack: observedAck,
  timestamp: observedTime,
  isForwarded: z.boolean().catch(false),
  mentions: listOf(id(80), 1_024),
  quotedWhatsappId: someId(160),
  /** What became of it since it was written, where the page knows. Null: not looked at. */
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

/** What happens to a message that exists. The direction is read from WhatsApp's id where a worker does not say it. */
export const aboutObserved = { ...identity, fromMe: z.boolean().optional().catch(undefined), at: observedTime };
