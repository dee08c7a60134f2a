import type { MessageReason } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import type { Core } from '../../core.js';
import { readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { Session } from '../../sessions/session.entity.js';
import { throttle } from '../../sessions/throttle.js';
import type { Message } from '../message.entity.js';

/**
 * Watches how the messages of a session to new chats end. Many refusals are how a restriction of the account begins, so the session is slowed down
 * before WhatsApp does it.
 */
export interface FirstContacts {
  /**
   * Counts a message that WhatsApp has accepted or refused, if it opened its chat. Slows the session down when a fifth of the last 50 was refused,
   * and then counts from the beginning. The transaction must have locked the session's row.
   */
  count(tx: Transaction, message: Message, outcome: 'accepted' | 'refused'): Promise<void>;
}

type Context = Pick<Core, 'events' | 'clock'> & {
  contacts: Pick<Contacts, 'formsOf'>;
  /** Chats that are known not to be new, as `session chat`. */
  known: Set<string>;
};

/** Failures that say that the recipient could not or would not be reached; the others are about the message or this system. */
export const refusals: ReadonlySet<MessageReason> = new Set<MessageReason>(['WHATSAPP_REFUSED', 'RECIPIENT_NOT_ON_WHATSAPP']);

const windowSize = 50;
const maxRefused = windowSize / 5;
const maxKnown = 20_000;
const accepted = '.';
const refused = 'x';

export function createFirstContacts(
  { events, clock }: Pick<Core, 'events' | 'clock'>,
  parts: { contacts: Pick<Contacts, 'formsOf'> },
): FirstContacts {
  const context: Context = { events, clock, ...parts, known: new Set() };
  return { count: (tx, message, outcome) => count(context, tx, message, outcome) };
}

async function count(context: Context, tx: Transaction, message: Message, outcome: 'accepted' | 'refused'): Promise<void> {
  if (message.direction !== 'outbound' || message.origin === 'device' || message.chatType !== 'private') return;
  const chat = `${message.sessionId} ${message.chatId}`;
  const isKnown = context.known.has(chat) || !(await isFirst(context, tx, message));
  // Whatever becomes of the transaction: a chat with an answer or an accepted message is never new again, and one too many in this set is harmless.
  if (isKnown || outcome === 'accepted') remember(context, chat);
  if (isKnown) return;
  const [session] = await readRows(tx.manager, Session, 'id = ?', [message.sessionId]);
  if (!session) return;
  const outcomes = `${session.firstContacts}${outcome === 'accepted' ? accepted : refused}`.slice(-windowSize);
  const isTooMany = outcomes.split(refused).length - 1 >= maxRefused;
  await updateRows(tx, Session, { id: session.id }, { firstContacts: isTooMany ? '' : outcomes });
  if (isTooMany) await throttle(context, tx, session, 'failed_first_contacts');
}

/** Whether the chat has no message before this one. A message that WhatsApp refused does not count. */
async function isFirst({ contacts }: Context, tx: Transaction, message: Message): Promise<boolean> {
  const { accountId, sessionId, chatId, id } = message;
  const forms = await contacts.formsOf(accountId, chatId, tx.manager);
  const places = forms.map(() => '?').join(', ');
  const sql = `SELECT 1 AS found FROM messages WHERE "accountId" = ? AND "chatId" IN (${places}) AND "sessionId" = ? AND id <> ?
    AND (direction = 'inbound' OR status IN ('sent', 'delivered', 'read', 'played')) LIMIT 1`;
  const { rows } = await runStatement(tx.manager, sql, [accountId, ...forms, sessionId, id]);
  return rows.length === 0;
}

function remember({ known }: Context, chat: string): void {
  known.add(chat);
  if (known.size > maxKnown) known.delete(known.values().next().value!);
}
