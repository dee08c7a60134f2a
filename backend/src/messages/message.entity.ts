import type { Contact, LookupResult, MessageOrigin, MessageStatus, MessageType, StoredContent } from '@chasqui/shared';
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

/** A group that an observed message mentions. `name`: null if the page shows none. */
export interface ObservedGroupMention {
  id: string;
  name: string | null;
}

/** `nextAttemptAt` of a held message: it is never due, and it sorts behind everything that is. See send/held.ts. */
export const heldUntil = new Date('9999-12-31T00:00:00Z');

/** The columns that may be long. */
export const longColumns = ['content', 'text', 'sealed', 'contact'];

/** One message, incoming or outgoing. The `queued` rows are the outbox; there is no other queue. `scheduled` rows become `queued` at their time. */
@Entity({ name: 'messages' })
@Index('messages_account_time', ['accountId', 'createdAt', 'id'])
@Index('messages_session_time', ['sessionId', 'createdAt', 'id'])
@Index('messages_session_key', ['sessionId', 'whatsappKey', 'direction'], { unique: true })
@Index('messages_due', ['status', 'sessionId', 'nextAttemptAt', 'id'])
@Index('messages_waiting', ['status', 'expiresAt'], { where: `"status" = 'queued'` })
@Index('messages_scheduled', ['status', 'nextAttemptAt', 'id'], { where: `"status" = 'scheduled'` })
@Index('messages_quiet', ['status', 'sessionId', 'nextAttemptAt'], {
  where: `"status" = 'queued' AND "reasonCode" = 'QUIET_HOURS'`,
})
@Index('messages_failed', ['id'], { where: `"status" IN ('failed', 'uncertain')` })
@Index('messages_occurrence', ['scheduleId', 'occurrenceAt'], { unique: true, where: `"scheduleId" IS NOT NULL` })
@Index('messages_chat', ['accountId', 'chatId', 'createdAt', 'id', 'deletedAt'])
@Index('messages_author', ['accountId', 'fromId', 'createdAt', 'id', 'deletedAt'], { where: `"chatType" <> 'private'` })
@Index('messages_account_status', ['accountId', 'status', 'createdAt', 'id'])
@Index('messages_bulk', ['bulkJobId', 'createdAt', 'id'], { where: '"bulkJobId" IS NOT NULL' })
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
  /** The groups that an observed message mentions. Null: none, or a message of ours, whose options name them. */
  @Column(orNull(column.json())) groupMentions: ObservedGroupMention[] | null;
  @Column(column.flag({ default: false })) isForwarded: boolean;
  @Column(column.flag({ default: false })) starred: boolean;
  @Column(orNull(column.time())) pinnedUntil: Date | null;
  @Column(orNull(column.string(160))) quotedMessageId: string | null;
  /** The id of the request that sent it, and the API key of that request. Null: another origin; of the key also: a person who logged in. */
  @Column(orNull(column.string(128))) requestId: string | null;
  @Column(orNull(column.id())) apiKeyId: string | null;
  /** The bulk job that made it. */
  @Column(orNull(column.id())) bulkJobId: string | null;
  /** The template that it was filled from. */
  @Column(orNull(column.id())) templateId: string | null;
  @Column(column.string(20, { default: '0.0000' })) cost: string;
  /** The day (`2026-11-21`) whose quotas count it. Null once it was released from them. */
  @Column(orNull(column.string(10))) quotaDay: string | null;
  /** For how long a person had waited for it, if it answers them. See usage/response-time.ts. */
  @Column(orNull(column.big())) responseMs: number | null;

  /** It passes quiet hours. */
  @Column(column.flag({ default: false })) isUrgent: boolean;
  /** The recurring schedule that made it, and the occurrence that it is. No two messages are the same occurrence. */
  @Column(orNull(column.id())) scheduleId: string | null;
  @Column(orNull(column.time())) occurrenceAt: Date | null;

  @Column(column.integer({ default: 0 })) attempts: number;
  /** An earlier attempt may have been sent. Until that is disproved, the message cannot become `failed` or `cancelled`. */
  @Column({ ...column.flag({ default: false }), name: 'doubted' }) hasUncertainAttempt: boolean;
  /**
   * Of a scheduled message: when it becomes due. Of a queued one: the end of quiet hours, or the next attempt; null: as soon as possible. Of an
   * uncertain one: the next look-up.
   */
  @Column(orNull(column.time())) nextAttemptAt: Date | null;
  /** How often it was looked up the last time that it was uncertain, when last, and with which result. Null: not yet. See send/uncertain.ts. */
  @Column(orNull(column.integer())) lookups: number | null;
  @Column(orNull(column.time())) lookedUpAt: Date | null;
  @Column(orNull(column.string(16))) lookupResult: LookupResult | null;
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

