import type { StorageMode } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

export type Role = 'user' | 'staff' | 'admin';

/** One tenant and its login. */
@Entity({ name: 'accounts' })
export class Account {
  @PrimaryColumn(column.id()) id: string;
  @Index('accounts_username', { unique: true }) @Column(column.string(64)) username: string;
  /** Lower case. */
  @Index('accounts_email', { unique: true }) @Column(column.string(254)) email: string;
  /** argon2id, PHC string. */
  @Column(column.string(255, { select: false })) passwordHash: string;
  /** Whether the password is a one-time password, which must be changed at the first login. */
  @Column(column.flag({ default: false })) mustChangePassword: boolean;
  /** A part of the key that signs the account's tokens. A new one voids all tokens of this account only. */
  @Column(column.string(64, { select: false })) jwtSecret: string;
  @Column(column.string(8)) role: Role;
  @Column(column.flag({ default: true })) isActive: boolean;
  @Column(column.string(64, { default: 'UTC' })) timezone: string;
  /** BCP 47. Numbers, amounts and times in templates are written by its rules. */
  @Column(column.string(35, { default: 'en' })) language: string;
  @Column(column.string(8, { default: 'full' })) storage: StorageMode;
  @Column(column.string(8, { default: 'hold' })) uncertainPolicy: 'hold' | 'retry';
  /** Applies while the account has no plan. */
  @Column(column.integer({ default: 10 })) maxSessions: number;
  @Column(orNull(column.id())) planId: string | null;
  /** In addition to the plan's daily limit; the stricter one applies. 0: no limit. */
  @Column(column.integer({ default: 0 })) maxMessagesPerDay: number;
  /** One more than the highest cursor of its events that retention deleted. */
  @Column(column.big({ default: 0 })) eventsKeptFrom: number;
  /** One more than the time of its newest message that retention deleted, in milliseconds. */
  @Column(column.big({ default: 0 })) messagesKeptFrom: number;
  @Column(orNull(column.time())) lastLoginAt: Date | null;
  /** The address of that login. */
  @Column(orNull(column.string(64))) lastLoginIp: string | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
}
