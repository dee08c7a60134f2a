import type { ChannelResource, OperationInput } from '@chasqui/shared';
import type { ChannelRow, PageCore } from '../page/world.js';
import { isoOf } from '../time.js';
import { change } from './change.js';
import { channelPictureMark, deletePicture, picturing, setPicture } from './channel-pictures.js';
import { need, read, type ChangeHandler, type OperationContext, type OperationHandlers } from './context.js';
import { readFileOf } from './file.js';
import { showsNewPicture, showsNoPicture } from './pictures.js';
import { seenMessages } from './seen-messages.js';

const previewing = need('WAWebLoadNewsletterPreviewChatAction', 'loadNewsletterPreviewChat');

export const channels: OperationHandlers<'channels'> = {
  'channels.list': read('channels.list', {
    needs: [need('WAWebCollections', 'WAWebNewsletterCollection.getModelsArray')],
    run: async (_input, { inPage }) => (await inPage(channelRows)).map(channelResource),
  }),
  'channels.search': read('channels.search', {
    needs: [need('WAWebNewsletterDirectorySearchAction', 'fetchNewsletterDirectories')],
    async run({ query, countries, limit }, { inPage }) {
      const given = { text: query?.trim() ?? '', countries: countries?.split(',') ?? [], limit };
      return (await inPage(searchChannels, given)).map(channelResource);
    },
  }),
  'channels.get': read('channels.get', {
    needs: [previewing, need('WAWebNewsletterMetadataQueryJob', 'queryNewsletterMetadataByInviteCode')],
    run: async ({ channelId }, { inPage }) => channelResource(await inPage(channelBy, refOf(channelId))),
  }),
  'channels.messages': read('channels.messages', {
    needs: [need('WAWebChatLoadMessages', 'loadEarlierMsgs'), previewing],
    async run({ channelId, limit }, { inPage, identities }) {
      return seenMessages(await inPage(posts, { channelId, limit }), identities);
    },
  }),
  'channels.create': change('channels.create', {
    needs: [need('WAWebNewsletterCreateQueryJob', 'createNewsletterQuery')],
    before: mayCreate,
    act: createChannel,
    effect: isCreated,
    async done({ name }, { inPage }, { before, result }) {
      return channelResource((await inPage(createdChannel, { name, known: before.known, id: result }))!);
    },
  }),
  'channels.update': change('channels.update', {
    needs: [need('WAWebEditNewsletterMetadataAction', 'editNewsletterMetadataAction')],
    before: requireEditor,
    act: update,
    effect: isUpdated,
    done: ({ channelId }, context) => readChannel(channelId, context),
  }),
  'channels.setPicture': change('channels.setPicture', {
    needs: picturing,
    prepare: async ({ channelId }, context) => ({ channelId, id: channelId, file: await readFileOf(context) }),
    before: channelPictureMark,
    act: setPicture,
    effect: showsNewPicture,
    done: ({ channelId }, context) => readChannel(channelId, context),
  }),
  'channels.deletePicture': change('channels.deletePicture', {
    needs: picturing,
    prepare: ({ channelId }) => ({ channelId, id: channelId }),
    before: channelPictureMark,
    act: deletePicture,
    effect: showsNoPicture,
    done: ({ channelId }, context) => readChannel(channelId, context),
  }),
  'channels.delete': change('channels.delete', {
    needs: [need('WAWebNewsletterDeleteAction', 'deleteNewsletterAction')],
    prepare: ({ channelId }) => ({ channelId }),
    before: requireOwner,
    act: deleteChannel,
    effect: isDeleted,
    done: async ({ channelId }) => ({ id: channelId, deleted: true as const }),
  }),
  'channels.follow': following('channels.follow', true),
  'channels.unfollow': following('channels.unfollow', false),
  'channels.mute': muting('channels.mute', true),
  'channels.unmute': muting('channels.unmute', false),
  'channels.demoteAdmin': change('channels.demoteAdmin', {
    needs: [need('WAWebDemoteNewsletterAdminAction')],
    prepare: ({ channelId, contactId }) => ({ channelId, contactId }),
    before: requireAdminThere,
    act: demote,
    effect: isDemoted,
    done: async () => ({ demoted: true as const }),
  }),
};

