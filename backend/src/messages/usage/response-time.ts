import { ackOfStatus } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import { rangesSql } from '../../db/ranges.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Message } from '../message.entity.js';

/** A message that waited longer than this is a new conversation, not an answer. */
const maxWaitMs = 7 * 86_400_000;
/** Of more unanswered messages the first is not looked for. */
const maxUnanswered = 50;

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
  message: Message,
): Promise<number | null> {
  const { accountId, chatId, chatType, direction, createdAt } = message;
  if (direction !== 'outbound' || chatType !== 'private') return null;
  const chatIds = await contacts.formsOf(accountId, chatId, tx.manager);
  // Most messages follow one of ours that was sent. Reading the fifty before each of them made sends slower by a tenth.
  const [newest] = await readEarlier(tx, message, chatIds, 1);
  if (!newest || isAnswer(newest)) return null;
  const earlier = await readEarlier(tx, message, chatIds, maxUnanswered);
  const answer = earlier.findIndex(isAnswer);
  const waiting = (answer === -1 ? earlier : earlier.slice(0, answer)).filter((one) => one.direction === 'inbound');
  const first = waiting.at(-1);
  return first ? Math.max(0, createdAt.getTime() - Number(first.timestamp ?? first.createdAt)) : null;
}

const isAnswer = ({ direction, status }: Earlier): boolean => direction === 'outbound' && ackOfStatus(status) > 0;

/** Returns the messages before this one in the chats with a person, newest first, in one statement for all ids of the person. */
async function readEarlier(
  tx: Transaction,
  { id, accountId, sessionId, createdAt }: Message,
  chatIds: readonly string[],
  limit: number,
): Promise<Earlier[]> {
  const until = createdAt.getTime();
  const dialect = tx.manager.connection.options.type;
  const { sql, parameters } = rangesSql(dialect, {
    // SQLite has no statistics, and would read all messages of the session for an id under which the person has not written.
    table: dialect === 'postgres' ? 'messages' : 'messages INDEXED BY messages_chat',
    columns: 'id, direction, status, "createdAt", timestamp',
    ranges: chatIds.map((chatId) => ({ sql: '"chatId" = ?', parameters: [chatId] })),
    also: [
      {
        sql: `"accountId" = ? AND "sessionId" = ? AND type <> 'notice' AND "createdAt" <= ? AND "createdAt" > ? AND id < ?`,
        parameters: [accountId, sessionId, until, until - maxWaitMs, id],
      },
    ],
    order: '"createdAt" DESC, id DESC',
    limit,
  });
  return (await runStatement<Earlier>(tx.manager, sql, parameters)).rows;
}
