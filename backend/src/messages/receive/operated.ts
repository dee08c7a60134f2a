import { AppError, withoutContent, type ObservedMessage } from '@chasqui/shared';
import { IsNull } from 'typeorm';
import type { Contacts } from '../../contacts/contacts.js';
import type { Core } from '../../core.js';
import { lockRows, readRows, updateRows } from '../../db/rows.js';
import type { Thumbnails } from '../../media/thumbnails.js';
import { Session } from '../../sessions/session.entity.js';
import type { StorageOf } from '../../sessions/storage-mode.js';
import { removeFromChats } from '../conversations/track.js';
import { Message } from '../message.entity.js';
import type { MessageState } from '../state.js';
import type { Arrivals } from './arrivals.js';

/**
 * Records what an operation has changed in WhatsApp. The page also reports most of these changes as events, before or after. The same functions
 * record both, under the session's lock, so the second report changes nothing.
 */
export interface OperatedMessages {
  /** Records an edited message or one that was deleted for everyone, as the page shows it after the change. */
  changed(session: Session, observed: ObservedMessage): Promise<void>;
  /**
   * Deletes a message from the log: no list and no search shows it again, and its thumbnail is deleted. Throws `MESSAGE_NOT_EDITABLE` while it waits to be sent, unless it was
   * deleted in WhatsApp.
   */
  hide(message: Message, from: 'log' | 'whatsapp'): Promise<void>;
  /** Records that the account starred or pinned a message, or took that back; then `pinnedForMs` is 0. */
  marked(session: Session, message: Message, marks: { starred: boolean } | { pinnedForMs: number }): Promise<void>;
  /** Marks the received messages of a chat as read, the newest 500 of those that are not; with `upTo` only those with this id or a lower one. */
  seen(session: Session, message: Message, upTo?: string): Promise<void>;
}

interface OperatedParts {
  arrivals: Pick<Arrivals, 'observed' | 'marked'>;
  contacts: Pick<Contacts, 'formsOf'>;
  state: Pick<MessageState, 'move'>;
  thumbnails: Pick<Thumbnails, 'remove'>;
  storageOf: StorageOf;
}
type Context = Pick<Core, 'database' | 'clock' | 'events'> & OperatedParts;

export function createOperatedMessages(
  core: Pick<Core, 'database' | 'clock' | 'events'>,
  parts: OperatedParts,
): OperatedMessages {
  const context: Context = { ...core, ...parts };
  return {
    changed: (session, observed) => recordChange(context, session, observed),
    hide: (message, from) => hide(context, message, from),
    marked: (session, message, marks) => recordMarks(context, session, message, marks),
    seen: (session, message, upTo) => recordSeen(context, session, message, upTo),
  };
}

const maxSeen = 500;
const seenPerTransaction = 50;

async function recordChange({ database, arrivals, storageOf }: Context, session: Session, observed: ObservedMessage) {
  const whole = { message: observed, origin: 'compare' as const };
  const isBare = (await storageOf(session)) === 'metadata';
  const { message } = isBare ? withoutContent('message.observed', whole) : whole;
  await database.write.run(async (tx) => {
    // Closes: the page's own event for this change is recorded at the same time.
    await lockRows(tx, Session, [session.id]);
    await arrivals.observed(tx, session, message, 'compare');
  });
}

async function recordMarks(
  { database, arrivals, clock }: Context,
  session: Session,
  { whatsappId, whatsappKey, direction, chatId, chatType, chatName }: Message,
  marks: { starred: boolean } | { pinnedForMs: number },
): Promise<void> {
  const chat = { id: chatId, type: chatType, name: chatName };
  const now = clock.now();
  const about = { whatsappId: whatsappId!, key: whatsappKey, fromMe: direction === 'outbound', chat, at: now.toISOString() };
  const pinnedUntil = (ms: number) => (ms > 0 ? new Date(now.getTime() + ms).toISOString() : null);
  const seen = 'starred' in marks ? marks : { pinnedUntil: pinnedUntil(marks.pinnedForMs) };
  await database.write.run(async (tx) => {
    // Closes: the page's own event for this change is recorded at the same time.
    await lockRows(tx, Session, [session.id]);
    await arrivals.marked(tx, session, { ...about, ...seen });
  });
}

async function hide(
  { database, clock, events, thumbnails }: Context,
  { id, sessionId }: Message,
  from: 'log' | 'whatsapp',
): Promise<void> {
  await database.write.run(async (tx) => {
    await lockRows(tx, Session, [sessionId]);
    const message = await tx.manager.findOneBy(Message, { id });
    if (!message) throw new AppError('MESSAGE_NOT_FOUND');
    const { status } = message;
    if (from === 'log' && ['scheduled', 'queued', 'sending', 'uncertain'].includes(status))
      throw new AppError('MESSAGE_NOT_EDITABLE', { status }, 'This message may still be sent. Cancel or resolve it first.');
    if ((await updateRows(tx, Message, { id, deletedAt: IsNull() }, { deletedAt: clock.now() })) === 0) return;
    await thumbnails.remove(tx, [id]);
    await events.lock(tx);
    await removeFromChats(tx, [message]);
  });
}

async function recordSeen(
  { database, contacts, state }: Context,
  session: Session,
  message: Message,
  upTo: string | undefined,
): Promise<void> {
  const forms = message.chatType === 'private' ? await contacts.formsOf(session.accountId, message.chatId) : [message.chatId];
  const places = forms.map(() => '?').join(', ');
  const condition = `"accountId" = ? AND "chatId" IN (${places}) AND "sessionId" = ? AND direction = 'inbound' AND status = 'delivered'
    ${upTo === undefined ? '' : 'AND id <= ?'} ORDER BY "createdAt" DESC LIMIT ${maxSeen}`;
  const rows = await readRows(database.reader, Message, condition, [
    session.accountId,
    ...forms,
    session.id,
    ...(upTo === undefined ? [] : [upTo]),
  ]);
  for (let start = 0; start < rows.length; start += seenPerTransaction)
    await database.write.run(async (tx) => {
      await lockRows(tx, Session, [session.id]);
      // Oldest first. A message that has another status by now is not moved.
      for (const row of rows.slice(start, start + seenPerTransaction).reverse())
        await state.move(tx, row, 'read', { from: ['delivered'] });
    });
}
