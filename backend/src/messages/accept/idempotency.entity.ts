import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../../db/columns.js';

/** The first reply to an `Idempotency-Key`. For a message, the record commits with it, so a crash leaves both or neither. */
@Entity({ name: 'idempotency_records' })
@Index('idempotency_expiry', ['expiresAt'])
export class IdempotencyRecord {
  @PrimaryColumn(column.id()) accountId: string;
  /** The session that the request acted on; empty for a request of the account as a whole. */
  @PrimaryColumn(column.id()) sessionId: string;
  @PrimaryColumn(column.string(255)) key: string;
  /** Whether the request named no session, and this one was the account's default. */
  @Column(column.flag({ default: false })) isDefaultSession: boolean;
  /** A version, and the SHA-256 of method, path and body; see idempotency.ts. */
  @Column(column.string(64)) requestHash: string;
  /** The message that the call created. A repeat after a crash returns the message as it is then. */
  @Column(orNull(column.id())) messageId: string | null;
  /** Null while the first call runs. */
  @Column(orNull(column.integer())) status: number | null;
  @Column(orNull(column.text())) body: string | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) expiresAt: Date;
}
