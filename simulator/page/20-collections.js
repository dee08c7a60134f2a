// Chats, contacts, groups and messages, and how the server's snapshot and pushes fill them.
class ContactModel extends Model {}
class ChatModel extends Model {
  get formattedTitle() {
    return this.groupMetadata?.subject ?? Contact.get(this.id)?.name ?? Contact.get(this.id)?.pushname ?? this.id.user;
  }
  serialize() {
    return { ...super.serialize(), msgs: this.msgs.length ? [true] : [], muteExpiration: this.mute.expiration };
  }
}
class MsgModel extends Model {
  constructor({ __x_id, ...attributes }) {
    // `__x_id` is where a model keeps its `id`: whoever hands one over sets the id with it, to nothing if need be.
    super(arguments[0] && '__x_id' in arguments[0] ? { ...attributes, id: __x_id } : attributes);
    if (!this.id) throw new Error('Data passed to getter must include an id property');
    if (this.directPath || this.mediaBlob) this.attachMedia();
  }
  attachMedia() {
    Object.defineProperty(this, 'mediaData', {
      value: { mediaStage: this.mediaStage ?? 'INIT', type: this.type, mimetype: this.mimetype },
      enumerable: false,
      writable: true,
    });
    Object.defineProperty(this, 'mediaObject', { value: { filehash: this.filehash }, enumerable: false, writable: true });
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
    return true;
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
    await fetchMedia(this.directPath);
    this.mediaData.mediaStage = 'RESOLVED';
  }
  updateAck(ack) {
    this.set({ ack });
  }
  serialize() {
    const { mediaBlob: _, ...rest } = super.serialize();
    return rest;
  }
}
if (!newest) {
  MsgModel.prototype.avParams = function avParams() {
    return { mimetype: this.mimetype };
  };
}

const Contact = new Collection(ContactModel, async (wid) => {
  const found = await line.request('exists', { id: String(wid) });
  return found ? contactFrom(found, wid) : { id: wid, name: undefined, pushname: undefined };
});
const Chat = new Collection(ChatModel);
const Msg = new Collection(MsgModel);
const GroupMetadata = new Collection(Model);
const Blocklist = new Collection(Model);
const ProfilePicThumb = new Collection(Model, async (wid) => ({
  id: wid,
  eurl: (await line.request('picture', { id: String(wid) })) ?? undefined,
}));
const Label = new Collection(Model);
const Status = new Collection(Model);
const BusinessProfile = new Collection(Model, async (wid) => ({ id: wid }));
const Reactions = new Collection(Model);
const Newsletters = new Collection(Model);
const NewsletterMetadata = new Collection(Model);
Newsletters.find = async () => {
  throw new r('not found', 404);
};
NewsletterMetadata.update = async () => {};
Msg.getMessagesById = async (ids) => ({
  messages: (await Promise.all(ids.map((id) => loadMessage(String(id?._serialized ?? id?.$1 ?? id))))).filter(Boolean),
});
Msg.search = async (query) => ({ messages: Msg.filter((msg) => String(msg.body ?? '').includes(query)) });
GroupMetadata.update = async (wid) => applyGroup(await line.request('group_get', { id: String(wid) }));
Label.addOrRemoveLabels = async () => {
  throw new r('labels are for business accounts', 501);
};

__d('WAWebCollections', () => ({
  Msg,
  Chat,
  Contact,
  GroupMetadata,
  WAWebGroupMetadataCollection: GroupMetadata,
  Blocklist,
  ProfilePicThumb,
  Label,
  Status,
  BusinessProfile,
  Reactions,
  WAWebNewsletterCollection: Newsletters,
  NewsletterMetadataCollection: NewsletterMetadata,
  WAWebNewsletterMetadataCollection: NewsletterMetadata,
}));
__d('WAWebContactCollection', () => ({ ContactCollection: Contact, getMeContact: () => Contact.get(me.pn) }));

// Both forms of a person, as far as they are known.
const lidOfPhone = new Map();
const phoneOfLid = new Map();
function contactFrom(found, asked) {
  lidOfPhone.set(found.phone, found.lid);
  phoneOfLid.set(found.lid, found.phone);
  const isLid = String(asked).endsWith('@lid');
  return {
    id: createWid(isLid ? found.lid : found.phone),
    ...(isLid ? { phoneNumber: createWid(found.phone) } : {}),
    name: found.name ?? undefined,
    pushname: found.pushname ?? undefined,
    shortName: found.name ?? undefined,
    type: 'in',
    isBusiness: found.isBusiness,
    isContactBlocked: Boolean(Blocklist.get(found.lid)),
  };
}

