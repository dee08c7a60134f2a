import type { Contact, MessageOrigin, MessageStatus, MessageType, StoredContent } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** The options of a send request besides its content. */
export interface SendOptions {
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
  mentions: string[];
  queueIfOffline: boolean;
  /** Set if the message is a forward. `whatsappId`: the original's, if it has one. Rows of earlier versions do not have the field. */
  forward?: { whatsappId: string | null } | null;
  /** Absent: none. Names are content: see sealed-content.ts. */
  groupMentions?: GroupMention[];
}

/** A group that the text of a message mentions, under the name that phones show. */
export interface GroupMention {
  id: string;
  name: string;
}

/** One message, incoming or outgoing. The `queued` rows are the outbox; there is no other queue. */
@Entity({ name: 'messages' })
@Index('messages_account_time', ['accountId', 'createdAt', 'id'])
@Index('messages_session_time', ['sessionId', 'createdAt', 'id'])
@Index('messages_session_key', ['sessionId', 'whatsappKey', 'direction'], { unique: true })
@Index('messages_due', ['status', 'sessionId', 'nextAttemptAt', 'id'])
@Index('messages_waiting', ['status', 'expiresAt'], { where: `"status" = 'queued'` })
@Index('messages_chat', ['accountId', 'chatId', 'createdAt', 'id'])
@Index('messages_author', ['accountId', 'fromId', 'createdAt', 'id'], { where: `"chatType" <> 'private'` })
@Index('messages_account_status', ['accountId', 'status', 'createdAt', 'id'])
@Index('messages_account_kind', ['accountId', 'origin', 'type', 'createdAt', 'id'])
export class Message {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.id()) sessionId: string;
  /** WhatsApp's serialized id. Null until it is known. */
  @Column(orNull(column.string(160))) whatsappId: string | null;
  /** The part of that id which does not depend on the chat's address: our reserved id, or WhatsApp's own. See observed-identity.ts. */
  @Column(column.string(80)) whatsappKey: string;
  @Column(column.string(8)) direction: 'inbound' | 'outbound';
  @Column(column.string(10)) origin: MessageOrigin;
  @Column(column.string(20)) type: MessageType;
  @Column(column.string(12)) status: MessageStatus;
  @Column(orNull(column.string(40))) reasonCode: string | null;
  @Column(orNull(column.text())) reasonText: string | null;

  @Column(column.string(80)) chatId: string;
  @Column(column.string(8)) chatType: 'private' | 'group' | 'channel' | 'status';
  @Column(orNull(column.string(256))) chatName: string | null;
  /** The other person: the author, or the recipient in a private chat. */
  @Column(orNull(column.json())) contact: Contact | null;
  @Column(orNull(column.string(80))) fromId: string | null;
  @Column(orNull(column.string(80))) toId: string | null;

  @Column(orNull(column.json())) content: StoredContent | null;
  /** The sealed content in the storage mode `metadata`, until the status is final. See sealed-content.ts. */
  @Column(orNull(column.text())) sealed: string | null;
  /** The text that a person reads. Searches use it. */
  @Column(orNull(column.text())) text: string | null;
  @Column(orNull(column.id())) mediaId: string | null;
  @Column(orNull(column.json())) options: SendOptions | null;
  @Column(column.json()) mentions: string[];
  @Column(column.flag({ default: false })) isForwarded: boolean;
  @Column(orNull(column.string(160))) quotedMessageId: string | null;
  @Column(column.string(20, { default: '0.0000' })) cost: string;
  /** The day (`2026-11-21`) whose quotas count it. Null once it was released from them. */
  @Column(orNull(column.string(10))) quotaDay: string | null;

  @Column(column.integer({ default: 0 })) attempts: number;
  /** An earlier attempt may have been sent. Until that is disproved, the message cannot become `failed` or `cancelled`. */
  @Column({ ...column.flag({ default: false }), name: 'doubted' }) hasUncertainAttempt: boolean;
  @Column(orNull(column.time())) nextAttemptAt: Date | null;
  /** The backend that claimed it while it is `sending`, the end of its lease, and the session's epoch at that time. */
  @Column(orNull(column.id())) leaseOwner: string | null;
  @Column(orNull(column.time())) leaseExpiresAt: Date | null;
  @Column(orNull(column.integer())) epoch: number | null;
  /** The number of the WhatsApp account for which it was accepted. It is sent as another one only if a person decides so. See held.ts. */
  @Column(column.integer({ default: 1 })) linkedAccountNumber: number;

  /** WhatsApp's time of the message. */
  @Column(orNull(column.time())) timestamp: Date | null;
  @Column(orNull(column.time())) expiresAt: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(orNull(column.time())) scheduledAt: Date | null;
  @Column(orNull(column.time())) queuedAt: Date | null;
  @Column(orNull(column.time())) sentAt: Date | null;
  @Column(orNull(column.time())) deliveredAt: Date | null;
  @Column(orNull(column.time())) readAt: Date | null;
  @Column(orNull(column.time())) playedAt: Date | null;
  @Column(orNull(column.time())) failedAt: Date | null;
  @Column(orNull(column.time())) cancelledAt: Date | null;
  @Column(orNull(column.time())) editedAt: Date | null;
  @Column(orNull(column.time())) revokedAt: Date | null;
  @Column(orNull(column.time())) deletedAt: Date | null;
}

/** The columns of a message to which nothing has happened yet. A new row starts with them. */
export const unsetColumns = {
  whatsappId: null,
  reasonCode: null,
  reasonText: null,
  chatName: null,
  content: null,
  sealed: null,
  text: null,
  mediaId: null,
  options: null,
  isForwarded: false,
  quotedMessageId: null,
  cost: '0.0000',
  quotaDay: null,
  attempts: 0,
  hasUncertainAttempt: false,
  nextAttemptAt: null,
  leaseOwner: null,
  leaseExpiresAt: null,
  epoch: null,
  timestamp: null,
  expiresAt: null,
  scheduledAt: null,
  queuedAt: null,
  sentAt: null,
  deliveredAt: null,
  readAt: null,
  playedAt: null,
  failedAt: null,
  cancelledAt: null,
  editedAt: null,
  revokedAt: null,
  deletedAt: null,
} satisfies Partial<Message>;
