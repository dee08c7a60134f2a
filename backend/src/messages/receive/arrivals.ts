import {
  erased,
  isMediaType,
  mediaOf,
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
import type { Core } from '../../core.js';
import { insertRow, lockRows, updateRows } from '../../db/rows.js';
import { increment } from '../../db/sql.js';
import { readable } from '../../db/unreadable.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Media } from '../../media/media.js';
import type { Thumbnails } from '../../media/thumbnails.js';
import type { OptOuts } from '../../opt-outs/opt-outs.js';
import { Session } from '../../sessions/session.entity.js';
import { nameChat } from '../conversations/track.js';
import { Message } from '../message.entity.js';
import type { Messages } from '../messages.js';
import { plainText } from '../read/present.js';
import type { MessageState } from '../state.js';
import { countNew } from '../usage/counts.js';
import { responseTime } from '../usage/response-time.js';
import { withAnswer } from './answers.js';
import { eventScope, mark, present, update } from './changes.js';
import { findObserved, type ObservedIdentity } from './observed-identity.js';
import { groupMentionsOf, observedRow } from './observed-row.js';
import { recordKeyword } from './opt-out-keywords.js';
import { recordReactions, recordResponse } from './responses.js';
import { addThumbnail, storeThumbnail, withThumbnailUrl } from './thumbnails.js';

/** `compare`: the message was read only to compare it with its row. */
type ObservedOrigin = WorkerEventPayload<'message.observed'>['origin'];

/**
 * Records what WhatsApp reports about messages, inside the caller's transaction. Every observed message has exactly one row. A placeholder (not
 * decrypted yet, or to be opened on the phone) is completed in its row when the content arrives. Edits, deletions and reactions that happened
 * while the session was offline are recorded when the message is observed again. A repeated report changes nothing.
 */
export interface Arrivals {
  /** Records a message, or what is new about a recorded message. With the origin `compare`, an unknown message is not recorded. */
  observed(tx: Transaction, session: Session, observed: ObservedMessage, origin: ObservedOrigin): Promise<void>;
  /** Raises the status of a message that the account sent. An ack below 0 is WhatsApp's refusal, which settles an uncertain message. */
  acknowledged(tx: Transaction, session: Session, ack: WorkerEventPayload<'message.ack'>): Promise<void>;
  /** Records an edit of a recorded message and publishes it. */
  edited(tx: Transaction, session: Session, edit: WorkerEventPayload<'message.edited'>): Promise<void>;
  /** Stores the thumbnail of a recorded message that has none yet, if its file is stored. Publishes nothing. */
  thumbnailShown(tx: Transaction, session: Session, shown: WorkerEventPayload<'message.thumbnail'>): Promise<void>;
  /** Records that a recorded message was deleted for everyone, deletes its thumbnail, and publishes it. */
  revoked(tx: Transaction, session: Session, revocation: WorkerEventPayload<'message.revoked'>): Promise<void>;
  /** Records the star of a recorded message, and its pin, which is published. */
  marked(tx: Transaction, session: Session, marks: WorkerEventPayload<'message.marked'>): Promise<void>;
  /** Publishes a reaction. The message that it belongs to need not be recorded. */
  reacted(tx: Transaction, session: Session, reaction: WorkerEventPayload<'message.reaction'>): Promise<void>;
  /** Publishes a vote. The poll that it belongs to need not be recorded. */
  voted(tx: Transaction, session: Session, vote: WorkerEventPayload<'poll.vote'>): Promise<void>;
  /** Records that the file of an inbound message is stored, or (`file` null) why it cannot be. */
  fileSettled(tx: Transaction, messageId: string, file: FetchedFile | null, reason: string | null): Promise<void>;
}

export interface FetchedFile {
  mimetype: string;
  size: number | null;
  sha256: string | null;
}

export interface ArrivalParts {
  contacts: Contacts;
  state: MessageState;
  media: Pick<Media, 'announce'>;
  thumbnails: Pick<Thumbnails, 'store' | 'remove'>;
  optOuts: Pick<OptOuts, 'received'>;
  messages: Pick<Messages, 'acceptInside'>;
}

type ArrivalCore = Pick<Core, 'events' | 'clock'>;
export type ArrivalContext = ArrivalCore & ArrivalParts;

export function createArrivals({ events, clock }: ArrivalCore, parts: ArrivalParts): Arrivals {
  const context: ArrivalContext = { events, clock, ...parts };
  return {
    observed: (tx, session, observed, origin) => recordObserved(context, tx, session, observed, origin),
    acknowledged: (tx, session, ack) => recordAck(context, tx, session, ack),
    edited: (tx, session, edit) => recordEdit(context, tx, session, edit),
    thumbnailShown: (tx, session, shown) => recordThumbnail(context, tx, session, shown),
    revoked: (tx, session, revocation) => recordRevocation(context, tx, session, revocation),
    marked: (tx, session, marks) => recordMarks(context, tx, session, marks),
    reacted: (tx, session, { emoji, ...target }) => recordResponse(context, tx, session, 'message.reaction', target, { emoji }),
    voted: (tx, session, { options, ...target }) => recordResponse(context, tx, session, 'poll.vote', target, { options }),
    fileSettled: (tx, messageId, file, reason) => recordFile(context, tx, messageId, file, reason),
  };
}

async function recordObserved(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  observed: ObservedMessage,
  origin: ObservedOrigin,
): Promise<void> {
  const { message, freeKey } = await findObserved(tx, session.id, observed);
  if (message && isErased(message)) return;
  if (!message && isUnwantedStory(session, observed)) return;
  await context.contacts.learn(tx, session, [sightingIn(observed.contact, message)]);
  if (message) {
    await recordChanges(context, tx, session, message, observed);
    if (observed.thumbnail) await addThumbnail(context, tx, message, observed.thumbnail);
    if (observed.fromMe) await recordOwn(context, tx, message, observed);
  } else if (origin !== 'compare')
    await recordNew(context, tx, session, observed, freeKey, origin === 'live' ? origin : 'backfill');
}

async function recordNew(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  observed: ObservedMessage,
  key: string,
  origin: 'live' | 'backfill',
): Promise<void> {
  const message = observedRow(session, observed, key, origin, context.clock.now());
  Object.assign(message, await contentColumns(context, tx, session, message.id, observed));
  const isFailed = message.status === 'failed';
  if (!isFailed) message.responseMs = await responseTime(context, tx, message);
  await insertRow(tx, Message, message);
  // WhatsApp itself writes notices into a chat. No person sent them, so no event is published.
  if (message.type === 'notice') return;
  const counter = isFailed ? 'failedCount' : observed.fromMe ? 'sentCount' : 'receivedCount';
  await increment(tx.manager, 'sessions', counter, { column: 'id', value: session.id });
  const data = (): Promise<MessageResource> => present(context, tx, message);
  await context.events.append(tx, {
    ...eventScope(message),
    ...(isFailed
      ? { type: 'message.failed', data: async () => ({ ...(await data()), retryable: false, willRetryAt: null }) }
      : { type: observed.fromMe ? 'message.sent' : 'message.received', data }),
  });
  await countNew(tx, [message]);
  await recordReactions(context, tx, session, message, observed);
  await recordKeyword(context, tx, session, observed);
}

/** Records what is new about a recorded message. */
async function recordChanges(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  message: Message,
  observed: ObservedMessage,
): Promise<void> {
  if (observed.revokedAt) {
    await revoke(context, tx, message, observed.revokedAt);
    return;
  }
  if (isPlaceholder(message) && !isEmpty(observed)) {
    // Closes: a file announced for a message that `update` leaves as it is.
    if (message.deletedAt === null) await complete(context, tx, session, message, observed);
    await recordKeyword(context, tx, session, observed);
  } else if (observed.editedAt && observed.content.type === 'calendar_event') {
    await changeEvent(context, tx, message, observed.content, observed.editedAt);
  } else if (observed.editedAt && (message.editedAt?.getTime() ?? 0) < Date.parse(observed.editedAt)) {
    const content = contentOf(observed);
    await changeText(context, tx, message, content ? textOf(content) : null, observed.editedAt);
  }
  await mark(context, tx, message, { starred: observed.starred });
  await recordReactions(context, tx, session, message, observed);
}

/** Adds the content to a message that was recorded without it. One that was deleted for everyone gets no thumbnail. */
async function complete(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  message: Message,
  observed: ObservedMessage,
): Promise<void> {
  const { isForwarded, mentions, quotedWhatsappId: quotedMessageId } = observed;
  const shown = message.revokedAt ? { ...observed, thumbnail: null } : observed;
  const columns = await contentColumns(context, tx, session, message.id, shown);
  const groupMentions = groupMentionsOf(observed);
  await update(context, tx, message, 'completed', { ...columns, isForwarded, mentions, groupMentions, quotedMessageId });
}

/** Records what a message of the account shows: it was sent if it has an ack, and it names the other person of the chat. */
async function recordOwn({ state }: ArrivalContext, tx: Transaction, message: Message, observed: ObservedMessage): Promise<void> {
  const learned: Partial<Message> = {
    ...(message.whatsappId ? {} : { whatsappId: observed.whatsappId }),
    ...(observed.chat.name && !message.chatName ? { chatName: observed.chat.name } : {}),
    ...(observed.contact && message.chatType === 'private' ? { contact: merged(message.contact, observed.contact) } : {}),
    ...(message.timestamp ? {} : { timestamp: new Date(observed.timestamp) }),
  };
  if (Object.keys(learned).length > 0) {
    await updateRows(tx, Message, { id: message.id }, learned);
    Object.assign(message, learned);
    if (learned.chatName) await nameChat(tx, message, learned.chatName);
  }
  if (observed.ack >= 1) await state.acknowledge(tx, message, observed.ack, { whatsappId: observed.whatsappId });
}

async function recordAck(
  { contacts, state }: ArrivalContext,
  tx: Transaction,
  session: Session,
  payload: WorkerEventPayload<'message.ack'>,
): Promise<void> {
  const { whatsappId, ack, participant, at } = payload;
  // Only messages that the account sent are acknowledged.
  const message = await findMessage(tx, session, { ...payload, fromMe: true });
  if (!message) return;
  // A refusal settles an uncertain message. One that comes after an acknowledgement is ignored.
  if (ack < 0) return void (await state.move(tx, message, 'failed', { from: ['uncertain'], reason: 'WHATSAPP_REFUSED' }));
  const person = isErased(message) ? {} : { whatsappId, contact: participant };
  await contacts.learn(tx, session, [sightingIn(participant, message)]);
  await state.acknowledge(tx, message, ack, { ...person, at: new Date(at) });
}

async function recordEdit(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  edit: WorkerEventPayload<'message.edited'>,
): Promise<void> {
  const message = await findMessage(tx, session, edit);
  if (!message || isErased(message)) return;
  // An operation may already have recorded a later edit of the account's message. For others the times of their phones prove no order.
  if (message.direction === 'outbound' && (message.editedAt?.getTime() ?? 0) > Date.parse(edit.at)) return;
  await changeText(context, tx, message, edit.text, edit.at);
}

async function recordRevocation(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  revocation: WorkerEventPayload<'message.revoked'>,
): Promise<void> {
  const message = await findMessage(tx, session, revocation);
  if (message) await revoke(context, tx, message, revocation.at);
}

/** The text and the file of a message that was deleted for everyone stay; its thumbnail does not. */
async function revoke(context: ArrivalContext, tx: Transaction, message: Message, at: string): Promise<void> {
  if (message.revokedAt) return;
  const content = message.content && withThumbnailUrl(message.content, null);
  await context.thumbnails.remove(tx, [message.id]);
  await update(context, tx, message, 'revoked', { revokedAt: new Date(at), ...(content ? { content } : {}) });
}

async function recordMarks(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  marks: WorkerEventPayload<'message.marked'>,
): Promise<void> {
  const message = await findMessage(tx, session, marks);
  if (message && !isErased(message)) await mark(context, tx, message, marks);
}

async function recordThumbnail(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  shown: WorkerEventPayload<'message.thumbnail'>,
): Promise<void> {
  const message = await findMessage(tx, session, shown);
  if (message && shown.thumbnail && !isErased(message)) await addThumbnail(context, tx, message, shown.thumbnail);
}

async function recordFile(
  { events }: ArrivalContext,
  tx: Transaction,
  messageId: string,
  file: FetchedFile | null,
  reason: string | null,
): Promise<void> {
  const found = await tx.manager.findOneBy(Message, { id: messageId });
  if (!found) return;
  await lockRows(tx, Session, [found.sessionId]);
  // Closes: an edit between the first read and the lock. Under the lock no other transaction changes the message.
  const message = await tx.manager.findOneByOrFail(Message, { id: messageId });
  if (!message.content) return;
  const known = mediaOf(message.content);
  const media = file && known ? { thumbnailUrl: null, ...known, ...file } : null;
  if (media) await updateRows(tx, Message, { id: messageId }, { content: { ...message.content, media } as StoredContent });
  if (message.deletedAt) return;
  await events.append(tx, { ...eventScope(message), type: 'message.media', data: { id: messageId, media, reason } });
}

async function changeText(
  context: ArrivalContext,
  tx: Transaction,
  message: Message,
  text: string | null,
  at: string,
): Promise<void> {
  // Withheld texts cannot be compared. Then the time identifies the edit.
  const isKnown = text === null ? message.editedAt?.getTime() === Date.parse(at) : message.text === plainText(text);
  if (isKnown) return;
  const content = message.content && withText(message.content, text);
  await update(context, tx, message, 'edited', { text: plainText(text), content, editedAt: new Date(at) });
}

/** Records the fields of a calendar event that its author has changed. Two changes may have the same time, so the fields are compared. */
async function changeEvent(
  context: ArrivalContext,
  tx: Transaction,
  message: Message,
  { type: _, ...observed }: Extract<ObservedContent, { type: 'calendar_event' }>,
  at: string,
): Promise<void> {
  const { content: stored, editedAt } = message;
  const time = new Date(at);
  if (stored?.type !== 'calendar_event' || (editedAt && editedAt > time)) return;
  const content = { ...stored, ...observed, startsAt: observed.startsAt ?? stored.startsAt } as typeof stored;
  const isKnown = Object.entries(content).every(
    ([name, value]) => (value || null) === ((stored as Record<string, unknown>)[name] || null),
  );
  if (!isKnown) await update(context, tx, message, 'edited', { text: plainText(textOf(content)), content, editedAt: time });
}

/** Returns the columns that hold a message's content. Announces its file and stores its thumbnail if the session stores files. */
async function contentColumns(
  context: ArrivalContext,
  tx: Transaction,
  session: Session,
  messageId: string,
  observed: ObservedMessage,
): Promise<Pick<Message, 'type' | 'content' | 'text' | 'mediaId'>> {
  const content = await withAnswer(context, tx, session, messageId, observed, contentOf(observed));
  const type = content ? content.type : (observed.content as { of: MessageType }).of;
  const file = content && mediaOf(content);
  const text = content && plainText(textOf(content));
  // Of damaged settings it is not known whether files may be stored.
  if (!file || !readable(session.settings, null)?.storeMedia) return { type, content, text, mediaId: null };
  const { mimetype, filename, size } = file;
  const owner = { accountId: session.accountId, sessionId: session.id, messageId };
  const mediaId = await context.media.announce(tx, { ...owner, mimetype, filename, size });
  const thumbnailUrl = await storeThumbnail(context, tx, { id: messageId, sessionId: session.id, content }, observed.thumbnail);
  const withFile = { ...content, media: { ...file, id: mediaId, url: `/api/v1/messages/${messageId}/media`, thumbnailUrl } };
  return { type, content: withFile as StoredContent, text, mediaId };
}

const findMessage = async (tx: Transaction, session: Session, observed: ObservedIdentity): Promise<Message | null> =>
  (await findObserved(tx, session.id, observed)).message;

/** A story of someone else, in a session that does not record them. */
const isUnwantedStory = ({ settings }: Session, { chat, fromMe }: ObservedMessage): boolean =>
  !fromMe && chat.type === 'status' && readable(settings, null)?.stories === false;

/** The content of an observed message; null if the storage mode withheld it. */
const contentOf = ({ content }: ObservedMessage): ObservedContent | null => (content.type === 'withheld' ? null : content);

/** Whether a row has no content yet. In the storage mode `metadata`, the type alone shows it. */
const isPlaceholder = ({ type, content }: Message): boolean =>
  type === 'unknown' && (content === null || ('placeholder' in content && content.placeholder !== undefined));
/** Whether an observed message has no content either. */
const isEmpty = ({ content }: ObservedMessage): boolean =>
  content.type === 'withheld' ? content.of === 'unknown' : content.type === 'unknown' && content.placeholder !== undefined;

/** Returns the person in a message, with the id that a private message was addressed to, which may be another one of theirs than WhatsApp uses. */
function sightingIn(contact: Contact | null, message: Message | null): Sighting | null {
  if (!contact || (message && isErased(message))) return null;
  const isAddressed = message?.direction === 'outbound' && message.chatType === 'private';
  return { contact, alsoKnownAs: isAddressed ? [message.chatId] : [] };
}

/** Whether the person in the message was erased on request. Nothing about an erased person is recorded again. */
const isErased = ({ chatId, fromId }: Message): boolean => chatId === erased || fromId === erased;

/** Merges the stored and the observed fields of one person. */
const merged = (stored: Contact | null, observed: Contact): Contact => ({
  id: observed.phone ? `${observed.phone.slice(1)}@c.us` : (stored?.id ?? observed.id),
  phone: observed.phone ?? stored?.phone ?? null,
  lid: observed.lid ?? stored?.lid ?? null,
  name: observed.name ?? stored?.name ?? null,
});

/** Returns the content with an edited text or caption. */
function withText(content: StoredContent, text: string | null): StoredContent {
  if (content.type === 'text') return { ...content, message: text ?? '' };
  return 'caption' in content && isMediaType(content.type) ? { ...content, caption: text } : content;
}
