import { digitsOf } from '@chasqui/shared';
import type { DataSource, ObjectLiteral } from 'typeorm';
import { ContactForm, ContactRow } from '../../contacts/contact.entity.js';
import { among, readAmong, readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { Conversation } from '../../messages/conversations/conversation.entity.js';
import type { Message } from '../../messages/message.entity.js';

/** A chat of a session, as a row of a message has it. */
export type ChatOfRow = Pick<Message, 'accountId' | 'sessionId' | 'chatId' | 'chatType' | 'chatName'>;

/** What a chat is called now, and the digits of the number of its person. */
export interface ChatTitle {
  name: string | null;
  number: string | null;
}

/**
 * Returns a function that names the chat of a message: a person by the contact as it is known now, a group by the name in the row or the newest one that the session knows.
 * All rows of one person therefore have one name. A person who is no contact has the name in the row.
 */
export async function readChatTitles(reader: DataSource, rows: readonly ChatOfRow[]): Promise<(row: ChatOfRow) => ChatTitle> {
  const contacts = await readContacts(reader, rows);
  const groups = await readGroupNames(reader, rows);
  return (row) => {
    if (row.chatType !== 'private') return { name: row.chatName ?? groups.get(keyOf(row)) ?? null, number: null };
    const contact = contacts.get(keyOf(row));
    return { name: contact ? contact.name : row.chatName, number: contact?.phone ?? digitsOf(row.chatId) };
  };
}

/** What the list of messages shows besides their columns. */
export async function readMessageRows(
  reader: DataSource,
  rows: readonly ObjectLiteral[],
): Promise<ReadonlyMap<string, Record<string, unknown>>> {
  const ids = rows.map(({ id }) => String(id));
  const full = await readAmongColumns(reader, ids);
  const titleOf = await readChatTitles(reader, full);
  const theirs = among(reader, 'messageId', ids);
  const withPicture = `SELECT "messageId" AS id FROM message_thumbnails WHERE ${theirs.condition}`;
  const pictures = new Set(
    (await runStatement<{ id: string }>(reader, withPicture, [theirs.parameter])).rows.map(({ id }) => id),
  );
  return new Map(
    full.map((row) => {
      const { name, number } = titleOf(row);
      return [row.id, { chatTitle: name, chatNumber: number, chatType: row.chatType, hasThumbnail: pictures.has(row.id) }];
    }),
  );
}

const keyOf = ({ sessionId, chatId }: Pick<ChatOfRow, 'sessionId' | 'chatId'>): string => `${sessionId} ${chatId}`;

async function readAmongColumns(reader: DataSource, ids: readonly string[]): Promise<(ChatOfRow & { id: string })[]> {
  const { condition, parameter } = among(reader, 'id', ids);
  const sql = `SELECT id, "accountId", "sessionId", "chatId", "chatType", "chatName" FROM messages WHERE ${condition}`;
  return (await runStatement<ChatOfRow & { id: string }>(reader, sql, [parameter])).rows;
}

/** Returns the people of private chats by session and chat. */
async function readContacts(reader: DataSource, rows: readonly ChatOfRow[]): Promise<ReadonlyMap<string, ContactRow>> {
  const chats = rows.filter(({ chatType }) => chatType === 'private');
  const sessions = among(reader, 'sessionId', [...new Set(chats.map(({ sessionId }) => sessionId))]);
  const ids = among(reader, 'waId', [...new Set(chats.map(({ chatId }) => chatId))]);
  const forms = await readRows(reader, ContactForm, `${sessions.condition} AND ${ids.condition}`, [
    sessions.parameter,
    ids.parameter,
  ]);
  const people = await readAmong(reader, ContactRow, 'id', [...new Set(forms.map(({ contactId }) => contactId))]);
  const byId = new Map(people.map((person) => [person.id, person]));
  return new Map(
    forms.flatMap((form) => {
      const person = byId.get(form.contactId);
      return person ? [[keyOf({ sessionId: form.sessionId, chatId: form.waId }), person] as const] : [];
    }),
  );
}

/** Returns the names of groups and channels that have none in their row, by session and chat. */
async function readGroupNames(reader: DataSource, rows: readonly ChatOfRow[]): Promise<ReadonlyMap<string, string | null>> {
  const unnamed = rows.filter(({ chatType, chatName }) => chatType !== 'private' && chatName === null);
  if (unnamed.length === 0) return new Map();
  const sessions = among(reader, 'sessionId', [...new Set(unnamed.map(({ sessionId }) => sessionId))]);
  const ids = among(reader, 'chatId', [...new Set(unnamed.map(({ chatId }) => chatId))]);
  const parameters = [sessions.parameter, ids.parameter];
  const found = await readRows(reader, Conversation, `${sessions.condition} AND ${ids.condition}`, parameters);
  return new Map(found.map((row) => [keyOf(row), row.chatName]));
}
