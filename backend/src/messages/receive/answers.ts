import {
  chosenOption,
  optionsOf,
  parseMessageKey,
  renderedTypes,
  type ObservedContent,
  type ObservedMessage,
} from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import { readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { readable } from '../../db/unreadable.js';
import type { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';

/** Recognizes answers to lists and buttons that were sent as text, and adds the chosen option to the received text. */

/** For how long after the options were sent an answer without a quote is recognized. */
const maxAgeMs = 7 * 86_400_000;
/** The maximum difference between WhatsApp's clock and ours. */
const skewMs = 60_000;
const typeList = renderedTypes.map((type) => `'${type}'`).join(', ');
const isOffer = `direction = 'outbound' AND origin = 'api' AND type IN (${typeList})`;

interface Parts {
  contacts: Pick<Contacts, 'formsOf'>;
}

/**
 * Returns the content with `selectedOption` if it answers options of ours: it quotes them, or it is the first message of the other person in a
 * private chat after them. Other contents are returned as they are.
 */
export async function withAnswer(
  parts: Parts,
  tx: Transaction,
  session: Session,
  messageId: string,
  observed: ObservedMessage,
  content: ObservedContent | null,
): Promise<ObservedContent | null> {
  if (observed.fromMe || content?.type !== 'text' || content.selectedOption) return content;
  const offer = observed.quotedWhatsappId
    ? await quotedOffer(tx, session, observed.quotedWhatsappId)
    : await lastOffer(parts, tx, session, messageId, observed);
  const chosen = offer && chosenOption(optionsOf(readable(offer.content, null)), content.message);
  return chosen ? { ...content, selectedOption: chosen } : content;
}

async function quotedOffer(tx: Transaction, session: Session, whatsappId: string): Promise<Message | null> {
  const key = parseMessageKey(whatsappId)?.key;
  if (!key) return null;
  const [offer = null] = await readRows(tx.manager, Message, `"sessionId" = ? AND "whatsappKey" = ? AND ${isOffer}`, [
    session.id,
    key,
  ]);
  return offer;
}

async function lastOffer(
  { contacts }: Parts,
  tx: Transaction,
  { id: sessionId, accountId }: Session,
  messageId: string,
  { chat, timestamp }: ObservedMessage,
): Promise<Message | null> {
  if (chat.type !== 'private') return null;
  const receivedAt = Date.parse(timestamp);
  const since = receivedAt - maxAgeMs;
  // For accounts that send no options this costs one read of an index.
  const any = `SELECT 1 AS one FROM messages WHERE "accountId" = ? AND origin = 'api' AND type IN (${typeList}) AND "createdAt" > ? LIMIT 1`;
  if ((await runStatement(tx.manager, any, [accountId, since])).rows.length === 0) return null;
  // One chat in each query, and the session in a form that no index has: SQLite has no statistics, and would read all messages of the session.
  const inChat = `"accountId" = ? AND "chatId" = ? AND "sessionId" || '' = ?`;
  const chatIds = await contacts.formsOf(accountId, chat.id, tx.manager);
  const inChats = async (condition: string, ...values: unknown[]): Promise<Message[]> => {
    const found: Message[] = [];
    for (const chatId of chatIds)
      found.push(
        ...(await readRows(tx.manager, Message, `${inChat} AND ${condition}`, [accountId, chatId, sessionId, ...values])),
      );
    return found;
  };
  const offers = await inChats(
    `${isOffer} AND "createdAt" > ? AND "createdAt" < ? ORDER BY "createdAt" DESC, id DESC LIMIT 1`,
    new Date(since),
    new Date(receivedAt + skewMs),
  );
  const [offer = null] = offers.sort((one, other) => +other.createdAt - +one.createdAt || (one.id < other.id ? 1 : -1));
  if (!offer) return null;
  const others = `direction = 'inbound' AND type <> 'notice' AND id <> ? AND "createdAt" > ? LIMIT 1`;
  return (await inChats(others, messageId, offer.createdAt)).length === 0 ? offer : null;
}
