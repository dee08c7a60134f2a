import assert from 'node:assert/strict';
import type { OperationIdOf, ParticipantResult } from '@chasqui/shared';
import { ana, eventOf, me, until } from '../harness.js';
import { pictureFile } from './profile.js';
import { scenario, type Scenario, type Scenarios, type Stage } from './scenario.js';

export const bruno = '5511999990002';
/** Can be added to groups only by invitation. */
export const clara = '5511999990003';

let made = 0;
export const newName = (): string => `Team ${Date.now().toString(36)} ${(made += 1)}`;

/** A group of ours with Ana, which the page has. */
export async function ourGroup(
  { rig, session }: Stage,
  more: Partial<Parameters<Stage['rig']['simulator']['client']['createGroup']>[0]> = {},
): Promise<string> {
  const { client } = rig.simulator;
  await client.createAccount({ phone: bruno, name: 'Bruno' });
  await client.createAccount({ phone: clara, name: 'Clara', groupsByInvite: true });
  const { id } = await client.createGroup({ by: me, subject: newName(), participants: [`${ana}@c.us`], ...more });
  await until('the page to have the group', async () =>
    ((await session.run('groups.list', { limit: 200, offset: 0 }, 5_000)) as { id: string }[]).some((one) => one.id === id),
  );
  return id;
}
export const groupOf = ({ rig }: Stage, id: string) => rig.simulator.client.group({ id });
/** The members of a group by number, as WhatsApp's server has them. */
export async function membersOf(stage: Stage, id: string): Promise<Record<string, boolean>> {
  const accounts = await stage.rig.simulator.client.accounts({});
  const phones = new Map<string, string>(
    accounts.flatMap(({ phone, lid }) => [[`${phone}@c.us`, phone] as const, [`${lid}@lid`, phone] as const]),
  );
  const { participants } = await groupOf(stage, id);
  return Object.fromEntries(participants.map((one) => [phones.get(one.id) ?? one.id, one.isAdmin]));
}

/** A group that others must approve, with Bruno's request. */
export async function requested(stage: Stage): Promise<string> {
  const id = await ourGroup(stage, { approval: true });
  await stage.rig.simulator.client.joinGroup({ phone: bruno, code: (await groupOf(stage, id)).invite });
  return id;
}

type Group = OperationIdOf<'groups'>;
const ofOurs = async (stage: Stage, fields: Record<string, unknown> = {}) => {
  const groupId = await ourGroup(stage);
  return { input: { groupId, ...fields }, world: groupId };
};
const reading = <Id extends Group>(id: Id, verify: Scenario<Id, string>['verify'], line: string): Scenario<Id, string> =>
  scenario<Id, string>(id, { arrange: (stage) => ofOurs(stage) as never, verify, line });

/** Adding, removing, promoting and demoting: people, and what the group shows afterwards. */
function ofPeople<Id extends 'groups.add' | 'groups.remove' | 'groups.promote' | 'groups.demote'>(
  id: Id,
  participants: string[],
  expected: Record<string, boolean>,
  role: ParticipantResult['role'],
): Scenario<Id, string> {
  return scenario<Id, string>(id, {
    async arrange(stage) {
      const groupId = await ourGroup(stage);
      if (id === 'groups.demote')
        await stage.rig.simulator.client.changeGroup({ by: me, id: groupId, how: 'promote', participants: [`${ana}@c.us`] });
      return { input: { groupId, participants, sendInvitations: false } as never, world: groupId };
    },
    async verify(stage, groupId, output) {
      assert.deepEqual(await membersOf(stage, groupId), expected);
      assert.deepEqual(
        (output as ParticipantResult[]).map((one) => [one.status, one.role]),
        participants.map(() => ['done', role]),
      );
    },
    line: 'group_change',
    ...(id === 'groups.add' ? { hollowAs: 'WHATSAPP_ERROR' as const } : {}),
  });
}

function deciding<Id extends 'groups.approve' | 'groups.reject'>(id: Id): Scenario<Id, string> {
  return scenario<Id, string>(id, {
    async arrange(stage) {
      const groupId = await requested(stage);
      return { input: { groupId, requesters: [`${bruno}@c.us`] } as never, world: groupId };
    },
    async verify(stage, groupId, output) {
      assert.deepEqual(
        (output as ParticipantResult[]).map(({ status, role }) => [status, role]),
        [['done', id === 'groups.approve' ? 'member' : null]],
      );
      assert.equal(bruno in (await membersOf(stage, groupId)), id === 'groups.approve');
      assert.equal((await groupOf(stage, groupId)).requests.length, 0);
    },
    line: 'group_decide',
    hollowAs: 'WHATSAPP_ERROR',
  });
}