function following<Id extends 'channels.follow' | 'channels.unfollow'>(id: Id, isFollowing: boolean): ChangeHandler<Id> {
  const handler = change<'channels.follow' | 'channels.unfollow', Following, Promise<void>, Promise<void>>(id, {
    needs: [
      isFollowing
        ? need('WAWebNewsletterSubscribeAction', 'subscribeToNewsletterAction')
        : need('WAWebNewsletterUnsubscribeAction', 'unsubscribeFromNewsletterAction'),
      previewing,
    ],
    prepare: ({ channelId }) => ({ channelId, isFollowing }),
    before: requireNotOwner,
    act: setFollowing,
    effect: isFollowed,
    done: ({ channelId }, context) => readChannel(channelId, context),
  });
  return handler as ChangeHandler<Id>;
}
function muting<Id extends 'channels.mute' | 'channels.unmute'>(id: Id, isMuted: boolean): ChangeHandler<Id> {
  const handler = change<'channels.mute' | 'channels.unmute', Muting, Promise<void>, Promise<void>>(id, {
    needs: [need('WAWebNewsletterUpdateUserSettingJob', 'updateNewsletterUserSetting')],
    prepare: ({ channelId }) => ({ channelId, isMuted }),
    before: requireExisting,
    act: setMuted,
    effect: isMutedNow,
    done: ({ channelId }, context) => readChannel(channelId, context),
  });
  return handler as ChangeHandler<Id>;
}

interface OfChannel {
  channelId: string;
}
interface Following extends OfChannel {
  isFollowing: boolean;
}
interface Muting extends OfChannel {
  isMuted: boolean;
}
const roles = ['owner', 'admin', 'subscriber', 'guest'] as const;
const reactionsOf: Readonly<Record<number, ChannelResource['reactions']>> = { 0: 'all', 1: 'basic', 3: 'none' };

function channelResource(row: ChannelRow): ChannelResource {
  return {
    id: row.id,
    name: row.name,
    description: row.description || null,
    role: roles.find((role) => role === row.role) ?? 'guest',
    subscribers: row.subscribers,
    isMuted: row.muted,
    isVerified: row.verified,
    reactions: row.reactions === null ? null : (reactionsOf[row.reactions] ?? null),
    inviteLink: row.invite,
    picture: row.picture,
    createdAt: row.creation ? isoOf(row.creation) : null,
  };
}

const readChannel = async (channelId: string, { inPage }: OperationContext): Promise<ChannelResource> =>
  channelResource(await inPage(channelBy, { channelId, code: null }));

