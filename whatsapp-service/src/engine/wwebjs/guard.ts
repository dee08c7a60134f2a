import type { Page } from 'puppeteer';
import { addSerialized } from './bridge.js';
import { createOneWay } from './one-way.js';
import { idText } from './translate.js';

export type ChatChange = 'archived' | 'unarchived' | 'removed' | 'unread';

export interface Guarding {
  /** A change of a chat, told by the page itself. */
  onChat: (id: string, change: ChatChange, unreadCount: number | null) => void;
  /** A notice of a group, of which the library makes other events and no message. */
  onNotice: (raw: unknown) => void;
  /** A handler of the library failed; `name` is the function that the page called, `args` what with. */
  onFailure: (name: string, error: unknown, args: readonly unknown[]) => void;
}

/** Whose answer the library's code in the page waits for, or uses: a code for the phone, and the end of a log out. */
const answered = new Set(['onCodeReceivedEvent', 'onLogoutEvent']);

/** Functions that the page calls with a list. The library's loops end at the first bad item, so each item is handed over alone. */
const lists = new Set(['onReaction', 'onPollVoteEvent']);

type Handler = (...args: unknown[]) => unknown;
const fields = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

/**
 * The functions that the library hangs into the page. Nobody waits for what they return, so a failure in one of them would be
 * nobody's: it is told here. Three are replaced: for every change of a chat the library asks the page for that chat again, which
 * queries a group's members at WhatsApp's server with each message, and makes a removed chat again.
 */
export function guardHandlers(page: Page, { onChat, onNotice, onFailure }: Guarding): void {
  const expose = page.exposeFunction.bind(page) as (name: string, handler: Handler) => Promise<void>;
  const tell = (given: unknown, change: ChatChange): void => {
    addSerialized(given);
    const chat = fields(given);
    const id = idText(chat['id']);
    const unread = chat['unreadCount'];
    if (id) onChat(id, change, typeof unread === 'number' && Number.isInteger(unread) ? unread : null);
  };
  const own: Record<string, Handler> = {
    onChatUnreadCountEvent: (chat) => tell(chat, 'unread'),
    onRemoveChatEvent: (chat) => tell(chat, 'removed'),
    onArchiveChatEvent: (chat, archived) => tell(chat, archived === true ? 'archived' : 'unarchived'),
  };
  const exposeOneWay = createOneWay(page, (name, error) => onFailure(name, error, []));
  const guarded = (name: string, handler: Handler): Promise<void> => {
    const guardedCall = async (...args: unknown[]): Promise<unknown> => {
      if (name === 'onAddMessageEvent' && fields(args[0])['type'] === 'gp2') onNotice(args[0]);
      try {
        return await (own[name] ?? handler)(...args);
      } catch (error) {
        onFailure(name, error, args);
        throw error; // The page learns of it too: some of its code waits for an answer.
      }
    };
    const told = async (...args: unknown[]): Promise<unknown> => {
      const [items] = args;
      if (!lists.has(name) || !Array.isArray(items)) return guardedCall(...args);
      // In order, without waiting in between: the library's handlers of these emit at once.
      await Promise.allSettled(items.map((item) => guardedCall([item])));
      return undefined;
    };
    return answered.has(name) ? expose(name, told) : exposeOneWay(name, (...args) => void told(...args).catch(() => undefined));
  };
  Object.assign(page, { exposeFunction: guarded });
}
