// People: contacts, their two ids, pictures, about texts, blocks.

// The two ids of a person, as far as they are known.
const lidOfPhone = new Map();
const phoneOfLid = new Map();
function learn({ phone, lid }) {
  if (!phone || !lid) return;
  lidOfPhone.set(phone, lid);
  phoneOfLid.set(lid, phone);
}
const lidOf = (wid) => (lidOfPhone.has(String(wid)) ? createWid(lidOfPhone.get(String(wid))) : undefined);
const phoneOf = (wid) => (phoneOfLid.has(String(wid)) ? createWid(phoneOfLid.get(String(wid))) : undefined);
const isMe = (wid) => Boolean(me) && (me.pn.equals(wid) || me.lid.equals(wid));

class ContactModel extends Model {
  #commonGroups;
  get commonGroups() {
    return this.#commonGroups;
  }
  set commonGroups(groups) {
    this.#commonGroups = groups;
  }
  get isContactBlocked() {
    return Boolean(Blocklist.get(this.id.isLid() ? this.id : (lidOf(this.id) ?? this.id)));
  }
  get formattedName() {
    return this.name ?? this.pushname ?? `+${(this.phoneNumber ?? this.id).user}`;
  }
}
/** Uploads a picture to WhatsApp's file server. Only accounts that may change it can do this. */
class PictureModel extends Model {
  canSet() {
    return this.id.isGroup() ? mayEdit(this.id) : isMe(this.id);
  }
  canDelete() {
    return this.canSet();
  }
}

function contactFrom(found, asked) {
  learn(found);
  const isLid = String(asked).endsWith('@lid');
  return {
    id: createWid(isLid ? found.lid : (found.phone ?? asked)),
    ...(isLid && found.phone ? { phoneNumber: createWid(found.phone) } : {}),
    name: found.name ?? undefined,
    pushname: found.pushname ?? undefined,
    shortName: found.name?.split(' ')[0] ?? undefined,
    type: 'in',
    isBusiness: found.isBusiness,
  };
}

const Contact = new Collection(ContactModel, async (wid) => {
  if (!wid.isUser()) return { id: wid };
  const found = await line.request('exists', { id: String(wid) });
  return found ? contactFrom(found, wid) : { id: wid, name: undefined, pushname: undefined };
});
const Blocklist = new Collection(Model);
const ProfilePicThumb = new Collection(PictureModel, async (wid) => {
  const picture = (await line.request('picture', { id: String(wid) })) ?? undefined;
  return { id: wid, eurl: picture, img: picture };
});
const BusinessProfile = new Collection(Model, async (wid) => ({ id: wid }));

line.on('contact', (found) => {
  for (const asked of [found.phone, found.lid].filter(Boolean)) {
    const contact = Contact.get(asked);
    const { id: _, ...changes } = contactFrom(found, asked);
    if (contact) contact.set(changes);
    ProfilePicThumb.get(asked)?.set({ eurl: found.picture ?? undefined, img: found.picture ?? undefined });
  }
  if (me && found.phone === String(me.pn)) Conn.set({ pushname: found.pushname });
});
line.on('blocked', ({ id, blocked }) => (blocked ? Blocklist.add({ id: createWid(id) }) : Blocklist.remove(id)));

