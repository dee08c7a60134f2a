import type { Page } from 'puppeteer';
import { addSerialized } from './bridge.js';
import { createOneWay } from './one-way.js';
import { idText } from './translate.js';

export type ChatChange = 'archived' | 'unarchived' | 'removed' | 'unread';

export interface GuardOptions {
  /** A change of a chat, reported by the page itself. */
  onChat: (id: string, change: ChatChange, unreadCount: number | null) => void;
  /** A group notice. The library emits other events for it, but no message. */
  onNotice: (raw: unknown) => void;
  /** A handler of the library failed. `name` is the function that the page called, `args` are its arguments. */
  onFailure: (name: string, error: unknown, args: readonly unknown[]) => void;
}

/** Functions whose result the library's code in the page uses: it waits for the pairing code to be shown, and for the end of a logout. */
const answered = new Set(['onCodeReceivedEvent', 'onLogoutEvent']);

/** Functions that the page calls with a list. The library's loops end at the first bad item, so each item is passed alone. */
const lists = new Set(['onReaction', 'onPollVoteEvent']);

type Handler = (...args: unknown[]) => unknown;
const fields = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

/**
 * Wraps the functions that the library exposes to the page. Their results are not awaited, so a failure in one of them would be lost; it is
 * reported to `onFailure`. Three are replaced: for every change of a chat the library reads that chat from the page again, which queries a
 * group's members at WhatsApp's server with each message, and recreates a removed chat.
 */
export function guardHandlers(page: Page, { onChat, onNotice, onFailure }: GuardOptions): void {
  const expose = page.exposeFunction.bind(page) as (name: string, handler: Handler) => Promise<void>;
  const reportChange = (value: unknown, change: ChatChange): void => {
    addSerialized(value);
    const chat = fields(value);
    const id = idText(chat['id']);
    const unread = chat['unreadCount'];
    if (id) onChat(id, change, typeof unread === 'number' && Number.isInteger(unread) ? unread : null);
  };
  const own: Record<string, Handler> = {
    onChatUnreadCountEvent: (chat) => reportChange(chat, 'unread'),
    onRemoveChatEvent: (chat) => reportChange(chat, 'removed'),
    onArchiveChatEvent: (chat, archived) => reportChange(chat, archived === true ? 'archived' : 'unarchived'),
  };
  const exposeOneWay = createOneWay(page, (name, error) => onFailure(name, error, []));
  const guarded = (name: string, handler: Handler): Promise<void> => {
    const guardedCall = async (...args: unknown[]): Promise<unknown> => {
      if (name === 'onAddMessageEvent' && fields(args[0])['type'] === 'gp2') onNotice(args[0]);
      try {
        return await (own[name] ?? handler)(...args);
      } catch (error) {
        onFailure(name, error, args);
        throw error; // The page receives the error too: some of its code awaits the result.
      }
    };
    const callPerItem = async (...args: unknown[]): Promise<unknown> => {
      const [items] = args;
      if (!lists.has(name) || !Array.isArray(items)) return guardedCall(...args);
      // In order, without waiting in between: the library's handlers of these functions emit synchronously.
      await Promise.allSettled(items.map((item) => guardedCall([item])));
      return undefined;
    };
    return answered.has(name)
      ? expose(name, callPerItem)
      : exposeOneWay(name, (...args) => void callPerItem(...args).catch(() => undefined));
  };
  Object.assign(page, { exposeFunction: guarded });
}