export const groups: Scenarios<'groups'> = {
  'groups.list': scenario('groups.list', {
    arrange: async (stage) => {
      const world = await ourGroup(stage);
      return { input: { search: (await groupOf(stage, world)).subject, limit: 50, offset: 0 }, world };
    },
    async verify(_stage, id, output) {
      assert.deepEqual(
        output.map((one) => [one.id, one.size, one.role, one.participants]),
        [[id, 2, 'owner', undefined]],
      );
    },
    line: null,
  }),
  'groups.get': reading(
    'groups.get',
    async (stage, id, output) => {
      assert.equal(output.name, (await groupOf(stage, id)).subject);
      assert.deepEqual(
        output.participants?.map(({ contact, role }) => [contact.phone, role]),
        [
          [`+${me}`, 'owner'],
          [`+${ana}`, 'member'],
        ],
      );
    },
    'group_get',
  ),
  'groups.participants': reading(
    'groups.participants',
    async (_stage, _id, output) =>
      assert.deepEqual(
        output.map(({ contact }) => contact.phone),
        [`+${me}`, `+${ana}`],
      ),
    'group_get',
  ),
  'groups.create': scenario('groups.create', {
    async arrange({ rig }) {
      await rig.simulator.client.createAccount({ phone: clara, name: 'Clara', groupsByInvite: true });
      const participants = [`${ana}@c.us`, `${clara}@c.us`, '99912345678@c.us'];
      const settings = { sendMessages: 'admins', addMembers: 'admins', approveJoins: true } as const;
      const input = { name: newName(), participants, description: 'About us', settings, disappearingSeconds: 86_400 as const };
      return { input: { ...input, sendInvitations: true }, world: null };
    },
    async verify(stage, _world, output) {
      assert.deepEqual(
        output.participants.map(({ status, code }) => [status, code]),
        [
          ['done', 200],
          ['invited', 403],
          ['refused', 404],
        ],
      );
      assert.deepEqual(output.notApplied, []);
      const shown = await groupOf(stage, output.group.id);
      assert.deepEqual(
        [shown.desc, shown.announce, shown.restrict, shown.memberAddMode, shown.approval, shown.ephemeral],
        ['About us', true, false, 'admin_add', true, 86_400],
      );
      assert.deepEqual(await membersOf(stage, shown.id), { [me]: true, [ana]: false });
      const invitations = await stage.rig.simulator.client.received({ phone: clara });
      assert.equal(
        invitations.filter(({ type, data }) => type === 'groups_v4_invite' && data['inviteGrp'] === shown.id).length,
        1,
      );
    },
    line: 'group_create',
  }),
  'groups.leave': scenario('groups.leave', {
    arrange: (stage) => ofOurs(stage),
    verify: async (stage, id) => assert.deepEqual(await membersOf(stage, id), { [ana]: false }),
    line: 'group_leave',
  }),
  'groups.setName': scenario('groups.setName', {
    arrange: (stage) => ofOurs(stage, { name: newName() }),
    async verify(stage, id, output) {
      assert.match(output.name ?? '', /^Team /);
      assert.equal((await groupOf(stage, id)).subject, output.name);
    },
    line: 'group_subject',
  }),
  'groups.setDescription': scenario('groups.setDescription', {
    arrange: (stage) => ofOurs(stage, { description: 'Who we are' }),
    async verify(stage, id, output) {
      assert.equal((await groupOf(stage, id)).desc, 'Who we are');
      assert.equal(output.description, 'Who we are');
    },
    line: 'group_desc',
  }),
  'groups.setSettings': scenario('groups.setSettings', {
    arrange: (stage) =>
      ofOurs(stage, {
        sendMessages: 'admins',
        editInfo: 'admins',
        addMembers: 'admins',
        approveJoins: true,
        disappearingSeconds: 604_800,
      }),
    async verify(stage, id, output) {
      const { announce, restrict, memberAddMode, approval, ephemeral } = await groupOf(stage, id);
      assert.deepEqual([announce, restrict, memberAddMode, approval, ephemeral], [true, true, 'admin_add', true, 604_800]);
      assert.deepEqual(output.settings, { sendMessages: 'admins', editInfo: 'admins', addMembers: 'admins', approveJoins: true });
    },
    line: 'group_set',
  }),
  'groups.setPicture': scenario('groups.setPicture', {
    arrange: async (stage) => ({ ...(await ofOurs(stage)), file: await pictureFile(stage) }),
    verify: async (stage, id) => assert.match((await groupOf(stage, id)).picture ?? '', /^https:/),
    line: 'group_picture',
  }),
  'groups.deletePicture': scenario('groups.deletePicture', {
    async arrange(stage) {
      const given = await ofOurs(stage);
      await stage.session.run('groups.setPicture', given.input, 10_000, await pictureFile(stage));
      assert.ok((await groupOf(stage, given.world)).picture);
      return given;
    },
    verify: async (stage, id) => assert.equal((await groupOf(stage, id)).picture, null),
    line: 'group_picture',
  }),
  'groups.inviteInfo': scenario('groups.inviteInfo', {
    async arrange(stage) {
      const { id } = await stage.rig.simulator.client.createGroup({ by: ana, subject: newName(), participants: [] });
      const { invite } = await groupOf(stage, id);
      return { input: { code: `https://chat.whatsapp.com/${invite}?mode=r` }, world: id };
    },
    verify: async (_stage, id, output) => assert.deepEqual([output.id, output.size, output.role], [id, 1, null]),
    line: 'group_info',
  }),
  'groups.join': scenario('groups.join', {
    async arrange(stage) {
      const { id } = await stage.rig.simulator.client.createGroup({ by: ana, subject: newName(), participants: [] });
      return { input: { code: (await groupOf(stage, id)).invite }, world: id };
    },
    async verify(stage, id, output) {
      assert.ok('id' in output);
      assert.deepEqual([output.id, output.role], [id, 'member']);
      assert.deepEqual(await membersOf(stage, id), { [ana]: true, [me]: false });
    },
    line: 'group_join',
  }),
  'groups.invite': reading(
    'groups.invite',
    async (stage, id, output) => {
      const { invite } = await groupOf(stage, id);
      assert.deepEqual(output, { code: invite, link: `https://chat.whatsapp.com/${invite}` });
    },
    'group_invite',
  ),
  'groups.revokeInvite': scenario('groups.revokeInvite', {
    async arrange(stage) {
      const id = await ourGroup(stage);
      return { input: { groupId: id }, world: { id, before: (await groupOf(stage, id)).invite } };
    },
    async verify(stage, { id, before }, output) {
      const { invite } = await groupOf(stage, id);
      assert.notEqual(invite, before);
      assert.equal(output.code, invite);
    },
    line: 'group_revoke',
  }),
  'groups.requests': scenario('groups.requests', {
    arrange: async (stage) => ({ input: { groupId: await requested(stage) }, world: null }),
    async verify(_stage, _world, output) {
      assert.deepEqual(
        output.map(({ contact, method }) => [contact.phone, method]),
        [[`+${bruno}`, 'InviteLink']],
      );
    },
    line: 'group_get',
  }),
  'groups.add': ofPeople('groups.add', [`${bruno}@c.us`], { [me]: true, [ana]: false, [bruno]: false }, 'member'),
  'groups.remove': ofPeople('groups.remove', [`${ana}@c.us`], { [me]: true }, null),
  'groups.promote': ofPeople('groups.promote', [`${ana}@c.us`], { [me]: true, [ana]: true }, 'admin'),
  'groups.demote': ofPeople('groups.demote', [`${ana}@c.us`], { [me]: true, [ana]: false }, 'member'),
  'groups.approve': deciding('groups.approve'),
  'groups.reject': deciding('groups.reject'),
};

/** The invitation that an admin sent as a message, as the page has it. */
export async function privateInvitation(stage: Stage, id: string): Promise<string> {
  const { key } = await stage.rig.simulator.client.inviteToGroup({ by: ana, id, contact: me });
  const { payload } = await eventOf(stage.signals, 'message.observed', ({ message }) => message.key === key);
  return payload.message.whatsappId;
}
