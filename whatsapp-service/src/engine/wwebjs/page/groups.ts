/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { ChannelRow, GroupRow, NewGroupSearch, PageCore, PageGroups, PageWindow, SubgroupRow } from './world.js';

/** Adds the functions that operations on groups and channels share to `window.chasqui`. `PageGroups` in world.ts describes them. */
function installGroups(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || (core as Partial<PageCore>).memberOf) return;
  const reads = new Map<string, number>();
  const groups: PageGroups = {
    person: (id) => person(core, id),
    memberOf: (chat, id) => memberOf(core, chat, id),
    roleIn: (chat, id) => roleOf(memberOf(core, chat, id)),
    groupRow: (chat, isWithMembers) => groupRow(core, chat, isWithMembers),
    channelRow: (channel) => channelRow(core, channel),
    findChannel: (id) => findChannel(core, id),
    channelAdmins: (id) => channelAdmins(core, id),
    permitted: (run) => permitted(core, run),
    readGroup: (id) => readGroup(core, reads, id),
    readOwnGroup: (id) => readOwnGroup(core, id),
    subgroups: (id) => subgroups(core, reads, id),
    beforeNewGroup: (name, kind) => beforeNewGroup(core, name, kind),
    newGroup: (search) => newGroup(core, search),
    askPicture: (id) => askPicture(core, id),
    knownPicture: (id) => core.collections().ProfilePicThumb?.get?.(id)?.eurl ?? null,
  };
  Object.assign(core, groups);
}

async function person(core: PageCore, id: string): Promise<any> {
  const wid = core.widOf(id);
  const known = core.otherIdOf(wid);
  if (!known) {
    // The lookup also tells the page both ids of the person.
    const found = await core.module('WAWebQueryExistsJob').queryWidExists(wid);
    if (!found?.wid && !wid.isLid()) return null;
  }
  const other = known ?? core.otherIdOf(wid);
  return wid.isLid() ? { wid, lid: wid, phone: other } : { wid, lid: other, phone: wid };
}

function memberOf(core: PageCore, chat: any, id: string): any {
  const wid = core.widOf(id);
  const other = core.otherIdOf(wid);
  const members: any[] = chat.groupMetadata?.participants?.getModelsArray?.() ?? [];
  const forms = [core.serialized(wid), other ? core.serialized(other) : ''];
  return members.find((one) => forms.includes(core.serialized(one.id))) ?? null;
}

function roleOf(member: any): 'member' | 'admin' | 'owner' | null {
  if (!member) return null;
  return member.isSuperAdmin ? 'owner' : member.isAdmin ? 'admin' : 'member';
}

function groupRow(core: PageCore, chat: any, isWithMembers: boolean): GroupRow {
  const metadata = chat.groupMetadata ?? {};
  const members: any[] = metadata.participants?.getModelsArray?.() ?? [];
  const mine = core.me().map((id) => core.serialized(id));
  const self = members.find((one) => mine.includes(core.serialized(one.id)));
  return {
    id: core.serialized(chat.id),
    name: metadata.subject ?? core.nameOf(chat),
    description: metadata.desc || null,
    owner: core.idOf(metadata.owner),
    creation: metadata.creation ?? null,
    announce: Boolean(metadata.announce),
    restrict: Boolean(metadata.restrict),
    // The page sets a number and reads a text; older builds have a boolean.
    addMembers: [true, 'admin_add'].includes(metadata.memberAddMode) ? 'admins' : 'all',
    approval: Boolean(metadata.membershipApprovalMode),
    ephemeral: Number(metadata.ephemeralDuration ?? 0),
    size: members.length,
    role: roleOf(self),
    parent: core.idOf(metadata.parentGroup),
    isCommunity: metadata.isParentGroup === true,
    announcements: metadata.isParentGroup === true ? announcementsOf(core, core.serialized(chat.id)) : null,
    picture: core.knownPicture(chat.id),
    members: isWithMembers ? members.map((one) => ({ id: core.serialized(one.id), role: roleOf(one)! })) : null,
  };
}

function announcementsOf(core: PageCore, communityId: string): string | null {
  const { GroupMetadata, WAWebGroupMetadataCollection = GroupMetadata } = core.collections();
  const found = WAWebGroupMetadataCollection.getModelsArray().find(
    (one: any) => one.defaultSubgroup === true && core.idOf(one.parentGroup) === communityId,
  );
  return found ? core.serialized(found.id) : null;
}

async function askPicture(core: PageCore, id: any): Promise<void> {
  const late = new Promise((resolve) => setTimeout(resolve, 2_000));
  // Without an answer the picture is unknown.
  const asked = Promise.resolve(core.collections().ProfilePicThumb?.find?.(id)).catch(() => null);
  await Promise.race([asked, late]);
}

/** Reads each group at most twice a second: effects are checked more often, and each read is a request to WhatsApp. */
async function readGroup(core: PageCore, reads: Map<string, number>, id: string): Promise<any> {
  await takeTurn(reads, id);
  return core.requireGroup(id);
}

async function readOwnGroup(core: PageCore, id: string): Promise<any> {
  try {
    return await core.readGroup(id);
  } catch (error: any) {
    if (error?.chasquiRefusal?.code === 'GROUP_NOT_FOUND') return null;
    throw error;
  }
}

async function takeTurn(reads: Map<string, number>, name: string): Promise<void> {
  const waitMs = (reads.get(name) ?? 0) + 500 - performance.now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  if (reads.size > 100) reads.clear();
  reads.set(name, performance.now());
}

