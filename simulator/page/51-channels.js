// Channels, which WhatsApp's code calls newsletters.
class ChannelModel extends Model {
  #msgs = new Collection(MsgModel);
  #last = null;
  #mute = new Model({ expiration: 0 });
  get msgs() {
    return this.#msgs;
  }
  get mute() {
    return this.#mute;
  }
  get newsletterMetadata() {
    return NewsletterMetadata.get(this.id);
  }
  get lastReceivedKey() {
    return this.#last?.id;
  }
  heard(msg) {
    this.#last = msg;
    this.set({ t: msg.t });
  }
  serialize() {
    return { ...super.serialize(), msgs: this.msgs.length ? [true] : [], muteExpiration: this.mute.expiration };
  }
}
const Newsletters = new Collection(ChannelModel, async (wid) => loadChannel(wid));
const NewsletterMetadata = new Collection(Model);
NewsletterMetadata.update = async (wid) => void applyChannel(await line.request('channel_get', { id: String(wid) }));

function applyChannel(channel) {
  const id = createWid(channel.id);
  const metadata = NewsletterMetadata.get(id) ?? NewsletterMetadata.add(new Model({ id }));
  metadata.set({
    name: channel.name,
    description: channel.description ?? '',
    creationTime: channel.creation,
    inviteCode: channel.invite,
    inviteLink: `https://whatsapp.com/channel/${channel.invite}`,
    membershipType: channel.role,
    size: channel.subscribers,
    verified: channel.verified,
    reactionCodesSetting: channel.reactionCodes,
  });
  const chat =
    Newsletters.get(id) ??
    Newsletters.add(new ChannelModel({ id, name: channel.name, t: channel.creation, unreadCount: 0, isReadOnly: false }));
  chat.mute.set({ expiration: channel.muted ? -1 : 0 });
  ProfilePicThumb.get(id)?.set({ eurl: channel.picture ?? undefined, img: channel.picture ?? undefined });
  return chat.set({ name: channel.name, isReadOnly: !['owner', 'admin'].includes(channel.role) });
}

async function loadChannel(wid) {
  const chat = applyChannel(await line.request('channel_get', { id: String(wid) }));
  for (const post of await line.request('channel_posts', { id: String(wid), limit: 50 })) takePost(chat, post, post.mine, false);
  return chat;
}

function takePost(chat, post, fromMe, isNewMsg) {
  const id = new MsgKey({ fromMe, remote: chat.id, id: post.key });
  if (Msg.get(id)) return Msg.get(id);
  const msg = new MsgModel({
    ...decode(post.data),
    id,
    from: fromMe ? me.pn : chat.id,
    to: fromMe ? chat.id : me.pn,
    author: chat.id,
    self: fromMe ? 'out' : 'in',
    t: post.t,
    type: post.type,
    serverId: post.serverId,
    ack: 1,
    isNewMsg,
    hasReaction: false,
    mentionedJidList: [],
  });
  chat.msgs.add(msg, { silent: true });
  chat.heard(msg);
  return Msg.add(msg);
}
line.on('channel', (channel) => applyChannel(channel));
line.on('channel_gone', ({ id }) => Newsletters.remove(id));
line.on('post', async ({ channel, post, mine }) => {
  const chat = Newsletters.get(channel) ?? (await loadChannel(createWid(channel)));
  takePost(chat, post, mine, true);
  if (!mine) chat.set({ unreadCount: chat.unreadCount + 1 });
});

