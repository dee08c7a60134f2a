import {
  erased,
  isMediaType,
  mediaOf,
  newId,
  textOf,
  type Contact,
  type MessageContent,
  type MessageType,
  type ObservedMessage,
  type WorkerEventPayload,
} from '@chasqui/shared';
import { holdRows, insertRow, readRows, updateRows } from '../db/rows.js';
import { increment } from '../db/sql.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import type { Media } from '../media/media.js';
import { Session } from '../sessions/session.entity.js';
import { Message } from './message.entity.js';
import { plainText, presentMessage } from './present.js';
import type { MessageState } from './state.js';

export type Arrivals = ReturnType<typeof createArrivals>;

/** What WhatsApp tells of messages: new ones, and what happens to those we know. Found by key, because a chat may be written in two ways. */
export function createArrivals({
  events,
  state,
  media,
  clock,
}: {
  events: Events;
  state: MessageState;
  media: Media;
  clock: Clock;
}) {
  const known = async (tx: Transaction, sessionId: string, key: string): Promise<Message | null> => {
    const [message] = await readRows(tx.manager, Message, '"sessionId" = ? AND "whatsappKey" = ?', [sessionId, key]);
    return message ?? null;
  };
  const about = (message: Message) => ({ accountId: message.accountId, sessionId: message.sessionId, messageId: message.id });

  /** A message that we sent ourselves comes back as seen: it proves that it left, and tells who the other side is. */
  async function ours(tx: Transaction, message: Message, seen: ObservedMessage): Promise<void> {
    if (isErased(message)) return;
    const learned: Partial<Message> = {
      ...(message.whatsappId ? {} : { whatsappId: seen.whatsappId }),
      ...(seen.chat.name && !message.chatName ? { chatName: seen.chat.name } : {}),
      ...(seen.contact && message.chatType === 'private' ? { contact: joined(message.contact, seen.contact) } : {}),
      ...(message.timestamp ? {} : { timestamp: new Date(seen.timestamp) }),
    };
    if (Object.keys(learned).length > 0) {
      await updateRows(tx, Message, { id: message.id }, learned);
      Object.assign(message, learned);
    }
    if (seen.ack >= 1) await state.acknowledge(tx, message, seen.ack, { whatsappId: seen.whatsappId });
  }

  async function arrived(tx: Transaction, session: Session, seen: ObservedMessage, origin: 'live' | 'backfill'): Promise<void> {
    const message = newRow(session, seen, origin, clock.now());
    const content = contentOf(seen);
    const file = content && mediaOf(content);
    if (file && session.settings.storeMedia) {
      message.mediaId = await media.announce(tx, {
        accountId: session.accountId,
        sessionId: session.id,
        messageId: message.id,
        mimetype: file.mimetype,
        filename: file.filename,
        size: file.size,
      });
      message.content = {
        ...message.content,
        media: { ...file, id: message.mediaId, url: `/api/v1/messages/${message.id}/media` },
      } as MessageContent;
    }
    await insertRow(tx, Message, message);
    const column = seen.fromMe ? 'sentCount' : 'receivedCount';
    await increment(tx.manager, 'sessions', column, { column: 'id', value: session.id });
    await events.append(tx, {
      ...about(message),
      type: seen.fromMe ? 'message.sent' : 'message.received',
      data: presentMessage(message),
    });
  }

  return {
    async observed(tx: Transaction, session: Session, seen: ObservedMessage, origin: 'live' | 'backfill'): Promise<void> {
      const message = await known(tx, session.id, seen.key);
      if (message && seen.fromMe === (message.direction === 'outbound')) return seen.fromMe ? ours(tx, message, seen) : undefined;
      if (!message) return arrived(tx, session, seen, origin);
      // Whoever writes to us chooses the key: one that is taken from a message of ours must neither settle that one nor be lost.
      const key = `${seen.key.slice(0, 70)}~other`;
      if (!(await known(tx, session.id, key))) await arrived(tx, session, { ...seen, key }, origin);
    },
    async acknowledged(
      tx: Transaction,
      session: Session,
      { key, whatsappId, ack, participant, at }: WorkerEventPayload<'message.ack'>,
    ): Promise<void> {
      const message = await known(tx, session.id, key);
      if (!message || message.direction === 'inbound') return;
      // A refusal that comes after the doubt settles it; one that comes after an acknowledgement is not believed.
      if (ack < 0) return void (await state.move(tx, message, 'failed', { from: ['uncertain'], reason: 'WHATSAPP_REFUSED' }));
      const who = isErased(message) ? {} : { whatsappId, contact: participant };
      await state.acknowledge(tx, message, ack, { ...who, at: new Date(at) });
    },
    async edited(tx: Transaction, session: Session, { key, text, at }: WorkerEventPayload<'message.edited'>): Promise<void> {
      const message = await known(tx, session.id, key);
      // What is withheld differs in nothing: then the time tells one edit from its repetition.
      const isKnown = text === null ? message?.editedAt?.getTime() === Date.parse(at) : message?.text === plainText(text);
      if (!message || isKnown || isErased(message)) return;
      const previousText = message.text;
      const content = message.content && edit(message.content, text);
      const changes = { text: plainText(text), content, editedAt: new Date(at) };
      await updateRows(tx, Message, { id: message.id }, changes);
      await events.append(tx, {
        ...about(message),
        type: 'message.updated',
        data: { ...presentMessage(Object.assign(message, changes)), change: 'edited', previousText },
      });
    },
    async revoked(tx: Transaction, session: Session, { key, at }: WorkerEventPayload<'message.revoked'>): Promise<void> {
      const message = await known(tx, session.id, key);
      if (!message || message.revokedAt) return;
      const changes = { revokedAt: new Date(at) };
      await updateRows(tx, Message, { id: message.id }, changes);
      await events.append(tx, {
        ...about(message),
        type: 'message.updated',
        data: { ...presentMessage(Object.assign(message, changes)), change: 'revoked', previousText: null },
      });
    },
    async reacted(
      tx: Transaction,
      session: Session,
      { key, whatsappId, chat, contact, emoji, at }: WorkerEventPayload<'message.reaction'>,
    ): Promise<void> {
      const message = await known(tx, session.id, key);
      await events.append(tx, {
        accountId: session.accountId,
        sessionId: session.id,
        messageId: message?.id ?? null,
        type: 'message.reaction',
        data: { messageId: message?.id ?? null, whatsappId, chat, contact, emoji, at },
      });
    },
    async voted(
      tx: Transaction,
      session: Session,
      { key, whatsappId, chat, contact, options, at }: WorkerEventPayload<'poll.vote'>,
    ): Promise<void> {
      const message = await known(tx, session.id, key);
      await events.append(tx, {
        accountId: session.accountId,
        sessionId: session.id,
        messageId: message?.id ?? null,
        type: 'poll.vote',
        data: { messageId: message?.id ?? null, whatsappId, chat, contact, options, at },
      });
    },
    /** The file of an inbound message is there, or cannot be had. */
    async fileSettled(
      tx: Transaction,
      messageId: string,
      file: { mimetype: string; size: number | null; sha256: string | null } | null,
      reason: string | null,
    ): Promise<void> {
      const found = await tx.manager.findOneBy(Message, { id: messageId });
      if (!found) return;
      await holdRows(tx, Session, [found.sessionId]);
      // As it is now that nobody else can change it: an edit may have come between.
      const message = await tx.manager.findOneByOrFail(Message, { id: messageId });
      if (!message.content) return;
      const present = mediaOf(message.content);
      const whole = file && present ? { ...present, ...file } : null;
      if (whole)
        await updateRows(tx, Message, { id: messageId }, { content: { ...message.content, media: whole } as MessageContent });
      await events.append(tx, { ...about(message), type: 'message.media', data: { id: messageId, media: whole, reason } });
    },
  };
}