/** The page keeps the groups that the account is in as groups, and the others of a community in a collection of their own. */
async function subgroups(core: PageCore, reads: Map<string, number>, communityId: string): Promise<SubgroupRow[]> {
  await takeTurn(reads, `groups of ${communityId}`);
  const { GroupMetadata, WAWebGroupMetadataCollection = GroupMetadata, UnjoinedSubgroupMetadata } = core.collections();
  const joinedIn = (): any[] =>
    WAWebGroupMetadataCollection.getModelsArray().filter((one: any) => core.idOf(one.parentGroup) === communityId);
  const known = joinedIn().map(({ id }) => id);
  await core.module('WAWebQuerySubGroupAction').queryAndUpdateSubgroupsMetadata(core.widOf(communityId), known);
  const others = core.moduleIfAny('WAWebUnjoinedSubgroupMetadataCollection') ?? {};
  const collection = others.default ?? others.UnjoinedSubgroupMetadataCollection ?? UnjoinedSubgroupMetadata ?? others;
  const unjoined: any[] = (collection.getModelsArray?.() ?? []).filter(
    (one: any) => core.idOf(one.parentGroupId) === communityId,
  );
  const mine = core.me().map((id) => core.serialized(id));
  const isIn = (one: any): boolean => mine.some((id) => one.participants?.get?.(id));
  const rowOf = (one: any, isMember: boolean): SubgroupRow => ({
    id: core.serialized(one.id),
    name: one.subject ?? null,
    isAnnouncements: one.defaultSubgroup === true,
    isMember,
  });
  const rows = [
    ...joinedIn()
      .filter(isIn)
      .map((one) => rowOf(one, true)),
    ...unjoined.map((one) => rowOf(one, false)),
  ];
  return rows.filter(({ id }, index) => rows.findIndex((one) => one.id === id) === index);
}

function beforeNewGroup(core: PageCore, name: string, { isCommunity }: { isCommunity: boolean }): NewGroupSearch {
  const known = core
    .collections()
    .Chat.getModelsArray()
    .filter((chat: any) => chat.groupMetadata?.subject === name)
    .map((chat: any) => core.serialized(chat.id));
  return { name, isCommunity, known, startedAt: Date.now() / 1_000 };
}

function newGroup(core: PageCore, { name, isCommunity, known, startedAt }: NewGroupSearch): string | null {
  const found = core
    .collections()
    .Chat.getModelsArray()
    .find((chat: any) => {
      if (chat.groupMetadata?.subject !== name || known.includes(core.serialized(chat.id))) return false;
      // The clocks may differ by minutes. An older group with this name that the page receives only now is not the created one.
      if ((chat.groupMetadata.creation ?? 0) <= startedAt - 300) return false;
      const row = groupRow(core, chat, false);
      return row.isCommunity === isCommunity && row.role === 'owner';
    });
  return found ? core.serialized(found.id) : null;
}

function channelRow(core: PageCore, channel: any): ChannelRow {
  const metadata = channel.newsletterMetadata ?? {};
  return {
    id: core.serialized(channel.id),
    name: metadata.name ?? core.nameOf(channel),
    description: metadata.description || null,
    role: metadata.membershipType ?? null,
    subscribers: metadata.size ?? null,
    muted: (channel.mute?.expiration ?? channel.muteExpiration ?? 0) !== 0,
    verified: Boolean(metadata.verified),
    reactions: metadata.reactionCodesSetting ?? null,
    invite: metadata.inviteLink ?? (metadata.inviteCode ? `https://whatsapp.com/channel/${metadata.inviteCode}` : null),
    picture: core.knownPicture(channel.id),
    creation: metadata.creationTime ?? null,
  };
}

async function findChannel(core: PageCore, id: string): Promise<any> {
  const known = core.collections().WAWebNewsletterCollection?.get(core.widOf(id));
  if (known) return known;
  // Channels that the account follows or owns do not need it, so operations on these do not declare it.
  const load = core.moduleIfAny('WAWebLoadNewsletterPreviewChatAction')?.loadNewsletterPreviewChat;
  if (!load) core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'WhatsApp Web cannot load a channel that is not followed.' });
  try {
    const loaded = await load(id);
    return loaded ?? core.refuse('CHANNEL_NOT_FOUND', { channelId: id });
  } catch (error: any) {
    if ([400, 404].includes(error?.status)) core.refuse('CHANNEL_NOT_FOUND', { channelId: id });
    throw error;
  }
}

async function channelAdmins(core: PageCore, id: string): Promise<string[] | null> {
  const job = core.moduleIfAny('WAWebMexFetchNewsletterSubscribersJob');
  if (!job?.mexFetchNewsletterSubscribers) return null;
  const { subscribers } = await job.mexFetchNewsletterSubscribers(id, 500);
  const admins = (subscribers ?? []).filter(({ role }: any) => /admin/i.test(String(role)));
  return admins.map((one: any) => core.serialized(one.id ?? one.wid));
}

async function permitted(core: PageCore, run: () => unknown): Promise<unknown> {
  let message = 'WhatsApp refused.';
  try {
    const result = await run();
    if (typeof result !== 'string' && result !== false) return result;
    message = String(result);
  } catch (error: any) {
    if (typeof error !== 'string' && ![401, 403].includes(error?.status)) throw error;
    message = typeof error === 'string' ? error : String(error.detail ?? error.message);
  }
  return core.refuse('WHATSAPP_NOT_PERMITTED', { whatsapp: { message } });
}

export const groupsScript = pageScript(installGroups, [
  person,
  memberOf,
  roleOf,
  groupRow,
  readGroup,
  readOwnGroup,
  takeTurn,
  announcementsOf,
  askPicture,
  subgroups,
  beforeNewGroup,
  newGroup,
  channelRow,
  findChannel,
  channelAdmins,
  permitted,
]);
