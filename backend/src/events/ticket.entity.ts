import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** A ticket for one stream, known by its digest only. It is deleted by being used. */
@Entity({ name: 'stream_tickets' })
export class StreamTicket {
  @PrimaryColumn(column.string(64)) hash: string;
  @Column(column.id()) accountId: string;
  /** What it opens, and on whose credential it stands. */
  @Column(column.json()) grant: Record<string, unknown>;
  @Index('stream_tickets_expiry') @Column(column.time()) expiresAt: Date;
}
