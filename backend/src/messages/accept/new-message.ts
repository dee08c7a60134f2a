import { phoneOf, reserveWhatsappId, textOf, type Address, type Contact, type MessageContent } from '@chasqui/shared';
import type { StoredFile } from '../../media/media.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Message, SendOptions } from '../message.entity.js';
import { plainText } from '../read/present.js';

export interface NewMessage {
  recipient: Address;
  content: MessageContent;
  file: StoredFile | null;
  options: SendOptions;
  quotedMessageId: string | null;
  expiresAt: Date | null;
  origin: 'api' | 'panel';
}

/** The row of a message that is accepted now: `queued`, with the WhatsApp id it will have on every attempt. */
export function newRow(
  id: string,
  session: Session,
  { recipient, content, file, options, quotedMessageId, expiresAt, origin }: NewMessage,
  now: Date,
): Message {
  const isPerson = recipient.kind === 'phone' || recipient.kind === 'lid';
  const contact: Contact | null = isPerson
    ? { id: recipient.id, phone: phoneOf(recipient.id), lid: recipient.kind === 'lid' ? recipient.id : null, name: null }
    : null;
  const ageLimit = new Date(now.getTime() + session.settings.maxQueueAgeHours * 3_600_000);
  return {
    id,
    accountId: session.accountId,
    sessionId: session.id,
    whatsappId: null,
    whatsappKey: reserveWhatsappId(session.accountId, id),
    direction: 'outbound',
    origin,
    type: content.type,
    status: 'queued',
    reasonCode: session.status === 'connected' ? null : 'WAITING_FOR_SESSION',
    reasonText: null,
    chatId: recipient.id,
    chatType:
      recipient.kind === 'group' || recipient.kind === 'channel' || recipient.kind === 'status' ? recipient.kind : 'private',
    chatName: null,
    contact,
    fromId: session.phoneNumber ? `${session.phoneNumber.replace(/^\+/, '')}@c.us` : null,
    toId: recipient.id,
    content: file
      ? ({
          ...content,
          media: {
            id: file.id,
            mimetype: file.mimetype,
            size: file.size,
            filename: file.filename,
            sha256: file.sha256,
            url: `/api/v1/messages/${id}/media`,
          },
        } as MessageContent)
      : content,
    text: plainText(textOf(content)),
    mediaId: file?.id ?? null,
    options,
    mentions: options.mentions,
    isForwarded: false,
    quotedMessageId,
    cost: '0.0000',
    quotaDay: null,
    hasUncertainAttempt: false,
    sealed: null,
    attempts: 0,
    nextAttemptAt: null,
    leaseOwner: null,
    leaseExpiresAt: null,
    epoch: null,
    linkedAccountNumber: session.linkedAccountNumber,
    timestamp: null,
    expiresAt: expiresAt && expiresAt < ageLimit ? expiresAt : ageLimit,
    createdAt: now,
    scheduledAt: null,
    queuedAt: now,
    sentAt: null,
    deliveredAt: null,
    readAt: null,
    playedAt: null,
    failedAt: null,
    cancelledAt: null,
    editedAt: null,
    revokedAt: null,
    deletedAt: null,
  };
}
