import { messageReasons, newId, statusOfAck, type ObservedMessage } from '@chasqui/shared';
import type { Session } from '../../sessions/session.entity.js';
import { createMessage, type Message } from '../message.entity.js';

/** Returns the row of a message that a session observed for the first time, without its content. `key` is the free key of `findObserved`. */
export function observedRow(
  session: Session,
  observed: ObservedMessage,
  key: string,
  origin: 'live' | 'backfill',
  now: Date,
): Message {
  const at = new Date(observed.timestamp);
  const status = observed.fromMe ? statusOfOwn(observed.ack) : 'delivered';
  const isRefused = status === 'failed';
  return createMessage({
    id: newId(now.getTime()),
    accountId: session.accountId,
    sessionId: session.id,
    whatsappId: observed.whatsappId,
    whatsappKey: key,
    direction: observed.fromMe ? 'outbound' : 'inbound',
    origin: observed.fromMe ? 'device' : origin,
    type: 'unknown',
    status,
    reasonCode: isRefused ? 'WHATSAPP_REFUSED' : null,
    reasonText: isRefused ? messageReasons.WHATSAPP_REFUSED : null,
    chatId: observed.chat.id,
    chatType: observed.chat.type,
    chatName: observed.chat.name,
    contact: observed.contact,
    fromId: observed.from,
    toId: observed.to,
    mentions: observed.mentions,
    groupMentions: groupMentionsOf(observed),
    isForwarded: observed.isForwarded,
    starred: observed.starred ?? false,
    quotedMessageId: observed.quotedWhatsappId,
    linkedAccountNumber: session.linkedAccountNumber,
    timestamp: at,
    createdAt: now,
    sentAt: observed.fromMe && !isRefused ? at : null,
    deliveredAt: observed.fromMe ? null : at,
    failedAt: isRefused ? now : null,
    editedAt: observed.editedAt ? new Date(observed.editedAt) : null,
    revokedAt: observed.revokedAt ? new Date(observed.revokedAt) : null,
  });
}

/** The column of the groups that an observed message mentions. Most messages mention none. */
export const groupMentionsOf = ({ groupMentions }: ObservedMessage): Message['groupMentions'] =>
  groupMentions.length > 0 ? groupMentions : null;

/**
 * Returns the status of a message that was written on the phone or on another linked device. If WhatsApp refused it (an ack below 0), it is `failed`;
 * a later ack still raises it, as for every failed message. With ack 0 it is `sent`, because the other device sends it. The statuses before
 * `sent` are only for messages that this gateway sends: it would look such a message up and could send it a second time.
 */
const statusOfOwn = (ack: number): Message['status'] => (ack < 0 ? 'failed' : (statusOfAck(ack) ?? 'sent'));
