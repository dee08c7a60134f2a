/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { textOf, type ChatResource } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { isoOf } from '../time.js';
import { chatTypeOf, contentOf, isFromMe, whatsappIdOf, type RawMessage } from '../translate.js';
import { need, type OperationContext } from './context.js';

/** Reads chats from the page and converts them to the API's form. */

export const readingChats = [need('WAWebCollections', 'Chat.getModelsArray')];

export interface PageChat {
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

/** Which chats are read: those of `ids`, which must exist, or one page of the list of all chats and channels, newest first. */
export type ChatSelection =
  | { ids: string[] }
  | { type?: 'private' | 'group' | 'channel' | undefined; archived?: boolean | undefined; limit: number; offset: number };

/** Runs in the page. A chat that cannot be read is left out of a list, so that the others are not lost. */
export function chatRows(core: PageCore, selection: ChatSelection): PageChat[] {
  const row = (chat: any): PageChat => {
    const key = chat.lastReceivedKey;
    const last = key ? core.collections().Msg.get(core.serialized(key)) : chat.msgs?.last?.();
    return {
      id: core.serialized(chat.id),
      name: core.nameOf(chat),
      unreadCount: chat.unreadCount ?? 0,
      archive: Boolean(chat.archive),
      pin: Boolean(chat.pin),
      muteUntil: chat.mute?.expiration ?? chat.muteExpiration ?? 0,
      readOnly: Boolean(chat.isReadOnly ?? chat.groupMetadata?.announce),
      t: chat.t ?? null,
      last: last ? core.modelOf(last) : null,
    };
  };
  if ('ids' in selection) return selection.ids.map((id) => row(core.requireChat(id)));
  const { type, archived, limit, offset } = selection;
  const typeOf = (chat: any): string => {
    const id = core.serialized(chat.id);
    if (/@g\.us$/.test(id)) return 'group';
    return /@newsletter$/.test(id) ? 'channel' : /@(c\.us|lid)$/.test(id) ? 'private' : 'status';
  };
  const channels = core.collections().WAWebNewsletterCollection?.getModelsArray?.() ?? [];
  const wanted = [...core.collections().Chat.getModelsArray(), ...channels]
    .filter((chat) => chat?.id && (type === undefined || typeOf(chat) === type))
    .filter((chat) => archived === undefined || Boolean(chat.archive) === archived)
    .sort((a, b) => (b.t ?? 0) - (a.t ?? 0));
  // Only these rows are converted: an account may have thousands of chats.
  return wanted.slice(offset, offset + limit).flatMap((chat) => {
    try {
      return [row(chat)];
    } catch {
      return [];
    }
  });
}

/** Reads chats from the page, with the contacts of their people. */
export async function readChats(selection: ChatSelection, { inPage, identities }: OperationContext): Promise<ChatResource[]> {
  const rows = await inPage(chatRows, selection);
  await identities.learn(rows.map((chat) => chat.id));
  return rows.map((chat) => chatResource(chat, identities));
}

/** One chat, as the page has it. */
export const readChat = async (chatId: string, context: OperationContext): Promise<ChatResource> =>
  (await readChats({ ids: [chatId] }, context))[0]!;

function chatResource(chat: PageChat, identities: OperationContext['identities']): ChatResource {
  const type = chatTypeOf(chat.id);
  return {
    id: chat.id,
    type,
    name: chat.name,
    contact: type === 'private' ? identities.contact(chat.id) : null,
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
  };
}

const mutedUntil = (seconds: number): string | null =>
  seconds === 0 ? null : seconds < 0 ? '9999-12-31T23:59:59.999Z' : isoOf(seconds);
