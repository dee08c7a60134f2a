import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';
import type { BackupContents, BackupPart } from './archive/members.js';

/** One backup: its file, or why there is none. */
@Entity({ name: 'backups' })
@Index('backups_created', ['createdAt', 'id'])
export class Backup {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.string(8)) status: 'running' | 'ready' | 'failed';
  /** Who asked for it: a person, the schedule, or the command line. */
  @Column(column.string(8)) trigger: 'manual' | 'schedule' | 'command';
  @Column(column.json()) parts: BackupPart[];
  /** The name of the machine that made it, whose BACKUP_DIR has the file. */
  @Column(column.string(255)) host: string;
  /** The absolute path of the file on that machine. */
  @Column(column.text()) file: string;
  @Column(orNull(column.big())) size: number | null;
  @Column(orNull(column.string(64))) sha256: string | null;
  /** Whether the file was read back and compared. False: the key can only write. */
  @Column(column.flag({ default: false })) verified: boolean;
  /** What it holds. Null unless it is ready. */
  @Column(orNull(column.json())) contents: BackupContents | null;
  @Column(orNull(column.string(40))) errorCode: string | null;
  @Column(orNull(column.text())) errorText: string | null;
  @Column(column.time()) createdAt: Date;
  @Column(orNull(column.time())) finishedAt: Date | null;
}
