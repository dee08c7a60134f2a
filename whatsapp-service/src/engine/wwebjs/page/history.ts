/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/** The input of `lookup`. */
export interface PageLookup {
  /** The reserved key of an own message. */
  key: string;
  chatIds: string[];
  /** The maximum number of pages of history to read in each chat. */
  pages: number;
  /** Seconds. Older history is not read. Null: all history is read. */
  since: number | null;
  /** How long history may be read. */
  readingMs: number;
}

/** `proven`: the message is not in WhatsApp's history either. */
export type PageLookupResult = { found: true; whatsappId: string; ack: number } | { found: false; proven: boolean };

/** The input of `messagesSince`. Times are in seconds. */
export interface PageMissed {
  chatId: string;
  /** Messages newer than this: at most `limit`, the newest ones. */
  since: number;
  /** Messages between this and `since` that have a change: at most `compareLimit`, the newest ones. */
  compareSince: number;
  limit: number;
  compareLimit: number;
  /** Keys of messages that are returned for comparison even if they no longer have a change. */
  watched: string[];
}

/** Reads messages that are not new: looks one up, finds who received one, and scans chats for missed messages. Nothing here changes anything. */
function installHistory(): void {
  const core = (window as unknown as PageWindow).chasqui;
  if (!core || core.calls['lookup']) return;
  core.calls['lookup'] = (input: PageLookup) => lookUp(core, input);
  core.calls['lastReceipt'] = (input: { whatsappId: string; ack: number }) => lastReceipt(core, input);
  core.calls['chatsSince'] = ({ since }: { since: number }) => chatsSince(core, since);
  core.calls['messagesSince'] = (input: PageMissed) => messagesSince(core, input);
}

/** Finds an own message by its key: in the store, in the page's database, then in the history of its chats. */
async function lookUp(core: PageCore, input: PageLookup): Promise<PageLookupResult> {
  const { key, chatIds } = input;
  const until = performance.now() + input.readingMs;
  const { Socket } = core.module('WAWebSocketModel');
  const { Msg } = core.collections();
  const isChannel = chatIds.some((id) => /@newsletter$/.test(id));
  // The library always sets the ack of a message to a channel to 1. Only the server's answer brings a server id.
  const ackOf = (msg: any): number => (isChannel && (msg.ack ?? 0) > 0 && !msg.serverId ? 0 : (msg.ack ?? 0));
  const found = (msg: any): PageLookupResult => ({ found: true, whatsappId: core.serialized(msg.id), ack: ackOf(msg) });
  const same = (msg: any): boolean => msg?.id?.id === key && msg.id.fromMe;
  const inStore = Msg.getModelsArray().find(same);
  if (inStore) return found(inStore);
  const stored = await Msg.getMessagesById(chatIds.flatMap((id) => core.ownIds(id, key)));
  const inDatabase = stored?.messages?.find(same);
  if (inDatabase) return found(inDatabase);
  const isStory = chatIds.includes('status@broadcast');
  const story = isStory ? core.ownStory(key) : null;
  if (story) return found(story);
  /** Whether the history was read far enough back to contain the message. */
  let isRead = true;
  const channels = core.collections().WAWebNewsletterCollection;
  const chatOf = (id: string): any => (isChannel ? channels?.get(core.widOf(id)) : core.chatOf(id));
  // The page has the account's stories of the last day once it is synced. It does not read the history of stories, see `chatsSince`.
  const histories = isStory ? [] : chatIds.map(chatOf).filter(Boolean);
  for (const chat of histories) {
    const { hit, isWhole } = await searchHistory(core, chat, same, input, until);
    if (hit) return found(hit);
    isRead &&= isWhole;
  }
  // A channel does not say how far back its history was read, so not finding the message proves nothing.
  const isSynced = Socket.hasSynced === true && Socket.state === 'CONNECTED';
  return { found: false, proven: isRead && !isChannel && isSynced };
}

/** Searches the earlier messages of one chat. `isWhole`: they were read back to `since`, or to the first one. */
async function searchHistory(
  core: PageCore,
  chat: any,
  same: (msg: any) => boolean,
  { since, pages }: PageLookup,
  until: number,
): Promise<{ hit: any; isWhole: boolean }> {
  const isReadBack = (): boolean =>
    since !== null && (chat.msgs?.getModelsArray() ?? []).some((msg: any) => secondsOf(msg.t) < since);
  let isWhole = isReadBack();
  for (let page = 0; !isWhole && page < pages && performance.now() < until; page += 1) {
    const messages = await earlierMessages(core, chat);
    const hit = messages.find(same);
    if (hit) return { hit, isWhole };
    isWhole = messages.length === 0 || isReadBack();
  }
  return { hit: null, isWhole };
}

/** Loads the next earlier page of a chat's history. Empty when its beginning is reached. */
async function earlierMessages(core: PageCore, chat: any): Promise<any[]> {
  return (await core.module('WAWebChatLoadMessages').loadEarlierMsgs(core.build() >= 1042401057 ? { chat } : chat)) ?? [];
}

/** WhatsApp writes seconds; milliseconds and microseconds are recognised by their size. An invalid time counts as now, so that the message is checked. */
function secondsOf(t: any): number {
  const seconds = typeof t !== 'number' ? 0 : t < 1e11 ? t : t < 1e14 ? t / 1e3 : t / 1e6;
  // WhatsApp did not exist before 2009.
  return seconds > 1_230_768_000 ? seconds : Date.now() / 1000;
}