__d('WAWebLoadNewsletterPreviewChatAction', () => ({ loadNewsletterPreviewChat: (id) => loadChannel(createWid(id)) }));
const asQueried = (channel) => ({
  idJid: channel.id,
  newsletterCreationTimeMetadataMixin: { creationTimeValue: channel.creation },
  newsletterNameMetadataMixin: { nameElementValue: channel.name, nameUpdateTime: channel.creation },
  newsletterDescriptionMetadataMixin: {
    descriptionQueryDescriptionResponseMixin: { elementValue: channel.description ?? '', updateTime: channel.creation },
  },
  newsletterInviteLinkMetadataMixin: { inviteCode: channel.invite },
  newsletterStateMetadataMixin: { stateType: 'active' },
  newsletterSubscribersMetadataMixin: { subscribersCount: channel.subscribers },
  newsletterVerificationMetadataMixin: { verificationState: channel.verified ? 'verified' : 'unverified' },
});
__d('WAWebNewsletterMetadataQueryJob', () => ({
  queryNewsletterMetadataByInviteCode: async (code) => asQueried(await line.request('channel_by_invite', { code })),
}));
__d('WAWebNewsletterModelUtils', () => ({
  getRoleByIdentifier: () => 'guest',
  ADMIN_NOTIFICATIONS: 'admin_notifications',
  MUTED_STATE: -1,
  UNMUTED_STATE: 0,
}));
const gating = {
  isNewsletterCreationEnabled: () => true,
  getMaxSubscriberNumber: () => 100,
  getNewsletterDirectoryPageSize: () => 50,
};
__d('WAWebNewsletterGatingUtils', () => gating);
const pictureOf = async (picture) =>
  picture ? `https://pps.whatsapp.net${(await upload(await (await fetch(picture)).blob())).directPath}` : null;
__d('WAWebNewsletterCreateQueryJob', () => ({
  async createNewsletterQuery({ name, description, picture }) {
    const channel = await line.request('channel_create', { name, description, picture: await pictureOf(picture) });
    applyChannel(channel);
    return asQueried(channel);
  },
}));
__d('WAWebEditNewsletterMetadataAction', () => ({
  async editNewsletterMetadataAction(chat, { editName, editDescription, editPicture, editReactionCodesSetting }, value) {
    const changes = {
      ...(editName ? { name: value.name } : {}),
      ...(editDescription ? { description: value.description } : {}),
      ...(editPicture ? { picture: await pictureOf(value.picture) } : {}),
      ...(editReactionCodesSetting ? { reactionCodes: value.reactionCodesSetting } : {}),
    };
    await line.request('channel_edit', { id: String(chat.id), changes });
    if (editPicture)
      ProfilePicThumb.add({
        id: chat.id,
        eurl: changes.picture ?? undefined,
        img: changes.picture ?? undefined,
        tag: String(Date.now()),
      });
    await NewsletterMetadata.update(chat.id);
  },
}));
__d('WAWebNewsletterDeleteAction', () => ({
  async deleteNewsletterAction(chat) {
    await line.request('channel_delete', { id: String(chat.id) });
    Newsletters.remove(chat);
  },
}));
const follow = async (chat, follows, deleteLocal) => {
  await line.request('channel_follow', { id: String(chat.id), follows });
  await NewsletterMetadata.update(chat.id);
  if (deleteLocal) Newsletters.remove(chat);
};
__d('WAWebNewsletterSubscribeAction', () => ({ subscribeToNewsletterAction: (chat) => follow(chat, true, false) }));
__d('WAWebNewsletterUnsubscribeAction', () => ({
  unsubscribeFromNewsletterAction: (chat, { deleteLocalModels }) => follow(chat, false, deleteLocalModels),
}));
__d('WAJids', () => ({ toNewsletterJid: (id) => String(id) }));
__d('WAWebNewsletterUpdateUserSettingJob', () => ({
  async updateNewsletterUserSetting({ newsletterJid, muteExpirationValue }) {
    await line.request('channel_mute', { id: String(newsletterJid), muted: muteExpirationValue !== 0 });
    await NewsletterMetadata.update(newsletterJid);
  },
}));
__d('WAWebNewsletterDirectorySearchAction', () => ({
  async fetchNewsletterDirectories({ searchText, skipSubscribedNewsletters }) {
    const limit = gating.getNewsletterDirectoryPageSize();
    const found = await line.request('channel_search', { text: searchText, limit, skipMine: skipSubscribedNewsletters });
    return { newsletters: found.map(applyChannel) };
  },
}));

