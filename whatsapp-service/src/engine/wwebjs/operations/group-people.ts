/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { OperationIdOf, ParticipantResult } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, type ChangeHandler, type OperationContext } from './context.js';

type Changing = 'groups.remove' | 'groups.promote' | 'groups.demote';
type Handlers = { [Id in Changing | 'groups.add']: ChangeHandler<Id & OperationIdOf<'groups'>> };
const reading = need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById');
/** What finding people by any of their ids needs. */
export const findingPeople = need('WAWebQueryExistsJob', 'queryWidExists');
/** What invitations to people need who cannot be added. */
export const inviting = [
  findingPeople,
  need('WAWebFindChatAction', 'findOrCreateLatestChat'),
  need('WAWebChatSendMessages', 'sendGroupInviteMessage'),
];

/** Changes who is in a group and who is an admin. Each participant has a result of its own, read from the group after the change. */
export const people: Handlers = {
  'groups.add': change('groups.add', {
    needs: [
      need('WASmaxGroupsAddParticipantsRPC', 'sendAddParticipantsRPC'),
      need('WAWebWidToJid', 'widToUserJid', 'widToGroupJid'),
      ...inviting,
      reading,
    ],
    prepare: ({ groupId, participants, sendInvitations, comment }) => ({
      groupId,
      people: [...new Set(participants)],
      sendInvitations,
      comment: comment ?? '',
    }),
    before: mayAdd,
    act: add,
    effect: areIn,
    partly: async (_input, context, { given, result }) => {
      const results = await addResults(given, result, context);
      return results.every(({ status }) => status === 'unknown') ? null : results;
    },
    done: (_input, context, { given, result }) => addResults(given, result, context),
  }),
  'groups.remove': changing('groups.remove', 'remove'),
  'groups.promote': changing('groups.promote', 'promote'),
  'groups.demote': changing('groups.demote', 'demote'),
};

/** The meaning of WhatsApp's codes for one participant. */
const meanings: Readonly<Record<number, string>> = {
  401: 'They have blocked the linked account.',
  403: 'Their privacy settings allow only an invitation.',
  404: 'The number is not registered on WhatsApp.',
  408: 'They left the group recently.',
  409: 'They are in the group already.',
  417: 'They cannot be added to this community.',
  419: 'The group is full.',
};
/** Returns the sentence for WhatsApp's code for one participant. */
export const meaningOf = (code: number): string => meanings[code] ?? `WhatsApp refused with code ${code}.`;

interface Added {
  asked: string;
  code: number;
  isInvited: boolean;
}
interface Adding {
  groupId: string;
  people: string[];
  sendInvitations: boolean;
  comment: string;
}
interface Change {
  groupId: string;
  people: string[];
  how: 'remove' | 'promote' | 'demote';
}
/** The role of a person in the group, as last read. Null: not in it. */
interface Membership {
  asked: string;
  role: ParticipantResult['role'];
}

function changing<Id extends Changing>(id: Id, how: Change['how']): ChangeHandler<Id> {
  return change<Changing, Change, Promise<Membership[]>, unknown>(id, {
    needs: [need('WAWebModifyParticipantsGroupAction', `${how}Participants`), findingPeople, reading],
    prepare: ({ groupId, participants }) => ({ groupId, people: [...new Set(participants)], how }),
    before: memberships,
    act: changeMembers,
    effect: isChanged,
    partly: async (_input, context, { given, before }) => {
      const results = await changeResults(given, before, context);
      return results.some(({ status }) => status === 'done') ? results : null;
    },
    done: (_input, context, { given, before }) => changeResults(given, before, context),
  }) as ChangeHandler<Id>;
}

/** Runs in the page. Refuses a member who is not an admin if only admins may add people. */
async function mayAdd(core: PageCore, { groupId }: Adding): Promise<void> {
  const row = core.groupRow(await core.requireGroup(groupId), false);
  if (row.addMembers === 'admins' && row.role === 'member') core.refuse('GROUP_ADMIN_REQUIRED', { groupId });
}

