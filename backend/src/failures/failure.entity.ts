import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** The kinds of work in which an item may fail. docs/failure.md documents each. */
export const failureKinds = [
  'worker_event',
  'worker',
  'accept',
  'bulk',
  'message',
  'file',
  'heartbeat',
  'listener',
  'webhook',
  'cleanup',
  'job',
  'retention',
  'search',
  'reseal',
  'privacy',
  'key_notice',
  'webhook',
] as const;
export type FailureKind = (typeof failureKinds)[number];

/** One item that failed by itself and was isolated, so that the items behind it were processed. Never contains content of messages. */
@Entity({ name: 'failures' })
@Index('failures_item', ['kind', 'subject', 'code'], { unique: true })
@Index('failures_last', ['lastAt'])
export class Failure {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.string(32)) kind: FailureKind;
  /** What failed: the id of an event, message, session or file, or the name of a task. */
  @Column(column.string(120)) subject: string;
  @Column(orNull(column.id())) accountId: string | null;
  @Column(orNull(column.id())) sessionId: string | null;
  @Column(column.string(64)) code: string;
  @Column(column.string(200)) detail: string;
  @Column(column.time()) firstAt: Date;
  @Column(column.time()) lastAt: Date;
  /** How often this item failed with this code. */
  @Column(column.integer()) count: number;
  /** The report that was counted last, where its sender may send it twice. */
  @Column(orNull(column.id({ select: false }))) report: string | null;
}
