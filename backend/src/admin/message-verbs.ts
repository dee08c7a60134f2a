import { AppError, operations } from '@chasqui/shared';
import { IsNull } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';
import type { Media } from '../media/media.js';
import { composeForward } from '../messages/accept/compose.js';
import { parseAddressInput, requireReservedId } from '../messages/accept/recipients.js';
import { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import type { Sessions } from '../sessions/sessions.js';
import type { Gateway } from '../whatsapp/worker-gateway.js';
import type { PanelVerbs } from './verbs.js';

interface Parts {
  clock: Clock;
  database: Database;
  messages: Messages;
  media: Media;
  sessions: Pick<Sessions, 'byId'>;
  /** Of numbers that begin with 0, where no session is known. */
  countryCode: string | undefined;
  /** Runs an operation in the page of a session. */
  run: Gateway['run'];
}

/** How long the panel waits for WhatsApp's receipts. */
const receiptsMs = 10_000;

/** A person at the panel acts for the account that owns the message. */
const actingFor = (caller: Caller, accountId: string): Caller => ({ ...caller, accountId });

/** What every message of the panel has. */
const panelMessage = ({ requestId }: Caller) => ({
  options: { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: false },
  quotedMessageId: null,
  expiresAt: null,
  origin: 'panel' as const,
  requestId,
});

/** Implements the verbs of messages. See `createPanelVerbs`. */
export function messageVerbs(parts: Parts): PanelVerbs['messages'] {
  const { clock, database, messages, sessions } = parts;
  const auditMessage = (caller: Caller, id: string, accountId: string, changes: Record<string, unknown>): Promise<void> => {
    const entry = { action: 'message.send', objectType: 'message', objectId: id, accountId, changes };
    return database.write.run((tx) => recordAudit(tx, caller, { ...entry, at: clock.now() }));
  };
  const on = async (caller: Caller, id: string, run: (owner: Caller) => Promise<unknown>): Promise<void> => {
    const message = await database.reader.getRepository(Message).findOneBy({ id, deletedAt: IsNull() });
    if (!message) throw new AppError('MESSAGE_NOT_FOUND');
    await run(actingFor(caller, message.accountId));
  };
  return {
    async readRecipient({ sessionId, recipient }) {
      const session = sessionId === null ? null : await sessions.byId(sessionId);
      if (sessionId !== null && !session) throw new AppError('SESSION_NOT_FOUND');
      const address = session
        ? messages.recipient(recipient, session)
        : parseAddressInput(recipient, 'recipient', parts.countryCode);
      requireReservedId(address);
      return { kind: address.kind, id: address.id };
    },
    async sendText(caller, sessionId, { recipient, message, ...time }) {
      const session = await sessions.byId(sessionId);
      if (!session) throw new AppError('SESSION_NOT_FOUND');
      const input = {
        ...panelMessage(caller),
        recipient: messages.recipient(recipient, session),
        content: { type: 'text' as const, message },
        file: null,
        scheduledAt: (await messages.scheduleOf(session, time))?.at ?? null,
      };
      const { id } = (await messages.accept(session, input, null)).message;
      await auditMessage(caller, id, session.accountId, { sessionId });
      return { id };
    },
    async resendTo(caller, id, recipient) {
      const original = await database.reader.getRepository(Message).findOneBy({ id, deletedAt: IsNull() });
      if (original?.direction !== 'outbound') throw new AppError('MESSAGE_NOT_FOUND');
      const session = await sessions.byId(original.sessionId);
      if (!session) throw new AppError('SESSION_NOT_FOUND');
      const owner = actingFor(caller, original.accountId);
      // What a forward copies is what a second send needs; the recipient is not told of the first one.
      const { content, file } = await composeForward(parts, session, original, recipient, owner);
      const input = { ...panelMessage(caller), recipient: messages.recipient(recipient, session), content, file };
      const { message: copy } = await messages.accept(session, input, null);
      await auditMessage(caller, copy.id, session.accountId, { sessionId: session.id, resendOf: id });
      return { id: copy.id };
    },
    retry: (caller, id) => on(caller, id, (owner) => messages.retry(owner, id)),
    reschedule: (caller, id, input) => on(caller, id, (owner) => messages.reschedule(owner, id, input)),
    cancel: (caller, id) => on(caller, id, (owner) => messages.cancel(owner, id)),
    async decideHeld(caller, sessionId, decision) {
      const session = await sessions.byId(sessionId);
      if (!session) throw new AppError('SESSION_NOT_FOUND');
      await messages.decideHeld(actingFor(caller, session.accountId), session, decision);
    },
    resolve: (caller, id, as) => on(caller, id, (owner) => messages.resolve(owner, id, as)),
    async receipts(id) {
      const message = await database.reader.getRepository(Message).findOneBy({ id, deletedAt: IsNull() });
      if (!message?.whatsappId) throw new AppError('MESSAGE_NOT_FOUND');
      const session = await sessions.byId(message.sessionId);
      if (session?.status !== 'connected') throw new AppError('SESSION_NOT_CONNECTED');
      const { whatsappId, chatId } = message;
      const answer = await parts.run(session, 'messages.receipts', { whatsappId, chatId }, receiptsMs);
      return operations['messages.receipts'].output.parse(answer);
    },
  };
}
