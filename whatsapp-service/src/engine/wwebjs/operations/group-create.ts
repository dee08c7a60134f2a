/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { GroupResource, OperationInput, OperationOutput, ParticipantResult } from '@chasqui/shared';
import type { NewGroupSearch, PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, type OperationContext } from './context.js';
import { inviting, meaningOf } from './group-people.js';
import { readGroupResource } from './group-rows.js';

/**
 * Creates a group. WhatsApp's function may throw although the group was created, so the effect to look for is a new group with this name that the
 * account owns. The description, and settings that cannot be set on creation, are set afterwards.
 */
export const createGroup = change('groups.create', {
  needs: [
    need('WAWebGroupCreateJob', 'createGroup'),
    need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById'),
    need('WAWebGroupModifyInfoJob', 'setGroupDescription'),
    need('WAWebMsgKey', 'newId'),
    ...inviting,
  ],
  prepare: (input) => ({ ...input, participants: [...new Set(input.participants)], settings: input.settings ?? {} }),
  before: beforeCreation,
  act: create,
  refusal: (result) => (typeof result === 'string' ? result : null),
  effect: exists,
  async done(input, context, { given, before, result }) {
    const { groupId } = await context.inPage(newGroup, given, before, typeof result === 'string' ? null : result);
    const created = await readGroupResource(groupId!, context);
    const answers = result !== null && typeof result === 'object' ? result.answers : [];
    return {
      group: created,
      participants: await results(groupId!, given.participants, answers, context),
      notApplied: notApplied(input, created),
    };
  },
});

type Input = OperationInput<'groups.create'>;
type Given = Input & { settings: NonNullable<Input['settings']> };

interface Answer {
  asked: string;
  code: number;
  isInvited: boolean;
}
interface Created {
  groupId: string;
  answers: Answer[];
}

async function results(
  groupId: string,
  participants: string[],
  answers: Answer[],
  { inPage, identities }: OperationContext,
): Promise<ParticipantResult[]> {
  const roles = await inPage(rolesOf, groupId, participants);
  await identities.learn(participants);
  return participants.map((asked, index) => {
    const contact = identities.contact(asked);
    const role = roles[index]!;
    const answer = answers.find((one) => one.asked === asked);
    const code = answer?.code ?? null;
    if (role !== null) return { contact, role, status: 'done', code, message: null };
    if (answer?.isInvited) return { contact, role, status: 'invited', code, message: meaningOf(403) };
    if (code !== null && code !== 200) return { contact, role, status: 'refused', code, message: meaningOf(code) };
    return { contact, role, status: 'unknown', code, message: null };
  });
}

function notApplied(
  input: Input,
  { description, settings, disappearingSeconds }: GroupResource,
): OperationOutput<'groups.create'>['notApplied'] {
  const asked = Object.entries(input.settings ?? {}) as [keyof typeof settings, unknown][];
  return [
    ...(input.description !== undefined && (description ?? '') !== input.description ? (['description'] as const) : []),
    ...(asked.some(([name, value]) => value !== undefined && settings[name] !== value) ? (['settings'] as const) : []),
    ...(input.disappearingSeconds !== undefined && disappearingSeconds !== input.disappearingSeconds
      ? (['disappearingSeconds'] as const)
      : []),
  ];
}

/** Runs in the page. */
function beforeCreation(core: PageCore, { name }: Given): NewGroupSearch {
  return core.beforeNewGroup(name, { isCommunity: false });
}

/**
 * Runs in the page. Creates the group, sends invitations if they are wanted, and sets the rest. Returns WhatsApp's error as a text, and null if
 * WhatsApp named neither a group nor an error.
 */
