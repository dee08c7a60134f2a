import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** Who did what to which object, from where. */
@Entity({ name: 'audit_logs' })
@Index('audit_logs_time', ['at'])
@Index('audit_logs_account', ['accountId', 'at'])
export class AuditLog {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.time()) at: Date;
  @Column(orNull(column.id())) accountId: string | null;
  /** `staff`: a person of another account, whose role permits it. */
  @Column(column.string(8)) actorType: 'key' | 'token' | 'panel' | 'staff' | 'system';
  /** The id of the key, or of the account whose login it was. */
  @Column(orNull(column.id())) actorId: string | null;
  @Column(orNull(column.string(100))) actorName: string | null;
  /** The kind of credential that was used. Null: the system itself, or an entry of an earlier version. */
  @Column(orNull(column.string(8))) credential: 'key' | 'token' | 'panel' | null;
  @Column(column.string(64)) action: string;
  @Column(column.string(32)) objectType: string;
  @Column(orNull(column.string(64))) objectId: string | null;
  @Column(column.json()) changes: Record<string, unknown>;
  /** What the fields in `changes` were before, as far as the object has them. Null: not known, as of an object that is new. */
  @Column(orNull(column.json())) previous: Record<string, unknown> | null;
  @Column(orNull(column.string(64))) ip: string | null;
  @Column(orNull(column.string(128))) requestId: string | null;
}
