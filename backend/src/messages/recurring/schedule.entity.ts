import type { MessageContent, MessageType } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../../db/columns.js';

export const scheduleStatuses = ['active', 'paused', 'ended'] as const;
export type ScheduleStatus = (typeof scheduleStatuses)[number];

/** What each occurrence sends. */
export interface ScheduledContents {
  content: MessageContent;
  mentions: string[];
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
}

/** A recurring schedule. Each of its occurrences is an ordinary message. */
@Entity({ name: 'schedules' })
@Index('schedules_account', ['accountId', 'id'])
@Index('schedules_due', ['status', 'nextAt'])
@Index('schedules_session', ['sessionId', 'status'])
@Index('schedules_media', ['mediaId'])
export class Schedule {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.id()) sessionId: string;
  @Column(column.string(100)) name: string;
  @Column(column.string(8)) status: ScheduleStatus;
  /** Why it is paused or ended, if no person did it. */
  @Column(orNull(column.string(40))) reasonCode: string | null;
  @Column(orNull(column.text())) reasonText: string | null;
  /** Five fields, as cron has them. */
  @Column(column.string(100)) cron: string;
  @Column(column.string(64)) timezone: string;
  /** There is no occurrence at this time or later. */
  @Column(orNull(column.time())) endsAt: Date | null;
  @Column(orNull(column.integer())) maxOccurrences: number | null;
  /** The occurrences so far, missed ones included. */
  @Column(column.integer({ default: 0 })) occurrences: number;
  /** Those that were missed by more than the grace time. */
  @Column(column.integer({ default: 0 })) missed: number;
  /** The next occurrence. Null unless it is active. */
  @Column(orNull(column.time())) nextAt: Date | null;
  @Column(orNull(column.time())) lastAt: Date | null;
  /** WhatsApp's id of the chat. */
  @Column(column.text()) recipient: string;
  @Column(column.string(20)) type: MessageType;
  @Column(orNull(column.json())) message: ScheduledContents | null;
  /** The same, sealed, in the storage mode `metadata`. */
  @Column(orNull(column.text())) sealed: string | null;
  /** Its file, of which each message gets a copy. */
  @Column(orNull(column.id())) mediaId: string | null;
  @Column(column.flag({ default: false })) isUrgent: boolean;
  /** The number of the WhatsApp account for which it was made. As another one it sends only if a person resumes it. */
  @Column(column.integer({ default: 1 })) linkedAccountNumber: number;
  /** Grows with each change by a person. An occurrence is made only of the version that was read. */
  @Column(column.integer({ default: 1 })) version: number;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
}