/** Runs in the page. Adds people one by one, because WhatsApp's answer for several people does not name them. */
async function add(core: PageCore, { groupId, people, sendInvitations, comment }: Adding): Promise<Added[]> {
  const chat = core.chatOf(groupId);
  const jids = core.module('WAWebWidToJid');
  const rpc = core.module('WASmaxGroupsAddParticipantsRPC');
  const ask = async (wid: any): Promise<{ code: number; isAnswer: boolean; invite?: any }> => {
    const participantArgs = [{ participantJid: jids.widToUserJid(wid) }];
    const answer = await rpc.sendAddParticipantsRPC({ participantArgs, iqTo: jids.widToGroupJid(chat.id) });
    if (!answer) throw new Error('WhatsApp Web gave no answer to the request to add somebody.');
    const { name, value } = answer;
    if (name !== 'AddParticipantsResponseSuccess') {
      const failure = value?.errorAddParticipantsClientErrors ?? value?.errorServerErrors;
      return { code: Number(failure?.value?.code ?? 400), isAnswer: false };
    }
    const mixin =
      value.addParticipant?.[0]?.addParticipantsParticipantAddedOrNonRegisteredWaUserParticipantErrorLidResponseMixinGroup;
    const error = mixin?.value?.addParticipantsParticipantMixins?.value;
    return { code: Number(error?.error ?? 200), isAnswer: true, invite: error };
  };
  const invite = async (wid: any, { addRequestCode, addRequestExpiration }: any): Promise<boolean> => {
    const { chat: to } = await core.module('WAWebFindChatAction').findOrCreateLatestChat(wid, 'createChat');
    const sent = await core
      .module('WAWebChatSendMessages')
      .sendGroupInviteMessage(to, groupId, chat.groupMetadata?.subject, addRequestCode, addRequestExpiration, comment, undefined);
    return sent?.messageSendResult === 'OK';
  };
  const added: Added[] = [];
  for (const asked of people) {
    const found = await core.person(asked);
    if (!found) {
      added.push({ asked, code: 404, isInvited: false });
      continue;
    }
    const { code, isAnswer, invite: given } = await ask(found.wid);
    // WhatsApp refused for the whole group, so it would refuse the other people too.
    if (!isAnswer && added.every(({ code: other }) => other === 404))
      throw Object.assign(new Error(`WhatsApp refused with code ${code}.`), { name: 'ServerStatusCodeError', status: code });
    const isInvited =
      code === 403 && sendInvitations && given?.addRequestCode ? await invite(found.wid, given).catch(() => false) : false;
    added.push({ asked, code, isInvited });
  }
  return added;
}

/** Runs in the page. Whether everyone whom WhatsApp did not refuse is in the group. */
async function areIn(core: PageCore, { groupId, people }: Adding, _before: unknown, added: Added[] | null): Promise<boolean> {
  const expected = added ? added.filter(({ code }) => [200, 409].includes(code)).map(({ asked }) => asked) : people;
  const chat = await core.readGroup(groupId);
  return expected.every((id) => core.memberOf(chat, id) !== null);
}

async function addResults(
  { groupId, people }: Adding,
  added: Added[] | null,
  context: OperationContext,
): Promise<ParticipantResult[]> {
  const shown = await context.inPage(memberships, { groupId, people });
  await context.identities.learn(people);
  return shown.map(({ asked, role }) => {
    const contact = context.identities.contact(asked);
    const answer = added?.find((one) => one.asked === asked);
    const code = answer?.code ?? null;
    if (role !== null) return { contact, role, status: 'done', code, message: code === 409 ? meaningOf(409) : null };
    if (answer?.isInvited) return { contact, role, status: 'invited', code, message: meaningOf(403) };
    if (code !== null && code !== 200) return { contact, role, status: 'refused', code, message: meaningOf(code) };
    return { contact, role, status: 'unknown', code, message: null };
  });
}

/** Runs in the page. Reads the group again and returns what it shows of these people. */
async function memberships(
  core: PageCore,
  { groupId, people, how }: Pick<Change, 'groupId' | 'people'> & Partial<Change>,
): Promise<Membership[]> {
  // `how` is set before a change, which only an admin may make. Reading the result afterwards needs no admin.
  const chat = await core.requireGroup(groupId, how ? 'admin' : 'member');
  for (const id of people) if (!core.memberOf(chat, id)) await core.person(id);
  const isSelf = (id: string): boolean => core.me().some((own) => core.isSame(own, id));
  if (how === 'remove' && people.some(isSelf))
    core.refuse('WHATSAPP_REFUSED', { whatsapp: { message: 'An account cannot remove itself. Leave the group instead.' } });
  return people.map((asked) => ({ asked, role: core.roleIn(chat, asked) }));
}

/** Runs in the page. WhatsApp's function always reports success, even for people whom it could not match. */
async function changeMembers(core: PageCore, { groupId, people, how }: Change): Promise<unknown> {
  const chat = core.chatOf(groupId);
  const members = people.map((id) => core.memberOf(chat, id)).filter(Boolean);
  if (members.length === 0) return null;
  return core.module('WAWebModifyParticipantsGroupAction')[`${how}Participants`](chat, members);
}

/** Runs in the page. */
async function isChanged(core: PageCore, { groupId, how }: Change, before: Membership[]): Promise<boolean> {
  const chat = await core.readGroup(groupId);
  return before
    .filter(({ role }) => role !== null)
    .every(({ asked }) => {
      const member = core.memberOf(chat, asked);
      if (how === 'remove') return member === null;
      return member !== null && Boolean(member.isAdmin || member.isSuperAdmin) === (how === 'promote');
    });
}

async function changeResults(
  { groupId, people, how }: Change,
  before: Membership[],
  context: OperationContext,
): Promise<ParticipantResult[]> {
  const shown = await context.inPage(memberships, { groupId, people });
  await context.identities.learn(people);
  return shown.map(({ asked, role }) => {
    const contact = context.identities.contact(asked);
    if (!before.find((one) => one.asked === asked)?.role)
      return { contact, role, status: 'refused', code: 404, message: 'They are not in the group.' };
    const isDone = how === 'remove' ? role === null : role !== null && (role !== 'member') === (how === 'promote');
    return { contact, role, status: isDone ? 'done' : 'unknown', code: null, message: null };
  });
}
