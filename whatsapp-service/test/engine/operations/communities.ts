import assert from 'node:assert/strict';
import type { GroupResource } from '@chasqui/shared';
import { ana, me, until } from '../harness.js';
import { groupOf, membersOf, newName, ourGroup } from './groups.js';
import { pictureFile } from './profile.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** A community of ours with its group of announcements, and one of Ana's groups in it that we are not in. */
async function ourCommunity({ rig, session }: Stage): Promise<{ id: string; announcementsId: string; hersId: string }> {
  const { client } = rig.simulator;
  const { id, announcementsId } = await client.createCommunity({ by: me, subject: newName(), participants: [`${ana}@c.us`] });
  const hers = await client.createGroup({ by: ana, subject: newName(), participants: [] });
  await client.changeGroup({ by: me, id, how: 'promote', participants: [`${ana}@c.us`] });
  assert.equal((await client.linkGroup({ by: ana, id, group: hers.id })).code, 200);
  await until('the page to have the community', async () =>
    ((await session.run('communities.list', {}, 5_000)) as { id: string }[]).some((one) => one.id === id),
  );
  return { id, announcementsId, hersId: hers.id };
}
type Made = Awaited<ReturnType<typeof ourCommunity>> & { groupId: string };

/** A community of Ana's with its group of announcements and one more group. We are in both. */
export async function herCommunity({ rig, session }: Stage): Promise<Made> {
  const { client } = rig.simulator;
  const participants = [`${me}@c.us`];
  const { id, announcementsId } = await client.createCommunity({ by: ana, subject: newName(), participants });
  const { id: groupId } = await client.createGroup({ by: ana, subject: newName(), participants });
  const { id: hersId } = await client.createGroup({ by: ana, subject: newName(), participants: [] });
  for (const group of [groupId, hersId]) assert.equal((await client.linkGroup({ by: ana, id, group })).code, 200);
  await until('the page to have the community with its groups', async () => {
    const listed = (await session.run('groups.list', { limit: 200, offset: 0 }, 5_000)) as GroupResource[];
    return listed.filter(({ communityId }) => communityId === id).length === 2;
  });
  return { id, announcementsId, hersId, groupId };
}
export const communityIds = async ({ session }: Stage): Promise<string[]> =>
  ((await session.run('communities.list', {}, 5_000)) as { id: string }[]).map(({ id }) => id);

async function withGroup(stage: Stage, isLinked: boolean): Promise<Made> {
  const community = await ourCommunity(stage);
  const groupId = await ourGroup(stage);
  if (isLinked) await stage.rig.simulator.client.linkGroup({ by: me, id: community.id, group: groupId });
  return { ...community, groupId };
}
const inputOf = ({ id, groupId }: Made) => ({ communityId: id, groupId });

