import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** A stored file. Its bytes are in `media/` of DATA_DIR, named by its id; names from outside never become names on disk. */
@Entity({ name: 'media_files' })
@Index('media_files_message', ['messageId'])
@Index('media_files_account', ['accountId', 'createdAt'])
@Index('media_files_pending', ['state', 'sessionId', 'nextAttemptAt'], { where: `"state" = 'pending'` })
export class MediaFile {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(orNull(column.id())) messageId: string | null;
  /** The session that received a file which is still to be fetched. Null for outgoing files. */
  @Column(orNull(column.id())) sessionId: string | null;
  /** `pending`: announced by WhatsApp and not fetched yet. `failed`: cannot be fetched, see `reason`. */
  @Column(column.string(8)) state: 'pending' | 'stored' | 'failed';
  @Column(orNull(column.string(160))) reason: string | null;
  /** As the bytes show it, otherwise as declared. */
  @Column(column.string(127)) mimetype: string;
  @Column(orNull(column.big())) size: number | null;
  @Column(orNull(column.string(255))) filename: string | null;
  @Column(orNull(column.string(64))) sha256: string | null;
  /** Its bytes are sealed, and are deleted when the message is final. */
  @Column(column.flag({ default: false })) isSealed: boolean;
  @Column(column.integer({ default: 0 })) attempts: number;
  @Column(orNull(column.time())) nextAttemptAt: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(orNull(column.time())) deletedAt: Date | null;
}