async function create(core: PageCore, given: Given): Promise<Created | string | null> {
  const { name, settings } = given;
  const { Contact } = core.collections();
  const makeParticipant = core.moduleIfAny('WAWebGroupMutationParticipantUtils')?.getGroupMutationParticipant;
  const answers: Answer[] = [];
  const known: { asked: string; phone: any; lid: any }[] = [];
  for (const asked of given.participants) {
    const found = await core.person(asked);
    if (found) known.push({ asked, phone: found.phone, lid: found.lid });
    else answers.push({ asked, code: 404, isInvited: false });
  }
  const contacts = await Promise.all(known.map(({ phone, lid }) => Contact.find(phone ?? lid)));
  const participants = known.map(({ phone, lid }, index) =>
    // Only the page's own function combines both ids in the form that WhatsApp's server expects.
    makeParticipant ? makeParticipant(contacts[index], true, 'createGroup') : { phoneNumber: phone ?? lid, lid },
  );
  const strangers = contacts.filter((contact: any) => !contact?.name).map((contact: any) => contact?.id);
  const created = await core.module('WAWebGroupCreateJob').createGroup(
    {
      title: name,
      announce: settings.sendMessages === 'admins',
      restrict: settings.editInfo === 'admins',
      memberAddMode: settings.addMembers === 'admins',
      membershipApprovalMode: settings.approveJoins ?? false,
      ephemeralDuration: given.disappearingSeconds ?? 0,
      addressingModeOverride: 'lid',
    },
    participants,
    strangers,
  );
  if (typeof created === 'string') return created;
  if (!created?.wid) return null;
  const groupId = core.serialized(created.wid);
  const invite = async (wid: any, { invite_code: code, invite_code_exp: expires }: any): Promise<boolean> => {
    const { chat } = await core.module('WAWebFindChatAction').findOrCreateLatestChat(wid, 'createChat');
    const send = core.module('WAWebChatSendMessages').sendGroupInviteMessage;
    return (await send(chat, groupId, name, code, expires, '', undefined))?.messageSendResult === 'OK';
  };
  for (const { asked, phone, lid } of known) {
    const answer = (created.participants ?? []).find((one: any) => [phone, lid].some((id) => id && core.isSame(id, one.wid)));
    const code = Number(answer?.error ?? 200);
    const isWanted = code === 403 && given.sendInvitations && answer?.invite_code;
    answers.push({ asked, code, isInvited: isWanted ? await invite(phone ?? lid, answer).catch(() => false) : false });
  }
  if (given.description) {
    const job = core.module('WAWebGroupModifyInfoJob');
    const newDescId = await core.module('WAWebMsgKey').newId();
    const { description: desc } = given;
    const set = async (): Promise<void> =>
      core.build() >= 1_045_000_000
        ? job.setGroupDescription({ desc, groupWid: created.wid, newDescId, prevDescId: undefined })
        : job.setGroupDescription(created.wid, desc, newDescId, undefined);
    // The group exists, so a failure here is not an error: `notApplied` reports it.
    await set().catch(() => null);
  }
  const addMode = core.groupRow({ id: created.wid, groupMetadata: core.chatOf(groupId)?.groupMetadata }, false).addMembers;
  const setProperty = core.moduleIfAny('WAWebSetPropertyGroupAction')?.setGroupProperty;
  if (settings.addMembers && settings.addMembers !== addMode && setProperty)
    await Promise.resolve(setProperty(core.chatOf(groupId), 'member_add_mode', settings.addMembers === 'admins' ? 0 : 1)).catch(
      () => null,
    );
  return { groupId, answers };
}

/** Runs in the page. Returns the id of the created group: the one that WhatsApp named, or a new one with this name that the account owns. */
function newGroup(core: PageCore, _given: Given, before: NewGroupSearch, created: Created | null): { groupId: string | null } {
  return { groupId: created ? created.groupId : core.newGroup(before) };
}

/** Runs in the page. Whether the group exists and the account owns it. */
async function exists(core: PageCore, _given: Given, before: NewGroupSearch, result: Created | string | null): Promise<boolean> {
  const named = result !== null && typeof result === 'object' ? result.groupId : null;
  const found = named ?? core.newGroup(before);
  if (!found) return false;
  return core.groupRow(await core.readGroup(found), false).role === 'owner';
}

/** Runs in the page. Returns the role of each participant in the group. Null: not in it. */
function rolesOf(core: PageCore, groupId: string, participants: string[]): ParticipantResult['role'][] {
  const chat = core.chatOf(groupId);
  return participants.map((id) => core.roleIn(chat, id));
}
