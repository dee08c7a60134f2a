import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** A stored file. Its bytes are in `media/` of DATA_DIR, named by its id; names from outside never become names on disk. */
@Entity({ name: 'media_files' })
@Index('media_files_message', ['messageId'])
@Index('media_files_account', ['accountId', 'createdAt'])
@Index('media_files_pending', ['state', 'sessionId', 'nextAttemptAt'], { where: `"state" = 'pending'` })
@Index('media_files_uploads', ['usedAt'], { where: `"usedAt" IS NOT NULL` })
@Index('media_files_room', ['accountId'], { where: `"usedAt" IS NOT NULL` })
@Index('media_files_copies', ['uploadId'], { where: `"uploadId" IS NOT NULL` })
export class MediaFile {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(orNull(column.id())) messageId: string | null;
  /** The session that received a file which is still to be fetched, or the one to which an upload is bound. Null for other files. */
  @Column(orNull(column.id())) sessionId: string | null;
  /** `pending`: announced by WhatsApp and not fetched yet. `failed`: cannot be fetched, see `reason`. */
  @Column(column.string(8)) state: 'pending' | 'stored' | 'failed';
  @Column(orNull(column.string(160))) reason: string | null;
  /** The type that the bytes show, or else the declared one. */
  @Column(column.string(127)) mimetype: string;
  @Column(orNull(column.big())) size: number | null;
  @Column(orNull(column.string(255))) filename: string | null;
  @Column(orNull(column.string(64))) sha256: string | null;
  /** Whether the bytes are sealed. Sealed bytes are deleted when the message is final. */
  @Column(column.flag({ default: false })) isSealed: boolean;
  @Column(column.integer({ default: 0 })) attempts: number;
  @Column(orNull(column.time())) nextAttemptAt: Date | null;
  /** Of an upload: when it was uploaded or last sent. Null for the files of messages. */
  @Column(orNull(column.time())) usedAt: Date | null;
  /** The upload that this file of a message is a copy of. */
  @Column(orNull(column.id())) uploadId: string | null;
  /** The template whose file it is. */
  @Column(orNull(column.id())) templateId: string | null;
  @Column(column.time()) createdAt: Date;
  @Column(orNull(column.time())) deletedAt: Date | null;
}