// Sending: the library builds the message itself and passes it as a record.
__d('WAWebNewsletterUpdateMsgsRecordsJob', () => ({
  addNewsletterMsgsRecords: async (records) => void records.forEach(({ id }) => Newsletters.get(id.remote)?.msgs),
  async updateNewsletterMsgRecord(msg) {
    Newsletters.get(msg.id.remote)?.heard(msg);
    Msg.add(msg);
  },
}));
__d('WAWebNewsletterSendMessageJob', () => ({
  async sendNewsletterMessageJob({ msg, newsletterJid, type, mediaMetadata, mediaHandle }) {
    if (type === 'media' && (!mediaMetadata || !mediaHandle)) throw new r('media without its handle', 400);
    const { id, from, to, ack, local, self, isNewMsg, author, t: _, ...data } = msg.serialize();
    try {
      const request = { id: newsletterJid, key: id.id, type: msg.type, data: encode(data) };
      const { serverId, t } = (await line.request('channel_post', request)) ?? {};
      return { success: true, ack: { t }, serverId };
    } catch (error) {
      // A refusal of the server is an answer. The library ignores it.
      if (!(error.status >= 400 && error.status < 500)) throw error;
      return { success: false, ack: { error: error.status } };
    }
  },
}));

// Followers and admins.
__d('WAWebMexFetchNewsletterSubscribersJob', () => ({
  async mexFetchNewsletterSubscribers(id, limit) {
    const subscribers = await line.request('channel_followers', { id: String(id), limit });
    await Promise.all(subscribers.map((one) => Contact.find(one.id)));
    return { subscribers };
  },
}));
__d('WAWebNewsletterSubscriberListAction', () => ({
  getSubscribersInContacts: (subscribers) => subscribers.map(({ id, role }) => ({ contact: Contact.get(id), role })),
}));
__d('WAWebNewsletterSendMsgAction', () => ({
  async sendNewsletterAdminInviteMessage(chat, { newsletterWid, inviteMessage }) {
    const id = String(newsletterWid);
    await line.request('channel_invite', { id, user: String(chat.id) });
    const name = Newsletters.get(id)?.name;
    const content = { type: 'newsletter_admin_invite', newsletterJid: id, newsletterName: name, caption: inviteMessage };
    return addAndSendMsgToChat(chat, await compose(chat, content))[1];
  },
}));
__d('WAWebMexAcceptNewsletterAdminInviteJob', () => ({
  async acceptNewsletterAdminInvite(id) {
    await line.request('channel_accept', { id: String(id) });
    await NewsletterMetadata.update(id);
  },
}));
__d('WAWebMexRevokeNewsletterAdminInviteJob', () => ({
  revokeNewsletterAdminInvite: (id, wid) => line.request('channel_uninvite', { id: String(id), user: String(wid) }),
}));
const demote = (id, user) => line.request('channel_demote', { id: String(id), user: String(user) });
const demoteByAction = (chat, contact) => demote(chat.id, contact.id);
// The library calls each of these functions in the other's module.
__d('WAWebDemoteNewsletterAdminAction', () =>
  refusedByBuild()
    ? { demoteNewsletterAdminAction: demoteByAction }
    : { demoteNewsletterAdmin: demote, demoteNewsletterAdminAction: demoteByAction },
);
__d('WAWebNewsletterDemoteAdminJob', () =>
  refusedByBuild()
    ? { demoteNewsletterAdmin: demote }
    : { demoteNewsletterAdmin: demote, demoteNewsletterAdminAction: demoteByAction },
);
__d('WAWebChangeNewsletterOwnerAction', () => ({
  async changeNewsletterOwnerAction(chat, contact) {
    if (refusedByBuild()) throw new TypeError('this.findImpl is not a function');
    await line.request('channel_transfer', { id: String(chat.id), user: String(contact.id) });
    await NewsletterMetadata.update(chat.id);
  },
}));
