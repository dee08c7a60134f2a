import { Column, Entity, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/**
 * A restore of this installation. The restore writes the row; the first start after it settles what may have been sent meanwhile (settle.ts), and
 * sets `appliedAt`.
 */
@Entity({ name: 'restores' })
export class Restored {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) backupId: string;
  /** When the snapshot was taken. */
  @Column(column.time()) takenAt: Date;
  @Column(column.time()) restoredAt: Date;
  /** `copy`: the earlier installation may have sent messages since. `move`: it was stopped, and has sent nothing. */
  @Column(column.string(8)) mode: 'copy' | 'move';
  /** Whether sessions start automatically. */
  @Column(column.flag()) startsSessions: boolean;
  @Column(orNull(column.time())) appliedAt: Date | null;
  @Column(orNull(column.json())) counts: Record<string, number> | null;
}
