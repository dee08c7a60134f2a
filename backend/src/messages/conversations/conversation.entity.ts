import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../../db/columns.js';

/**
 * One chat of a session: its newest message, and how many of its messages are unread. Written in the commit of each change by track.ts. A person
 * whom WhatsApp addresses by number and by LID has two rows; conversations.ts joins them when they are read.
 */
@Entity({ name: 'conversations' })
@Index('conversations_time', ['sessionId', 'lastAt', 'lastId'])
@Index('conversations_unread', ['sessionId', 'lastAt', 'lastId'], { where: '"unread" > 0' })
@Index('conversations_groups', ['sessionId'], { where: `"chatId" LIKE '%@g.us' OR "chatId" LIKE '%@newsletter'` })
export class Conversation {
  @PrimaryColumn(column.id()) sessionId: string;
  @PrimaryColumn(column.string(80)) chatId: string;
  @Column(column.id()) accountId: string;
  /** `createdAt` and id of the newest message that is not deleted. */
  @Column(column.big()) lastAt: number;
  @Column(column.id()) lastId: string;
  /** Received messages with the status `delivered` that are newer than `readTo`. */
  @Column(column.integer()) unread: number;
  /** The name in the newest message that has one: of a group or channel, or of a person who is no contact. */
  @Column(orNull(column.string(256))) chatName: string | null;
  /** `foldText(chatName)`, which searches compare. */
  @Column(orNull(column.text())) foldedName: string | null;
  /** The newest message when the chat was last read on the phone. Null: never. */
  @Column(orNull(column.id())) readTo: string | null;
}
