/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { AppError } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change, wasAccepted } from './change.js';
import { readChat, readChats, readingChats } from './chat-rows.js';
import { need, read, type OperationContext, type OperationHandlers } from './context.js';
import { askingPictures } from './people.js';
import { seeing } from './presence.js';

const archiving = [need('WAWebCmd', 'Cmd.archiveChat')];
const pinning = [need('WAWebCmd', 'Cmd.pinChat')];
const finding = [need('WAWebCollections', 'Chat.get')];
const sendingState = [
  need('WAWebChatStateBridge', 'sendChatStateComposing', 'sendChatStateRecording', 'sendChatStatePaused'),
  ...finding,
];
const done = ({ chatId }: { chatId: string }, context: OperationContext) => readChat(chatId, context);

/** Limits for the pictures of the overview: how many are requested at once, the deadline of each, and the share of the operation's deadline. */
const pictures = { atOnce: 5, eachMs: 2_000, share: 0.5 };
/** How long "typing" is shown. WhatsApp shows one notification for about 25 seconds, so the page repeats it until then. */
const typingMs = 60_000;

export const chats: OperationHandlers<'chats'> = {
  'chats.list': read('chats.list', { needs: readingChats, run: readChats }),
  'chats.overview': read('chats.overview', {
    needs: [...readingChats, ...askingPictures],
    async run(paging, context) {
      const rows = await readChats(paging, context);
      const budgetMs = context.deadlineMs * pictures.share;
      const found = await context.inPage(picturesOf, { ...pictures, budgetMs, ids: rows.map(({ id }) => id) });
      return rows.map((row) => ({ ...row, picture: found[row.id] ?? null }));
    },
  }),
  'chats.get': read('chats.get', { needs: readingChats, run: done }),
  'chats.delete': change('chats.delete', {
    needs: [need('WAWebDeleteChatAction', 'sendDelete'), ...finding],
    before: mayDelete,
    act: deleteChat,
    effect: isGone,
    done: async (_, __, { before }) => ({ id: before, deleted: true as const }),
  }),
  'chats.clear': change('chats.clear', {
    needs: [need('WAWebChatClearBridge', 'sendClear'), ...finding],
    before: requireOwnChat,
    act: clear,
    effect: isEmpty,
    done: async () => ({ cleared: true as const }),
  }),
  'chats.read': change('chats.read', {
    needs: [...seeing, need('WAWebCmd', 'Cmd.markChatUnread'), ...finding],
    before: requireOwnChat,
    act: markRead,
    effect: isRead,
    done,
  }),
  'chats.unread': change('chats.unread', {
    needs: [need('WAWebCmd', 'Cmd.markChatUnread'), ...finding],
    before: requireOwnChat,
    act: markUnread,
    effect: isUnread,
    done,
  }),
  'chats.archive': change('chats.archive', {
    needs: archiving,
    prepare: ({ chatId }) => ({ chatId, isArchived: true }),
    before: requireOwnChat,
    act: setArchived,
    effect: isArchived,
    done,
  }),
  'chats.unarchive': change('chats.unarchive', {
    needs: archiving,
    prepare: ({ chatId }) => ({ chatId, isArchived: false }),
    before: requireOwnChat,
    act: setArchived,
    effect: isArchived,
    done,
  }),
  'chats.pin': change('chats.pin', {
    needs: pinning,
    prepare: ({ chatId }) => ({ chatId, isPinned: true }),
    before: requireOwnChat,
    act: setPinned,
    // The page reports no error when the maximum number of chats is pinned. That number may change, so only what the page then shows counts.
    refusal: ({ isDone, others }) =>
      isDone || others < 3 ? null : `WhatsApp Web did not pin the chat: ${others} other chats are pinned.`,
    effect: isPinned,
    done,
  }),
  'chats.unpin': change('chats.unpin', {
    needs: pinning,
    prepare: ({ chatId }) => ({ chatId, isPinned: false }),
    before: requireOwnChat,
    act: setPinned,
    effect: isPinned,
    done,
  }),
  'chats.mute': change('chats.mute', {
    needs: finding,
    prepare: ({ chatId, until }) => ({ chatId, expiration: muteUntil(until) }),
    before: requireOwnChat,
    act: mute,
    effect: isMuted,
    done,
  }),
  'chats.unmute': change('chats.unmute', {
    needs: finding,
    prepare: ({ chatId }) => ({ chatId, expiration: 0 }),
    before: requireOwnChat,
    act: mute,
    effect: isMuted,
    done,
  }),
  'chats.typing': change('chats.typing', {
    needs: sendingState,
    prepare: ({ chatId, state }) => ({ chatId, state, forMs: typingMs }),
    before: requireOwnChat,
    act: showTyping,
    effect: wasAccepted,
    done: async ({ state }, _, { result }) => ({ state, lapsesAt: new Date(result?.lapsesAt ?? Date.now()).toISOString() }),
  }),
  'chats.stopTyping': change('chats.stopTyping', {
    needs: sendingState,
    prepare: ({ chatId }) => ({ chatId, state: null, forMs: 0 }),
    before: requireOwnChat,
    act: showTyping,
    effect: wasAccepted,
    done: async () => ({ state: null }),
  }),
};

