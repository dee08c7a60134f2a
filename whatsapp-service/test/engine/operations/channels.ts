import assert from 'node:assert/strict';
import type { OperationOutput } from '@chasqui/shared';
import { ana, me } from '../harness.js';
import { newName } from './groups.js';
import { pictureFile } from './profile.js';
import { scenario, type Scenario, type Scenarios, type Stage } from './scenario.js';

const channelOf = ({ rig }: Stage, id: string, phone = me) => rig.simulator.client.channel({ id, phone });
async function ownChannel({ session }: Stage): Promise<string> {
  const made = (await session.run('channels.create', { name: newName() }, 10_000)) as OperationOutput<'channels.create'>;
  return made.id;
}
const hers = ({ rig }: Stage) => rig.simulator.client.createChannel({ by: ana, name: newName(), description: 'Hers' });
const refusedAs = 'WHATSAPP_NOT_PERMITTED' as const;

function ofHers<Id extends 'channels.follow' | 'channels.unfollow' | 'channels.mute' | 'channels.unmute'>(
  id: Id,
  { before, verify, line }: { before: string[]; line: string; verify: (stage: Stage, id: string) => Promise<void> },
): Scenario<Id, string> {
  return scenario<Id, string>(id, {
    async arrange(stage) {
      const { id: channelId } = await hers(stage);
      for (const step of before) await stage.session.run(step as 'channels.follow', { channelId }, 10_000);
      return { input: { channelId } as never, world: channelId };
    },
    verify,
    line,
    refusedAs,
  });
}

export const channels: Scenarios<'channels'> = {
  'channels.list': scenario('channels.list', {
    arrange: async (stage) => ({ input: {}, world: await ownChannel(stage) }),
    async verify(_stage, id, output) {
      assert.equal(output.find((one) => one.id === id)?.role, 'owner');
    },
    line: null,
  }),
  'channels.create': scenario('channels.create', {
    async arrange(stage) {
      const name = newName();
      return { input: { name, description: 'News of us' }, world: name, file: await pictureFile(stage) };
    },
    async verify(stage, name, output) {
      const { role, description } = await channelOf(stage, output.id);
      assert.deepEqual([output.name, role, description], [name, 'owner', 'News of us']);
      const { picture } = await channelOf(stage, output.id, ana);
      assert.match(picture ?? '', /^https:/);
      assert.equal(output.picture, picture);
    },
    line: 'channel_create',
    refusedAs,
  }),
  'channels.search': scenario('channels.search', {
    async arrange(stage) {
      const { id } = await hers(stage);
      return { input: { query: (await channelOf(stage, id)).name, limit: 10 }, world: id };
    },
    async verify(_stage, id, output) {
      assert.deepEqual(
        output.map((one) => one.id),
        [id],
      );
    },
    line: 'channel_search',
  }),
  'channels.get': scenario('channels.get', {
    async arrange(stage) {
      const { id, invite } = await hers(stage);
      return { input: { channelId: `https://whatsapp.com/channel/${invite}` }, world: id };
    },
    verify: async (_stage, id, output) => assert.deepEqual([output.id, output.role, output.description], [id, 'guest', 'Hers']),
    line: 'channel_by_invite',
  }),
  'channels.messages': scenario('channels.messages', {
    async arrange(stage) {
      const { id } = await hers(stage);
      for (const text of ['first', 'second']) await stage.rig.simulator.client.postInChannel({ by: ana, id, text });
      return { input: { channelId: id, limit: 50 }, world: null };
    },
    async verify(_stage, _world, output) {
      assert.deepEqual(
        output.map(({ text, fromMe }) => [text, fromMe]),
        [
          ['second', false],
          ['first', false],
        ],
      );
    },
    line: 'channel_posts',
  }),
  'channels.update': scenario('channels.update', {
    async arrange(stage) {
      const channelId = await ownChannel(stage);
      return { input: { channelId, name: newName(), description: 'Changed', reactions: 'basic' }, world: channelId };
    },
    async verify(stage, id, output) {
      const { name, description, reactionCodes } = await channelOf(stage, id, ana);
      assert.deepEqual([name, description, reactionCodes], [output.name, 'Changed', 1]);
    },
    line: 'channel_edit',
    refusedAs,
  }),
  'channels.setPicture': scenario('channels.setPicture', {
    async arrange(stage) {
      const channelId = await ownChannel(stage);
      return { input: { channelId }, world: channelId, file: await pictureFile(stage) };
    },
    async verify(stage, id, output) {
      const { picture } = await channelOf(stage, id, ana);
      assert.match(picture ?? '', /^https:/);
      assert.equal(output.picture, picture);
    },
    line: 'channel_edit',
    refusedAs,
  }),
  'channels.deletePicture': scenario('channels.deletePicture', {
    async arrange(stage) {
      const channelId = await ownChannel(stage);
      await stage.session.run('channels.setPicture', { channelId }, 10_000, await pictureFile(stage));
      assert.ok((await channelOf(stage, channelId, ana)).picture);
      return { input: { channelId }, world: channelId };
    },
    async verify(stage, id, output) {
      assert.deepEqual([(await channelOf(stage, id, ana)).picture, output.picture], [null, null]);
    },
    line: 'channel_edit',
    refusedAs,
  }),
  'channels.delete': scenario('channels.delete', {
    async arrange(stage) {
      const channelId = await ownChannel(stage);
      return { input: { channelId }, world: channelId };
    },
    verify: async (stage, id) => assert.rejects(channelOf(stage, id), /404|item-not-found/),
    line: 'channel_delete',
    refusedAs,
  }),
  'channels.follow': ofHers('channels.follow', {
    before: [],
    verify: async (stage, id) => assert.equal((await channelOf(stage, id)).role, 'subscriber'),
    line: 'channel_follow',
  }),
  'channels.unfollow': ofHers('channels.unfollow', {
    before: ['channels.follow'],
    verify: async (stage, id) => assert.equal((await channelOf(stage, id)).role, 'guest'),
    line: 'channel_follow',
  }),
  'channels.mute': ofHers('channels.mute', {
    before: ['channels.follow'],
    verify: async (stage, id) => assert.equal((await channelOf(stage, id)).muted, true),
    line: 'channel_mute',
  }),
  'channels.unmute': ofHers('channels.unmute', {
    before: ['channels.follow', 'channels.mute'],
    verify: async (stage, id) => assert.equal((await channelOf(stage, id)).muted, false),
    line: 'channel_mute',
  }),
  'channels.demoteAdmin': scenario('channels.demoteAdmin', {
    async arrange(stage) {
      const channelId = await ownChannel(stage);
      const { client } = stage.rig.simulator;
      await client.inviteChannelAdmin({ by: me, id: channelId, contact: ana });
      await client.acceptChannelAdmin({ phone: ana, id: channelId });
      return { input: { channelId, contactId: `${ana}@c.us` }, world: channelId };
    },
    verify: async (stage, id) => assert.notEqual((await channelOf(stage, id, ana)).role, 'admin'),
    line: 'channel_demote',
    hollow: { WAWebDemoteNewsletterAdminAction: ['demoteNewsletterAdminAction'] },
    refusedAs,
  }),
};