function ensureChat(id, props = {}) {
  const wid = createWid(id);
  const known = Chat.get(wid);
  if (known) return known;
  const chat = new ChatModel({
    id: wid,
    t: 0,
    unreadCount: 0,
    archive: false,
    pin: 0,
    isReadOnly: false,
    isLocked: false,
    name: undefined,
    ...props,
  });
  Object.defineProperty(chat, 'mute', {
    value: new Model({ expiration: props.muteExpiration ?? 0 }),
    enumerable: false,
    writable: true,
  });
  Object.defineProperty(chat, 'msgs', { value: new Collection(MsgModel), enumerable: false });
  if (wid.isGroup()) Object.defineProperty(chat, 'groupMetadata', { get: () => GroupMetadata.get(wid), enumerable: false });
  return Chat.add(chat);
}

function applyGroup(group) {
  const participants = new Collection(Model);
  for (const { id, isAdmin, isSuperAdmin } of group.participants)
    participants.add(new Model({ id: createWid(id), isAdmin, isSuperAdmin }), { silent: true });
  const model = GroupMetadata.get(group.id) ?? GroupMetadata.add(new GroupModel({ id: createWid(group.id) }));
  model.set({
    subject: group.subject,
    desc: group.desc ?? undefined,
    descId: group.descId ?? undefined,
    owner: createWid(group.owner),
    creation: group.creation,
    announce: group.announce,
    restrict: group.restrict,
    memberAddMode: group.memberAddMode,
    isLidAddressingMode: false,
  });
  Object.defineProperty(model, 'participants', { value: participants, enumerable: false, configurable: true });
  return model;
}
class GroupModel extends Model {
  serialize() {
    return { ...super.serialize(), participants: this.participants?.serialize() ?? [] };
  }
}
GroupMetadata.modelClass = GroupModel;

function messageFrom(wire, isNewMsg) {
  const data = decode(wire.data);
  return {
    ...data,
    id: new MsgKey({
      fromMe: wire.fromMe,
      remote: createWid(wire.chat),
      id: wire.key,
      participant: wire.author ? createWid(wire.author) : undefined,
    }),
    from: createWid(wire.from),
    to: createWid(wire.to),
    author: wire.author ? createWid(wire.author) : undefined,
    self: wire.fromMe ? 'out' : 'in',
    t: wire.t,
    type: wire.type,
    ack: wire.ack,
    isNewMsg,
    local: false,
    star: data.star ?? false,
    hasReaction: false,
    mentionedJidList: data.mentionedJidList ?? [],
  };
}

/** Puts a message of the server into the store; new ones are announced. */
function take(wire, isNewMsg) {
  const chat = ensureChat(wire.chat);
  const known = Msg.get(
    new MsgKey({
      fromMe: wire.fromMe,
      remote: createWid(wire.chat),
      id: wire.key,
      participant: wire.author ? createWid(wire.author) : undefined,
    }),
  );
  if (known) return known;
  const msg = new MsgModel(messageFrom(wire, isNewMsg));
  chat.msgs.add(msg, { silent: true });
  Msg.add(msg);
  if (wire.t >= chat.t) {
    chat.set({ t: wire.t });
    Object.defineProperty(chat, 'lastReceivedKey', { value: msg.id, enumerable: false, configurable: true });
  }
  if (isNewMsg && !wire.fromMe && wire.type !== 'gp2') chat.set({ unreadCount: chat.unreadCount + 1 });
  return msg;
}

async function loadMessage(serialized) {
  const known = Msg.get(serialized);
  if (known) return known;
  const parts = serialized.split('_');
  if (parts.length < 3) return null;
  const wire = await line.request('message', { key: parts[2] });
  return wire ? take(wire, false) : null;
}

