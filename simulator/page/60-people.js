// Contacts, own profile, chats' properties, and the small getters that the library asks.
__d('WAWebQueryExistsJob', () => ({
  async queryWidExists(wid) {
    const found = await line.request('exists', { id: String(wid) });
    if (!found) return null;
    contactFrom(found, found.phone);
    return { wid: createWid(String(wid)), biz: found.isBusiness, bizInfo: undefined };
  },
}));
__d('WAWebApiContact', () => ({
  getCurrentLid: (wid) => (lidOfPhone.has(String(wid)) ? createWid(lidOfPhone.get(String(wid))) : undefined),
  getPhoneNumber: (wid) => (phoneOfLid.has(String(wid)) ? createWid(phoneOfLid.get(String(wid))) : undefined),
  getAlternateUserWid(wid) {
    const other = wid.isLid() ? phoneOfLid.get(String(wid)) : lidOfPhone.get(String(wid));
    return other ? createWid(other) : undefined;
  },
}));
__d('WAWebLidMigrationUtils', () => ({
  toPn: (wid) => (phoneOfLid.has(String(wid)) ? createWid(phoneOfLid.get(String(wid))) : undefined),
  toLid: (wid) => (lidOfPhone.has(String(wid)) ? createWid(lidOfPhone.get(String(wid))) : undefined),
}));
__d('WAWebContactGetters', () => ({
  getIsMe: (contact) => contact.id.equals(me.pn),
  getIsUser: (contact) => contact.id.isUser(),
  getIsGroup: (contact) => contact.id.isGroup(),
  getIsWAContact: () => true,
  getUserid: (contact) => (contact.phoneNumber ?? contact.id).user,
  getVerifiedName: () => undefined,
  getVerifiedLevel: () => undefined,
  getStatusMute: () => false,
  getName: (contact) => contact.name,
  getShortName: (contact) => contact.shortName,
  getPushname: (contact) => contact.pushname,
  getIsEnterprise: () => false,
}));
__d('WAWebFrontendContactGetters', () => ({ getIsMyContact: (contact) => Boolean(contact.name) }));
__d('WAWebContactStatusBridge', () => ({
  setMyStatus: (about) => line.request('profile', { about }),
  getStatus: async ({ token, wid } = {}) => ({ status: await line.request('about', { id: String(wid ?? token) }) }),
}));
__d('WAWebSetPushnameConnAction', () => ({
  async setPushname(name) {
    await line.request('profile', { name });
    Conn.set({ pushname: name });
  },
}));
__d('WAWebContactProfilePicThumbBridge', () => ({
  requestProfilePicFromServer: async (wid) => ({ eurl: (await line.request('picture', { id: String(wid) })) ?? undefined }),
  sendSetPicture: async (wid, thumb, picture) => {
    await line.request('profile', { picture });
    return { status: 200 };
  },
  requestDeletePicture: async () => {
    await line.request('profile', { picture: null });
    return { status: 200 };
  },
}));
__d('WAWebBlockContactUtils', () =>
  newest
    ? {}
    : {
        getContactToBlockOnlyUseIfNoAssociatedChat: async (contact) => ({
          ...contact,
          id: createWid(lidOfPhone.get(String(contact.id)) ?? contact.id),
        }),
      },
);
__d('WAWebBlockContactAction', () => ({
  async blockContact({ contact }) {
    await line.request('block', { id: String(contact.id), blocked: true });
    Blocklist.add({ id: contact.id });
  },
  async unblockContact(contact) {
    await line.request('block', { id: String(contact.id), blocked: false });
    Blocklist.remove(contact.id);
  },
}));
__d('WAWebFindCommonGroupsContactAction', () => ({
  findCommonGroups: async (contact) => Chat.filter((chat) => chat.groupMetadata?.participants.get(contact.id)),
}));
__d('WAWebFrontendVcardUtils', () => ({
  vcardFromContactModel: (contact) => ({
    vcard: `BEGIN:VCARD\nVERSION:3.0\nFN:${contact.name ?? contact.pushname ?? contact.id.user}\nTEL;type=CELL;waid=${contact.id.user}:+${contact.id.user}\nEND:VCARD`,
    displayName: contact.name ?? contact.id.user,
  }),
}));
__d('WAWebVcardParsingUtils', () => ({
  parseVcard(text) {
    const name = /^FN:(.*)$/m.exec(text)?.[1]?.trim();
    if (!name) throw new r('not a vcard', 400);
    return { fn: [{ value: name }] };
  },
}));
__d('WAWebVcardGetNameFromParsed', () => ({ vcardGetNameFromParsed: (parsed) => parsed.fn[0].value }));
__d('WAWebFindChatAction', () => ({
  async findOrCreateLatestChat(wid) {
    const known = Chat.get(wid);
    if (known) return { chat: known, created: false };
    if (wid.isGroup()) {
      await GroupMetadata.update(wid);
      return { chat: ensureChat(wid), created: true };
    }
    const found = await line.request('exists', { id: String(wid) });
    if (!found) return { chat: undefined, created: false };
    Contact.add(contactFrom(found, wid));
    return { chat: ensureChat(wid), created: true };
  },
}));
__d('WAWebChatGetters', () => ({
  getIsNewsletter: (chat) => chat.id.isNewsletter(),
  getIsBroadcast: (chat) => chat.id.isBroadcast(),
}));
__d('WAWebUpdateUnreadChatAction', () => ({
  async sendSeen({ chat }) {
    await line.request('read', { chat: String(chat.id) });
    chat.set({ unreadCount: 0 });
  },
}));
const chatProp = async (chat, name, value, changes) => {
  await line.request('chatprop', { chat: String(chat.id), name, value });
  chat.set(changes);
};
Cmd.archiveChat = (chat, value) => chatProp(chat, 'archive', value, { archive: value });
Cmd.pinChat = (chat, value) => chatProp(chat, 'pin', value ? Date.now() : 0, { pin: value ? Date.now() : 0 });
Cmd.markChatUnread = (chat, value) => chatProp(chat, 'unread', value ? -1 : 0, { unreadCount: value ? -1 : 0 });
__d('WAWebChatClearBridge', () => ({
  async sendClear(chat) {
    await line.request('chatdelete', { chat: String(chat.id), keep: true });
    for (const msg of chat.msgs.getModelsArray()) {
      chat.msgs.remove(msg);
      Msg.remove(msg);
    }
  },
}));
__d('WAWebDeleteChatAction', () => ({
  async sendDelete(chat) {
    await line.request('chatdelete', { chat: String(chat.id), keep: false });
    Chat.remove(chat);
  },
}));
__d('WAWebStatusGatingUtils', () => (newest ? {} : { canCheckStatusRankingPosterGating: () => false }));
__d('WAWebPhoneUtils', () => ({ formattedPhoneNumber: (id) => `+${String(id).split('@')[0]}` }));
__d('WAWebUserPrefsGeneral', () => ({
  getAutoDownloadAudio: () => true,
  setAutoDownloadAudio: () => {},
  getAutoDownloadDocuments: () => true,
  setAutoDownloadDocuments: () => {},
  getAutoDownloadPhotos: () => true,
  setAutoDownloadPhotos: () => {},
  getAutoDownloadVideos: () => true,
  setAutoDownloadVideos: () => {},
}));
__d('WAWebUserPrefsNotifications', () => ({
  getGlobalOfflineNotifications: () => true,
  setGlobalOfflineNotifications: () => {},
}));
__d('WAWebApiDeviceList', () => ({ getDeviceIds: async () => [{ devices: [{ id: 0 }] }] }));
__d('WAWebBizGatingUtils', () => ({ smbNotesV1Enabled: () => false }));
__d('WAWebL10N', () => ({ getRegion: () => 'US' }));
