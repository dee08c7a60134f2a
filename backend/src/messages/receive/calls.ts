import { parseRecipient, type Contact, type WorkerEventPayload } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import type { Core } from '../../core.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Messages } from '../messages.js';

interface Context extends Pick<Core, 'events' | 'clock'> {
  contacts: Pick<Contacts, 'observe'>;
  messages: Pick<Messages, 'acceptOnce'>;
}

/** An answer that cannot be sent this soon after the call comes too late. */
const answerWithinMs = 900_000;

/**
 * Records an incoming call. The answer to a call that the session has rejected is an ordinary message in the same commit: it is queued, retried and
 * looked up like any other. Its WhatsApp id follows from the call, so a call that is reported twice has one answer.
 */
export async function recordCall(
  context: Context,
  tx: Transaction,
  session: Session,
  { autoReject, ...call }: WorkerEventPayload<'call.received'>,
): Promise<void> {
  const { events, contacts } = context;
  const observed = await contacts.observe(tx, session, call);
  const { attempted, confirmed } = autoReject ?? { attempted: false, confirmed: false };
  const messageId = attempted && !call.isGroup ? await answer(context, tx, session, call) : null;
  const data = async () => ({ ...(await observed()), autoReject: { attempted, confirmed, messageId } });
  const owner = { accountId: session.accountId, sessionId: session.id };
  await events.append(tx, { ...owner, type: 'call.received', data });
}

/** Returns the id of the message that answers the call. Null: there is none. */
async function answer(
  { clock, messages }: Context,
  tx: Transaction,
  session: Session,
  { callId, contact, at }: { callId: string; contact: Contact | null; at: string },
): Promise<string | null> {
  const { enabled = false, message: text = null } = session.settings.rejectCalls ?? {};
  const recipient = contact && parseRecipient(contact.id);
  const expiresAt = new Date(Date.parse(at) + answerWithinMs);
  if (!enabled || text === null || !recipient?.ok || callId === '' || expiresAt <= clock.now()) return null;
  const input = {
    recipient: recipient.address,
    content: { type: 'text' as const, message: text },
    file: null,
    options: { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true },
    quotedMessageId: null,
    expiresAt,
    origin: 'api' as const,
  };
  return messages.acceptOnce(tx, session, input, `call ${callId}`);
}
