import assert from 'node:assert/strict';
import { ana, me, png, until } from '../harness.js';
import { chatWithAna } from './chats.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** A number on WhatsApp that was not asked for before. */
let asked = 0;
const stranger = (): string => `55118${String(Date.now()).slice(-5)}${String((asked += 1)).padStart(3, '0')}`;
const contactId = `${ana}@c.us`;
const lidOf = async ({ rig }: Stage, number = ana) =>
  `${(await rig.simulator.client.accounts({})).find(({ phone }) => phone === number)!.lid}@lid`;
/** Who is blocked in these scenarios. Only this one may be: a person who is blocked can write no message. */
const bob = '5511999990078';
const bobId = `${bob}@c.us`;
const blockedOnPage = async ({ session }: Stage) => (await session.run('contacts.blocked', {}, 5_000)) as unknown[];
async function unblocked(stage: Stage): Promise<void> {
  await stage.rig.simulator.client.createAccount({ phone: bob, name: 'Bob' });
  await stage.rig.simulator.client.block({ phone: me, contact: bob, blocked: false });
  await until('the page to know', async () => (await blockedOnPage(stage)).length === 0);
}
const blocked = async ({ rig }: Stage) => [...(await rig.simulator.client.blocked({ phone: me }))];

export const contacts: Scenarios<'contacts'> = {
  'contacts.list': scenario('contacts.list', {
    async arrange(stage) {
      await chatWithAna(stage);
      await stage.session.run('contacts.save', { contactId, firstName: 'Ana' }, 5_000);
      return { input: { limit: 50, offset: 0, search: 'aNá', saved: true }, world: await lidOf(stage) };
    },
    async verify(_stage, lid, output) {
      assert.deepEqual(
        output.map((one) => [one.id, one.phone, one.lid, one.savedName, one.pushName, one.isSaved]),
        [[contactId, `+${ana}`, lid, 'Ana', 'Ana', true]],
      );
    },
    line: null,
  }),
  'contacts.check': scenario('contacts.check', {
    // One new number each time: answers are kept.
    arrange: async () => ({ input: { numbers: [`+${ana}`, `999${Date.now()}`, 'nonsense', stranger()] }, world: null }),
    async verify(_stage, _world, output) {
      assert.deepEqual(
        output.map(({ registered }) => registered),
        [true, false, false, true],
      );
    },
    line: 'exists',
  }),
  'contacts.resolve': scenario('contacts.resolve', {
    async arrange(stage) {
      const number = stranger();
      await stage.rig.simulator.client.createAccount({ phone: number });
      return { input: { ids: [`${number}@c.us`] }, world: { number, lid: await lidOf(stage, number) } };
    },
    async verify(_stage, { number, lid }, output) {
      assert.deepEqual(
        output.map((one) => [one.phone, one.lid]),
        [[`+${number}`, lid]],
      );
    },
    line: 'exists',
  }),
  'contacts.blocked': scenario('contacts.blocked', {
    async arrange(stage) {
      const { client } = stage.rig.simulator;
      await unblocked(stage);
      await client.block({ phone: me, contact: bob, blocked: true });
      await until('the page to know', async () => (await blockedOnPage(stage)).length === 1);
      return { input: {}, world: await lidOf(stage, bob) };
    },
    async verify(_stage, lid, output) {
      // WhatsApp lists people by LID; the number is there only if the page knows it.
      assert.deepEqual(
        output.map((one) => [one.lid, one.isBlocked]),
        [[lid, true]],
      );
    },
    line: null,
  }),
  'contacts.get': scenario('contacts.get', {
    async arrange() {
      const number = stranger();
      return { input: { contactId: `${number}@c.us` }, world: number };
    },
    async verify(_stage, number, output) {
      assert.deepEqual([output.phone, output.isSaved, output.isBlocked], [`+${number}`, false, false]);
    },
    line: 'exists',
  }),
  'contacts.save': scenario('contacts.save', {
    async arrange(stage) {
      await chatWithAna(stage);
      await stage.rig.simulator.client.setContact({ phone: me, contact: ana, name: null });
      const lastName = `Silva ${Date.now()}`;
      return { input: { contactId, firstName: 'Ana', lastName }, world: `Ana ${lastName}` };
    },
    async verify({ rig }, name, output) {
      const found = (await rig.simulator.client.contacts({ phone: me })).find(({ id }) => id === contactId);
      assert.deepEqual([found?.name, output.savedName, output.isSaved], [name, name, true]);
    },
    line: 'contact_save',
  }),
  'contacts.delete': scenario('contacts.delete', {
    async arrange(stage) {
      await chatWithAna(stage);
      await stage.session.run('contacts.save', { contactId, firstName: 'Ana' }, 5_000);
      return { input: { contactId }, world: null };
    },
    async verify({ rig }, _world, output) {
      const found = (await rig.simulator.client.contacts({ phone: me })).find(({ id }) => id === contactId);
      assert.deepEqual([found?.name, output], [null, { id: contactId, deleted: true }]);
    },
    line: 'contact_save',
  }),
  'contacts.block': scenario('contacts.block', {
    async arrange(stage) {
      await unblocked(stage);
      return { input: { contactId: bobId }, world: await lidOf(stage, bob) };
    },
    async verify(stage, lid, output) {
      assert.deepEqual([await blocked(stage), output.isBlocked], [[lid], true]);
    },
    line: 'block',
  }),
  'contacts.unblock': scenario('contacts.unblock', {
    async arrange(stage) {
      await unblocked(stage);
      await stage.session.run('contacts.block', { contactId: bobId }, 5_000);
      return { input: { contactId: bobId }, world: null };
    },
    async verify(stage, _world, output) {
      assert.deepEqual([await blocked(stage), output.isBlocked], [[], false]);
    },
    line: 'block',
  }),
  'contacts.about': scenario('contacts.about', {
    async arrange({ rig }) {
      await rig.simulator.client.setAccount({ phone: ana, about: 'At the beach' });
      return { input: { contactId }, world: null };
    },
    async verify(_stage, _world, output) {
      assert.deepEqual(output, { about: 'At the beach' });
    },
    line: 'about',
  }),
  'contacts.picture': scenario('contacts.picture', {
    async arrange({ rig }) {
      return {
        input: { contactId },
        world: (await rig.simulator.client.setPicture({ phone: ana, base64: png.toString('base64') })).url,
      };
    },
    async verify(_stage, url, output) {
      assert.deepEqual(output, { url });
    },
    line: 'picture',
    // To WhatsApp's server a picture that this account may not see does not exist.
    refusedAs: null,
  }),
  'contacts.commonGroups': scenario('contacts.commonGroups', {
    async arrange({ rig, session }) {
      const { client } = rig.simulator;
      const subject = `Both ${Date.now()}`;
      const { id } = await client.createGroup({ by: me, subject, participants: [ana] });
      for (const end = Date.now() + 10_000; Date.now() < end;) {
        const found = (await session.run('chats.list', { limit: 200, offset: 0, type: 'group' }, 5_000)) as { id: string }[];
        if (found.some((chat) => chat.id === id)) break;
      }
      return { input: { contactId }, world: { id, name: subject } };
    },
    async verify(_stage, group, output) {
      assert.deepEqual(
        output.find(({ id }) => id === group.id),
        group,
      );
    },
    line: null,
  }),
};
