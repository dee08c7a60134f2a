import type { BulkRecipientStatus, BulkStatus, MediaRef, MessageType } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';
import type { Variables } from '../templates/render.js';

/** What a job sends: the fields of a send request of its type, with placeholders for the variables of each recipient. */
export interface JobContent {
  type: MessageType;
  fields: Record<string, unknown>;
  /** The file that all messages share. */
  media: MediaRef | null;
}

/**
 * One message to many recipients. A transaction that changes a job or its recipients has locked the row of its session, so that the counts are
 * always those of the recipients' states.
 */
@Entity({ name: 'bulk_jobs' })
@Index('bulk_jobs_account', ['accountId', 'id'])
@Index('bulk_jobs_session', ['sessionId', 'status'])
@Index('bulk_jobs_status', ['status', 'finishedAt'])
@Index('bulk_jobs_media', ['mediaId'], { where: '"mediaId" IS NOT NULL' })
export class BulkJob {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.id()) sessionId: string;
  @Column(orNull(column.string(200))) name: string | null;
  @Column(column.string(12)) status: BulkStatus;
  @Column(orNull(column.string(40))) reasonCode: string | null;
  /** When the cause of waiting ends. */
  @Column(orNull(column.time())) waitingUntil: Date | null;

  @Column(column.string(20)) type: MessageType;
  /** Null where only the sealed form may be stored, and once it was deleted. */
  @Column(orNull(column.json())) content: JobContent | null;
  /** The sealed content in the storage mode `metadata`, until the job ends. */
  @Column(orNull(column.text())) sealed: string | null;
  /** The storage mode was `metadata` when the job was accepted: its variables are sealed too, and deleted at its end. */
  @Column(column.flag({ default: false })) isSealed: boolean;
  /** The file that all messages of the job share. */
  @Column(orNull(column.id())) mediaId: string | null;
  @Column(orNull(column.id())) templateId: string | null;
  @Column(column.integer()) gapMinMs: number;
  @Column(column.integer()) gapMaxMs: number;
  @Column(column.flag({ default: false })) checkNumbers: boolean;
  /** The number of the WhatsApp account for which the job was accepted; see messages/send/held.ts. */
  @Column(column.integer({ default: 1 })) linkedAccountNumber: number;

  @Column(column.integer()) total: number;
  @Column(column.integer({ default: 0 })) pending: number;
  @Column(column.integer({ default: 0 })) queued: number;
  @Column(column.integer({ default: 0 })) sent: number;
  @Column(column.integer({ default: 0 })) delivered: number;
  @Column({ ...column.integer({ default: 0 }), name: 'readCount' }) read: number;
  @Column(column.integer({ default: 0 })) failed: number;
  @Column(column.integer({ default: 0 })) uncertain: number;
  @Column(column.integer({ default: 0 })) skipped: number;
  @Column(column.integer({ default: 0 })) cancelled: number;
  /** Messages whose first outcome came since the job was started or resumed, and how many of them failed. */
  @Column(column.integer({ default: 0 })) outcomes: number;
  @Column(column.integer({ default: 0 })) failures: number;

  /** How many messages it has queued. The length of each gap is derived from this number. */
  @Column(column.integer({ default: 0 })) fed: number;
  /** When the session may queue its next message of any job. Written when this job queues one. */
  @Column(orNull(column.time())) nextAt: Date | null;
  /** When it last queued a message. */
  @Column(orNull(column.time())) fedAt: Date | null;
  @Column(orNull(column.time())) scheduledAt: Date | null;
  @Column(orNull(column.time())) startedAt: Date | null;
  @Column(orNull(column.time())) finishedAt: Date | null;
  @Column(column.time()) createdAt: Date;
}

/** One row of the list of a job. `position` counts from 0. */
@Entity({ name: 'bulk_recipients' })
@Index('bulk_recipients_status', ['jobId', 'status', 'position'])
@Index('bulk_recipients_message', ['messageId'], { unique: true, where: '"messageId" IS NOT NULL' })
@Index('bulk_recipients_address', ['accountId', 'address'], { where: '"address" IS NOT NULL' })
export class BulkRecipient {
  @PrimaryColumn(column.id()) jobId: string;
  @PrimaryColumn(column.integer()) position: number;
  @Column(column.id()) accountId: string;
  /** As the request or the file named it. Null once the person was erased. */
  @Column(orNull(column.string(80))) recipient: string | null;
  /** The id of the chat. Null if the row names none, and once the person was erased. */
  @Column(orNull(column.string(80))) address: string | null;
  @Column(orNull(column.json())) variables: Variables | null;
  @Column(orNull(column.text())) sealed: string | null;
  @Column(column.string(12)) status: BulkRecipientStatus;
  @Column(orNull(column.string(40))) reasonCode: string | null;
  @Column(orNull(column.text())) reasonText: string | null;
  @Column(orNull(column.id())) messageId: string | null;
  /** Whether WhatsApp has confirmed that the number is registered. */
  @Column(column.flag({ default: false })) isChecked: boolean;
}

/** The counts of a job that has queued no message. */
export const noCounts = {
  queued: 0,
  sent: 0,
  delivered: 0,
  read: 0,
  failed: 0,
  uncertain: 0,
  skipped: 0,
  cancelled: 0,
  outcomes: 0,
  failures: 0,
  fed: 0,
} as const satisfies Partial<BulkJob>;