__d('WAWebContactCollection', () => ({ ContactCollection: Contact, getMeContact: () => Contact.get(me.pn) }));
__d('WAWebQueryExistsJob', () => ({
  async queryWidExists(wid) {
    const found = await line.request('exists', { id: String(wid) });
    if (!found) return null;
    learn(found);
    // The number in WhatsApp's spelling, which may differ from the request.
    return {
      wid: createWid(wid.isLid() ? String(wid) : (found.phone ?? String(wid))),
      biz: found.isBusiness,
      bizInfo: undefined,
    };
  },
}));
__d('WAWebApiContact', () => ({
  getCurrentLid: lidOf,
  getPhoneNumber: phoneOf,
  getAlternateUserWid: (wid) => (wid.isLid() ? phoneOf(wid) : lidOf(wid)),
}));
__d('WAWebLidMigrationUtils', () => ({ toPn: phoneOf, toLid: lidOf }));
__d('WAWebContactGetters', () => ({
  getIsMe: (contact) => isMe(contact.id),
  getIsUser: (contact) => contact.id.isUser(),
  getIsGroup: (contact) => contact.id.isGroup(),
  getIsWAContact: (contact) => contact.id.isUser() && contact.type === 'in',
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

async function setPicture(wid, picture) {
  if (wid.isGroup()) await line.request('group_picture', { id: String(wid), picture });
  else if (isMe(wid)) await line.request('profile', { picture });
  else throw new r('not-authorized', 403);
  ProfilePicThumb.add({
    id: wid,
    eurl: picture ?? undefined,
    img: picture ?? undefined,
    tag: picture ? String(Date.now()) : undefined,
  });
  return { status: 200 };
}
__d('WAWebContactProfilePicThumbBridge', () => ({
  // The library passes the chat's plain model, or an id.
  requestProfilePicFromServer: async (given) => ({
    eurl: (await line.request('picture', { id: idOf(given?.id ?? given) })) ?? undefined,
  }),
  async sendSetPicture(wid, thumbnail, picture) {
    const { directPath } = await upload(await (await fetch(picture)).blob());
    return setPicture(wid, `https://pps.whatsapp.net${directPath}`);
  },
  requestDeletePicture: (wid) => setPicture(wid, null),
}));

// Contacts are blocked by LID. The helper that found the LID was removed in 2026.
__d('WAWebBlockContactUtils', () =>
  newest
    ? {}
    : {
        getContactToBlockOnlyUseIfNoAssociatedChat: (contact) => ({
          id: contact.id.isLid() ? contact.id : (lidOf(contact.id) ?? contact.id),
        }),
      },
);
async function block(given, blocked) {
  const contact = await given;
  await line.request('block', { id: String(contact.id), blocked });
  if (blocked) Blocklist.add({ id: contact.id });
  else Blocklist.remove(contact.id);
}
__d('WAWebBlockContactAction', () => ({
  blockContact: ({ contact }) => block(contact, true),
  unblockContact: (contact) => block(contact, false),
}));

__d('WAWebFindCommonGroupsContactAction', () => ({
  async findCommonGroups(contact) {
    const ids = [contact.id, lidOf(contact.id), phoneOf(contact.id)].filter(Boolean);
    const groups = Chat.filter((chat) => ids.some((id) => chat.groupMetadata?.participants.get(id)));
    if (groups.length === 0) return null;
    contact.commonGroups = new Collection(Model);
    for (const { id } of groups) contact.commonGroups.add({ id }, { silent: true });
    return contact.commonGroups;
  },
}));
const saved = (found) => Contact.add(contactFrom(found, found.phone));
__d('WAWebSaveContactAction', () => ({
  async saveContactAction({ firstName, lastName, phoneNumber }) {
    const name = [firstName, lastName].filter(Boolean).join(' ');
    saved(await line.request('contact_save', { phone: String(phoneNumber).replace(/\D/g, ''), name }));
  },
}));
__d('WAWebDeleteContactAction', () => ({
  async deleteContactAction({ phoneNumber }) {
    saved(await line.request('contact_save', { phone: phoneNumber.user, name: null }));
  },
}));

__d('WAWebFrontendVcardUtils', () => ({
  vcardFromContactModel(contact) {
    const { user } = contact.phoneNumber ?? contact.id;
    const displayName = contact.formattedName;
    const tel = `TEL;type=CELL;waid=${user}:+${user}`;
    return { vcard: ['BEGIN:VCARD', 'VERSION:3.0', `FN:${displayName}`, tel, 'END:VCARD'].join('\n'), displayName };
  },
}));
__d('WAWebVcardParsingUtils', () => ({
  parseVcard(text) {
    const name = /^FN:(.*)$/m.exec(text)?.[1]?.trim();
    if (!name) throw new r('not a vcard', 400);
    return { fn: [{ value: name }] };
  },
}));
__d('WAWebVcardGetNameFromParsed', () => ({ vcardGetNameFromParsed: (parsed) => parsed.fn[0].value }));
__d('WAWebApiDeviceList', () => ({
  async getDeviceIds(wids) {
    const counts = await line.request('devices', { ids: wids.map(String) });
    return counts.map((count, index) => ({ id: wids[index], devices: Array.from({ length: count }, (_, id) => ({ id })) }));
  },
}));
