import { textOf, type OperationInput, type OperationOutput } from '@chasqui/shared';
import { callPage } from '../bridge.js';
import { isoOf } from '../time.js';
import { chatTypeOf, contentOf, isFromMe, whatsappIdOf, type RawMessage } from '../translate.js';
import type { OperationContext } from './context.js';

interface PageChat {
  id: string;
  name: string | null;
  unreadCount: number;
  archive: boolean;
  pin: boolean;
  /** Seconds; 0: not muted, −1: for ever. */
  muteUntil: number;
  readOnly: boolean;
  t: number | null;
  last: RawMessage | null;
}

export async function listChats(
  { type, archived, limit, offset }: OperationInput<'chats.list'>,
  { page, identities, deadlineMs }: OperationContext,
): Promise<OperationOutput<'chats.list'>> {
  const all = await callPage<PageChat[]>(page, 'chats', {}, deadlineMs);
  const wanted = all
    .filter(
      (chat) => (type === undefined || chatTypeOf(chat.id) === type) && (archived === undefined || chat.archive === archived),
    )
    .sort((a, b) => (b.t ?? 0) - (a.t ?? 0))
    .slice(offset, offset + limit);
  await identities.learn(wanted.map((chat) => chat.id));
  return wanted.map((chat) => ({
    id: chat.id,
    type: chatTypeOf(chat.id),
    name: chat.name,
    contact: chatTypeOf(chat.id) === 'private' ? identities.contact(chat.id) : null,
    unreadCount: Math.max(0, chat.unreadCount),
    isArchived: chat.archive,
    isPinned: chat.pin,
    mutedUntil: mutedUntil(chat.muteUntil),
    isReadOnly: chat.readOnly,
    timestamp: chat.t ? isoOf(chat.t) : null,
    lastMessage: chat.last
      ? {
          whatsappId: whatsappIdOf(chat.last),
          type: contentOf(chat.last).type,
          text: textOf(contentOf(chat.last)),
          fromMe: isFromMe(chat.last),
        }
      : null,
  }));
}

const mutedUntil = (seconds: number): string | null =>
  seconds === 0 ? null : seconds < 0 ? '9999-12-31T23:59:59.999Z' : isoOf(seconds);