const contentOf = ({ content }: ObservedMessage): MessageContent | null => (content.type === 'withheld' ? null : content);

/** The person was erased on request: nothing of them is learned again. */
const isErased = ({ chatId, fromId }: Message): boolean => chatId === erased || fromId === erased;

/** What both sides know of one person; the form that was written to stays the form to write to. */
const joined = (ours: Contact | null, seen: Contact): Contact => ({
  id: seen.phone ? `${seen.phone.slice(1)}@c.us` : (ours?.id ?? seen.id),
  phone: seen.phone ?? ours?.phone ?? null,
  lid: seen.lid ?? ours?.lid ?? null,
  name: seen.name ?? ours?.name ?? null,
});

function edit(content: MessageContent, text: string | null): MessageContent {
  if (content.type === 'text') return { ...content, message: text ?? '' };
  return 'caption' in content && isMediaType(content.type) ? { ...content, caption: text } : content;
}

const statusOfOwn = ['sent', 'sent', 'delivered', 'read', 'played'] as const;

function newRow(session: Session, seen: ObservedMessage, origin: 'live' | 'backfill', now: Date): Message {
  const at = new Date(seen.timestamp);
  const content = contentOf(seen);
  const status = seen.fromMe ? statusOfOwn[Math.max(0, Math.min(seen.ack, 4))]! : 'delivered';
  return {
    id: newId(now.getTime()),
    accountId: session.accountId,
    sessionId: session.id,
    whatsappId: seen.whatsappId,
    whatsappKey: seen.key,
    direction: seen.fromMe ? 'outbound' : 'inbound',
    origin: seen.fromMe ? 'device' : origin,
    type: content ? content.type : (seen.content as { of: MessageType }).of,
    status,
    reasonCode: null,
    reasonText: null,
    chatId: seen.chat.id,
    chatType: seen.chat.type,
    chatName: plainText(seen.chat.name)?.slice(0, 256) ?? null,
    contact: seen.contact,
    fromId: seen.from,
    toId: seen.to,
    content,
    text: content && plainText(textOf(content)),
    mediaId: null,
    options: null,
    mentions: seen.mentions,
    isForwarded: seen.isForwarded,
    quotedMessageId: seen.quotedWhatsappId,
    cost: '0.0000',
    quotaDay: null,
    doubted: false,
    sealed: null,
    attempts: 0,
    nextAttemptAt: null,
    leaseOwner: null,
    leaseExpiresAt: null,
    epoch: null,
    linkedAccountNumber: session.linkedAccountNumber,
    timestamp: at,
    expiresAt: null,
    createdAt: now,
    scheduledAt: null,
    queuedAt: null,
    sentAt: seen.fromMe ? at : null,
    deliveredAt: seen.fromMe ? null : at,
    readAt: null,
    playedAt: null,
    failedAt: null,
    cancelledAt: null,
    editedAt: null,
    revokedAt: null,
    deletedAt: null,
  };
}