/** The columns that every new row sets. The others have the values of a message to which nothing has happened yet. */
type RequiredColumn =
  | 'id'
  | 'accountId'
  | 'sessionId'
  | 'whatsappKey'
  | 'direction'
  | 'origin'
  | 'type'
  | 'status'
  | 'chatId'
  | 'chatType'
  | 'contact'
  | 'fromId'
  | 'toId'
  | 'mentions'
  | 'linkedAccountNumber'
  | 'createdAt';

export type MessageFields = Pick<Message, RequiredColumn> & Partial<Message>;

/**
 * Returns a row of a message to which nothing has happened yet but what `fields` says. Each column is named here: an object that is put together
 * with `...` is stored as a dictionary, and accepting a message took half as much processor time again.
 */
export function createMessage(fields: MessageFields): Message {
  return {
    id: fields.id,
    accountId: fields.accountId,
    sessionId: fields.sessionId,
    whatsappId: fields.whatsappId ?? null,
    whatsappKey: fields.whatsappKey,
    direction: fields.direction,
    origin: fields.origin,
    type: fields.type,
    status: fields.status,
    reasonCode: fields.reasonCode ?? null,
    reasonText: fields.reasonText ?? null,
    chatId: fields.chatId,
    chatType: fields.chatType,
    chatName: fields.chatName ?? null,
    contact: fields.contact,
    fromId: fields.fromId,
    toId: fields.toId,
    content: fields.content ?? null,
    sealed: fields.sealed ?? null,
    text: fields.text ?? null,
    mediaId: fields.mediaId ?? null,
    options: fields.options ?? null,
    mentions: fields.mentions,
    groupMentions: fields.groupMentions ?? null,
    isForwarded: fields.isForwarded ?? false,
    starred: fields.starred ?? false,
    pinnedUntil: fields.pinnedUntil ?? null,
    quotedMessageId: fields.quotedMessageId ?? null,
    requestId: fields.requestId ?? null,
    apiKeyId: fields.apiKeyId ?? null,
    bulkJobId: fields.bulkJobId ?? null,
    templateId: fields.templateId ?? null,
    isUrgent: fields.isUrgent ?? false,
    scheduleId: fields.scheduleId ?? null,
    occurrenceAt: fields.occurrenceAt ?? null,
    responseMs: fields.responseMs ?? null,
    cost: fields.cost ?? '0.0000',
    quotaDay: fields.quotaDay ?? null,
    attempts: fields.attempts ?? 0,
    hasUncertainAttempt: fields.hasUncertainAttempt ?? false,
    nextAttemptAt: fields.nextAttemptAt ?? null,
    lookups: fields.lookups ?? null,
    lookedUpAt: fields.lookedUpAt ?? null,
    lookupResult: fields.lookupResult ?? null,
    leaseOwner: fields.leaseOwner ?? null,
    leaseExpiresAt: fields.leaseExpiresAt ?? null,
    epoch: fields.epoch ?? null,
    linkedAccountNumber: fields.linkedAccountNumber,
    timestamp: fields.timestamp ?? null,
    expiresAt: fields.expiresAt ?? null,
    createdAt: fields.createdAt,
    scheduledAt: fields.scheduledAt ?? null,
    queuedAt: fields.queuedAt ?? null,
    sentAt: fields.sentAt ?? null,
    deliveredAt: fields.deliveredAt ?? null,
    readAt: fields.readAt ?? null,
    playedAt: fields.playedAt ?? null,
    failedAt: fields.failedAt ?? null,
    cancelledAt: fields.cancelledAt ?? null,
    editedAt: fields.editedAt ?? null,
    revokedAt: fields.revokedAt ?? null,
    deletedAt: fields.deletedAt ?? null,
  };
}
