import {
  messageReasons,
  ownOrigins,
  renderedTypes,
  selectedOptionOf,
  type MessageReason,
  type MessageResource,
} from '@chasqui/shared';
import { completed, noPeople, numberOf, personOf, phoneIdOf, type People } from '../../contacts/people.js';
import { readable } from '../../db/unreadable.js';
import { heldUntil, type Message } from '../message.entity.js';
import { iso } from '../../lib/iso.js';

export const reasonOf = (message: Pick<Message, 'reasonCode' | 'reasonText'>) =>
  message.reasonCode
    ? {
        code: message.reasonCode,
        message: message.reasonText ?? messageReasons[message.reasonCode as MessageReason] ?? message.reasonCode,
      }
    : null;

/** The ids in a message that may belong to a person, each once. Pass them to `Contacts.people` before the message is presented. */
export function idsIn({ sessionId, chatId, fromId, toId, contact, mentions }: Message): { sessionId: string; waId: string }[] {
  const { id = null, phone = null, lid = null } = readable(contact, null) ?? {};
  const ids: { sessionId: string; waId: string }[] = [];
  // Most of them are the same.
  for (const waId of new Set([chatId, fromId, toId, id, lid, phoneIdOf(phone), ...readable(mentions, [])]))
    if (waId !== null) ids.push({ sessionId, waId });
  return ids;
}

/**
 * Returns a message in the form of the API; no other function decides which fields that has. `people`: what is known now of the people in the
 * message.
 */
export function presentMessage(message: Message, people: People = noPeople): MessageResource {
  const stored = readable(message.content, null);
  const { type: _, ...content } = stored ?? { type: null };
  const mentions = readable(message.mentions, []);
  return {
    id: message.id,
    sessionId: message.sessionId,
    whatsappId: message.whatsappId,
    direction: message.direction,
    origin: message.origin,
    type: message.type,
    status: message.status,
    reason: reasonOf(message),
    chat: { id: message.chatId, type: message.chatType, name: message.chatName ?? knownName(message, people) },
    contact: completed(readable(message.contact, null), message.sessionId, people),
    from: message.fromId,
    to: message.toId,
    fromNumber: numberOf(message.fromId, message.sessionId, people),
    toNumber: numberOf(message.toId, message.sessionId, people),
    text: message.text,
    content: stored ? fillThumbnailUrl(content) : null,
    selectedOption: selectedOptionOf(stored),
    renderedAs: isRenderedAsText(message) ? 'text' : null,
    attempts: message.attempts,
    isGroup: message.chatType === 'group',
    isUrgent: message.isUrgent,
    isForwarded: message.isForwarded,
    starred: message.starred,
    pinnedUntil: iso(message.pinnedUntil),
    bulkJobId: message.bulkJobId,
    mentions,
    mentionedContacts: mentions.map((id) => personOf(id, message.sessionId, people)),
    groupMentions: readable(message.groupMentions, null) ?? readable(message.options, null)?.groupMentions ?? [],
    quotedMessageId: message.quotedMessageId,
    templateId: message.templateId,
    cost: message.cost,
    timestamp: iso(message.timestamp),
    expiresAt: iso(message.expiresAt),
    createdAt: message.createdAt.toISOString(),
    scheduledAt: iso(message.scheduledAt),
    scheduleId: message.scheduleId,
    nextAttemptAt: iso(nextAttemptOf(message)),
    lookup: lookupOf(message),
    queuedAt: iso(message.queuedAt),
    sentAt: iso(message.sentAt),
    deliveredAt: iso(message.deliveredAt),
    readAt: iso(message.readAt),
    playedAt: iso(message.playedAt),
    failedAt: iso(message.failedAt),
    cancelledAt: iso(message.cancelledAt),
    editedAt: iso(message.editedAt),
    revokedAt: iso(message.revokedAt),
    deletedAt: iso(message.deletedAt),
  };
}

/** Adds `thumbnailUrl: null` to the file of a content that was stored before there were thumbnails. */
function fillThumbnailUrl(content: object): Record<string, unknown> {
  const { media } = content as { media?: unknown };
  const isFile = typeof media === 'object' && media !== null && !('thumbnailUrl' in media);
  return { ...content, ...(isFile ? { media: { ...media, thumbnailUrl: null } } : {}) };
}

/** WhatsApp names the chats of received messages. The person to whom a message of ours goes has the name that is known now. */
const knownName = ({ chatId, chatType, sessionId }: Message, people: People): string | null =>
  chatType === 'private' ? (people(sessionId, chatId)?.name ?? null) : null;

/** Of other statuses, the column is the time of something else, such as a look-up. A held message waits for a person and not for a time. */
const nextAttemptOf = ({ status, nextAttemptAt }: Message): Date | null =>
  (status === 'scheduled' || status === 'queued') && nextAttemptAt && nextAttemptAt < heldUntil ? nextAttemptAt : null;

/** An uncertain message has lookups, or will have the first one. Of another status, they are those of the last time that it was uncertain. */
function lookupOf({ status, lookups, lookedUpAt, lookupResult, nextAttemptAt }: Message): MessageResource['lookup'] {
  const isUncertain = status === 'uncertain';
  if (!isUncertain && lookups === null) return null;
  return {
    count: lookups ?? 0,
    lastAt: iso(lookedUpAt),
    result: lookupResult,
    nextAt: iso(isUncertain ? nextAttemptAt : null),
  };
}

/** Whether this is a message of ours of a type that WhatsApp Web cannot send. */
const isRenderedAsText = ({ origin, type }: Message): boolean =>
  (ownOrigins as readonly string[]).includes(origin) && (renderedTypes as readonly string[]).includes(type);

/** Removes NUL, which PostgreSQL cannot store in text. The content itself is stored as it was received. */
export const plainText = (text: string | null): string | null => text?.replaceAll('\0', '') ?? null;
