import type { Contact, MessageContent, MessageOrigin, MessageStatus, MessageType } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, nullable } from '../db/columns.js';

/** How a send is to be made, beyond its content. */
export interface SendOptions {
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
  mentions: string[];
  queueIfOffline: boolean;
}

/** One message, in or out. A row that is `queued` is the outbox; nothing else queues. */
@Entity({ name: 'messages' })
@Index('messages_account_time', ['accountId', 'createdAt', 'id'])
@Index('messages_session_time', ['sessionId', 'createdAt', 'id'])
@Index('messages_session_key', ['sessionId', 'whatsappKey'], { unique: true })
@Index('messages_due', ['status', 'sessionId', 'nextAttemptAt', 'createdAt'])
@Index('messages_chat', ['sessionId', 'chatId', 'createdAt'])
export class Message {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.id()) sessionId: string;
  /** WhatsApp's serialized id, once known. */
  @Column(column.string(160, nullable)) whatsappId: string | null;
  /** The part of it that does not depend on how the chat is written: the reserved id of ours, or WhatsApp's own. */
  @Column(column.string(80)) whatsappKey: string;
  @Column(column.string(8)) direction: 'inbound' | 'outbound';
  @Column(column.string(10)) origin: MessageOrigin;
  @Column(column.string(20)) type: MessageType;
  @Column(column.string(12)) status: MessageStatus;
  @Column(column.string(40, nullable)) reasonCode: string | null;
  @Column(column.text(nullable)) reasonText: string | null;

  @Column(column.string(80)) chatId: string;
  @Column(column.string(8)) chatType: 'private' | 'group' | 'channel' | 'status';
  @Column(column.string(256, nullable)) chatName: string | null;
  /** The other person: who wrote it, or whom it went to in a private chat. */
  @Column(column.json(nullable)) contact: Contact | null;
  @Column(column.string(80, nullable)) fromId: string | null;
  @Column(column.string(80, nullable)) toId: string | null;

  @Column(column.json(nullable)) content: MessageContent | null;
  /** What a person would read of it; what searches look in. */
  @Column(column.text(nullable)) text: string | null;
  @Column(column.id(nullable)) mediaId: string | null;
  @Column(column.json(nullable)) options: SendOptions | null;
  @Column(column.json()) mentions: string[];
  @Column(column.flag({ default: false })) isForwarded: boolean;
  @Column(column.string(160, nullable)) quotedMessageId: string | null;
  @Column(column.string(20, { default: '0.0000' })) cost: string;

  @Column(column.integer({ default: 0 })) attempts: number;
  @Column(column.time(nullable)) nextAttemptAt: Date | null;
  /** Whose claim it is while `sending`, and until when; a claim with another epoch writes nothing. */
  @Column(column.id(nullable)) leaseOwner: string | null;
  @Column(column.time(nullable)) leaseExpiresAt: Date | null;
  @Column(column.integer(nullable)) epoch: number | null;

  /** WhatsApp's own time. */
  @Column(column.time(nullable)) timestamp: Date | null;
  @Column(column.time(nullable)) expiresAt: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time(nullable)) scheduledAt: Date | null;
  @Column(column.time(nullable)) queuedAt: Date | null;
  @Column(column.time(nullable)) sentAt: Date | null;
  @Column(column.time(nullable)) deliveredAt: Date | null;
  @Column(column.time(nullable)) readAt: Date | null;
  @Column(column.time(nullable)) playedAt: Date | null;
  @Column(column.time(nullable)) failedAt: Date | null;
  @Column(column.time(nullable)) cancelledAt: Date | null;
  @Column(column.time(nullable)) editedAt: Date | null;
  @Column(column.time(nullable)) revokedAt: Date | null;
  @Column(column.time(nullable)) deletedAt: Date | null;
}
