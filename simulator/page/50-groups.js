// Groups and their members.
class GroupModel extends Model {
  #participants = new Collection(Model);
  #requests = new Collection(Model);
  get participants() {
    return this.#participants;
  }
  get membershipApprovalRequests() {
    return this.#requests;
  }
  take({ participants, requests }) {
    this.#participants = new Collection(Model);
    for (const { id, isAdmin, isSuperAdmin } of participants)
      this.#participants.add(new Model({ id: createWid(id), isAdmin, isSuperAdmin }), { silent: true });
    this.#requests = new Collection(Model);
    for (const { id, t } of requests)
      this.#requests.add(new Model({ id: createWid(id), addedBy: null, requestMethod: 'InviteLink', t }), { silent: true });
  }
  /** The groups of a community that the account is in. */
  get joinedSubgroups() {
    return GroupMetadata.filter((one) => String(one.parentGroup) === String(this.id) && myPart(one)).map(({ id }) => id);
  }
  serialize() {
    return { ...super.serialize(), participants: this.participants.serialize() };
  }
}
const GroupMetadata = new Collection(GroupModel);
/** After the account has left a group or was removed, the page keeps what it knew about it. */
GroupMetadata.update = async (wid) => {
  try {
    return applyGroup(await line.request('group_get', { id: String(wid) }));
  } catch (error) {
    if (GroupMetadata.get(wid)) return GroupMetadata.get(wid);
    throw error;
  }
};

function applyGroup(group) {
  const model = GroupMetadata.get(group.id) ?? GroupMetadata.add(new GroupModel({ id: createWid(group.id) }));
  model.take(group);
  return model.set({
    subject: group.subject,
    desc: group.desc ?? undefined,
    descId: group.descId ?? undefined,
    owner: createWid(group.owner),
    creation: group.creation,
    announce: group.announce,
    restrict: group.restrict,
    memberAddMode: group.memberAddMode,
    membershipApprovalMode: group.approval,
    isLidAddressingMode: group.lidAddressing,
    ephemeralDuration: group.ephemeral ?? 0,
    isParentGroup: group.isCommunity ?? false,
    parentGroup: group.parent ? createWid(group.parent) : undefined,
    defaultSubgroup: group.isAnnouncements ?? false,
    terminated: group.terminated ?? false,
  });
}
const myPart = (metadata) => metadata?.participants.get(me.pn) ?? metadata?.participants.get(me.lid);
const mayEdit = (wid) => {
  const metadata = GroupMetadata.get(wid);
  const mine = myPart(metadata);
  return Boolean(mine && (!metadata.restrict || mine.isAdmin));
};

async function ask(op, wid, d) {
  const answer = await line.request(op, { id: String(wid), ...d });
  await GroupMetadata.update(wid);
  return answer;
}
// An empty list has no effect and causes no error, in every build.
const change = (how) => async (chat, list) =>
  list.length === 0 ? [] : ask('group_change', chat.id, { how, participants: list.map((one) => String(one.id ?? one)) });
