import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** A credential of programs. Only the SHA-256 of the key is stored; the key itself is shown once. */
@Entity({ name: 'api_keys' })
@Index('api_keys_account', ['accountId', 'createdAt'])
export class ApiKey {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  /** Null: an account key, for all sessions. */
  @Column(orNull(column.id())) sessionId: string | null;
  /** The account's primary key, which has every permission. */
  @Column(column.flag({ default: false })) isPrimary: boolean;
  @Column(column.string(100)) name: string;
  @Index('api_keys_hash', { unique: true }) @Column(column.string(64, { select: false })) hash: string;
  @Column(column.string(16)) prefix: string;
  @Column(column.string(4)) lastFour: string;
  @Column(column.json()) permissions: string[];
  @Column(column.flag({ default: true })) isActive: boolean;
  /** Requests within the window. Null: the installation's default applies. 0: no limit. */
  @Column(orNull(column.integer())) rateLimit: number | null;
  @Column(orNull(column.integer())) rateWindowMs: number | null;
  @Column(orNull(column.time())) expiresAt: Date | null;
  /** Whether a successor is created before the key expires. */
  @Column(column.flag({ default: false })) autoRotation: boolean;
  @Column(orNull(column.id())) successorId: string | null;
  /** A successor whose secret was not claimed yet: until then no secret is valid. */
  @Column(column.flag({ default: false })) isClaimable: boolean;
  /** When the event `key.expiring` was emitted. */
  @Column(orNull(column.time())) noticedAt: Date | null;
  /** A deactivated key can be activated again; a deleted one cannot. */
  @Column(orNull(column.time())) deletedAt: Date | null;
  @Column(orNull(column.time())) lastUsedAt: Date | null;
  @Column(column.time()) createdAt: Date;
}
