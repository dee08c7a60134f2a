import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** One row of the append-only log. `cursor` is assigned under a row lock, so that the order of cursors is the order of commits. */
@Entity({ name: 'events' })
@Index('events_account', ['accountId', 'cursor'])
@Index('events_type', ['accountId', 'type', 'cursor'])
@Index('events_session', ['sessionId', 'type', 'cursor'])
@Index('events_message', ['messageId', 'cursor'])
export class EventRow {
  @PrimaryColumn(column.big()) cursor: number;
  @Index('events_id', { unique: true }) @Column(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(orNull(column.id())) sessionId: string | null;
  /** Has no gaps within a session. */
  @Column(orNull(column.big())) sequence: number | null;
  @Column(column.string(40)) type: string;
  /** The message it is about; the timeline is a query on it. */
  @Column(orNull(column.id())) messageId: string | null;
  @Column(column.json()) data: Record<string, unknown>;
  @Column(column.time()) occurredAt: Date;
}

/** Counters of the log: scope `log` for cursors, a session's id for its sequence. */
@Entity({ name: 'event_counters' })
export class EventCounter {
  @PrimaryColumn(column.string(36)) scope: string;
  @Column(column.big()) last: number;
  /** Of the scope `log`: how often names of people were removed. Backends that cache names compare it (`raiseNamesVersion`). */
  @Column(column.big({ default: 0 })) namesVersion: number;
}
