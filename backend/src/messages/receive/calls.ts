import { parseRecipient, type WorkerEventPayload } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import type { Core } from '../../core.js';
import { readable } from '../../db/unreadable.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Messages, NewMessage } from '../messages.js';

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

type Call = Pick<WorkerEventPayload<'call.received'>, 'callId' | 'contact' | 'at'>;

/** Returns the id of the message that answers a call that the session has rejected by itself. Null: there is none. */
async function answer(context: Context, tx: Transaction, session: Session, call: Call): Promise<string | null> {
  const { enabled = false, message = null } = readable(session.settings, null)?.rejectCalls ?? {};
  return enabled && message !== null ? answerCall(context, tx, session, call, { text: message }) : null;
}

/**
 * Accepts the message that answers a rejected call: at most one for each call, whether the session or a request has rejected it. The caller has locked
 * the session. Returns its id. Null: the caller of the call is unknown, it is too late, the settings of
 * the session are damaged, or the message does not fit into the queue or the quotas.
 */
export async function answerCall(
  { clock, messages }: Pick<Context, 'clock' | 'messages'>,
  tx: Transaction,
  session: Session,
  { callId, contact, at }: Call,
  { text, ...request }: { text: string } & Pick<NewMessage, 'requestId' | 'apiKeyId'>,
): Promise<string | null> {
  const recipient = contact && parseRecipient(contact.id);
  const expiresAt = new Date(Date.parse(at) + answerWithinMs);
  if (!recipient?.ok || callId === '' || expiresAt <= clock.now()) return null;
  // The call is rejected by now, so what cannot be accepted is left out.
  if (readable(session.settings, null) === null) return null;
  const input = {
    recipient: recipient.address,
    content: { type: 'text' as const, message: text },
    file: null,
    options: { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true },
    quotedMessageId: null,
    expiresAt,
    origin: 'api' as const,
    ...request,
  };
  return messages.acceptOnce(tx, session, input, `call ${callId}`);
}
