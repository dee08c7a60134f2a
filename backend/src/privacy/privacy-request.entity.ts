import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** An export or an erasure of what is stored about one contact. The row is the job: the backend that finds it pending runs it. */
@Entity({ name: 'privacy_requests' })
@Index('privacy_requests_account', ['accountId', 'createdAt'])
@Index('privacy_requests_status', ['status', 'startedAt'])
export class PrivacyRequest {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.string(8)) kind: 'export' | 'erasure';
  @Column(column.string(8)) status: 'queued' | 'running' | 'done' | 'failed';
  /** As asked for; null once the contact was erased. */
  @Column(orNull(column.string(128))) contact: string | null;
  /** Of an erasure that has begun: all ids of the person, so that it can continue after a kill. Null once it is done. */
  @Column(orNull(column.json())) forms: string[] | null;
  @Column(column.json()) counts: Record<string, number>;
  @Column(column.time()) createdAt: Date;
  /** The backend that works on it; see db/presence.ts. */
  @Column(orNull(column.id())) owner: string | null;
  /** When a backend last began it. */
  @Column(orNull(column.time())) startedAt: Date | null;
  @Column(orNull(column.time())) finishedAt: Date | null;
  /** Of an export: when its archive is deleted. */
  @Column(orNull(column.time())) expiresAt: Date | null;
}