__d('WAWebModifyParticipantsGroupAction', () => ({
  removeParticipants: change('remove'),
  promoteParticipants: change('promote'),
  demoteParticipants: change('demote'),
}));
__d('WAWebGroupQueryJob', () => ({
  queryAndUpdateGroupMetadataById: async ({ id }) => applyGroup(await line.request('group_get', { id: String(createWid(id)) })),
  resetGroupInviteCode: async (wid) => ({ code: await line.request('group_revoke', { id: String(wid) }) }),
  async queryGroupInvite(code) {
    const { participants, requests: _, ...group } = await line.request('group_info', { code });
    return {
      ...group,
      id: createWid(group.id),
      owner: createWid(group.owner),
      membershipApprovalMode: group.approval,
      ephemeralDuration: group.ephemeral ?? 0,
      participants: participants.map(({ id, ...role }) => ({ id: createWid(id), ...role })),
      size: participants.length,
    };
  },
}));
__d('WAWebMexFetchGroupInviteCodeJob', () => ({
  fetchMexGroupInviteCode: (id) => line.request('group_invite', { id: String(id) }),
}));
const joined = async (id) => {
  await GroupMetadata.update(createWid(id));
  ensureChat(id);
  return { gid: createWid(id) };
};
__d('WAWebGroupInviteJob', () => ({
  async joinGroupViaInvite(code, membershipApprovalMode) {
    const { id, joined: isIn } = await line.request('group_join', { code });
    if (isIn) return joined(id);
    // The request is filed, and without the flag the page reads the answer as that of a group without approval.
    if (lazy && !membershipApprovalMode) throw new TypeError("Cannot read properties of undefined (reading 'gid')");
    return { gid: createWid(id) };
  },
}));
__d('WAWebGroupInviteV4Job', () => ({
  joinGroupViaInviteV4: async (code, expires, groupId) =>
    joined(await line.request('group_join_invited', { id: String(groupId), code })),
}));
const GROUP_SETTING_TYPE = {
  ANNOUNCEMENT: 'announcement',
  RESTRICT: 'restrict',
  EPHEMERAL: 'ephemeral',
  MEMBERSHIP_APPROVAL_MODE: 'membership_approval_mode',
};
__d('WAWebGroupConstants', () => ({ GROUP_SETTING_TYPE }));
__d('WAWebGroupModifyInfoJob', () => ({
  setGroupSubject: (wid, subject) => ask('group_subject', wid, { subject }),
  setGroupProperty(wid, type, value) {
    if (type === GROUP_SETTING_TYPE.MEMBERSHIP_APPROVAL_MODE)
      return ask('group_set', wid, { settings: { approval: Boolean(value) } });
    if (type === GROUP_SETTING_TYPE.ANNOUNCEMENT) return ask('group_set', wid, { settings: { announce: Boolean(value) } });
    if (type === GROUP_SETTING_TYPE.RESTRICT) return ask('group_set', wid, { settings: { restrict: Boolean(value) } });
    throw new r(`unknown group property ${type}`, 400);
  },
  setEphemeralGroupProperty: ({ ephemeralExpiration, groupWid }) =>
    ask('group_set', groupWid, { settings: { ephemeral: Number(ephemeralExpiration) } }),
  setGroupDescription(...given) {
    if (newest && !(given[0] && 'groupWid' in given[0]))
      throw new TypeError("Cannot read properties of undefined (reading 'toJid')");
    const { groupWid, desc, newDescId } = newest ? given[0] : { groupWid: given[0], desc: given[1], newDescId: given[2] };
    return ask('group_desc', groupWid, { desc, descId: String(newDescId) });
  },
}));
const settingOf = {
  announcement: (value) => ({ announce: Boolean(value) }),
  restrict: (value) => ({ restrict: Boolean(value) }),
  member_add_mode: (value) => ({ memberAddMode: value ? 'all_member_add' : 'admin_add' }),
};
__d('WAWebSetPropertyGroupAction', () => ({
  setGroupProperty(chat, name, value) {
    if (!settingOf[name]) throw new r(`unknown group property ${name}`, 400);
    return ask('group_set', chat.id, { settings: settingOf[name](value) });
  },
}));
// Communities. The groups that the account is not in are in a collection of their own.
const UnjoinedSubgroups = new Collection(Model);
__d('WAWebUnjoinedSubgroupMetadataCollection', () => ({ default: UnjoinedSubgroups }));
__d('WAWebQuerySubGroupAction', () => ({
  async queryAndUpdateSubgroupsMetadata(wid) {
    const groups = await line.request('community_groups', { id: String(wid) });
    for (const { id } of UnjoinedSubgroups.filter((one) => String(one.parentGroupId) === String(wid)))
      UnjoinedSubgroups.remove(id);
    for (const { id, subject, isAnnouncements, isMember } of groups)
      if (!isMember)
        UnjoinedSubgroups.add({
          id: createWid(id),
          subject,
          defaultSubgroup: isAnnouncements,
          parentGroupId: createWid(String(wid)),
        });
  },
}));
// WhatsApp answers for each group, and the page learns of the change from the notice in the group.
async function moveSubgroups(op, { parentGroupId, subgroupIds }, done) {
  const results = await line.request(op, { id: String(parentGroupId), groups: subgroupIds.map(String) });
  return {
    [done]: results.filter(({ code }) => code === 200).map(({ id }) => id),
    failedGroups: results.filter(({ code }) => code !== 200).map(({ id, code }) => ({ jid: id, error: code })),
  };
}
/** The page keeps nothing of a community that was left or deactivated, and its own groups as they were. */
line.on('community_gone', ({ id }) => {
  const chat = Chat.get(id);
  for (const msg of chat?.msgs.getModelsArray() ?? []) drop(msg);
  Chat.remove(id);
  GroupMetadata.remove(id);
});
/** The address of a group, as the page's own functions read it: of a text it throws. */
const groupJid = (wid) => {
  if (!(wid instanceof Wid) || !wid.isGroup()) throw new TypeError('widToGroupJid: not the id of a group');
  return String(wid);
};
__d('WAWebGroupCommunityJob', () => ({
  async sendCreateCommunity({ name, desc }) {
    const { id, creation } = await line.request('community_create', { subject: name, desc });
    return { wid: createWid(id), subject: name, creator: me.pn, ts: creation };
  },
  async sendDeactivateCommunity({ parentGroupId }) {
    const id = groupJid(parentGroupId);
    await line.request('community_deactivate', { id });
    return { parent_group_jid: id };
  },
  sendLinkSubgroups: async (given) => ({
    ...(await moveSubgroups('community_link', given, 'linkedGroupJids')),
    failedParticipantJids: [],
  }),
  sendUnlinkSubgroups: (given) => moveSubgroups('community_unlink', given, 'unlinkedGroupJids'),
}));
__d('WAWebGroupExitJob', () => ({
  async leaveCommunity(wid) {
    await line.request('community_leave', { id: groupJid(wid) });
    return { id: wid, code: 200 };
  },
}));
__d('WAWebExitGroupAction', () => ({ sendExitGroup: (chat) => ask('group_leave', chat.id, {}) }));
// Since 2026-09 each participant needs both ids. Only this function of the page puts them together.
if (newest)
  __d('WAWebGroupMutationParticipantUtils', () => ({
    getGroupMutationParticipant({ id }) {
      const lid = id.isLid() ? id : lidOf(id);
      if (!lid) throw new r('Lid is missing in chat table', 400);
      return { lid, phoneNumber: id.isLid() ? phoneOf(id) : id };
    },
  }));
