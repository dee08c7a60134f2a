import {
  erased,
  eventCatalogue,
  isMediaType,
  mediaOf,
  messageReasons,
  newId,
  statusOfAck,
  textOf,
  type Contact,
  type MessageResource,
  type MessageType,
  type ObservedContent,
  type ObservedMessage,
  type StoredContent,
  type WorkerEventPayload,
} from '@chasqui/shared';
import type { Contacts, Sighting } from '../../contacts/contacts.js';
import { lockRows, insertRow, readRows, updateRows } from '../../db/rows.js';
import { increment } from '../../db/sql.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { EventRow } from '../../events/event.entity.js';
import type { Events } from '../../events/events.js';
import type { Clock } from '../../lib/clock.js';
import type { Media } from '../../media/media.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import { findObserved, type SeenMessage } from './observed-identity.js';
import { idsIn, plainText, presentMessage } from '../read/present.js';
import type { MessageState } from '../state.js';

type ObservedOrigin = WorkerEventPayload<'message.observed'>['origin'];

export type Arrivals = ReturnType<typeof createArrivals>;

/**
 * What WhatsApp tells of messages: new ones, and what becomes of those we know. Everything that is observed has a row, once. A placeholder
 * (not decrypted yet, to be opened on the phone) is completed in its row when the content comes. What was edited, deleted or reacted to
 * while nobody listened is told when the message is observed again.
 */
