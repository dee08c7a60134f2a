import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** A ticket for one stream, stored as its digest. Using it deletes it. */
@Entity({ name: 'stream_tickets' })
export class StreamTicket {
  @PrimaryColumn(column.string(64)) hash: string;
  @Column(column.id()) accountId: string;
  /** The stream that the ticket opens, and the credential that it depends on. */
  @Column(column.json()) grant: Record<string, unknown>;
  @Index('stream_tickets_expiry') @Column(column.time()) expiresAt: Date;
}
