import type { Contact, MessageOrigin, MessageStatus, MessageType, StoredContent } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

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
  /** WhatsApp's serialized id, once known. */
  @Column(orNull(column.string(160))) whatsappId: string | null;
  /** The part of it that does not depend on how the chat is written: the reserved id of ours, or WhatsApp's own; see observed-identity.ts. */
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
  /** The other person: who wrote it, or whom it went to in a private chat. */
  @Column(orNull(column.json())) contact: Contact | null;
  @Column(orNull(column.string(80))) fromId: string | null;
  @Column(orNull(column.string(80))) toId: string | null;

  @Column(orNull(column.json())) content: StoredContent | null;
  /** In the storage mode `metadata`, until the message is final: its content, sealed; see contents.ts. */
  @Column(orNull(column.text())) sealed: string | null;
  /** What a person would read of it; what searches look in. */
  @Column(orNull(column.text())) text: string | null;
  @Column(orNull(column.id())) mediaId: string | null;
  @Column(orNull(column.json())) options: SendOptions | null;
  @Column(column.json()) mentions: string[];
  @Column(column.flag({ default: false })) isForwarded: boolean;
  @Column(orNull(column.string(160))) quotedMessageId: string | null;
  @Column(column.string(20, { default: '0.0000' })) cost: string;
  /** The day (`2026-11-21`) in whose quotas it holds a place; null once that was given back. */
  @Column(orNull(column.string(10))) quotaDay: string | null;

  @Column(column.integer({ default: 0 })) attempts: number;
  /** An earlier attempt may have been sent. Until that is disproved, the message cannot become `failed` or `cancelled`. */
  @Column({ ...column.flag({ default: false }), name: 'doubted' }) hasUncertainAttempt: boolean;
  @Column(orNull(column.time())) nextAttemptAt: Date | null;
  /** Whose claim it is while `sending`, and until when; a claim with another epoch writes nothing. */
  @Column(orNull(column.id())) leaseOwner: string | null;
  @Column(orNull(column.time())) leaseExpiresAt: Date | null;
  @Column(orNull(column.integer())) epoch: number | null;
  /** Under which of the session's WhatsApp accounts it was accepted. It leaves as no other unless a person decides so; see held.ts. */
  @Column(column.integer({ default: 1 })) linkedAccountNumber: number;

  /** WhatsApp's own time. */
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