export function createArrivals({
  events,
  contacts,
  state,
  media,
  clock,
}: {
  events: Events;
  contacts: Contacts;
  state: MessageState;
  media: Media;
  clock: Clock;
}) {
  const known = async (tx: Transaction, sessionId: string, seen: SeenMessage): Promise<Message | null> =>
    (await findObserved(tx, sessionId, seen)).message;
  const about = (message: Message) => ({ accountId: message.accountId, sessionId: message.sessionId, messageId: message.id });

  /** Emits what a person did to a message. The message need not be in the history. */
  async function respondedTo(
    tx: Transaction,
    session: Session,
    type: 'message.reaction' | 'poll.vote',
    seen: Omit<WorkerEventPayload<'message.reaction'>, 'emoji'>,
    response: { emoji: string | null } | { options: string[] },
  ): Promise<void> {
    const messageId = (await known(tx, session.id, { ...seen, contact: null }))?.id ?? null;
    const { whatsappId, chat, contact, at } = seen;
    await events.append(tx, {
      accountId: session.accountId,
      sessionId: session.id,
      messageId,
      type,
      data: await contacts.observe(tx, session, { messageId, whatsappId, chat, contact, ...response, at }),
    });
  }

  const present = async (tx: Transaction, message: Message): Promise<MessageResource> =>
    presentMessage(message, await contacts.people(idsIn(message), tx.manager));

  /** A message that we sent ourselves comes back as seen: it proves that it left, and tells who the other side is. */
  async function ours(tx: Transaction, message: Message, seen: ObservedMessage): Promise<void> {
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

  /** The fields of a row that hold its content; announces its file where files are kept. */
  async function contentFields(
    tx: Transaction,
    session: Session,
    messageId: string,
    seen: ObservedMessage,
  ): Promise<Pick<Message, 'type' | 'content' | 'text' | 'mediaId'>> {
    const content = contentOf(seen);
    const type = content ? content.type : (seen.content as { of: MessageType }).of;
    const file = content && mediaOf(content);
    const text = content && plainText(textOf(content));
    if (!file || !session.settings.storeMedia) return { type, content, text, mediaId: null };
    const { mimetype, filename, size } = file;
    const owner = { accountId: session.accountId, sessionId: session.id, messageId };
    const mediaId = await media.announce(tx, { ...owner, mimetype, filename, size });
    const whole = { ...content, media: { ...file, id: mediaId, url: `/api/v1/messages/${messageId}/media` } };
    return { type, content: whole as StoredContent, text, mediaId };
  }

  async function arrived(
    tx: Transaction,
    session: Session,
    seen: ObservedMessage,
    origin: 'live' | 'backfill',
    key: string,
  ): Promise<void> {
    const message = newRow(session, { ...seen, key }, origin, clock.now());
    Object.assign(message, await contentFields(tx, session, message.id, seen));
    await insertRow(tx, Message, message);
    // What WhatsApp itself writes into a chat is history. Nobody sent it, so nobody is told that a message came.
    if (message.type === 'notice') return;
    const column = message.status === 'failed' ? 'failedCount' : seen.fromMe ? 'sentCount' : 'receivedCount';
    await increment(tx.manager, 'sessions', column, { column: 'id', value: session.id });
    await events.append(tx, {
      ...about(message),
      ...(message.status === 'failed'
        ? { type: 'message.failed', data: { ...(await present(tx, message)), retryable: false, willRetryAt: null } }
        : { type: seen.fromMe ? 'message.sent' : 'message.received', data: await present(tx, message) }),
    });
    await reactedMeanwhile(tx, session, message, seen);
  }

  async function updated(
    tx: Transaction,
    message: Message,
    change: 'edited' | 'revoked' | 'completed',
    changes: Partial<Message>,
  ): Promise<void> {
    const previousText = change === 'edited' ? message.text : null;
    await updateRows(tx, Message, { id: message.id }, changes);
    const data = { ...(await present(tx, Object.assign(message, changes))), change, previousText };
    await events.append(tx, { ...about(message), type: 'message.updated', data });
  }

  /** The message was observed before. What is new about it is written and told; for what is known nothing happens. */
  async function observedAgain(tx: Transaction, session: Session, message: Message, seen: ObservedMessage): Promise<void> {
    if (seen.revokedAt)
      return message.revokedAt ? undefined : updated(tx, message, 'revoked', { revokedAt: new Date(seen.revokedAt) });
    if (isPlaceholder(message) && !isEmpty(seen)) {
      const { isForwarded, mentions, quotedWhatsappId: quotedMessageId } = seen;
      const fields = await contentFields(tx, session, message.id, seen);
      await updated(tx, message, 'completed', { ...fields, isForwarded, mentions, quotedMessageId });
    } else if (seen.editedAt && (message.editedAt?.getTime() ?? 0) < Date.parse(seen.editedAt))
      await editedTo(tx, message, contentOf(seen) ? textOf(contentOf(seen)!) : null, seen.editedAt);
    await reactedMeanwhile(tx, session, message, seen);
  }

  async function editedTo(tx: Transaction, message: Message, text: string | null, at: string): Promise<void> {
    // What is withheld differs in nothing: then the time tells one edit from its repetition.
    const isKnown = text === null ? message.editedAt?.getTime() === Date.parse(at) : message.text === plainText(text);
    if (isKnown) return;
    const content = message.content && edit(message.content, text);
    await updated(tx, message, 'edited', { text: plainText(text), content, editedAt: new Date(at) });
  }

  /** Tells the reactions that hang on a message and were not told, and those that were told and are gone. */
  async function reactedMeanwhile(tx: Transaction, session: Session, message: Message, seen: ObservedMessage): Promise<void> {
    if (!seen.reactions) return;
    const condition = '"messageId" = ? AND type = \'message.reaction\' ORDER BY cursor';
    const rows = await readRows(tx.manager, EventRow, condition, [message.id]);
    const told = new Map<string, Reaction>();
    for (const { data } of rows) {
      const { success, data: reaction } = eventCatalogue['message.reaction'].data.safeParse(data);
      if (success) told.set(personKey(reaction.contact), reaction);
    }
    const now = new Map(seen.reactions.map((one) => [personKey(one.contact), one]));
    const { whatsappId, chat } = seen;
    const tell = async ({ contact, emoji, at }: Reaction): Promise<unknown> =>
      events.append(tx, {
        ...about(message),
        type: 'message.reaction',
        data: await contacts.observe(tx, session, { messageId: message.id, whatsappId, chat, contact, emoji, at }),
      });
    for (const [person, one] of now) if (told.get(person)?.emoji !== one.emoji) await tell(one);
    for (const [person, one] of told)
      if (one.emoji !== null && !now.has(person)) await tell({ ...one, emoji: null, at: clock.now().toISOString() });
  }

  return {
    /** Records a message, or what is new about one that is known. `compare`: records none. */
    async observed(tx: Transaction, session: Session, seen: ObservedMessage, origin: ObservedOrigin): Promise<void> {
      const { message, freeKey } = await findObserved(tx, session.id, seen);
      if (!message || !isErased(message)) await contacts.learn(tx, session, [sightingIn(seen.contact, message)]);
      if (!message)
        return origin === 'compare' ? undefined : arrived(tx, session, seen, origin === 'live' ? origin : 'backfill', freeKey);
      if (isErased(message)) return;
      await observedAgain(tx, session, message, seen);
      if (seen.fromMe) await ours(tx, message, seen);
    },
    async acknowledged(tx: Transaction, session: Session, seen: WorkerEventPayload<'message.ack'>): Promise<void> {
      const { whatsappId, ack, participant, at } = seen;
      // Only what we wrote is acknowledged to us.
      const message = await known(tx, session.id, { ...seen, fromMe: true });
      if (!message) return;
      // A refusal settles an uncertain message. One that comes after an acknowledgement is ignored.
      if (ack < 0) return void (await state.move(tx, message, 'failed', { from: ['uncertain'], reason: 'WHATSAPP_REFUSED' }));
      const who = isErased(message) ? {} : { whatsappId, contact: participant };
      await contacts.learn(tx, session, [sightingIn(participant, message)]);
      await state.acknowledge(tx, message, ack, { ...who, at: new Date(at) });
    },
    async edited(tx: Transaction, session: Session, seen: WorkerEventPayload<'message.edited'>): Promise<void> {
      const message = await known(tx, session.id, seen);
      if (message && !isErased(message)) await editedTo(tx, message, seen.text, seen.at);
    },
    async revoked(tx: Transaction, session: Session, seen: WorkerEventPayload<'message.revoked'>): Promise<void> {
      const message = await known(tx, session.id, seen);
      if (message && !message.revokedAt) await updated(tx, message, 'revoked', { revokedAt: new Date(seen.at) });
    },
    async reacted(tx: Transaction, session: Session, seen: WorkerEventPayload<'message.reaction'>): Promise<void> {
      const { emoji, ...about } = seen;
      await respondedTo(tx, session, 'message.reaction', about, { emoji });
    },
    async voted(tx: Transaction, session: Session, seen: WorkerEventPayload<'poll.vote'>): Promise<void> {
      const { options, ...about } = seen;
      await respondedTo(tx, session, 'poll.vote', about, { options });
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
      await lockRows(tx, Session, [found.sessionId]);
      // As it is now that nobody else can change it: an edit may have come between.
      const message = await tx.manager.findOneByOrFail(Message, { id: messageId });
      if (!message.content) return;
      const present = mediaOf(message.content);
      const whole = file && present ? { ...present, ...file } : null;
      if (whole)
        await updateRows(tx, Message, { id: messageId }, { content: { ...message.content, media: whole } as StoredContent });
      await events.append(tx, { ...about(message), type: 'message.media', data: { id: messageId, media: whole, reason } });
    },
  };
}

const contentOf = ({ content }: ObservedMessage): ObservedContent | null => (content.type === 'withheld' ? null : content);

interface Reaction {
  contact: Contact | null;
  emoji: string | null;
  at: string;
}
const personKey = (contact: Contact | null): string => contact?.phone ?? contact?.lid ?? contact?.id ?? '';

/** Whether a row has no content yet. Of a session that keeps metadata alone the type tells it. */
const isPlaceholder = ({ type, content }: Message): boolean =>
  type === 'unknown' && (content === null || ('placeholder' in content && content.placeholder !== undefined));
/** Whether an observed message has no content either. */
const isEmpty = ({ content }: ObservedMessage): boolean =>
  content.type === 'withheld' ? content.of === 'unknown' : content.type === 'unknown' && content.placeholder !== undefined;

/** The person of a message. A private message of ours may have been addressed by another id than WhatsApp uses: both are theirs. */
function sightingIn(contact: Contact | null, message: Message | null): Sighting | null {
  if (!contact || (message && isErased(message))) return null;
  const isAddressed = message?.direction === 'outbound' && message.chatType === 'private';
  return { contact, alsoKnownAs: isAddressed ? [message.chatId] : [] };
}

/** The person was erased on request: nothing of them is learned again. */
const isErased = ({ chatId, fromId }: Message): boolean => chatId === erased || fromId === erased;

/** What both sides know of one person; the form that was written to stays the form to write to. */
const joined = (ours: Contact | null, seen: Contact): Contact => ({
  id: seen.phone ? `${seen.phone.slice(1)}@c.us` : (ours?.id ?? seen.id),
  phone: seen.phone ?? ours?.phone ?? null,
  lid: seen.lid ?? ours?.lid ?? null,
  name: seen.name ?? ours?.name ?? null,
});

function edit(content: StoredContent, text: string | null): StoredContent {
  if (content.type === 'text') return { ...content, message: text ?? '' };
  return 'caption' in content && isMediaType(content.type) ? { ...content, caption: text } : content;
}

/**
 * The status of a message that was written on the phone or on another linked device. One that WhatsApp refused (an ack below 0) has failed; a later
 * ack is believed, as for every failed message. One with ack 0 is `sent`: another device already has it and sends it. The statuses before `sent` are those of
 * messages that this program sends, and it would look such a message up and could send it a second time.
 */
const statusOfOwn = (ack: number): Message['status'] => (ack < 0 ? 'failed' : (statusOfAck(ack) ?? 'sent'));

/** A row without its content. */
function newRow(session: Session, seen: ObservedMessage, origin: 'live' | 'backfill', now: Date): Message {
  const at = new Date(seen.timestamp);
  const status = seen.fromMe ? statusOfOwn(seen.ack) : 'delivered';
  const isRefused = status === 'failed';
  return {
    id: newId(now.getTime()),
    accountId: session.accountId,
    sessionId: session.id,
    whatsappId: seen.whatsappId,
    whatsappKey: seen.key,
    direction: seen.fromMe ? 'outbound' : 'inbound',
    origin: seen.fromMe ? 'device' : origin,
    type: 'unknown',
    status,
    reasonCode: isRefused ? 'WHATSAPP_REFUSED' : null,
    reasonText: isRefused ? messageReasons.WHATSAPP_REFUSED : null,
    chatId: seen.chat.id,
    chatType: seen.chat.type,
    chatName: seen.chat.name,
    contact: seen.contact,
    fromId: seen.from,
    toId: seen.to,
    content: null,
    text: null,
    mediaId: null,
    options: null,
    mentions: seen.mentions,
    isForwarded: seen.isForwarded,
    quotedMessageId: seen.quotedWhatsappId,
    cost: '0.0000',
    quotaDay: null,
    hasUncertainAttempt: false,
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
    sentAt: seen.fromMe && !isRefused ? at : null,
    deliveredAt: seen.fromMe ? null : at,
    readAt: null,
    playedAt: null,
    failedAt: isRefused ? now : null,
    cancelledAt: null,
    editedAt: seen.editedAt ? new Date(seen.editedAt) : null,
    revokedAt: seen.revokedAt ? new Date(seen.revokedAt) : null,
    deletedAt: null,
  };
}