/** Reads an id, an invite code or an invite link. */
function refOf(text: string): { channelId: string | null; code: string | null } {
  if (/@newsletter$/.test(text)) return { channelId: text, code: null };
  const path = text.trim().split(/[?#]/, 1)[0]!;
  return { channelId: null, code: path.split('/').findLast((part) => part !== '') ?? text };
}

/** Runs in the page. The channels of the account. */
function channelRows(core: PageCore): ChannelRow[] {
  const { WAWebNewsletterCollection: channels } = core.collections();
  const all: unknown[] = channels.getModelsArray();
  return all.map((channel) => core.channelRow(channel)).filter(({ role }) => role !== 'guest');
}

/** Runs in the page. Loads a channel that the account does not follow. */
async function channelBy(
  core: PageCore,
  { channelId, code }: { channelId: string | null; code: string | null },
): Promise<ChannelRow> {
  let id = channelId;
  if (code !== null) {
    const role = core.moduleIfAny('WAWebNewsletterModelUtils')?.getRoleByIdentifier?.(code) ?? 'guest';
    const query = core.module('WAWebNewsletterMetadataQueryJob').queryNewsletterMetadataByInviteCode(code, role);
    const found = await query.catch((error: unknown) => {
      const status = (error as { status?: number } | undefined)?.status;
      if (status === 400 || status === 404) core.refuse('CHANNEL_NOT_FOUND', { code });
      throw error;
    });
    id = core.idOf(found?.idJid);
  }
  if (!id) core.refuse('CHANNEL_NOT_FOUND', { code });
  const channel = await core.findChannel(id!);
  await core.askPicture(channel.id);
  return core.channelRow(channel);
}

/**
 * Runs in the page. WhatsApp decides how many channels it returns, so the result is cut here. The library sets the number by replacing a function
 * of the page, which current builds do not allow.
 */
async function searchChannels(
  core: PageCore,
  { text, countries, limit }: { text: string; countries: string[]; limit: number },
): Promise<ChannelRow[]> {
  const region = core.moduleIfAny('WAWebL10N')?.getRegion?.();
  const answer = await core.module('WAWebNewsletterDirectorySearchAction').fetchNewsletterDirectories({
    searchText: text,
    countryCodes: countries.length > 0 ? countries : [region].filter(Boolean),
    skipSubscribedNewsletters: false,
    view: 'RECOMMENDED',
    categories: [],
    cursorToken: '',
  });
  const found: unknown[] = answer?.newsletters ?? [];
  return found.slice(0, limit).map((channel) => core.channelRow(channel));
}

/** What orders the posts of a channel: the time in seconds, and the server's number. */
interface ChannelPost {
  t?: number;
  serverId?: number;
}

/** Runs in the page. The newest posts, newest first. */
async function posts(
  core: PageCore,
  { channelId, limit }: OfChannel & { limit: number },
): Promise<Readonly<Record<string, unknown>>[]> {
  const channel = await core.findChannel(channelId);
  const loaded = (): ChannelPost[] => channel.msgs?.getModelsArray?.() ?? [];
  for (let before = -1; loaded().length < limit && loaded().length > before;) {
    before = loaded().length;
    await core.module('WAWebChatLoadMessages').loadEarlierMsgs({ chat: channel });
  }
  const newest = loaded().sort((a, b) => (b.t ?? 0) - (a.t ?? 0) || (b.serverId ?? 0) - (a.serverId ?? 0));
  return newest.slice(0, limit).map((post) => core.modelOf(post));
}

/** Runs in the page. Refuses if the account may not create channels. Returns the ids of the channels that already have this name. */
function mayCreate(core: PageCore, { name }: { name: string }): { known: string[] } {
  const isEnabled = core.moduleIfAny('WAWebNewsletterGatingUtils')?.isNewsletterCreationEnabled?.() ?? true;
  if (!isEnabled) core.refuse('WHATSAPP_NOT_PERMITTED', { reason: 'WhatsApp does not let this account create channels.' });
  const channels: unknown[] = core.collections().WAWebNewsletterCollection.getModelsArray();
  const rows = channels.map((one) => core.channelRow(one));
  return { known: rows.filter((row) => row.name === name).map(({ id }) => id) };
}

/** Runs in the page. Returns the id. */
async function createChannel(core: PageCore, { name, description }: OperationInput<'channels.create'>): Promise<string | null> {
  const create = core.module('WAWebNewsletterCreateQueryJob').createNewsletterQuery;
  const made = await core.permitted(() => create({ name, description: description ?? null, picture: null }));
  return core.idOf((made as { idJid?: unknown } | null)?.idJid);
}

/** Runs in the page. */
function isCreated(core: PageCore, { name }: { name: string }, { known }: { known: string[] }, id: string | null): boolean {
  const channels: unknown[] = core.collections().WAWebNewsletterCollection.getModelsArray();
  return channels
    .map((one) => core.channelRow(one))
    .some((row) => (id ? row.id === id : row.name === name && !known.includes(row.id)) && row.role === 'owner');
}

/** Runs in the page. */
function createdChannel(
  core: PageCore,
  { name, known, id }: { name: string; known: string[]; id: string | null },
): ChannelRow | null {
  const channels: unknown[] = core.collections().WAWebNewsletterCollection.getModelsArray();
  const rows = channels.map((one) => core.channelRow(one));
  return rows.find((row) => (id ? row.id === id : row.name === name && !known.includes(row.id))) ?? null;
}

/** Runs in the page. */
async function requireEditor(core: PageCore, { channelId }: OfChannel): Promise<void> {
  const { role } = core.channelRow(await core.findChannel(channelId));
  if (role !== 'owner' && role !== 'admin')
    core.refuse('WHATSAPP_NOT_PERMITTED', { channelId, reason: 'The account is neither owner nor admin of this channel.' });
}

/** Runs in the page. */
async function requireOwner(core: PageCore, { channelId }: OfChannel): Promise<void> {
  const { role } = core.channelRow(await core.findChannel(channelId));
  if (role !== 'owner') core.refuse('WHATSAPP_NOT_PERMITTED', { channelId, reason: 'The account does not own this channel.' });
}

/** Runs in the page. The owner of a channel cannot follow or leave it. */
async function requireNotOwner(core: PageCore, { channelId }: OfChannel): Promise<void> {
  const { role } = core.channelRow(await core.findChannel(channelId));
  if (role === 'owner') core.refuse('WHATSAPP_NOT_PERMITTED', { channelId, reason: 'The account owns this channel.' });
}

/** Runs in the page. */
async function requireExisting(core: PageCore, { channelId }: OfChannel): Promise<void> {
  await core.findChannel(channelId);
}

type Update = OperationInput<'channels.update'>;

/** Runs in the page. */
async function update(core: PageCore, { channelId, name, description, reactions }: Update): Promise<void> {
  const codes = { all: 0, basic: 1, none: 3 };
  const value = {
    ...(name === undefined ? {} : { name }),
    ...(description === undefined ? {} : { description }),
    ...(reactions === undefined ? {} : { reactionCodesSetting: codes[reactions] }),
  };
  const property = {
    ...(name === undefined ? {} : { editName: true }),
    ...(description === undefined ? {} : { editDescription: true }),
    ...(reactions === undefined ? {} : { editReactionCodesSetting: true }),
  };
  const edit = core.module('WAWebEditNewsletterMetadataAction').editNewsletterMetadataAction;
  const channel = await core.findChannel(channelId);
  await core.permitted(() => edit(channel, property, value));
}

/** Runs in the page. */
function isUpdated(core: PageCore, { channelId, name, description, reactions }: Update): boolean {
  const codes = { all: 0, basic: 1, none: 3 };
  const row = core.channelRow(core.requireChannel(channelId));
  return (
    (name === undefined || row.name === name) &&
    (description === undefined || (row.description ?? '') === description) &&
    (reactions === undefined || row.reactions === codes[reactions])
  );
}

/** Runs in the page. */
async function deleteChannel(core: PageCore, { channelId }: OfChannel): Promise<void> {
  const channel = core.requireChannel(channelId);
  await core.permitted(() => core.module('WAWebNewsletterDeleteAction').deleteNewsletterAction(channel));
}

/** Runs in the page. */
function isDeleted(core: PageCore, { channelId }: OfChannel): boolean {
  return !core.collections().WAWebNewsletterCollection.get(core.widOf(channelId));
}

/** Runs in the page. */
async function setFollowing(core: PageCore, { channelId, isFollowing }: Following): Promise<void> {
  const channel = await core.findChannel(channelId);
  const options = { eventSurface: 3, deleteLocalModels: true };
  const run = isFollowing
    ? core.module('WAWebNewsletterSubscribeAction').subscribeToNewsletterAction
    : core.module('WAWebNewsletterUnsubscribeAction').unsubscribeFromNewsletterAction;
  await core.permitted(() => run(channel, options));
}

/** Runs in the page. The page may no longer have a channel that is not followed any more. */
function isFollowed(core: PageCore, { channelId, isFollowing }: Following): boolean {
  const channel = core.collections().WAWebNewsletterCollection.get(core.widOf(channelId));
  const role = channel ? core.channelRow(channel).role : 'guest';
  return isFollowing === ['subscriber', 'admin', 'owner'].includes(String(role));
}

/** Runs in the page. */
async function setMuted(core: PageCore, { channelId, isMuted }: Muting): Promise<void> {
  const { toNewsletterJid } = core.moduleIfAny('WAJids') ?? {};
  const types = core.moduleIfAny('WAWebNewsletterModelUtils') ?? {};
  const set = core.module('WAWebNewsletterUpdateUserSettingJob').updateNewsletterUserSetting;
  await core.permitted(() =>
    set({
      newsletterJid: toNewsletterJid ? toNewsletterJid(channelId) : channelId,
      type: types.ADMIN_NOTIFICATIONS,
      muteExpirationValue: isMuted ? (types.MUTED_STATE ?? -1) : (types.UNMUTED_STATE ?? 0),
    }),
  );
}

/** Runs in the page. */
function isMutedNow(core: PageCore, { channelId, isMuted }: Muting): boolean {
  return core.channelRow(core.requireChannel(channelId)).muted === isMuted;
}

interface Demotion extends OfChannel {
  contactId: string;
}

/** Runs in the page. Only the owner may demote others; an admin may demote itself. */
async function requireAdminThere(core: PageCore, { channelId, contactId }: Demotion): Promise<void> {
  const { role } = core.channelRow(await core.findChannel(channelId));
  const isSelf = core.me().some((id) => core.isSame(id, contactId));
  if (role !== 'owner' && !(isSelf && role === 'admin'))
    core.refuse('WHATSAPP_NOT_PERMITTED', { channelId, reason: 'Only the owner of a channel demotes its admins.' });
  if (!(await core.person(contactId))) core.refuse('CONTACT_NOT_FOUND', { contactId });
  const admins = await core.channelAdmins(channelId);
  if (admins && !admins.some((id) => core.isSame(id, contactId)))
    core.refuse('CONTACT_NOT_FOUND', { contactId, reason: 'This contact is not an admin of the channel.' });
}

/** Runs in the page. Builds differ in what the module exports. The released library looks for each function in the wrong one of two modules. */
async function demote(core: PageCore, { channelId, contactId }: Demotion): Promise<void> {
  const channel = core.requireChannel(channelId);
  const wid = core.widOf(contactId);
  const action = core.module('WAWebDemoteNewsletterAdminAction').demoteNewsletterAdminAction;
  if (action) {
    const contact = await core.collections().Contact.find(wid);
    await core.permitted(() => action(channel, contact));
  } else {
    const job = core.module('WAWebDemoteNewsletterAdminAction').demoteNewsletterAdmin;
    await core.permitted(() => job(channelId, wid));
  }
}

/** Runs in the page. */
async function isDemoted(core: PageCore, { channelId, contactId }: Demotion): Promise<boolean> {
  const admins = await core.channelAdmins(channelId);
  return admins !== null && !admins.some((id) => core.isSame(id, contactId));
}