/** Returns the group participant who was the last to receive (ack 2), read (3) or play (4) a message of the account. Null: unknown. */
async function lastReceipt(core: PageCore, { whatsappId, ack }: { whatsappId: string; ack: number }): Promise<string | null> {
  const msg = await core.findMessage(whatsappId);
  if (!msg) return null;
  const info = await core.module('WAWebApiMessageInfoStore').queryMsgInfo(msg.id);
  const receipts: any[] = (ack >= 4 ? info?.played : ack === 3 ? info?.read : info?.delivery) ?? [];
  const last = receipts.reduce((newest: any, one: any) => (!newest || one.t >= newest.t ? one : newest), null);
  return last ? core.idOf(last.id) : null;
}

/**
 * Returns the ids of chats that were active after `since`, least recently active first. Stories and broadcast lists are left out: WhatsApp
 * unlinks some devices that read the history of stories right after they have connected.
 */
function chatsSince(core: PageCore, since: number): string[] {
  // A chat without any message has no time and nothing to read.
  const active = (chat: any): boolean => chat.t !== undefined && chat.t !== null && chat.t !== 0 && secondsOf(chat.t) > since;
  const isBroadcast = (chat: any): boolean => /@broadcast$/.test(core.serialized(chat.id));
  const chats = core
    .collections()
    .Chat.getModelsArray()
    .filter((chat: any) => active(chat) && !isBroadcast(chat));
  chats.sort((a: any, b: any) => secondsOf(a.t) - secondsOf(b.t));
  return eachAlone(chats, (chat: any) => core.serialized(chat.id)).made.filter(Boolean);
}

/** Converts each item; one that throws does not stop the others. Returns the results and the number of items for which `make` threw. */
function eachAlone<T, R>(items: T[], make: (item: T) => R): { made: R[]; failed: number } {
  const made: R[] = [];
  let failed = 0;
  for (const item of items) {
    try {
      made.push(make(item));
    } catch (error) {
      failed += 1;
      console.warn('chasqui', 'unreadable', error);
    }
  }
  return { made, failed };
}

/** Returns the missed messages of one chat, oldest first, and the `older` ones that may have changed. */
async function messagesSince(core: PageCore, input: PageMissed): Promise<Record<string, unknown>> {
  const { since, compareSince, limit, compareLimit } = input;
  const chat = core.chatOf(input.chatId);
  if (!chat) return { messages: [], truncated: false };
  const sorted = await readBack(core, chat, input);
  const missed = sorted.filter((msg) => secondsOf(msg.t) > since);
  const keys = new Set(input.watched);
  const isMarked = (msg: any): boolean =>
    msg.type === 'revoked' ||
    Boolean(msg.latestEditSenderTimestampMs) ||
    Boolean(msg.hasReaction) ||
    Boolean(msg.star) ||
    keys.has(msg.id.id);
  const older = sorted.filter((msg) => secondsOf(msg.t) <= since && secondsOf(msg.t) > compareSince && isMarked(msg));
  const compared = await modelsOf(core, older.slice(-compareLimit));
  const { made, failed } = await modelsOf(core, missed.slice(-limit));
  return { messages: made, older: compared.made, failed: failed + compared.failed, truncated: missed.length > limit };
}

/** Loads the history of a chat as far back as `messagesSince` needs it. Returns all its loaded messages, oldest first. */
async function readBack(core: PageCore, chat: any, { since, compareSince, limit, compareLimit }: PageMissed): Promise<any[]> {
  const seen = new Map<string, any>();
  let oldest = Infinity;
  let newer = 0;
  const add = (messages: any[]): void => {
    eachAlone(messages, (msg) => {
      if (!msg?.id || seen.has(core.serialized(msg.id))) return;
      seen.set(core.serialized(msg.id), msg);
      const t = secondsOf(msg.t);
      if (t > since) newer += 1;
      oldest = Math.min(oldest, t);
    });
  };
  const isEnough = (): boolean => (oldest > since ? newer > limit : oldest <= compareSince || seen.size - newer >= compareLimit);
  add(chat.msgs.getModelsArray());
  while (seen.size === 0 || !isEnough()) {
    const before = seen.size;
    add(await earlierMessages(core, chat));
    if (seen.size === before) break;
  }
  return [...seen.values()].sort((a, b) => secondsOf(a.t) - secondsOf(b.t));
}

async function modelsOf(core: PageCore, messages: any[]): Promise<{ made: any[]; failed: number }> {
  const reactions = new Map<any, unknown[] | null>();
  for (const msg of messages) reactions.set(msg, await reactionsOf(core, msg));
  return eachAlone(messages, (msg) => ({ ...core.modelOf(msg), chasquiReactions: reactions.get(msg) }));
}

/** Returns who reacted to a message, and with what. Null if the page does not know. */
async function reactionsOf(core: PageCore, msg: any): Promise<unknown[] | null> {
  if (!msg.hasReaction) return [];
  try {
    const found = await core.collections().Reactions.find(core.serialized(msg.id));
    const groups: any[] = found?.reactions?.serialize?.() ?? [];
    return groups.flatMap(({ senders }: any) =>
      [...senders].map((one: any) => ({ sender: core.idOf(one.senderUserJid), emoji: one.reactionText, t: one.timestamp })),
    );
  } catch {
    return null;
  }
}

export const historyScript = pageScript(installHistory, [
  lookUp,
  searchHistory,
  earlierMessages,
  secondsOf,
  lastReceipt,
  chatsSince,
  eachAlone,
  messagesSince,
  readBack,
  modelsOf,
  reactionsOf,
]);
