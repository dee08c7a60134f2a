// Chats and their properties.
class MuteModel extends Model {
  #chat;
  constructor(chat, expiration) {
    super({ expiration });
    this.#chat = chat;
  }
  async mute({ expiration }) {
    await chatProp(this.#chat, 'mute', expiration, {});
    this.set({ expiration });
  }
  async unmute() {
    await chatProp(this.#chat, 'mute', 0, {});
    this.set({ expiration: 0 });
  }
}

__d('WAWebMuteModel', () => ({ Mute: MuteModel }));

class ChatModel extends Model {
  #msgs = new Collection(MsgModel);
  #last = null;
  #mute;
  constructor({ muteExpiration = 0, ...attributes }) {
    super(attributes);
    this.#mute = new MuteModel(this, muteExpiration);
  }
  get msgs() {
    return this.#msgs;
  }
  get mute() {
    return this.#mute;
  }
  get groupMetadata() {
    return this.id.isGroup() ? GroupMetadata.get(this.id) : undefined;
  }
  get lastReceivedKey() {
    return this.#last?.id;
  }
  get formattedTitle() {
    const contact = Contact.get(this.id);
    return this.groupMetadata?.subject ?? contact?.formattedName ?? this.name ?? this.id.user;
  }
  get labels() {
    return Label.filter((label) => label.chats.includes(String(this.id))).map((label) => label.id);
  }
  iAmAdmin() {
    return Boolean(myPart(this.groupMetadata)?.isAdmin);
  }
  /** The latest message determines the position of the chat in the list. */
  heard(msg) {
    if (this.#last && msg.t < this.#last.t) return;
    this.#last = msg;
    this.set({ t: msg.t });
  }
  unheard(msg) {
    if (this.#last !== msg) return;
    this.#last = this.#msgs.getModelsArray().reduce((last, other) => (!last || other.t >= last.t ? other : last), null);
  }
  serialize() {
    return {
      ...super.serialize(),
      name: this.id.isGroup() ? this.groupMetadata?.subject : this.name,
      labels: this.labels,
      msgs: this.msgs.length ? [true] : [],
      muteExpiration: this.mute.expiration,
    };
  }
}

/** Pinned ones first, then by their latest message. */
const Chat = new (class extends Collection {
  getModelsArray() {
    return super.getModelsArray().sort((a, b) => b.pin - a.pin || b.t - a.t);
  }
})(ChatModel, async (wid) => (await openChat(wid)) ?? null);

function ensureChat(id, props = {}) {
  const wid = createWid(id);
  return (
    Chat.get(wid) ??
    Chat.add(
      new ChatModel({
        id: wid,
        t: 0,
        unreadCount: 0,
        archive: false,
        pin: 0,
        isReadOnly: false,
        isLocked: false,
        name: undefined,
        endOfHistoryTransferType: 0,
        ...props,
      }),
    )
  );
}

async function openChat(wid) {
  const known = Chat.get(wid);
  if (known) return known;
  if (wid.isGroup()) {
    await GroupMetadata.update(wid);
    return ensureChat(wid);
  }
  if (wid.isStatus()) return ensureChat(wid);
  const found = await line.request('exists', { id: String(wid) });
  if (!found) return undefined;
  Contact.add(contactFrom(found, wid));
  return ensureChat(wid);
}
__d('WAWebFindChatAction', () => ({
  async findOrCreateLatestChat(wid, origin) {
    const created = !Chat.get(wid);
    // Since August 2026 only these may open a chat with a person whose number is hidden.
    const origins = ['createChat', 'username_contactless_search', 'username_change_notification'];
    if (lazy && created && wid.isLid() && !origins.includes(origin)) throw new r('a chat with a LID needs an origin', 400);
    const chat = await openChat(wid);
    return { chat, created: created && Boolean(chat) };
  },
}));
__d('WAWebChatGetters', () => ({
  getIsNewsletter: (chat) => chat.id.isNewsletter(),
  getIsBroadcast: (chat) => chat.id.isBroadcast(),
}));

/** A change of a chat by the phone or another device. */
line.on('chat', ({ id, mute, ...props }) => {
  const chat = ensureChat(id);
  const { t: _, id: __, ...changes } = { ...props };
  if (mute !== undefined) chat.mute.set({ expiration: mute });
  chat.set(changes);
});

async function chatProp(chat, name, value, changes) {
  await line.request('chatprop', { chat: String(chat.id), name, value });
  chat.set(changes);
}
Cmd.archiveChat = (chat, value) => chatProp(chat, 'archive', value, { archive: value });
Cmd.pinChat = async (chat, value) => {
  // The page tells a person, and its function resolves all the same.
  if (value && Chat.filter((other) => other !== chat && other.pin).length >= 3) return;
  const pin = value ? Date.now() : 0;
  await chatProp(chat, 'pin', pin, { pin });
};
Cmd.markChatUnread = (chat, value) => chatProp(chat, 'unread', value ? -1 : 0, { unreadCount: value ? -1 : 0 });
__d('WAWebUpdateUnreadChatAction', () => ({
  async sendSeen({ chat }) {
    if (chat.id.isNewsletter() || chat.unreadCount === 0) return;
    await line.request('read', { chat: String(chat.id) });
    chat.set({ unreadCount: 0 });
  },
}));
__d('WAWebChatClearBridge', () => ({
  async sendClear(chat) {
    await line.request('chatdelete', { chat: String(chat.id), keep: true });
    for (const msg of chat.msgs.getModelsArray()) drop(msg);
  },
}));
__d('WAWebDeleteChatAction', () => ({
  async sendDelete(chat) {
    await line.request('chatdelete', { chat: String(chat.id), keep: false });
    for (const msg of chat.msgs.getModelsArray()) drop(msg);
    Chat.remove(chat);
  },
}));
const chatstate = (state) => (wid) => line.request('chatstate', { chat: String(wid), state });
__d('WAWebChatStateBridge', () => ({
  sendChatStateComposing: chatstate('composing'),
  sendChatStateRecording: chatstate('recording'),
  sendChatStatePaused: chatstate('paused'),
}));
__d('WAWebPresenceChatAction', () => ({
  sendPresenceAvailable: () => line.request('presence', { available: true }),
  sendPresenceUnavailable: () => line.request('presence', { available: false }),
}));
