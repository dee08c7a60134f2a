/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { OperationInput } from '@chasqui/shared';
import type { GroupRow, PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, read, type OperationHandlers } from './context.js';
import { readFileOf } from './file.js';
import { createGroup } from './group-create.js';
import { invitations } from './group-invitations.js';
import { people } from './group-people.js';
import { groupResource, readGroupResource } from './group-rows.js';
import { requests } from './group-requests.js';
import { deletePicture, setPicture, settingPictures, showsNewPicture, showsNoPicture } from './pictures.js';

const reading = need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById');
const modifying = (...functions: string[]) => [need('WAWebGroupModifyInfoJob', ...functions), reading];

/** For functions of the page that return false instead of throwing. */
const refusedByFalse = (result: unknown): string | null => (result === false ? 'WhatsApp returned false.' : null);

export const groups: OperationHandlers<'groups'> = {
  'groups.list': read('groups.list', {
    needs: [need('WAWebCollections', 'Chat.getModelsArray')],
    async run({ search, limit, offset }, { inPage, identities }) {
      const rows = await inPage(groupRows, { search: search?.toLowerCase() ?? null, limit, offset });
      await identities.learn(rows.map(({ owner }) => owner));
      return rows.map((row) => groupResource(row, identities));
    },
  }),
  'groups.get': read('groups.get', {
    needs: [reading],
    run: ({ groupId }, context) => readGroupResource(groupId, context),
  }),
  'groups.participants': read('groups.participants', {
    needs: [reading],
    run: async ({ groupId }, context) => (await readGroupResource(groupId, context)).participants ?? [],
  }),
  'groups.create': createGroup,
  'groups.leave': change('groups.leave', {
    needs: [need('WAWebExitGroupAction', 'sendExitGroup'), reading],
    prepare: ({ groupId }) => ({ groupId }),
    before: requireMember,
    act: leave,
    effect: hasLeft,
    done: async () => ({ left: true as const }),
  }),
  'groups.setName': change('groups.setName', {
    needs: modifying('setGroupSubject'),
    before: requireEditor,
    act: setName,
    refusal: refusedByFalse,
    effect: hasName,
    done: ({ groupId }, context) => readGroupResource(groupId, context),
  }),
  'groups.setDescription': change('groups.setDescription', {
    needs: [...modifying('setGroupDescription'), need('WAWebMsgKey', 'newId')],
    before: requireEditor,
    act: setDescription,
    refusal: refusedByFalse,
    effect: hasDescription,
    done: ({ groupId }, context) => readGroupResource(groupId, context),
  }),
  'groups.setSettings': change('groups.setSettings', {
    needs: [
      need('WAWebSetPropertyGroupAction', 'setGroupProperty'),
      ...modifying('setGroupProperty', 'setEphemeralGroupProperty'),
    ],
    before: requireAdmin,
    act: setSettings,
    effect: hasSettings,
    done: ({ groupId }, context) => readGroupResource(groupId, context),
  }),
  'groups.setPicture': change('groups.setPicture', {
    needs: [...settingPictures, reading],
    prepare: async ({ groupId }, context) => ({ id: groupId, file: await readFileOf(context) }),
    before: groupPictureMark,
    act: setPicture,
    effect: showsNewPicture,
    done: ({ groupId }, context) => readGroupResource(groupId, context),
  }),
  'groups.deletePicture': change('groups.deletePicture', {
    needs: [...settingPictures, reading],
    prepare: ({ groupId }) => ({ id: groupId }),
    before: groupPictureMark,
    act: deletePicture,
    effect: showsNoPicture,
    done: ({ groupId }, context) => readGroupResource(groupId, context),
  }),
  ...invitations,
  ...people,
  ...requests,
};

interface OfGroup {
  groupId: string;
}

/** Runs in the page. Returns the groups that the account is in, without a request to WhatsApp. */
function groupRows(
  core: PageCore,
  { search, limit, offset }: { search: string | null; limit: number; offset: number },
): GroupRow[] {
  const mine = core.me().map((id) => core.serialized(id));
  return core
    .collections()
    .Chat.getModelsArray()
    .filter((chat: any) => /@g\.us$/.test(core.serialized(chat.id)))
    .filter((chat: any) => mine.some((id) => chat.groupMetadata?.participants?.get(id)))
    .filter(
      (chat: any) =>
        !search ||
        String(chat.groupMetadata?.subject ?? '')
          .toLowerCase()
          .includes(search),
    )
    .slice(offset, offset + limit)
    .map((chat: any) => core.groupRow(chat, false));
}

/** Runs in the page. */
async function requireMember(core: PageCore, { groupId }: OfGroup): Promise<void> {
  await core.requireGroup(groupId);
}

/** Runs in the page. */
async function requireAdmin(core: PageCore, { groupId }: OfGroup): Promise<void> {
  await core.requireGroup(groupId, 'admin');
}

/** Runs in the page. Refuses a member who is not an admin if the group's settings let only admins change the name and the description. */
async function requireEditor(core: PageCore, { groupId }: OfGroup): Promise<void> {
  const row = core.groupRow(await core.requireGroup(groupId), false);
  if (row.restrict && row.role === 'member') core.refuse('GROUP_ADMIN_REQUIRED', { groupId });
}