export const communities: Scenarios<'communities'> = {
  'communities.list': scenario('communities.list', {
    arrange: async (stage) => ({ input: {}, world: await ourCommunity(stage) }),
    async verify(stage, { id, announcementsId, hersId }, output) {
      const found = output.find((one) => one.id === id);
      assert.deepEqual([found?.name, found?.role, found?.groups], [(await groupOf(stage, id)).subject, 'owner', undefined]);
      assert.equal(
        output.some((one) => [announcementsId, hersId].includes(one.id)),
        false,
      );
    },
    line: null,
  }),
  'communities.get': scenario('communities.get', {
    async arrange(stage) {
      const world = await ourCommunity(stage);
      // A picture of a community is set like that of a group.
      await stage.session.run('groups.setPicture', { groupId: world.id }, 10_000, await pictureFile(stage));
      return { input: { communityId: world.id }, world };
    },
    async verify(stage, { id, announcementsId, hersId }, output) {
      const names = await Promise.all([announcementsId, hersId].map(async (one) => (await groupOf(stage, one)).subject));
      assert.equal(output.announcementsGroupId, announcementsId);
      assert.deepEqual(output.groups, [
        { id: announcementsId, name: names[0], isAnnouncements: true, isMember: true },
        { id: hersId, name: names[1], isAnnouncements: false, isMember: false },
      ]);
      const { picture } = await groupOf(stage, id);
      assert.match(picture ?? '', /^https:/);
      assert.equal(output.picture, picture);
    },
    line: 'community_groups',
  }),
  'communities.create': scenario('communities.create', {
    arrange: async () => ({ input: { name: newName(), description: 'News of our street' }, world: null }),
    async verify(stage, _world, output) {
      assert.ok((await communityIds(stage)).includes(output.id));
      const shown = await groupOf(stage, output.id);
      assert.deepEqual(
        [shown.isCommunity, shown.subject, shown.desc, await membersOf(stage, output.id)],
        [true, output.name, 'News of our street', { [me]: true }],
      );
      const [announcements] = await stage.rig.simulator.client.communityGroups({ phone: me, id: output.id });
      assert.deepEqual(output, {
        id: output.id,
        name: output.name,
        description: 'News of our street',
        createdAt: new Date(shown.creation * 1_000).toISOString(),
        role: 'owner',
        picture: null,
        announcementsGroupId: announcements!.id,
        groups: [{ id: announcements!.id, name: output.name, isAnnouncements: true, isMember: true }],
      });
    },
    line: 'community_create',
  }),
  'communities.deactivate': scenario('communities.deactivate', {
    async arrange(stage) {
      const world = await withGroup(stage, true);
      return { input: { communityId: world.id }, world };
    },
    async verify(stage, { id, announcementsId, hersId, groupId }, output) {
      assert.deepEqual(output, { id, deactivated: true });
      assert.equal((await communityIds(stage)).includes(id), false);
      await assert.rejects(groupOf(stage, id));
      for (const one of [announcementsId, hersId, groupId]) assert.equal((await groupOf(stage, one)).parent, null);
      // Our group goes on as an ordinary group, and the announcements have ended.
      const group = (await stage.session.run('groups.get', { groupId }, 5_000)) as GroupResource;
      assert.deepEqual([group.communityId, group.role], [null, 'owner']);
      assert.equal((await groupOf(stage, announcementsId)).terminated, true);
    },
    line: 'community_deactivate',
  }),
  'communities.leave': scenario('communities.leave', {
    async arrange(stage) {
      const world = await herCommunity(stage);
      return { input: { communityId: world.id }, world };
    },
    async verify(stage, { id, announcementsId, groupId, hersId }) {
      assert.equal((await communityIds(stage)).includes(id), false);
      for (const one of [id, announcementsId, groupId, hersId]) assert.deepEqual(await membersOf(stage, one), { [ana]: true });
      const listed = (await stage.session.run('groups.list', { limit: 200, offset: 0 }, 5_000)) as GroupResource[];
      assert.equal(
        listed.some((one) => [announcementsId, groupId].includes(one.id)),
        false,
      );
    },
    line: 'community_leave',
  }),
  'communities.linkGroup': scenario('communities.linkGroup', {
    async arrange(stage) {
      const world = await withGroup(stage, false);
      return { input: inputOf(world), world };
    },
    async verify({ rig }, { id, groupId }, output) {
      const seen = await rig.simulator.client.communityGroups({ phone: ana, id });
      assert.ok(seen.some((one) => one.id === groupId));
      assert.equal(output.groups?.find((one) => one.id === groupId)?.isMember, true);
    },
    line: 'community_link',
  }),
  'communities.unlinkGroup': scenario('communities.unlinkGroup', {
    async arrange(stage) {
      const world = await withGroup(stage, true);
      return { input: inputOf(world), world };
    },
    async verify(stage, { id, groupId, hersId }, output) {
      const seen = await stage.rig.simulator.client.communityGroups({ phone: ana, id });
      assert.deepEqual([seen.some((one) => one.id === groupId), (await groupOf(stage, groupId)).parent], [false, null]);
      assert.equal(
        output.groups?.some((one) => one.id === groupId),
        false,
      );
      // A group that we are not in is taken out too.
      await stage.session.run('communities.unlinkGroup', { communityId: id, groupId: hersId }, 10_000);
      assert.equal((await groupOf(stage, hersId)).parent, null);
    },
    line: 'community_unlink',
  }),
};
