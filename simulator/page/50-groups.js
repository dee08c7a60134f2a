// Groups.
async function changeParticipants(how, chat, participants) {
  const results = await line.request('group_change', {
    id: String(chat.id),
    how,
    participants: participants.map((participant) => String(participant.id ?? participant)),
  });
  await GroupMetadata.update(chat.id);
  return results;
}
__d('WAWebModifyParticipantsGroupAction', () => ({
  // An empty list is taken without a word, and nothing happens: the phantom success of every build.
  removeParticipants: async (chat, list) => (list.length ? changeParticipants('remove', chat, list) : []),
  promoteParticipants: async (chat, list) => (list.length ? changeParticipants('promote', chat, list) : []),
  demoteParticipants: async (chat, list) => (list.length ? changeParticipants('demote', chat, list) : []),
}));
__d('WAWebGroupQueryJob', () => ({
  queryAndUpdateGroupMetadataById: async ({ id }) => GroupMetadata.update(createWid(id)),
  resetGroupInviteCode: async (wid) => ({ code: await line.request('group_revoke', { id: String(wid) }) }),
  queryGroupInvite: async (code) => {
    const { participants, ...group } = await line.request('group_info', { code });
    return {
      id: createWid(group.id),
      subject: group.subject,
      owner: createWid(group.owner),
      creation: group.creation,
      desc: group.desc,
      size: participants.length,
    };
  },
}));
__d('WAWebMexFetchGroupInviteCodeJob', () => ({
  fetchMexGroupInviteCode: (id) => line.request('group_invite', { id: String(id) }),
}));
__d('WAWebGroupInviteJob', () => ({
  joinGroupViaInvite: async (code) => ({ gid: createWid(await line.request('group_join', { code })) }),
}));
__d('WAWebGroupModifyInfoJob', () => ({
  setGroupSubject: async (wid, subject) => {
    await line.request('group_subject', { id: String(wid), subject });
    await GroupMetadata.update(wid);
  },
  setGroupDescription: async (...given) => {
    if (newest && !(given[0] && 'groupWid' in given[0]))
      throw new TypeError("Cannot read properties of undefined (reading 'toJid')");
    const { groupWid, desc, newDescId } = newest ? given[0] : { groupWid: given[0], desc: given[1], newDescId: given[2] };
    await line.request('group_desc', { id: String(groupWid), desc, descId: String(newDescId) });
    await GroupMetadata.update(groupWid);
  },
}));
__d('WAWebSetPropertyGroupAction', () => ({
  async setGroupProperty(chat, name, value) {
    const names = { announcement: 'announce', restrict: 'restrict', member_add_mode: 'memberAddMode' };
    await line.request('group_property', {
      id: String(chat.id),
      name: names[name] ?? name,
      value: name === 'member_add_mode' ? (value ? 'admin_add' : 'all_member_add') : Boolean(value),
    });
    await GroupMetadata.update(chat.id);
  },
}));
__d('WAWebExitGroupAction', () => ({ sendExitGroup: (chat) => line.request('group_leave', { id: String(chat.id) }) }));
__d('WAWebGroupCreateJob', () => ({
  async createGroup({ title }, participants) {
    if (!options.groupsWork) throw new TypeError('this.findImpl is not a function');
    const group = await line.request('group_create', {
      subject: title,
      participants: participants.map(({ phoneNumber, lid }) => String(phoneNumber ?? lid)),
    });
    applyGroup(group);
    ensureChat(group.id);
    return {
      wid: createWid(group.id),
      participants: group.participants.map(({ id }) => ({ userWid: createWid(id), error: '200' })),
    };
  },
}));
__d('WASmaxGroupsAddParticipantsRPC', () => ({
  async sendAddParticipantsRPC({ participantArgs, iqTo }) {
    const [{ participantJid }] = participantArgs;
    const [result] = await line.request('group_change', {
      id: iqTo,
      how: 'add',
      participants: [String(participantJid).replace('s.whatsapp.net', 'c.us')],
    });
    return {
      name: 'AddParticipantsResponseSuccess',
      value: {
        addParticipant: [
          {
            addParticipantsParticipantAddedOrNonRegisteredWaUserParticipantErrorLidResponseMixinGroup: {
              value: { addParticipantsParticipantMixins: result.code === 200 ? null : { value: { error: String(result.code) } } },
            },
          },
        ],
      },
    };
  },
}));
