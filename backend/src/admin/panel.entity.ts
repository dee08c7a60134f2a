import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** Cookie sessions of the panel, and of browsers of customers (accounts/browser-sessions.ts). */
@Entity({ name: 'panel_sessions' })
@Index('panel_sessions_expiry', ['expiresAt'])
export class PanelSession {
  @PrimaryColumn(column.string(64)) id: string;
  @Column(orNull(column.id())) accountId: string | null;
  @Column(column.text({ select: false })) data: string;
  @Column(column.time()) expiresAt: Date;
}