/** Returns the end of a mute in seconds, as WhatsApp expects it; −1: without an end. */
function muteUntil(until: string | undefined): number {
  if (until === undefined) return -1;
  const seconds = Math.floor(Date.parse(until) / 1_000);
  if (seconds * 1_000 > Date.now()) return seconds;
  throw new AppError('VALIDATION_FAILED', {
    fields: [{ path: 'until', code: 'IN_PAST', message: 'Name a time in the future.' }],
  });
}

interface OfChat {
  chatId: string;
}

/** Runs in the page. Refuses channels: WhatsApp has other functions for them, and they have their own routes here. */
function requireOwnChat(core: PageCore, { chatId }: OfChat): null {
  core.requireChat(chatId);
  if (/@newsletter$/.test(chatId))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'WhatsApp has no such action for a channel.' });
  return null;
}

/** Runs in the page. Refuses channels, and groups that the account is in. Returns the id under which the page has the chat. */
function mayDelete(core: PageCore, { chatId }: OfChat): string {
  const chat = core.requireChat(chatId);
  if (/@newsletter$/.test(chatId))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'WhatsApp has no such action for a channel.' });
  const members: any[] = chat.groupMetadata?.participants?.getModelsArray?.() ?? [];
  if (members.some((member) => core.me().some((own) => core.isSame(own, member.id))))
    core.refuse('WHATSAPP_REFUSED', { whatsapp: { message: 'Leave the group before you delete its chat.' } });
  return core.serialized(chat.id);
}

/** Runs in the page. */
async function deleteChat(core: PageCore, _: OfChat, id: string): Promise<void> {
  await core.module('WAWebDeleteChatAction').sendDelete(core.requireChat(id));
}

/** Runs in the page. */
function isGone(core: PageCore, _: OfChat, id: string): boolean {
  return !core.chatOf(id);
}

/** Runs in the page. Starred messages are deleted too. */
async function clear(core: PageCore, { chatId }: OfChat): Promise<void> {
  await core.module('WAWebChatClearBridge').sendClear(core.requireChat(chatId), false);
}

/** Runs in the page. */
function isEmpty(core: PageCore, { chatId }: OfChat): boolean {
  return core.requireChat(chatId).msgs.getModelsArray().length === 0;
}

/** Runs in the page. */
async function markRead(core: PageCore, { chatId }: OfChat): Promise<void> {
  await core.calls['markSeen']!({ chatId });
  const chat = core.requireChat(chatId);
  // `sendSeen` does not remove the mark "unread" that a person has set.
  if (chat.unreadCount < 0) await core.module('WAWebCmd').Cmd.markChatUnread(chat, false);
}

/** Runs in the page. */
function isRead(core: PageCore, { chatId }: OfChat): boolean {
  return (core.requireChat(chatId).unreadCount ?? 0) === 0;
}

