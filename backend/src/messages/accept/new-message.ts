import { phoneOf, reserveWhatsappId, textOf, type Address, type Contact, type MessageContent } from '@chasqui/shared';
import type { StoredFile } from '../../media/media.js';
import type { Session } from '../../sessions/session.entity.js';
import { createMessage, type Message, type SendOptions } from '../message.entity.js';
import { plainText } from '../read/present.js';
import { accountFieldsOf } from '../send/linked-account.js';

/** A message to be accepted. */
export interface NewMessage {
  recipient: Address;
  content: MessageContent;
  file: StoredFile | null;
  options: SendOptions;
  quotedMessageId: string | null;
  /** The time from which the message may no longer be sent. The session's maximum age applies if it is earlier. */
  expiresAt: Date | null;
  origin: 'api' | 'panel' | 'bulk';
  /** The id of the request that sends it, and the API key of that request, if it has one. */
  requestId?: string | null;
  apiKeyId?: string | null;
  bulkJobId?: string | null;
  /** The file belongs to something else, such as a bulk job, and the message only names it. */
  isFileShared?: boolean;
  templateId?: string | null;
  /** Posted as a story: to everyone in the account's privacy settings. */
  isStory?: boolean;
  /** The time at which it is queued. Absent: now. */
  scheduledAt?: Date | null;
  /** It passes quiet hours. */
  isUrgent?: boolean;
  /** The recurring schedule that makes the message. */
  scheduleId?: string | null;
}

/** Returns the row of a message that is accepted now: `queued` or `scheduled`, with the WhatsApp id that it has on every attempt. */
export function newRow(id: string, session: Session, input: NewMessage, now: Date): Message {
  const { recipient, content, file, options, quotedMessageId, expiresAt, origin, scheduledAt = null } = input;
  const ageLimit = new Date((scheduledAt ?? now).getTime() + session.settings.maxQueueAgeHours * 3_600_000);
  return createMessage({
    id,
    accountId: session.accountId,
    sessionId: session.id,
    whatsappKey: reserveWhatsappId(session.accountId, id),
    direction: 'outbound',
    origin,
    type: content.type,
    status: scheduledAt ? 'scheduled' : 'queued',
    reasonCode: scheduledAt || session.status === 'connected' ? null : 'WAITING_FOR_SESSION',
    chatId: recipient.id,
    chatType: chatTypeOf(recipient),
    contact: contactOf(recipient),
    ...accountFieldsOf(session),
    toId: recipient.id,
    content: file ? withFile(content, file, id) : content,
    text: plainText(textOf(content)),
    mediaId: file?.id ?? null,
    options,
    mentions: options.mentions,
    isForwarded: Boolean(options.forward),
    quotedMessageId,
    requestId: input.requestId ?? null,
    apiKeyId: input.apiKeyId ?? null,
    bulkJobId: input.bulkJobId ?? null,
    templateId: input.templateId ?? null,
    expiresAt: expiresAt && expiresAt < ageLimit ? expiresAt : ageLimit,
    isUrgent: input.isUrgent === true,
    scheduleId: input.scheduleId ?? null,
    occurrenceAt: input.scheduleId ? scheduledAt : null,
    createdAt: now,
    scheduledAt,
    nextAttemptAt: scheduledAt,
    queuedAt: scheduledAt ? null : now,
  });
}

const chatTypeOf = ({ kind }: Address): Message['chatType'] =>
  kind === 'group' || kind === 'channel' || kind === 'status' ? kind : 'private';

function contactOf({ id, kind }: Address): Contact | null {
  if (kind !== 'phone' && kind !== 'lid') return null;
  return { id, phone: phoneOf(id), lid: kind === 'lid' ? id : null, name: null };
}

function withFile(content: MessageContent, file: StoredFile, messageId: string): MessageContent {
  const { id, mimetype, size, filename, sha256 } = file;
  return {
    ...content,
    media: { id, mimetype, size, filename, sha256, url: `/api/v1/messages/${messageId}/media` },
  } as MessageContent;
}
