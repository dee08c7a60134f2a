import type { MessageType } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../../db/columns.js';

/** The lengths of the periods that are counted, in minutes: a quarter of an hour and a day, both in UTC. */
export const spans = { quarter: 15, day: 1440 } as const;
export type Span = (typeof spans)[keyof typeof spans];

/**
 * How many messages were accepted or recorded in a period, by the status that they have now. Each message counts in the period of its `createdAt`
 * for ever; a change of its status moves it to another column. Retention does not touch these rows. Written only by counts.ts, and repaired by
 * jobs/reconcile-usage.ts.
 */
@Entity({ name: 'usage_stats' })
@Index('usage_stats_time', ['span', 'at'])
export class UsageStats {
  @PrimaryColumn(column.id()) accountId: string;
  @PrimaryColumn(column.integer()) span: Span;
  /** The start of the period, in milliseconds. */
  @PrimaryColumn(column.big()) at: number;
  @PrimaryColumn(column.id()) sessionId: string;
  @PrimaryColumn(column.string(8)) direction: 'inbound' | 'outbound';
  @PrimaryColumn(column.string(20)) type: MessageType;
  /** The reason of failed messages, which have rows of their own; empty for all others. */
  @PrimaryColumn(column.string(40)) reason: string;

  @Column(column.integer()) scheduled: number;
  @Column(column.integer()) queued: number;
  @Column(column.integer()) sending: number;
  @Column(column.integer()) sent: number;
  @Column(column.integer()) delivered: number;
  @Column(column.integer()) read: number;
  @Column(column.integer()) played: number;
  @Column(column.integer()) failed: number;
  @Column(column.integer()) uncertain: number;
  @Column(column.integer()) cancelled: number;
  /** In ten-thousandths of the plan's currency. Failed and cancelled messages cost nothing. */
  @Column(column.big()) cost: number;
  /** Messages that answered a person, and the sum of their `responseMs`. */
  @Column(column.integer()) responses: number;
  @Column(column.big()) responseMs: number;
  /** Those of them within five minutes, and within an hour. */
  @Column(column.integer()) responsesIn5Minutes: number;
  @Column(column.integer()) responsesIn1Hour: number;
}

/** How many messages a chat had on a day in UTC, whatever became of them. Retention deletes these rows with the messages: they name people. */
@Entity({ name: 'usage_chats' })
@Index('usage_chats_time', ['at'])
export class ChatUsage {
  @PrimaryColumn(column.id()) accountId: string;
  /** The start of the day, in milliseconds. */
  @PrimaryColumn(column.big()) at: number;
  @PrimaryColumn(column.id()) sessionId: string;
  @PrimaryColumn(column.string(80)) chatId: string;
  @Column(column.integer()) inbound: number;
  @Column(column.integer()) outbound: number;
}
