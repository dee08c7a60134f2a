import { parseAddress, type ObservedMessage } from '@chasqui/shared';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Answer, OptOuts } from '../../opt-outs/opt-outs.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Messages } from '../messages.js';

/** The text; of a text that is withheld, the keyword that it was. */
function textIn(content: ObservedMessage['content']): string | null {
  if (content.type === 'text') return content.message;
  return content.type === 'withheld' ? (content.keyword ?? null) : null;
}

interface Parts {
  optOuts: Pick<OptOuts, 'received'>;
  messages: Pick<Messages, 'acceptInside'>;
}

/**
 * Opts the sender of a private text out or in if it is a keyword, in the transaction that records the message: a message that is observed again is
 * recorded already. In groups, words are ordinary words. An answer is an ordinary send to the sender's chat.
 */
export async function recordKeyword(
  { optOuts, messages }: Parts,
  tx: Transaction,
  session: Session,
  { fromMe, chat, content, revokedAt, timestamp }: ObservedMessage,
): Promise<void> {
  if (fromMe || chat.type !== 'private' || revokedAt) return;
  const recipient = parseAddress(chat.id);
  const text = textIn(content);
  if (!recipient || text === null) return;
  const answer: Answer = async (message) => {
    const options = { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true };
    const accepted = await messages.acceptInside(tx, session, {
      recipient,
      content: { type: 'text', message },
      file: null,
      options,
      quotedMessageId: null,
      expiresAt: null,
      origin: 'api',
    });
    return accepted?.id ?? null;
  };
  await optOuts.received(tx, session, { waId: chat.id, text, at: new Date(timestamp) }, answer);
}
