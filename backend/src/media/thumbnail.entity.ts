import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** The thumbnail of a message's file, as WhatsApp delivered it. In a table of its own, so that reading messages does not read pictures. */
@Entity({ name: 'message_thumbnails' })
@Index('message_thumbnails_session', ['sessionId'])
export class Thumbnail {
  @PrimaryColumn(column.id()) messageId: string;
  @Column(column.id()) sessionId: string;
  /** The picture in base64: the type of bytes differs between the databases. Its first bytes show its type. */
  @Column(column.text()) data: string;
}
