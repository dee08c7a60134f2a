import type { OperationInput } from '@chasqui/shared';
import type { ChannelRow, Need, PageCore } from '../page/world.js';
import { change } from './change.js';
import { createChannel } from './channel-create.js';
import { channelPictureMark, deletePicture, picturing, setPicture } from './channel-pictures.js';
import { channelResource, readChannel } from './channel-rows.js';
import { need, needEither, read, type ChangeHandler, type OperationHandlers } from './context.js';
import { readFileOf } from './file.js';
import { findingPeople } from './group-people.js';
import { showsNewPicture, showsNoPicture } from './pictures.js';
import { seenMessages } from './seen-messages.js';

const previewing = need('WAWebLoadNewsletterPreviewChatAction', 'loadNewsletterPreviewChat');
const subscribing = need('WAWebNewsletterSubscribeAction', 'subscribeToNewsletterAction');
const unsubscribing = need('WAWebNewsletterUnsubscribeAction', 'unsubscribeFromNewsletterAction');

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
    async run({ channelId: text }, context) {
      const { channelId, code } = refOf(text);
      return readChannel(channelId ?? (await context.inPage(idOfInvite, { code: code! })), context);
    },
  }),
  'channels.messages': read('channels.messages', {
    needs: [need('WAWebChatLoadMessages', 'loadEarlierMsgs'), previewing],
    async run({ channelId, limit }, { inPage, identities }) {
      return seenMessages(await inPage(posts, { channelId, limit }), identities);
    },
  }),
  'channels.create': createChannel,
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
  'channels.follow': following('channels.follow', true, subscribing, follow),
  'channels.unfollow': following('channels.unfollow', false, unsubscribing, unfollow),
  'channels.mute': muting('channels.mute', true),
  'channels.unmute': muting('channels.unmute', false),
  'channels.demoteAdmin': change('channels.demoteAdmin', {
    needs: [
      // Builds differ in which of both functions the module has. The released library looks for each function in the wrong one of two modules.
      needEither(
        need('WAWebDemoteNewsletterAdminAction', 'demoteNewsletterAdminAction'),
        need('WAWebDemoteNewsletterAdminAction', 'demoteNewsletterAdmin'),
      ),
      findingPeople,
    ],
    prepare: ({ channelId, contactId }) => ({ channelId, contactId }),
    before: requireAdminThere,
    act: demote,
    effect: isDemoted,
    done: async () => ({ demoted: true as const }),
  }),
};

function following<Id extends 'channels.follow' | 'channels.unfollow'>(
  id: Id,
  isFollowing: boolean,
  needed: Need,
  act: (core: PageCore, given: Following) => Promise<void>,
): ChangeHandler<Id> {
  const handler = change<'channels.follow' | 'channels.unfollow', Following, Promise<void>, Promise<void>>(id, {
    needs: [needed, previewing],
    prepare: ({ channelId }) => ({ channelId, isFollowing }),
    before: requireNotOwner,
    act,
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

/** Runs in the page. Returns the id of the channel that an invite code is for. */
async function idOfInvite(core: PageCore, { code }: { code: string }): Promise<string> {
  const role = core.moduleIfAny('WAWebNewsletterModelUtils')?.getRoleByIdentifier?.(code) ?? 'guest';
  const query = core.module('WAWebNewsletterMetadataQueryJob').queryNewsletterMetadataByInviteCode(code, role);
  const found = await query.catch((error: unknown) => {
    const status = (error as { status?: number } | undefined)?.status;
    if (status === 400 || status === 404) core.refuse('CHANNEL_NOT_FOUND', { code });
    throw error;
  });
  return core.idOf(found?.idJid) ?? core.refuse('CHANNEL_NOT_FOUND', { code });
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
async function follow(core: PageCore, { channelId }: Following): Promise<void> {
  const channel = await core.findChannel(channelId);
  const run = core.module('WAWebNewsletterSubscribeAction').subscribeToNewsletterAction;
  await core.permitted(() => run(channel, { eventSurface: 3, deleteLocalModels: true }));
}

/** Runs in the page. */
async function unfollow(core: PageCore, { channelId }: Following): Promise<void> {
  const channel = await core.findChannel(channelId);
  const run = core.module('WAWebNewsletterUnsubscribeAction').unsubscribeFromNewsletterAction;
  await core.permitted(() => run(channel, { eventSurface: 3, deleteLocalModels: true }));
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

/** Runs in the page. */
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
