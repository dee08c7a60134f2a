/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { textOf, type ChatResource } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { isoOf } from '../time.js';
import { chatTypeOf, contentOf, isFromMe, whatsappIdOf, type RawMessage } from '../translate.js';
import { change } from './change.js';
import { need, read, type OperationContext, type OperationHandlers } from './context.js';

const archiving = [need('WAWebCmd', 'Cmd.archiveChat')];

export const chats: OperationHandlers<'chats'> = {
  'chats.list': read('chats.list', {
    needs: [need('WAWebCollections', 'Chat.getModelsArray')],
    async run({ type, archived, limit, offset }, { inPage, identities }) {
      const wanted = (await inPage(chatRows, null))
        .filter((chat) => type === undefined || chatTypeOf(chat.id) === type)
        .filter((chat) => archived === undefined || chat.archive === archived)
        .sort((a, b) => (b.t ?? 0) - (a.t ?? 0))
        .slice(offset, offset + limit);
      await identities.learn(wanted.map((chat) => chat.id));
      return wanted.map((chat) => chatResource(chat, identities));
    },
  }),
  'chats.archive': change('chats.archive', {
    needs: archiving,
    prepare: ({ chatId }) => ({ chatId, isArchived: true }),
    act: setArchived,
    effect: isArchived,
    done: ({ chatId }, context) => readChat(chatId, context),
  }),
  'chats.unarchive': change('chats.unarchive', {
    needs: archiving,
    prepare: ({ chatId }) => ({ chatId, isArchived: false }),
    act: setArchived,
    effect: isArchived,
    done: ({ chatId }, context) => readChat(chatId, context),
  }),
};

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

/** Runs in the page. */
async function setArchived(core: PageCore, { chatId, isArchived }: { chatId: string; isArchived: boolean }): Promise<void> {
  await core.module('WAWebCmd').Cmd.archiveChat(core.requireChat(chatId), isArchived);
}

/** Runs in the page. */
function isArchived(core: PageCore, { chatId, isArchived }: { chatId: string; isArchived: boolean }): boolean {
  return Boolean(core.requireChat(chatId).archive) === isArchived;
}

/** One chat, as the page has it after a change. */
async function readChat(chatId: string, { inPage, identities }: OperationContext): Promise<ChatResource> {
  const [chat] = await inPage(chatRows, [chatId]);
  await identities.learn([chat!.id]);
  return chatResource(chat!, identities);
}

/** Runs in the page. The chats with these ids; without a list all chats and channels. */
function chatRows(core: PageCore, ids: string[] | null): PageChat[] {
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
  if (ids) return ids.map((id) => row(core.requireChat(id)));
  const channels = core.collections().WAWebNewsletterCollection?.getModelsArray?.() ?? [];
  return [...core.collections().Chat.getModelsArray(), ...channels].map(row);
}

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
