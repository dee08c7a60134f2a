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
  /** The account's primary key, which holds every permission and is made again by regenerate. */
  @Column(column.flag({ default: false })) isPrimary: boolean;
  @Column(column.string(100)) name: string;
  @Index('api_keys_hash', { unique: true }) @Column(column.string(64, { select: false })) hash: string;
  @Column(column.string(16)) prefix: string;
  @Column(column.string(4)) lastFour: string;
  @Column(column.json()) permissions: string[];
  @Column(column.flag({ default: true })) isActive: boolean;
  /** Requests within the window; null: the installation's. 0: none. */
  @Column(orNull(column.integer())) rateLimit: number | null;
  @Column(orNull(column.integer())) rateWindowMs: number | null;
  @Column(orNull(column.time())) expiresAt: Date | null;
  /** A successor is made before it expires. */
  @Column(column.flag({ default: false })) autoRotation: boolean;
  @Column(orNull(column.id())) successorId: string | null;
  /** A successor whose secret was not collected yet: until then it accepts no secret. */
  @Column(column.flag({ default: false })) isClaimable: boolean;
  /** When its owner was told that it ends. */
  @Column(orNull(column.time())) noticedAt: Date | null;
  /** Switched off can be switched on again; deleted is for good. */
  @Column(orNull(column.time())) deletedAt: Date | null;
  @Column(orNull(column.time())) lastUsedAt: Date | null;
  @Column(column.time()) createdAt: Date;
}
