import { erased, textOf, type FoundMessageResource, type ObservedMessage, type StoredContent } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Contacts } from '../../contacts/contacts.js';
import { readRows } from '../../db/rows.js';
import type { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import { keysOfObserved, rowOfObserved } from '../receive/observed-identity.js';
import { observedRow } from '../receive/observed-row.js';
import { idsIn, plainText, presentMessage } from './present.js';

/**
 * Returns messages that were read in WhatsApp, in the form of the API. A message that is stored has its stored fields; any other one has no id.
 * Content that is not stored, because of the storage mode, is that of WhatsApp. Nothing is written.
 */
export async function presentFound(
  reader: DataSource,
  contacts: Pick<Contacts, 'people'>,
  session: Session,
  found: readonly ObservedMessage[],
): Promise<FoundMessageResource[]> {
  const rows = await rowsOf(reader, session, found);
  const messages = found.map((observed) => {
    const row = rowOfObserved(rows, observed);
    const isStored = row !== null && row.deletedAt === null && row.chatId !== erased && row.fromId !== erased;
    return isStored
      ? { isStored, message: withContent(row, observed) }
      : { isStored, message: withContent(bareRow(session, observed), observed) };
  });
  const people = await contacts.people(messages.flatMap(({ message }) => idsIn(message)));
  return messages.map(({ isStored, message }) => ({ ...presentMessage(message, people), ...(isStored ? {} : { id: null }) }));
}

async function rowsOf(reader: DataSource, session: Session, found: readonly ObservedMessage[]): Promise<Message[]> {
  const keys = [...new Set(found.flatMap(keysOfObserved))];
  if (keys.length === 0) return [];
  const condition = `"sessionId" = ? AND "whatsappKey" IN (${keys.map(() => '?').join(', ')})`;
  return readRows(reader, Message, condition, [session.id, ...keys]);
}

const bareRow = (session: Session, observed: ObservedMessage): Message =>
  observedRow(session, observed, observed.key, 'backfill', new Date(observed.timestamp));

function withContent(row: Message, { content }: ObservedMessage): Message {
  if (row.content !== null || content.type === 'withheld') return row;
  return { ...row, type: content.type, content: content as StoredContent, text: plainText(textOf(content)) };
}
