/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

/** Functions that read contacts, chats and messages from the page without changing anything. They return plain JSON. */
export function installRead(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['describe']) return;

  const collections = (): any => core.module('WAWebCollections');
  const widOf = (id: string): any => core.module('WAWebWidFactory').createWid(id);
  const idOf = (wid: any): string | null => (typeof wid === 'string' ? wid : wid ? core.serialized(wid) : null);
  const chatOf = (id: string): any => collections().Chat.get(widOf(id)) ?? null;
  const nameOf = (model: any): string | null => model?.name || model?.formattedTitle || model?.pushname || null;
  const loadMs = 1_500;
  const model = (msg: any): any => core.plain(win.WWebJS.getMessageModel(msg));

  const person = async (id: string): Promise<Record<string, unknown>> => {
    const { lid, phone } = await win.WWebJS.enforceLidAndPnRetrieval(id);
    const { Contact } = collections();
    // The two ids of one person may each have a contact, and only one of them has the name from the address book.
    let known = [widOf(id), phone, lid].flatMap((wid) => (wid && Contact.get(wid)) || []);
    if (known.length === 0) known = [await loaded(widOf(id))].filter(Boolean);
    const first = (field: string): string | null => known.map((contact: any) => contact[field]).find(Boolean) ?? null;
    const name = first('name') ?? first('verifiedName') ?? first('pushname');
    return { id, lid: idOf(lid), phone: idOf(phone), name, isSaved: first('name') !== null };
  };
  /** Loads a contact that the page has not loaded yet; undefined when that takes too long. */
  const loaded = (wid: any): Promise<any> =>
    Promise.race([
      Promise.resolve(collections().Contact.find(wid)).catch(() => undefined),
      new Promise((resolve) => setTimeout(resolve, loadMs)),
    ]);
  core.calls['describe'] = ({ ids }: { ids: string[] }) =>
    Promise.all(
      ids.map(async (id) => {
        const unnamed = { id, lid: null, phone: null, name: null, isSaved: false };
        try {
          if (/@(c\.us|lid)$/.test(id)) return await person(id);
          const chat = /@newsletter$/.test(id) ? collections().WAWebNewsletterCollection?.get(id) : chatOf(id);
          return { ...unnamed, name: nameOf(chat) };
        } catch (error: any) {
          return { ...unnamed, failed: String(error?.name ?? error) };
        }
      }),
    );

  core.calls['exists'] = ({ ids }: { ids: string[] }) =>
    Promise.all(
      ids.map(async (id) => {
        if (!/@(c\.us|lid)$/.test(id)) return { id, wid: chatOf(id) ? id : null };
        const wid = widOf(id);
        const result = await core.module('WAWebQueryExistsJob').queryWidExists(wid);
        if (result?.wid) return { id, wid: idOf(result.wid) };
        // A LID may not be searchable; one with a chat or a contact exists.
        const known = wid.isLid?.() && (chatOf(id) || collections().Contact.get(wid));
        return { id, wid: known ? id : null };
      }),
    );

  /** The message with this key, in the store, in the page's database, or in the chat's earlier messages. */
  const locate = async (whatsappId: string): Promise<any> => {
    const { Msg } = collections();
    const direct = Msg.get(whatsappId) ?? (await Msg.getMessagesById([whatsappId]))?.messages?.[0];
    if (direct) return direct;
    return Msg.getModelsArray().find((msg: any) => core.isNamedBy(whatsappId, msg)) ?? null;
  };
  core.calls['locate'] = async ({ whatsappId }: { whatsappId: string }) => {
    const msg = await locate(whatsappId);
    return msg ? { whatsappId: core.serialized(msg.id), hasMedia: Boolean(msg.directPath) } : null;
  };

  /** The group participant who was the last to receive (ack 2), read (3) or play (4) an own message. */
  core.calls['lastReceipt'] = async ({ whatsappId, ack }: { whatsappId: string; ack: number }) => {
    const msg = await locate(whatsappId);
    if (!msg) return null;
    const info = await core.module('WAWebApiMessageInfoStore').queryMsgInfo(msg.id);
    const receipts: any[] = (ack >= 4 ? info?.played : ack === 3 ? info?.read : info?.delivery) ?? [];
    const last = receipts.reduce((newest: any, one: any) => (!newest || one.t >= newest.t ? one : newest), null);
    return last ? idOf(last.id) : null;
  };

  const earlier = async (chat: any): Promise<any[]> =>
    (await core.module('WAWebChatLoadMessages').loadEarlierMsgs(core.build() >= 1042401057 ? { chat } : chat)) ?? [];

  /** WhatsApp writes seconds; milliseconds and microseconds are recognised by their size. An invalid time counts as now, so that the message is checked. */
  const secondsOf = (t: any): number => {
    const seconds = typeof t !== 'number' ? 0 : t < 1e11 ? t : t < 1e14 ? t / 1e3 : t / 1e6;
    // WhatsApp did not exist before 2009.
    return seconds > 1_230_768_000 ? seconds : Date.now() / 1000;
  };
  interface Lookup {
    key: string;
    chatIds: string[];
    /** The maximum number of pages of history to read in each chat. */
    pages: number;
    /** Seconds. Older history is not read. Null: all history is read. */
    since: number | null;
    readingMs: number;
  }
  core.calls['lookup'] = async ({ key, chatIds, pages, since, readingMs }: Lookup) => {
    const until = performance.now() + readingMs;
    const { Socket } = core.module('WAWebSocketModel');
    const { Msg } = collections();
    const isChannel = chatIds.some((id) => /@newsletter$/.test(id));
    // The library always sets the ack of a message to a channel to 1. Only the server's answer brings a server id.
    const ackOf = (msg: any): number => (isChannel && (msg.ack ?? 0) > 0 && !msg.serverId ? 0 : (msg.ack ?? 0));
    const found = (msg: any): any => ({ found: true, whatsappId: core.serialized(msg.id), ack: ackOf(msg) });
    const same = (msg: any): boolean => msg?.id?.id === key && msg.id.fromMe;
    const inStore = Msg.getModelsArray().find(same);
    if (inStore) return found(inStore);
    const stored = await Msg.getMessagesById(chatIds.flatMap((id) => core.ownIds(id, key)));
    const inDatabase = stored?.messages?.find(same);
    if (inDatabase) return found(inDatabase);
    /** Whether the history was read far enough back to contain the message. */
    let isRead = true;
    const isBack = (chat: any): boolean =>
      since !== null && (chat.msgs?.getModelsArray() ?? []).some((msg: any) => secondsOf(msg.t) < since);
    for (const chat of chatIds.map(chatOf).filter(Boolean)) {
      let isWhole = isBack(chat);
      for (let page = 0; !isWhole && page < pages && performance.now() < until; page += 1) {
        const messages = await earlier(chat);
        const hit = messages.find(same);
        if (hit) return found(hit);
        isWhole = messages.length === 0 || isBack(chat);
      }
      isRead &&= isWhole;
    }
    // A channel's history is not read here, so not finding the message proves nothing.
    const isSynced = Socket.hasSynced === true && Socket.state === 'CONNECTED';
    return { found: false, proven: isRead && !isChannel && isSynced };
  };

  /** Converts each item alone. Returns the results and the number of items for which `make` threw. */
  const eachAlone = <T, R>(items: T[], make: (item: T) => R): { made: R[]; failed: number } => {
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
  };

  core.calls['chatsSince'] = ({ since }: { since: number }) => {
    // A chat without any message has no time and nothing to read.
    const active = (chat: any): boolean => chat.t !== undefined && chat.t !== null && chat.t !== 0 && secondsOf(chat.t) > since;
    const chats = collections().Chat.getModelsArray().filter(active);
    chats.sort((a: any, b: any) => secondsOf(a.t) - secondsOf(b.t));
    return eachAlone(chats, (chat: any) => core.serialized(chat.id)).made.filter(Boolean);
  };

  /** Who reacted to a message, and with what. Null if the page does not know. */
  const reactionsOf = async (msg: any): Promise<unknown[] | null> => {
    if (!msg.hasReaction) return [];
    try {
      const found = await collections().Reactions.find(core.serialized(msg.id));
      const groups: any[] = found?.reactions?.serialize?.() ?? [];
      return groups.flatMap(({ senders }: any) =>
        [...senders].map((one: any) => ({ sender: idOf(one.senderUserJid), emoji: one.reactionText, t: one.timestamp })),
      );
    } catch {
      return null;
    }
  };
  const modelsOf = async (messages: any[]): Promise<{ made: any[]; failed: number }> => {
    const reactions = new Map<any, unknown[] | null>();
    for (const msg of messages) reactions.set(msg, await reactionsOf(msg));
    return eachAlone(messages, (msg) => ({ ...model(msg), chasquiReactions: reactions.get(msg) }));
  };

  interface Wanted {
    chatId: string;
    since: number;
    compareSince: number;
    limit: number;
    compareLimit: number;
    watched: string[];
  }
  core.calls['messagesSince'] = async ({ chatId, since, compareSince, limit, compareLimit, watched }: Wanted) => {
    const chat = chatOf(chatId);
    if (!chat) return { messages: [], truncated: false };
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
    const isEnough = (): boolean =>
      oldest > since ? newer > limit : oldest <= compareSince || seen.size - newer >= compareLimit;
    add(chat.msgs.getModelsArray());
    while (seen.size === 0 || !isEnough()) {
      const before = seen.size;
      add(await earlier(chat));
      if (seen.size === before) break;
    }
    const sorted = [...seen.values()].sort((a, b) => secondsOf(a.t) - secondsOf(b.t));
    const missed = sorted.filter((msg) => secondsOf(msg.t) > since);
    const keys = new Set(watched);
    const isMarked = (msg: any): boolean =>
      msg.type === 'revoked' || Boolean(msg.latestEditSenderTimestampMs) || Boolean(msg.hasReaction) || keys.has(msg.id.id);
    const older = sorted.filter((msg) => secondsOf(msg.t) <= since && secondsOf(msg.t) > compareSince && isMarked(msg));
    const compared = await modelsOf(older.slice(-compareLimit));
    const { made, failed } = await modelsOf(missed.slice(-limit));
    return { messages: made, older: compared.made, failed: failed + compared.failed, truncated: missed.length > limit };
  };

  core.calls['chats'] = () => {
    const row = (chat: any): Record<string, unknown> => {
      const last = chat.lastReceivedKey ? collections().Msg.get(core.serialized(chat.lastReceivedKey)) : chat.msgs?.last?.();
      return {
        id: core.serialized(chat.id),
        name: nameOf(chat),
        unreadCount: chat.unreadCount ?? 0,
        archive: Boolean(chat.archive),
        pin: Boolean(chat.pin),
        muteUntil: chat.mute?.expiration ?? chat.muteExpiration ?? 0,
        readOnly: Boolean(chat.isReadOnly ?? chat.groupMetadata?.announce),
        t: chat.t ?? null,
        last: last ? model(last) : null,
      };
    };
    const channels = collections().WAWebNewsletterCollection?.getModelsArray?.() ?? [];
    return [...collections().Chat.getModelsArray(), ...channels].map(row);
  };

  core.calls['about'] = async ({ id }: { id: string }) => {
    const answer = await core.module('WAWebContactStatusBridge').getStatus({ token: '', wid: widOf(id) });
    return typeof answer?.status === 'string' ? answer.status : null;
  };
  core.calls['picture'] = async ({ id }: { id: string }) => {
    const bridge = core.module('WAWebContactProfilePicThumbBridge');
    const chat = chatOf(id) ?? (await win.WWebJS.getChat(id, { getAsModel: false }));
    return (await bridge.requestProfilePicFromServer(chat))?.eurl ?? null;
  };

  core.calls['typing'] = ({ chatId, state }: { chatId: string; state: 'typing' | 'recording' | 'stop' }) => {
    win.WWebJS.sendChatstate(state, chatId);
    return true;
  };
  core.calls['seen'] = ({ chatId }: { chatId: string }) => win.WWebJS.sendSeen(chatId);

  /** The names of listeners that the library should have installed at ready and did not: it ignores its own failures. */
  core.calls['listeners'] = () => {
    const missing: string[] = [];
    for (const name of ['onAddMessageEvent', 'onMessageAckEvent', 'onReaction', 'onPollVoteEvent', 'onIncomingCall'])
      if (typeof (win as any)[name] !== 'function') missing.push(name);
    for (const [name, table] of [
      ['WAWebAddonReactionTableMode', 'reactionTableMode'],
      ['WAWebAddonPollVoteTableMode', 'pollVoteTableMode'],
    ] as const)
      if (typeof core.moduleIfAny(name)?.[table]?.bulkUpsert !== 'function') missing.push(name);
    return missing;
  };
}