/** Runs in the page. A chat with unread messages already counts as unread. */
async function markUnread(core: PageCore, { chatId }: OfChat): Promise<void> {
  const chat = core.requireChat(chatId);
  if ((chat.unreadCount ?? 0) === 0) await core.module('WAWebCmd').Cmd.markChatUnread(chat, true);
}

/** Runs in the page. */
function isUnread(core: PageCore, { chatId }: OfChat): boolean {
  return (core.requireChat(chatId).unreadCount ?? 0) !== 0;
}

/** Runs in the page. */
async function setArchived(core: PageCore, { chatId, isArchived }: { chatId: string; isArchived: boolean }): Promise<void> {
  await core.module('WAWebCmd').Cmd.archiveChat(core.requireChat(chatId), isArchived);
}

/** Runs in the page. */
function isArchived(core: PageCore, { chatId, isArchived }: { chatId: string; isArchived: boolean }): boolean {
  return Boolean(core.requireChat(chatId).archive) === isArchived;
}

/** Runs in the page. Waits for the effect, because the page's function also resolves when it refuses. `others`: the number of other pinned chats. */
async function setPinned(
  core: PageCore,
  { chatId, isPinned }: { chatId: string; isPinned: boolean },
): Promise<{ isDone: boolean; others: number }> {
  const chat = core.requireChat(chatId);
  const all: any[] = core.collections().Chat.getModelsArray();
  const others = all.filter((other) => other !== chat && other.pin).length;
  await core.module('WAWebCmd').Cmd.pinChat(chat, isPinned);
  const isDone = (): boolean => Boolean(chat.pin) === isPinned;
  for (let waited = 0; !isDone() && waited < 2_000; waited += 100) await new Promise((resolve) => setTimeout(resolve, 100));
  return { isDone: isDone(), others };
}

/** Runs in the page. */
function isPinned(core: PageCore, { chatId, isPinned }: { chatId: string; isPinned: boolean }): boolean {
  return Boolean(core.requireChat(chatId).pin) === isPinned;
}

/** Runs in the page. */
async function mute(core: PageCore, { chatId, expiration }: { chatId: string; expiration: number }): Promise<void> {
  const { mute } = core.requireChat(chatId);
  if (expiration === 0) await mute.unmute({ sendDevice: true });
  else await mute.mute({ expiration, sendDevice: true });
}

/** Runs in the page. */
function isMuted(core: PageCore, { chatId, expiration }: { chatId: string; expiration: number }): boolean {
  return (core.requireChat(chatId).mute?.expiration ?? 0) === expiration;
}

interface Typing extends OfChat {
  /** Null: the account stops typing. */
  state: 'typing' | 'recording' | null;
  forMs: number;
}

/** Runs in the page. `page/typing.ts` repeats the state until `lapsesAt`. */
function showTyping(core: PageCore, given: Typing): Promise<{ lapsesAt: number }> {
  return core.calls['showTyping']!(given) as Promise<{ lapsesAt: number }>;
}

interface PicturesRequest {
  ids: string[];
  atOnce: number;
  eachMs: number;
  budgetMs: number;
}

/** Runs in the page. Returns the URLs of the pictures that are visible and arrive in time, by chat id. Pictures in the page's cache are not requested. */
async function picturesOf(core: PageCore, { ids, atOnce, eachMs, budgetMs }: PicturesRequest): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const endsAt = Date.now() + budgetMs;
  const bridge = core.module('WAWebContactProfilePicThumbBridge');
  const waiting = [...ids];
  const ask = async (id: string): Promise<string | null> => {
    const cached = core.collections().ProfilePicThumb?.get?.(core.widOf(id));
    if (cached?.eurl && cached.stale !== true) return cached.eurl;
    return (await bridge.requestProfilePicFromServer(core.requireChat(id)))?.eurl ?? null;
  };
  const one = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined && Date.now() < endsAt; id = waiting.shift()) {
      const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), Math.min(eachMs, endsAt - Date.now())));
      // WhatsApp's server refuses a picture that this account may not see.
      const picture = await Promise.race([ask(id).catch(() => null), late]);
      if (typeof picture === 'string') found[id] = picture;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return found;
}
