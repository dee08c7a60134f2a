import { AppError, isId, parseMessageKey } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Caller } from '../../accounts/caller.js';
import { Message } from '../message.entity.js';
import { otherKeyOf } from '../receive/observed-identity.js';

/**
 * Finds a message of the caller by our id or by WhatsApp's. WhatsApp's id begins with the direction, which belongs to the identity: when two sessions of
 * one account write to each other, a message has the same key once in each direction. Throws `MESSAGE_NOT_FOUND`, and `SESSION_REQUIRED` if
 * messages of several sessions have the id.
 */
export async function findMessage(reader: DataSource, caller: Caller, ref: string): Promise<Message> {
  const parsed = isId(ref) ? null : parseMessageKey(ref);
  const query = reader
    .getRepository(Message)
    .createQueryBuilder('m')
    .where('m.accountId = :accountId AND m.deletedAt IS NULL', { accountId: caller.accountId });
  if (isId(ref)) query.andWhere('m.id = :ref', { ref });
  else
    // By session and key, because the index has these columns.
    query
      .andWhere('m.sessionId IN (SELECT s.id FROM sessions s WHERE s."accountId" = :accountId)')
      .andWhere('m.whatsappKey IN (:...keys)', { keys: parsed ? keysOf(parsed) : [ref] });
  if (parsed) query.andWhere('m.direction = :direction', { direction: parsed.fromMe ? 'outbound' : 'inbound' });
  if (caller.sessionId) query.andWhere('m.sessionId = :sessionId', { sessionId: caller.sessionId });
  const found = await query.limit(4).getMany();
  const exact = found.filter(({ whatsappId }) => whatsappId === ref);
  const [message, another] = exact.length > 0 ? exact : found;
  if (!message) throw new AppError('MESSAGE_NOT_FOUND');
  if (another) throw new AppError('SESSION_REQUIRED', {}, severalSessions);
  return message;
}

const severalSessions =
  'Messages of several sessions have this id. Name the session with the header X-Session-Id, or use the id that this API gave.';

/** The keys under which a message with this WhatsApp id may be stored: its own, and the one it has if another message has its own key. */
function keysOf({ fromMe, chatId, key, participant }: NonNullable<ReturnType<typeof parseMessageKey>>): string[] {
  const isPrivate = /@(c\.us|lid|s\.whatsapp\.net)$/.test(chatId);
  const writer = isPrivate ? chatId : participant;
  return fromMe || writer === null ? [key] : [key, otherKeyOf(key, isPrivate ? '' : chatId, writer)];
}
