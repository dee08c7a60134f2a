import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, nullable } from '../db/columns.js';

/** A stored file. Its bytes lie under `media/` in DATA_DIR under its id; names of the outside never become names on disk. */
@Entity({ name: 'media_files' })
@Index('media_files_message', ['messageId'])
@Index('media_files_account', ['accountId', 'createdAt'])
export class MediaFile {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.id(nullable)) messageId: string | null;
  /** `pending`: announced by WhatsApp and not fetched yet. `failed`: cannot be had, see `reason`. */
  @Column(column.string(8)) state: 'pending' | 'stored' | 'failed';
  @Column(column.string(160, nullable)) reason: string | null;
  /** As sniffed from the bytes where they tell, otherwise as declared. */
  @Column(column.string(127)) mimetype: string;
  @Column(column.big(nullable)) size: number | null;
  @Column(column.string(255, nullable)) filename: string | null;
  @Column(column.string(64, nullable)) sha256: string | null;
  @Column(column.integer({ default: 0 })) attempts: number;
  @Column(column.time(nullable)) nextAttemptAt: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time(nullable)) deletedAt: Date | null;
}
