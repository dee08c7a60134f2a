import { AppError, isId, parseMessageKey } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Caller } from '../../accounts/caller.js';
import { readRows } from '../../db/rows.js';
import { Message } from '../message.entity.js';
import { otherKeyOf } from '../receive/observed-identity.js';

/**
 * Finds a message of the caller by our id or by WhatsApp's. The id of WhatsApp begins with the direction, which belongs to the identity: if two
 * sessions of one account write to each other, one key belongs to a message in each direction. Throws `MESSAGE_NOT_FOUND`, and `SESSION_REQUIRED` if
 * messages of several sessions have the id.
 */
export async function findMessage(reader: DataSource, caller: Caller, ref: string): Promise<Message> {
  const parsed = isId(ref) ? null : parseMessageKey(ref);
  // The account in a form that no index has: SQLite has no statistics, and would read all messages of the account instead of the few with this key.
  const conditions = [`"accountId" || '' = ? AND "deletedAt" IS NULL`];
  const values: string[] = [caller.accountId];
  const add = (condition: string, ...more: string[]): void => {
    conditions.push(condition);
    values.push(...more);
  };
  if (isId(ref)) add('id = ?', ref);
  else {
    const keys = parsed ? keysOfWhatsappId(parsed) : [ref];
    // The query names the sessions, because the index has the columns session and key.
    add('"sessionId" IN (SELECT s.id FROM sessions s WHERE s."accountId" = ?)', caller.accountId);
    add(`"whatsappKey" IN (${keys.map(() => '?').join(', ')})`, ...keys);
  }
  if (parsed) add('direction = ?', parsed.fromMe ? 'outbound' : 'inbound');
  if (caller.sessionId) add('"sessionId" = ?', caller.sessionId);
  const found = await readRows(reader, Message, `${conditions.join(' AND ')} LIMIT 4`, values);
  const exact = found.filter(({ whatsappId }) => whatsappId === ref);
  const [message, another] = exact.length > 0 ? exact : found;
  if (!message) throw new AppError('MESSAGE_NOT_FOUND');
  if (another) throw new AppError('SESSION_REQUIRED', {}, severalSessions);
  return message;
}

const severalSessions =
  'Messages of several sessions have this id. Name the session with the header X-Session-Id, or use the id that this API gave.';

/**
 * Returns the keys under which a message with this WhatsApp id may be stored: the key in the id, and the other key that it has if another message is
 * stored under the first one.
 */
export function keysOfWhatsappId({
  fromMe,
  chatId,
  key,
  participant,
}: NonNullable<ReturnType<typeof parseMessageKey>>): string[] {
  const isPrivate = /@(c\.us|lid|s\.whatsapp\.net)$/.test(chatId);
  const writer = isPrivate ? chatId : participant;
  return fromMe || writer === null ? [key] : [key, otherKeyOf(key, isPrivate ? '' : chatId, writer)];
}
