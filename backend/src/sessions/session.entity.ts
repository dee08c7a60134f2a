import type { CompatReport, SessionSettings, SessionStatus } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, nullable } from '../db/columns.js';

/** One linked WhatsApp account: what is desired of it, what was last observed, and who holds its lease. */
@Entity({ name: 'sessions' })
@Index('sessions_account_name', ['accountId', 'liveName'], { unique: true })
@Index('sessions_desired', ['desired', 'deletedAt'])
export class Session {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.string(64)) name: string;
  /** The name while the session lives, its id once it is deleted: a name is free again after deletion and unique before. */
  @Column(column.string(64)) liveName: string;
  @Column(column.flag({ default: false })) isDefault: boolean;
  @Column(column.string(64, nullable)) deviceName: string | null;

  @Column(column.string(8, { default: 'stopped' })) desired: 'running' | 'stopped';
  @Column(column.string(20, { default: 'disconnected' })) status: SessionStatus;
  @Column(column.string(40, nullable)) reasonCode: string | null;
  @Column(column.text(nullable)) reasonText: string | null;
  @Column(column.string(20, nullable)) phoneNumber: string | null;
  @Column(column.string(40, nullable)) lid: string | null;
  @Column(column.string(128, nullable)) pushName: string | null;
  @Column(column.string(40, nullable)) platform: string | null;
  @Column(column.string(40, nullable)) whatsappWebVersion: string | null;
  @Column(column.json(nullable)) compat: CompatReport[] | null;

  @Column(column.text({ ...nullable, select: false })) qrText: string | null;
  @Column(column.id(nullable)) qrId: string | null;
  @Column(column.time(nullable)) qrExpiresAt: Date | null;

  @Column(column.json()) settings: SessionSettings;
  @Column(column.json()) metadata: Record<string, unknown>;
  @Column(column.integer({ default: 0 })) sentCount: number;
  @Column(column.integer({ default: 0 })) receivedCount: number;
  @Column(column.integer({ default: 0 })) failedCount: number;
  @Column(column.integer({ default: 0 })) reconnectAttempts: number;
  @Column(column.integer({ default: 0 })) errorCount: number;
  @Column(column.text(nullable)) lastError: string | null;
  @Column(column.integer(nullable)) memoryMb: number | null;
  @Column(column.integer(nullable)) roundTripMs: number | null;

  @Column(column.string(64, nullable)) workerId: string | null;
  @Column(column.integer({ default: 0 })) leaseEpoch: number;
  @Column(column.time(nullable)) leaseExpiresAt: Date | null;

  @Column(column.time(nullable)) lastSeen: Date | null;
  @Column(column.time(nullable)) connectedAt: Date | null;
  @Column(column.time(nullable)) disconnectedAt: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
  @Column(column.time(nullable)) deletedAt: Date | null;
}
