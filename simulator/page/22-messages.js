// Messages: how messages of the server become models, and how they are found.
class MsgModel extends Model {
  #mediaData = null;
  constructor(given) {
    const { __x_id, ...attributes } = given;
    // A model stores its `id` in `__x_id`: a caller that passes this field sets the id, possibly to undefined.
    super('__x_id' in given ? { ...attributes, id: __x_id } : attributes);
    if (!this.id) throw new Error('Data passed to getter must include an id property');
  }
  get mediaData() {
    if (!this.directPath) return undefined;
    return (this.#mediaData ??= new Model({ mediaStage: 'INIT', type: this.type, mimetype: this.mimetype, size: this.size }));
  }
  get mediaObject() {
    return this.directPath ? { filehash: this.filehash, type: this.type, size: this.size } : undefined;
  }
  get isNotification() {
    return this.type === 'gp2' || this.type === 'notification_template';
  }
  get isEphemeral() {
    return false;
  }
  get isStatusV3() {
    return this.id.remote.isStatus();
  }
  unsafe() {
    return this;
  }
  canReply() {
    return !this.isNotification && this.type !== 'revoked';
  }
  msgContextInfo() {
    return {
      quotedMsg: { type: this.type, body: this.body, caption: this.caption },
      quotedStanzaID: this.id.id,
      quotedParticipant: this.author ?? this.from,
      quotedRemoteJid: this.id.remote,
    };
  }
  async downloadMedia() {
    this.mediaData.set({ mediaStage: 'FETCHING' });
    try {
      await fetchMedia(this.directPath);
      this.mediaData.set({ mediaStage: 'RESOLVED' });
    } catch {
      this.mediaData.set({ mediaStage: 'ERROR_MISSING' });
    }
  }
  updateAck(ack) {
    this.set({ ack });
  }
  serialize() {
    const { mediaBlob: _, ...rest } = super.serialize();
    return rest;
  }
}
// Removed in 2026. Sending files to channels used it.
if (!newest) {
  MsgModel.prototype.avParams = function avParams() {
    return { mimetype: this.mimetype, size: this.size, filehash: this.filehash };
  };
}

/** Finds messages also by the short id, which acks and addons use. */
const Msg = new (class extends Collection {
  #byShortId = new Map();
  add(model, options) {
    const made = super.add(model, options);
    this.#byShortId.set(made.id.id, made);
    return made;
  }
  remove(id) {
    const msg = this.get(id?.id ?? id);
    if (msg) this.#byShortId.delete(msg.id.id);
    super.remove(id);
  }
  short(id) {
    return this.#byShortId.get(id);
  }
})(MsgModel);
Msg.getMessagesById = async (ids) => ({ messages: (await Promise.all(ids.map((id) => loadMessage(idOf(id))))).filter(Boolean) });
Msg.search = async (text, page = 1, limit = 50, chat = null) => {
  const found = await line.request('search', { text, page, limit, chat: chat ? String(chat) : null });
  return { messages: found.map((wire) => take(wire, false)), eof: found.length < limit };
};

const keyOf = (wire) =>
  new MsgKey({
    fromMe: wire.fromMe,
    remote: createWid(wire.chat),
    id: wire.key,
    participant: wire.author ? createWid(wire.author) : undefined,
  });

/** A deletion can be a message of its own, which names the deleted one. */
const shownKeyOf = (wire) => (wire.data?.shownUnder ? keyOf({ ...wire, key: wire.data.shownUnder }) : keyOf(wire));

function messageFrom(wire, isNewMsg) {
  const data = decode(wire.data);
  return {
    ...data,
    id: shownKeyOf(wire),
    ...(wire.type === 'revoked' ? { protocolMessageKey: keyOf(wire) } : {}),
    from: createWid(wire.from),
    to: createWid(wire.to),
    author: wire.author ? createWid(wire.author) : undefined,
    self: wire.fromMe ? 'out' : 'in',
    t: wire.t,
    type: wire.type,
    ack: wire.ack,
    isNewMsg,
    local: false,
    star: wire.marks.star,
    hasReaction: Object.keys(wire.marks.reactions).length > 0,
    mentionedJidList: data.mentionedJidList ?? [],
  };
}

/** Adds a message of the server to the store and announces it if it is new. */
function take(wire, isNewMsg) {
  const known = Msg.get(shownKeyOf(wire));
  if (known) {
    if (wire.ack > known.ack) known.set({ ack: wire.ack });
    return known;
  }
  const chat = ensureChat(wire.chat);
  const msg = new MsgModel(messageFrom(wire, isNewMsg));
  remindMarks(msg, wire.marks);
  chat.msgs.add(msg, { silent: true });
  chat.heard(msg);
  if (wire.chat === 'status@broadcast') posted(msg);
  Msg.add(msg);
  if (wire.unread !== undefined) chat.set({ unreadCount: wire.unread });
  return msg;
}

function drop(msg) {
  const chat = Chat.get(msg.id.remote);
  chat?.msgs.remove(msg);
  chat?.unheard(msg);
  Msg.remove(msg);
}

async function loadMessage(serialized) {
  const known = Msg.get(serialized);
  if (known) return known;
  const [, , key] = serialized.split('_');
  if (!key) return null;
  const wire = await line.request('message', { key });
  // Stored under its full id, which includes the author in a group.
  return wire && String(shownKeyOf(wire)) === serialized ? take(wire, false) : null;
}

line.on('msg', (wire) => {
  if (wire.type !== 'gp2') return void take(wire, true);
  // A notice is emitted after its change has been applied here.
  void GroupMetadata.update(createWid(wire.chat)).then(() => take(wire, true));
});
line.on('ack', ({ key, ack, overtaking }) => {
  const msg = Msg.short(key);
  if (msg && (ack > msg.ack || overtaking)) msg.set({ ack });
});
line.on('deleted', ({ keys }) => {
  for (const key of keys) {
    const msg = Msg.short(key);
    if (msg) drop(msg);
  }
});
line.on('deciphered', (wire) => {
  const msg = Msg.short(wire.key);
  const { id: _, ...content } = messageFrom(wire, true);
  if (msg) msg.set(content);
});
line.on('history', ({ messages }) => messages.forEach((wire) => take(wire, false)));

async function loadEarlier(chat) {
  if (chat.id.isNewsletter()) {
    const known = new Set(chat.msgs.getModelsArray().map((msg) => msg.id.id));
    const posts = await line.request('channel_posts', { id: String(chat.id), limit: 200 });
    return posts.filter(({ key }) => !known.has(key)).map((post) => takePost(chat, post, post.mine, false));
  }
  const oldest = chat.msgs.getModelsArray().reduce((first, msg) => (!first || msg.t < first.t ? msg : first), null);
  // For messages of the same second the server determines the order.
  const older = await line.request('history', { chat: String(chat.id), before: oldest?.id.id ?? null, limit: 50 });
  return older.filter((wire) => !Msg.get(shownKeyOf(wire))).map((wire) => take(wire, false));
}
// Since 2026-07 the argument is an options object. The library passes one since 1.34.7, and the chat before.
__d('WAWebChatLoadMessages', () => ({
  loadEarlierMsgs: async (given) => {
    if (drifted && !given?.chat) throw new TypeError("Cannot read properties of undefined (reading 'msgs')");
    return loadEarlier(given.chat ?? given);
  },
}));
__d('WAWebSendNonMessageDataRequest', () => ({
  sendPeerDataOperationRequest: (kind, { chatId }) => line.request('history_request', { chat: String(chatId) }),
}));
// The newest build freezes some of its exports, and has this gate open.
__d('WAWebSyncGatingUtils', () =>
  lazy ? Object.freeze({ isPlaceholderMessageResendEnabled: () => true }) : { isPlaceholderMessageResendEnabled: () => false },
);
__d('WAWebNonMessageDataRequestPlaceholderMessageResendUtils', () => ({
  handlePlaceholderMsgsSeen(msgs) {
    if (!requireModule('WAWebSyncGatingUtils').isPlaceholderMessageResendEnabled()) return;
    void line.request('resend', { keys: msgs.map((msg) => msg.id.id) });
  },
}));
__d('WAWebQuotedMsgModelUtils', () => ({ getQuotedMsgObj: (msg) => Msg.short(msg.quotedStanzaID) }));
__d('WAWebApiMessageInfoStore', () => ({
  async queryMsgInfo(key) {
    const wire = await line.request('message', { key: key.id });
    if (!wire) throw new r('not found', 404);
    const receipts = Object.entries(wire.marks.receipts);
    const list = (what) => receipts.filter(([, one]) => one[what]).map(([id, one]) => ({ id: createWid(id), t: one[what] }));
    const lists = { delivery: list('delivered'), read: list('read'), played: list('played') };
    return {
      ...lists,
      deliveryRemaining: receipts.length - lists.delivery.length,
      readRemaining: receipts.length - lists.read.length,
      playedRemaining: receipts.length - lists.played.length,
    };
  },
}));
// The library wraps these functions, which decrypt messages. Here messages arrive as plain text, so nothing calls them.
__d('WAWebBackendJobsCommon', () => ({ mediaTypeFromProtobuf: () => null }));
__d('WAWebE2EProtoUtils', () => ({ typeAttributeFromProtobuf: () => 'text' }));
