/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { PageCore } from '../page/world.js';
import type { RawMessage } from '../translate.js';
import { change, wasAccepted } from './change.js';
import { need, read, type OperationHandlers } from './context.js';
import { observeAll } from './observed.js';

export const history: OperationHandlers<'history'> = {
  'history.messages': read('history.messages', {
    needs: [need('WAWebChatLoadMessages', 'loadEarlierMsgs')],
    run: async ({ chatId, limit, before, fromMe }, context) =>
      observeAll(
        await context.inPage(messagesOf, {
          ...{ chatId, limit, before: before ?? null, fromMe: fromMe ?? null },
          readingMs: context.deadlineMs * readingShare,
        }),
        context,
      ),
  }),
  // The phone answers later, and only while it is online.
  'history.request': change('history.request', {
    needs: [need('WAWebSendNonMessageDataRequest', 'sendPeerDataOperationRequest')],
    prepare: ({ chatId }) => ({ chatId, listenMs }),
    before: requireRequestable,
    act: requestHistory,
    effect: wasAccepted,
    done: async () => ({ requested: true }),
  }),
};

/** The share of the deadline in which earlier messages are loaded. */
const readingShare = 0.6;
/** For how long after a request older messages from the phone are reported as its answer. */
const listenMs = 10 * 60_000;

interface Range {
  chatId: string;
  limit: number;
  before: string | null;
  fromMe: boolean | null;
  readingMs: number;
}

/** Runs in the page. Loads earlier messages of the chat until there are enough or `readingMs` is over. Returns them newest first. */
async function messagesOf(core: PageCore, { chatId, limit, before, fromMe, readingMs }: Range): Promise<RawMessage[]> {
  const chat = core.requireChat(chatId);
  const until = performance.now() + readingMs;
  const anchor = before === null ? null : await core.requireMessage(before);
  if (anchor && !core.isSame(anchor.id.remote, chat.id)) core.refuse('MESSAGE_NOT_FOUND', { whatsappId: before });
  const isNotice = (message: any): boolean => Boolean(message.isNotification);
  const matching = (): any[] => {
    // Messages with the same second keep the page's order.
    const all: any[] = [...chat.msgs.getModelsArray()].sort((a: any, b: any) => a.t - b.t);
    const end = anchor ? all.findIndex((message) => core.serialized(message.id) === core.serialized(anchor.id)) : all.length;
    const older = end < 0 ? all.filter((message) => message.t < anchor.t) : all.slice(0, end);
    return older.filter((message) => !isNotice(message) && (fromMe === null || Boolean(message.id.fromMe) === fromMe));
  };
  const load = core.module('WAWebChatLoadMessages').loadEarlierMsgs;
  while (matching().length < limit && performance.now() < until) {
    const more = await load(core.build() >= 1042401057 ? { chat } : chat);
    if (!more || more.length === 0) break;
  }
  return matching()
    .slice(-limit)
    .reverse()
    .map((message) => core.modelOf(message));
}

interface Request {
  chatId: string;
  listenMs: number;
}

/** Runs in the page. Refuses if the page has the whole history. */
function requireRequestable(core: PageCore, { chatId }: Request): null {
  const chat = core.requireChat(chatId);
  if (chat.endOfHistoryTransferType !== 0)
    core.refuse('WHATSAPP_REFUSED', { whatsapp: { message: 'WhatsApp Web has the whole history of this chat.' } });
  return null;
}

/** Runs in the page. The library emits no event for the messages of the answer, because they are not new. So they are reported from here. */
async function requestHistory(core: PageCore, { chatId, listenMs }: Request): Promise<true> {
  const chat = core.requireChat(chatId);
  const { Msg } = core.collections();
  const startedAt = Date.now() / 1_000;
  const report = (message: any): void => {
    if (message.isNewMsg || message.t >= startedAt || !core.isSame(message.id.remote, chat.id)) return;
    core.notify('history', { message: core.modelOf(message) });
  };
  if (!chat.chasquiReportsHistory) {
    chat.chasquiReportsHistory = true;
    Msg.on('add', report);
    setTimeout(() => {
      chat.chasquiReportsHistory = false;
      Msg.off('add', report);
    }, listenMs);
  }
  await core.module('WAWebSendNonMessageDataRequest').sendPeerDataOperationRequest(3, { chatId: chat.id });
  return true;
}
