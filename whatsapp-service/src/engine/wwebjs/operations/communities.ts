import type { CommunityResource, OperationInput } from '@chasqui/shared';
import type { GroupRow, NewGroupSearch, PageCore, SubgroupRow } from '../page/world.js';
import { isoOf } from '../time.js';
import { change } from './change.js';
import { need, read, type OperationContext, type OperationHandlers } from './context.js';

const reading = [
  need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById'),
  need('WAWebQuerySubGroupAction', 'queryAndUpdateSubgroupsMetadata'),
];

/** WhatsApp answers for each group; a group that it did not link has an error code. */
const refusalOf = (code: number | null): string | null => (code === null ? null : `WhatsApp answered ${code} for this group.`);

/** The same for leaving. With 500 or more WhatsApp may have left a part of the groups, so that is no refusal. */
const leaveRefusalOf = (code: number): string | null =>
  code >= 400 && code < 500 ? `WhatsApp answered ${code} for this community.` : null;

/** What linking a group and unlinking one have in common. */
const ofGroup = {
  prepare: ({ communityId, groupId }: GroupIn) => ({ communityId, groupId }),
  refusal: refusalOf,
  done: ({ communityId }: GroupIn, context: OperationContext) => readCommunity(communityId, context),
};

export const communities: OperationHandlers<'communities'> = {
  'communities.list': read('communities.list', {
    needs: [need('WAWebCollections', 'Chat.getModelsArray')],
    run: async (_input, { inPage }) => (await inPage(communityRows)).map((row) => communityResource(row, null)),
  }),
  'communities.get': read('communities.get', {
    needs: reading,
    run: ({ communityId }, context) => readCommunity(communityId, context),
  }),
  'communities.create': change('communities.create', {
    needs: [need('WAWebGroupCommunityJob', 'sendCreateCommunity'), ...reading],
    prepare: ({ name, description }) => ({ name, description: description ?? '' }),
    before: beforeCreation,
    act: create,
    effect: exists,
    async done(_input, context, { given, before, result }) {
      return readCommunity((await context.inPage(createdCommunity, given, before, result))!, context);
    },
  }),
  'communities.deactivate': change('communities.deactivate', {
    needs: [need('WAWebGroupCommunityJob', 'sendDeactivateCommunity'), ...reading],
    prepare: ({ communityId }) => ({ communityId }),
    before: mayDeactivate,
    act: deactivate,
    effect: isDeactivated,
    done: async ({ communityId }) => ({ id: communityId, deactivated: true as const }),
  }),
  'communities.leave': change('communities.leave', {
    needs: [need('WAWebGroupExitJob', 'leaveCommunity'), ...reading],
    prepare: ({ communityId }) => ({ communityId }),
    before: mayLeave,
    act: leave,
    refusal: leaveRefusalOf,
    effect: hasLeft,
    done: async () => ({ left: true as const }),
  }),
  'communities.linkGroup': change('communities.linkGroup', {
    needs: [need('WAWebGroupCommunityJob', 'sendLinkSubgroups'), ...reading],
    ...ofGroup,
    before: mayLink,
    act: link,
    effect: isLinked,
  }),
  'communities.unlinkGroup': change('communities.unlinkGroup', {
    needs: [need('WAWebGroupCommunityJob', 'sendUnlinkSubgroups'), ...reading],
    ...ofGroup,
    before: mayUnlink,
    act: unlink,
    effect: isUnlinked,
  }),
};

interface OfCommunity {
  communityId: string;
}
interface New {
  name: string;
  description: string;
}
type GroupIn = Pick<OperationInput<'communities.linkGroup'>, 'communityId' | 'groupId'>;

async function readCommunity(communityId: string, { inPage }: OperationContext): Promise<CommunityResource> {
  const { row, groups } = await inPage(freshCommunity, communityId);
  return communityResource(row, groups);
}

function communityResource(row: GroupRow, groups: SubgroupRow[] | null): CommunityResource {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    createdAt: row.creation ? isoOf(row.creation) : null,
    role: row.role,
    picture: row.picture,
    announcementsGroupId: row.announcements,
    ...(groups ? { groups } : {}),
  };
}

/** Runs in the page. The communities of the account, without a request to WhatsApp. */
function communityRows(core: PageCore): GroupRow[] {
  const chats: { id: unknown }[] = core.collections().Chat.getModelsArray();
  return chats
    .filter((chat) => /@g\.us$/.test(core.serialized(chat.id)))
    .map((chat) => core.groupRow(chat, false))
    .filter(({ isCommunity, role }) => isCommunity && role !== null);
}