__d('WAWebGroupCreateJob', () => ({
  async createGroup(
    { title, announce, restrict, memberAddMode, membershipApprovalMode, ephemeralDuration, addressingModeOverride },
    participants,
    outContactWids,
  ) {
    if (refusedByBuild() && participants.some(({ lid }) => !lid)) throw new TypeError('this.findImpl is not a function');
    const { group, results } = await line.request('group_create', {
      subject: title,
      participants: participants.map(({ phoneNumber, lid }) => String(phoneNumber ?? lid)),
      settings: {
        announce,
        restrict,
        memberAddMode: memberAddMode ? 'admin_add' : 'all_member_add',
        approval: membershipApprovalMode,
        ephemeral: ephemeralDuration,
        lidAddressing: addressingModeOverride === 'lid' && newest,
      },
    });
    applyGroup(group);
    ensureChat(group.id);
    // The server has the group already: an error from here on leaves it behind.
    if (lazy && !outContactWids) throw new TypeError("Cannot read properties of undefined (reading 'map')");
    return {
      wid: createWid(group.id),
      subject: group.subject,
      participants: [
        { wid: group.lidAddressing ? me.lid : me.pn, type: 'superadmin' },
        ...results.map(({ id, code, inviteCode, inviteExpires }) => ({
          wid: createWid(id),
          ...(code === 200 ? {} : { error: code }),
          invite_code: inviteCode,
          invite_code_exp: inviteExpires,
        })),
      ],
    };
  },
}));

const addResult = ({ code, inviteCode, inviteExpires }) => {
  if (code === 200) return null;
  const value = { error: String(code), addRequestCode: inviteCode, addRequestExpiration: inviteExpires };
  return { name: code === 403 ? 'ParticipantRequestCodeCanBeSent' : 'ParticipantNotAdded', value };
};
const fromJid = (jid) => String(jid).replace('s.whatsapp.net', 'c.us');
__d('WASmaxGroupsAddParticipantsRPC', () => ({
  async sendAddParticipantsRPC({ participantArgs, iqTo }) {
    const [{ participantJid }] = participantArgs;
    try {
      const [result] = await ask('group_change', createWid(iqTo), { how: 'add', participants: [fromJid(participantJid)] });
      return {
        name: 'AddParticipantsResponseSuccess',
        value: {
          addParticipant: [
            {
              addParticipantsParticipantAddedOrNonRegisteredWaUserParticipantErrorLidResponseMixinGroup: {
                value: { addParticipantsParticipantMixins: addResult(result) },
              },
            },
          ],
        },
      };
    } catch (error) {
      return {
        name: 'AddParticipantsResponseClientError',
        value: { addParticipant: [], errorAddParticipantsClientErrors: { value: { code: String(error.status) } } },
      };
    }
  },
}));
__d('WAWebApiMembershipApprovalRequestStore', () => ({
  async getMembershipApprovalRequests(wid) {
    const metadata = await GroupMetadata.update(wid);
    return metadata.membershipApprovalRequests.serialize();
  },
}));
__d('WASmaxGroupsMembershipRequestsActionRPC', () => ({
  async sendMembershipRequestsActionRPC({ iqTo, approveArgs, rejectArgs }) {
    const approve = approveArgs !== undefined;
    const participants = (approveArgs ?? rejectArgs).participantArgs.map(({ participantJid }) => fromJid(participantJid));
    try {
      const results = await line.request('group_decide', { id: iqTo, participants, approve });
      const participant = results.map(({ id, code }) => ({
        jid: id,
        [`membershipRequestsAction${approve ? 'Accept' : 'Reject'}ParticipantMixins`]:
          code === 200 ? null : { value: { error: String(code) } },
      }));
      return {
        name: 'MembershipRequestsActionResponseSuccess',
        value: { [`membershipRequestsAction${approve ? 'Approve' : 'Reject'}`]: { participant } },
      };
    } catch {
      return { name: 'MembershipRequestsActionResponseClientError', value: {} };
    }
  },
}));
