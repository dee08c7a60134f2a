import type { MessageContent, MessageType } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../../db/columns.js';
import type { Variables } from '../../templates/render.js';
import type { TemplateVersion } from '../../templates/template.entity.js';

export const scheduleStatuses = ['active', 'paused', 'ended'] as const;
export type ScheduleStatus = (typeof scheduleStatuses)[number];

/** The version of a template with which a schedule was made. It is filled again for each occurrence. */
export interface ScheduledTemplate {
  id: string;
  version: number;
  type: TemplateVersion['type'];
  /** The content of the version, with its placeholders: a later change of the template does not change the schedule. */
  fields: TemplateVersion['content'];
  variables: Variables;
}

/** What each occurrence sends. */
export interface ScheduledContents {
  /** For a template: its content as it was filled when the message of the schedule was last changed. */
  content: MessageContent;
  template?: ScheduledTemplate;
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
  /** Why it is paused or ended; null if a caller did it. */
  @Column(orNull(column.string(40))) reasonCode: string | null;
  @Column(orNull(column.text())) reasonText: string | null;
  /** A cron expression with five fields. */
  @Column(column.string(100)) cron: string;
  @Column(column.string(64)) timezone: string;
  /** There is no occurrence at this time or later. */
  @Column(orNull(column.time())) endsAt: Date | null;
  @Column(orNull(column.integer())) maxOccurrences: number | null;
  /** The occurrences so far, missed ones included. */
  @Column(column.integer({ default: 0 })) occurrences: number;
  /** The occurrences that were missed by more than the grace time. */
  @Column(column.integer({ default: 0 })) missed: number;
  /** The next occurrence. Null unless it is active. */
  @Column(orNull(column.time())) nextAt: Date | null;
  /** The last occurrence that got a message. */
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
  /**
   * The number of the WhatsApp account for which it was created. If the session is linked to another account, the schedule is paused until a caller
   * resumes it.
   */
  @Column(column.integer({ default: 1 })) linkedAccountNumber: number;
  /** Grows with each change by a caller. An occurrence is only made if the version is still the one that was read. */
  @Column(column.integer({ default: 1 })) version: number;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
}
