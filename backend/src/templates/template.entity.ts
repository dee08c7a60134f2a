import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';
import type { TemplateType } from './content.js';

/** A message with variables that is filled when it is sent. Its content is in its versions. */
@Entity({ name: 'templates' })
@Index('templates_account_name', ['accountId', 'liveName'], { unique: true })
export class Template {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.string(128)) name: string;
  /**
   * The name while the template exists, and its id once it is deleted. So a name is unique among existing templates, and free again after a deletion.
   */
  @Column(column.string(128)) liveName: string;
  /** The current version. */
  @Column(column.integer()) version: number;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
  @Column(orNull(column.time())) deletedAt: Date | null;
}

/** One version of the content of a template. After it is written, only `retiredAt` changes. */
@Entity({ name: 'template_versions' })
@Index('template_versions_retired', ['retiredAt'], { where: '"retiredAt" IS NOT NULL' })
export class TemplateVersion {
  @PrimaryColumn(column.id()) templateId: string;
  @PrimaryColumn(column.integer()) version: number;
  @Column(column.id()) accountId: string;
  @Column(column.string(20)) type: TemplateType;
  /** The fields of the send route of its type, with placeholders. */
  @Column(column.json()) content: Record<string, unknown>;
  /** The file of this version; null if it has none, or if its URL has variables. */
  @Column(orNull(column.id())) mediaId: string | null;
  @Column(column.time()) createdAt: Date;
  /** When a newer version replaced it, or the template was deleted. */
  @Column(orNull(column.time())) retiredAt: Date | null;
}