/** The snapshot; then what waited for this device is handed over, and the library is told that all is there. */
async function sync() {
  const snapshot = await line.request('sync', { perChat: 20 });
  for (const contact of snapshot.contacts) Contact.add(contactFrom(contact, contact.id));
  Contact.add({ id: me.pn, name: snapshot.me.name, pushname: snapshot.me.name, isMe: true, type: 'in' });
  lidOfPhone.set(String(me.pn), String(me.lid));
  phoneOfLid.set(String(me.lid), String(me.pn));
  for (const group of snapshot.groups) applyGroup(group);
  for (const { id, mute, ...props } of snapshot.chats) ensureChat(id, { ...props, muteExpiration: mute });
  for (const id of snapshot.blocked) Blocklist.add({ id: createWid(id) });
  for (const message of snapshot.messages) take(message, false);
  await line.request('live');
  // Real pages finish long after the library has begun to listen. The race that some users meet is a switch.
  // Lost, the race means that the library was told of nothing: hasSynced is simply true when it begins to listen.
  if (options.syncRace && !Socket.hears('change:hasSynced')) return void (Socket.hasSynced = true);
  for (let waited = 0; !Socket.hears('change:hasSynced') && waited < 15000; waited += 10)
    await new Promise((done) => setTimeout(done, 10));
  Socket.hasSynced = false;
  Socket.set({ hasSynced: true });
}

line.on('msg', (wire) => {
  if (wire.type === 'gp2')
    void GroupMetadata.update(createWid(wire.chat))
      .catch(() => {})
      .then(() => take(wire, true));
  else take(wire, true);
});
line.on('ack', ({ key, chat, ack }) => {
  const msg = Msg.filter((candidate) => candidate.id.id === key && String(candidate.id.remote) === chat)[0];
  if (msg && ack > msg.ack) msg.set({ ack });
});
line.on('addon', (addon) => {
  const msg = Msg.filter((candidate) => candidate.id.id === addon.key)[0];
  const by = createWid(addon.by);
  const parent = new MsgKey({
    fromMe: addon.fromMe,
    remote: createWid(addon.chat),
    id: addon.key,
    participant: addon.author ? createWid(addon.author) : undefined,
  });
  const own = new MsgKey({
    fromMe: addon.byMe,
    remote: createWid(addon.chat),
    id: `A${addon.key.slice(1)}`,
    participant: parent.participant ? by : undefined,
  });
  if (addon.kind === 'reaction')
    requireModule('WAWebAddonReactionTableMode').reactionTableMode.bulkUpsert([
      {
        id: own,
        reactionParentKey: parent,
        reactionText: addon.value ?? '',
        reactionTimestamp: addon.t * 1000,
        author: by,
        from: by,
        ack: 0,
        read: false,
        orphan: 0,
        msgId: parent,
      },
    ]);
  if (addon.kind === 'vote') {
    const selected = (msg?.pollOptions ?? [])
      .filter((option) => addon.value.includes(option.name))
      .map((option) => option.localId);
    requireModule('WAWebAddonPollVoteTableMode').pollVoteTableMode.bulkUpsert([
      {
        id: own,
        pollUpdateParentKey: parent,
        selectedOptionLocalIds: selected,
        t: addon.t * 1000,
        author: by,
        from: by,
        senderTimestampMs: addon.t * 1000,
      },
    ]);
  }
  if (!msg) return;
  if (addon.kind === 'edit')
    msg.set({
      ...(typeof msg.caption === 'string' ? { caption: addon.value } : { body: addon.value }),
      latestEditSenderTimestampMs: addon.t * 1000,
    });
  if (addon.kind === 'revoke') msg.set({ type: 'revoked', body: undefined, caption: undefined, protocolMessageKey: parent });
});
const calls = new Map();
line.on('call', (call) =>
  calls.set(call.id, {
    ...call,
    peerJid: createWid(call.peerJid),
    canHandleLocally: true,
    outgoing: false,
    webClientShouldHandle: false,
    participants: {},
  }),
);
__d('WAWebCallCollection', () => Object.assign(new Emitter(), { _calls: calls }));
__d('WAWebAddonReactionTableMode', () => ({
  reactionTableMode: {
    bulkUpsert: async (rows) =>
      rows.forEach((row) =>
        Reactions.add(new Model({ id: row.reactionParentKey, reactions: { serialize: () => [] } }), { silent: true }),
      ),
  },
}));
__d('WAWebAddonPollVoteTableMode', () => ({ pollVoteTableMode: { bulkUpsert: async () => {} } }));
__d('WAWebSyncGatingUtils', () => ({ isPlaceholderMessageResendEnabled: () => false }));
__d('WAWebNonMessageDataRequestPlaceholderMessageResendUtils', () => ({ handlePlaceholderMsgsSeen: () => {} }));