/** Runs in the page. The picture is asked for at most two seconds; without an answer it is unknown. */
async function freshCommunity(core: PageCore, communityId: string): Promise<{ row: GroupRow; groups: SubgroupRow[] }> {
  const chat = await core.requireGroup(communityId);
  if (!core.groupRow(chat, false).isCommunity)
    core.refuse('GROUP_NOT_FOUND', { groupId: communityId, reason: 'This group is not a community.' });
  const groups = await core.subgroups(communityId);
  await core.askPicture(chat.id);
  const row = core.groupRow(chat, false);
  return {
    row: { ...row, announcements: groups.find(({ isAnnouncements }) => isAnnouncements)?.id ?? row.announcements },
    groups,
  };
}

/** Runs in the page. */
function beforeCreation(core: PageCore, { name }: New): NewGroupSearch {
  return core.beforeNewGroup(name, { isCommunity: true });
}

/** Runs in the page. Returns the id. WhatsApp's own page creates communities as `closed` too. */
async function create(core: PageCore, { name, description }: New): Promise<string | null> {
  const created = await core.module('WAWebGroupCommunityJob').sendCreateCommunity({ name, desc: description, closed: true });
  return core.idOf(created?.wid);
}

/** Runs in the page. Whether the account owns the community and is in its group of announcements, which WhatsApp creates. */
async function exists(core: PageCore, _given: New, before: NewGroupSearch, created: string | null): Promise<boolean> {
  const id = created ?? core.newGroup(before);
  if (!id) return false;
  const row = core.groupRow(await core.readGroup(id), false);
  if (!row.isCommunity || row.role !== 'owner') return false;
  return (await core.subgroups(id)).some(({ isAnnouncements, isMember }) => isAnnouncements && isMember);
}

/** Runs in the page. Returns the id of the community that `exists` saw. */
function createdCommunity(core: PageCore, _given: New, before: NewGroupSearch, created: string | null): string | null {
  return created ?? core.newGroup(before);
}

/** Runs in the page. Returns the groups of the community that the account is in, with the announcements. */
async function mayDeactivate(core: PageCore, { communityId }: OfCommunity): Promise<string[]> {
  const row = core.groupRow(await core.requireGroup(communityId), false);
  if (!row.isCommunity) core.refuse('GROUP_NOT_FOUND', { groupId: communityId, reason: 'This group is not a community.' });
  if (row.role !== 'owner')
    core.refuse('WHATSAPP_NOT_PERMITTED', { communityId, reason: 'Only the owner of a community can deactivate it.' });
  return (await core.subgroups(communityId)).filter(({ isMember }) => isMember).map(({ id }) => id);
}

/** Runs in the page. */
async function deactivate(core: PageCore, { communityId }: OfCommunity): Promise<void> {
  await core.module('WAWebGroupCommunityJob').sendDeactivateCommunity({ parentGroupId: core.widOf(communityId) });
}

/**
 * Runs in the page. An account that an admin removed meanwhile does not see the community either, so none of its groups may be in the community any
 * more. Only groups that the page still shows there are read.
 */
async function isDeactivated(core: PageCore, { communityId }: OfCommunity, groups: string[]): Promise<boolean> {
  const community = await core.readOwnGroup(communityId);
  if (community && core.groupRow(community, false).isCommunity) return false;
  const isInCommunity = (id: string): boolean => {
    const chat = core.chatOf(id);
    return chat !== null && core.groupRow(chat, false).parent === communityId;
  };
  for (const id of groups.filter(isInCommunity)) {
    await core.readGroup(id);
    if (isInCommunity(id)) return false;
  }
  return true;
}

/** Runs in the page. Returns the groups of the community that the account is in, with the announcements. */
async function mayLeave(core: PageCore, { communityId }: OfCommunity): Promise<string[]> {
  const row = core.groupRow(await core.requireGroup(communityId), false);
  if (!row.isCommunity) core.refuse('GROUP_NOT_FOUND', { groupId: communityId, reason: 'This group is not a community.' });
  if (row.role === 'owner')
    core.refuse('WHATSAPP_NOT_PERMITTED', {
      communityId,
      reason: 'The owner of a community cannot leave it. Deactivate the community instead.',
    });
  return (await core.subgroups(communityId)).filter(({ isMember }) => isMember).map(({ id }) => id);
}

