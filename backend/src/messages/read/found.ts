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
 * Presents messages that were read in WhatsApp: with what is recorded here of each, or without an id. The content is the page's where the storage
 * mode keeps none. Nothing is stored.
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
    const isOurs = row !== null && row.deletedAt === null && row.chatId !== erased && row.fromId !== erased;
    return isOurs
      ? { isOurs, message: withContent(row, observed) }
      : { isOurs, message: withContent(bareRow(session, observed), observed) };
  });
  const people = await contacts.people(messages.flatMap(({ message }) => idsIn(message)));
  return messages.map(({ isOurs, message }) => ({ ...presentMessage(message, people), ...(isOurs ? {} : { id: null }) }));
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
