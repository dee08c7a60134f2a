import { ackOfStatus } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Message } from '../message.entity.js';

/** A message that waited longer than this is a new conversation, not an answer. */
const maxWaitMs = 7 * 86_400_000;
/** Of more unanswered messages the first is not looked for. */
const maxUnanswered = 50;

const earlierSql = `SELECT direction, status, "createdAt", timestamp FROM messages
  WHERE "accountId" = ? AND "chatId" = ? AND "sessionId" = ? AND type <> 'notice' AND "createdAt" <= ? AND "createdAt" > ? AND id < ?
  ORDER BY "createdAt" DESC, id DESC LIMIT ${maxUnanswered}`;

interface Earlier {
  direction: Message['direction'];
  status: Message['status'];
  createdAt: number | string;
  timestamp: number | string | null;
}

/**
 * Returns how long a person had waited for this outgoing message of a private chat: the time since the first of their messages that no earlier
 * message of ours answered, in milliseconds. Null if they were not waiting. Called once for each message, when WhatsApp acknowledges it.
 */
export async function responseTime(
  { contacts }: { contacts: Pick<Contacts, 'formsOf'> },
  tx: Transaction,
  { id, accountId, sessionId, chatId, chatType, direction, createdAt }: Message,
): Promise<number | null> {
  if (direction !== 'outbound' || chatType !== 'private') return null;
  const until = createdAt.getTime();
  const earlier: Earlier[] = [];
  for (const form of await contacts.formsOf(accountId, chatId, tx.manager)) {
    const parameters = [accountId, form, sessionId, until, until - maxWaitMs, id];
    earlier.push(...(await runStatement<Earlier>(tx.manager, earlierSql, parameters)).rows);
  }
  earlier.sort((one, other) => Number(other.createdAt) - Number(one.createdAt));
  const answer = earlier.findIndex((message) => message.direction === 'outbound' && ackOfStatus(message.status) > 0);
  const waiting = (answer === -1 ? earlier : earlier.slice(0, answer)).filter((message) => message.direction === 'inbound');
  const first = waiting.at(-1);
  return first ? Math.max(0, until - Number(first.timestamp ?? first.createdAt)) : null;
}