/** Runs in the page. Returns WhatsApp's code. The action of WhatsApp's own page does the same, and opens a dialog if it is refused. */
async function leave(core: PageCore, { communityId }: OfCommunity): Promise<number> {
  const answer = await core.module('WAWebGroupExitJob').leaveCommunity(core.widOf(communityId));
  return Number(answer?.code ?? 200);
}

/** Runs in the page. Whether the account is in neither the community nor its groups. Only groups in which the page still shows it are read. */
async function hasLeft(core: PageCore, { communityId }: OfCommunity, groups: string[]): Promise<boolean> {
  const isIn = (id: string): boolean => {
    const chat = core.chatOf(id);
    return chat !== null && core.groupRow(chat, false).role !== null;
  };
  for (const id of [communityId, ...groups].filter(isIn)) if (await core.readOwnGroup(id)) return false;
  return true;
}

/** Runs in the page. Refuses what WhatsApp would refuse, and a group of another community. */
async function mayLink(core: PageCore, { communityId, groupId }: GroupIn): Promise<void> {
  const community = core.groupRow(await core.requireGroup(communityId, 'admin'), false);
  if (!community.isCommunity) core.refuse('GROUP_NOT_FOUND', { groupId: communityId, reason: 'This group is not a community.' });
  const group = core.groupRow(await core.requireGroup(groupId, 'admin'), false);
  if (group.isCommunity) core.refuse('WHATSAPP_NOT_PERMITTED', { groupId, reason: 'A community cannot be in a community.' });
  if (group.parent !== null && group.parent !== communityId)
    core.refuse('WHATSAPP_NOT_PERMITTED', { groupId, reason: 'The group is in another community.' });
}

/** Runs in the page. Returns the code with which WhatsApp refused the group. Null: it did not. */
async function link(core: PageCore, { communityId, groupId }: GroupIn): Promise<number | null> {
  if (core.groupRow(core.chatOf(groupId), false).parent === communityId) return null;
  const answer = await core.module('WAWebGroupCommunityJob').sendLinkSubgroups({
    parentGroupId: core.widOf(communityId),
    subgroupIds: [core.widOf(groupId)],
  });
  const failed: { error?: unknown }[] = answer?.failedGroups ?? [];
  return failed.length > 0 ? Number(failed[0]!.error) : null;
}

/** Runs in the page. */
async function isLinked(core: PageCore, { communityId, groupId }: GroupIn): Promise<boolean> {
  return core.groupRow(await core.readGroup(groupId), false).parent === communityId;
}

/** Runs in the page. An admin of the community takes any group out, except the announcements. */
async function mayUnlink(core: PageCore, { communityId, groupId }: GroupIn): Promise<void> {
  const community = core.groupRow(await core.requireGroup(communityId, 'admin'), false);
  if (!community.isCommunity) core.refuse('GROUP_NOT_FOUND', { groupId: communityId, reason: 'This group is not a community.' });
  const group = (await core.subgroups(communityId)).find(({ id }) => id === groupId);
  if (!group) core.refuse('GROUP_NOT_FOUND', { groupId, reason: 'The group is not in this community.' });
  else if (group.isAnnouncements)
    core.refuse('WHATSAPP_NOT_PERMITTED', { groupId, reason: 'A community keeps its group of announcements.' });
}

/** Runs in the page. Returns the code with which WhatsApp refused the group. Null: it did not. */
async function unlink(core: PageCore, { communityId, groupId }: GroupIn): Promise<number | null> {
  const answer = await core.module('WAWebGroupCommunityJob').sendUnlinkSubgroups({
    parentGroupId: core.widOf(communityId),
    subgroupIds: [core.widOf(groupId)],
    removeOrphanMembers: false,
  });
  const failed: { error?: unknown }[] = answer?.failedGroups ?? [];
  return failed.length > 0 ? Number(failed[0]!.error) : null;
}

/** Runs in the page. A group of the account is read itself: the page may still show the community's list of before. */
async function isUnlinked(core: PageCore, { communityId, groupId }: GroupIn): Promise<boolean> {
  const chat = core.chatOf(groupId);
  if (chat && core.groupRow(chat, false).role !== null)
    return core.groupRow(await core.readGroup(groupId), false).parent !== communityId;
  return !(await core.subgroups(communityId)).some(({ id }) => id === groupId);
}