/** Runs in the page. Returns a text that identifies the current picture. Null: there is none. */
async function groupPictureMark(core: PageCore, { id }: { id: string }): Promise<string | null> {
  const row = core.groupRow(await core.requireGroup(id), false);
  if (row.restrict && row.role === 'member') core.refuse('GROUP_ADMIN_REQUIRED', { groupId: id });
  const thumbs = core.collections().ProfilePicThumb;
  const thumb = thumbs.get(core.widOf(id)) ?? (await thumbs.find(core.widOf(id)));
  return thumb?.eurl ? [thumb.tag, thumb.eurl].join(' ') : null;
}

/** Runs in the page. */
async function leave(core: PageCore, { groupId }: OfGroup): Promise<void> {
  await core.module('WAWebExitGroupAction').sendExitGroup(core.chatOf(groupId));
}

/** Runs in the page. */
async function hasLeft(core: PageCore, { groupId }: OfGroup): Promise<boolean> {
  return (await core.readOwnGroup(groupId)) === null;
}

/** Runs in the page. */
function setName(core: PageCore, { groupId, name }: OfGroup & { name: string }): Promise<unknown> {
  return core.module('WAWebGroupModifyInfoJob').setGroupSubject(core.widOf(groupId), name);
}

/** Runs in the page. */
async function hasName(core: PageCore, { groupId, name }: OfGroup & { name: string }): Promise<boolean> {
  return core.groupRow(await core.readGroup(groupId), false).name === name;
}

/** Runs in the page. */
async function setDescription(core: PageCore, { groupId, description }: OfGroup & { description: string }): Promise<unknown> {
  const { setGroupDescription } = core.module('WAWebGroupModifyInfoJob');
  const groupWid = core.widOf(groupId);
  const prevDescId = core.chatOf(groupId).groupMetadata?.descId;
  const newDescId = await core.module('WAWebMsgKey').newId();
  // Builds since 2026 take one object.
  if (core.build() >= 1_045_000_000) return setGroupDescription({ desc: description, groupWid, newDescId, prevDescId });
  return setGroupDescription(groupWid, description, newDescId, prevDescId);
}

/** Runs in the page. */
async function hasDescription(core: PageCore, { groupId, description }: OfGroup & { description: string }): Promise<boolean> {
  return (core.groupRow(await core.readGroup(groupId), false).description ?? '') === description;
}

type Settings = OperationInput<'groups.setSettings'>;

/** Runs in the page. Sets the requested settings that differ, one after the other. A refusal names those that were set before it. */
async function setSettings(core: PageCore, given: Settings): Promise<void> {
  const chat = core.chatOf(given.groupId);
  const { setGroupProperty } = core.module('WAWebSetPropertyGroupAction');
  const job = core.module('WAWebGroupModifyInfoJob');
  const now = core.groupRow(chat, false);
  const applied: string[] = [];
  const set = async (setting: string, run: () => unknown): Promise<void> => {
    let message = 'WhatsApp returned false.';
    try {
      if ((await run()) !== false) return void applied.push(setting);
    } catch (error: any) {
      if (!(error?.status >= 400 && error.status < 500)) throw error;
      message = String(error.detail ?? error.message);
    }
    core.refuse('WHATSAPP_REFUSED', { setting, applied, whatsapp: { message } });
  };
  const { sendMessages, editInfo, addMembers, approveJoins, disappearingSeconds } = given;
  if (sendMessages && (sendMessages === 'admins') !== now.announce)
    await set('sendMessages', () => setGroupProperty(chat, 'announcement', sendMessages === 'admins' ? 1 : 0));
  if (editInfo && (editInfo === 'admins') !== now.restrict)
    await set('editInfo', () => setGroupProperty(chat, 'restrict', editInfo === 'admins' ? 1 : 0));
  // Written as a number: 0 means that only admins add members.
  if (addMembers && addMembers !== now.addMembers)
    await set('addMembers', () => setGroupProperty(chat, 'member_add_mode', addMembers === 'admins' ? 0 : 1));
  const { GROUP_SETTING_TYPE: types } = core.moduleIfAny('WAWebGroupConstants') ?? {};
  const approval = types?.MEMBERSHIP_APPROVAL_MODE ?? 'membership_approval_mode';
  if (approveJoins !== undefined && approveJoins !== now.approval)
    await set('approveJoins', () => job.setGroupProperty(chat.id, approval, approveJoins ? 1 : 0));
  const timer = { ephemeralExpiration: disappearingSeconds, groupWid: chat.id, trigger: 'chat_settings' };
  if (disappearingSeconds !== undefined && disappearingSeconds !== now.ephemeral)
    await set('disappearingSeconds', () => job.setEphemeralGroupProperty(timer));
}

/** Runs in the page. */
async function hasSettings(core: PageCore, given: Settings): Promise<boolean> {
  const row = core.groupRow(await core.readGroup(given.groupId), false);
  const wanted = [
    [given.sendMessages && given.sendMessages === 'admins', row.announce],
    [given.editInfo && given.editInfo === 'admins', row.restrict],
    [given.addMembers, row.addMembers],
    [given.approveJoins, row.approval],
    [given.disappearingSeconds, row.ephemeral],
  ];
  return wanted.every(([asked, shown]) => asked === undefined || asked === shown);
}
