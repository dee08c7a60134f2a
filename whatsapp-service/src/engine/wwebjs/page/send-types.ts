/** The input and the results of the page's function `send` (send.ts). */

export interface PageSend {
  reservedId: string;
  /** The chat that WhatsApp uses for the recipient. */
  chatId: string;
  body: string;
  /** The options of the library's own `sendMessage`. */
  options: Record<string, unknown>;
  /**
   * Fields that the library sets on the finished message, such as several contact cards. `chasquiRequires` names fields of the message that
   * the page must have filled in: without one of them the message is not handed over.
   */
  extra: Record<string, unknown>;
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
  forward: { whatsappId: string | null } | null;
  /** True for a first attempt: the message is looked for in memory only, because a search in the page's database takes longer than the send. */
  isFirst: boolean;
  deadlineMs: number;
  /**
   * For how long after `calledAt`, the wall time of the call, the page may hand the message over. A page that was frozen for longer does not
   * hand it over. Wall time is the only clock that page and worker share; the page's monotonic clock is checked as well.
   */
  handOverMs: number;
  calledAt: number;
}

export interface PageFailure {
  name: string;
  message: string;
  status: number | null;
}

/**
 * `chat`: the chat does not exist, or this account is not in it. `admin`: only admins may write to this group. `mention`: this account is not in a
 * group that the text mentions. `module`: the page has no module that sends.
 */
export type NotHanded = 'deadline' | 'chat' | 'admin' | 'mention' | 'quote' | 'module' | 'error';

/**
 * `acked`: the server has the message. `refused`: the server or the page refused it permanently. `not_handed`: WhatsApp's own send was not
 * called. `absent`: it was called and threw, and the message is not in the store. `pending`: it is in the store without an acknowledgement.
 */
export type PageSendResult =
  | { stage: 'acked' | 'refused' | 'pending'; whatsappId: string; ack: number; failure: PageFailure | null }
  | { stage: 'not_handed'; why: NotHanded; online: boolean; failure: PageFailure | null }
  | { stage: 'absent'; online: boolean; failure: PageFailure | null };
