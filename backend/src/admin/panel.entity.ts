import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, nullable } from '../db/columns.js';

/** Cookie sessions of the panel. */
@Entity({ name: 'panel_sessions' })
@Index('panel_sessions_expiry', ['expiresAt'])
export class PanelSession {
  @PrimaryColumn(column.string(64)) id: string;
  @Column(column.id(nullable)) accountId: string | null;
  @Column(column.text({ select: false })) data: string;
  @Column(column.time()) expiresAt: Date;
}

/** Who did what to which object, from where. */
@Entity({ name: 'audit_logs' })
@Index('audit_logs_time', ['at'])
@Index('audit_logs_account', ['accountId', 'at'])
export class AuditLog {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.time()) at: Date;
  @Column(column.id(nullable)) accountId: string | null;
  @Column(column.string(8)) actorType: 'key' | 'token' | 'panel' | 'system';
  @Column(column.string(100, nullable)) actorName: string | null;
  @Column(column.string(64)) action: string;
  @Column(column.string(32)) objectType: string;
  @Column(column.string(64, nullable)) objectId: string | null;
  @Column(column.json()) changes: Record<string, unknown>;
  @Column(column.string(64, nullable)) ip: string | null;
  @Column(column.string(128, nullable)) requestId: string | null;
}
