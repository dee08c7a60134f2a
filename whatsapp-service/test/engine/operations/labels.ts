import assert from 'node:assert/strict';
import { me, until } from '../harness.js';
import { chatWithAna } from './chats.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

interface Label {
  id: string;
  name: string;
}
const onPhone = async ({ rig }: Stage) => [...(await rig.simulator.client.labels({ phone: me }))];

/** A business account with two labels, of which the page knows. Returns the first one. */
export async function withLabels(stage: Stage): Promise<Label> {
  const { client } = stage.rig.simulator;
  await client.setAccount({ phone: me, isBusiness: true });
  await client.setLabels({
    phone: me,
    labels: [
      { id: '1', name: `New ${Date.now()}`, colorIndex: 1 },
      { id: '2', name: 'Paid', colorIndex: 2 },
    ],
  });
  const [first] = await onPhone(stage);
  await until('the page to know the labels', async () => {
    const known = (await stage.session.run('labels.list', {}, 5_000).catch(() => [])) as Label[];
    return known.length === 2 && known.some(({ name }) => name === first!.name);
  });
  return first!;
}

async function labelledChat(stage: Stage, labelIds: string[]): Promise<{ label: Label; chatId: string }> {
  const label = await withLabels(stage);
  const chatId = await chatWithAna(stage);
  await stage.session.run('labels.assign', { chatId, labelIds }, 5_000);
  return { label, chatId };
}

export const labels: Scenarios<'labels'> = {
  'labels.list': scenario('labels.list', {
    arrange: async (stage) => ({ input: {}, world: await withLabels(stage) }),
    async verify(_stage, { id, name }, output) {
      assert.deepEqual(output[0], { id, name, color: '#00a884', colorIndex: 1 });
      assert.equal(output.length, 2);
    },
    line: null,
  }),
  'labels.get': scenario('labels.get', {
    async arrange(stage) {
      const label = await withLabels(stage);
      return { input: { labelId: label.id }, world: label };
    },
    async verify(_stage, { id, name }, output) {
      assert.deepEqual([output.id, output.name], [id, name]);
    },
    line: null,
  }),
  'labels.chats': scenario('labels.chats', {
    async arrange(stage) {
      const { label, chatId } = await labelledChat(stage, ['1']);
      return { input: { labelId: label.id }, world: chatId };
    },
    async verify(_stage, chatId, output) {
      assert.deepEqual(
        output.map(({ id }) => id),
        [chatId],
      );
    },
    line: null,
  }),
  'labels.ofChat': scenario('labels.ofChat', {
    async arrange(stage) {
      const { chatId } = await labelledChat(stage, ['2']);
      return { input: { chatId }, world: null };
    },
    async verify(_stage, _world, output) {
      assert.deepEqual(
        output.map(({ id }) => id),
        ['2'],
      );
    },
    line: null,
  }),
  'labels.create': scenario('labels.create', {
    async arrange(stage) {
      await withLabels(stage);
      return { input: { name: 'Shipped', colorIndex: 3 }, world: null };
    },
    async verify(stage, _world, output) {
      const found = (await onPhone(stage)).find(({ id }) => id === output.id);
      assert.deepEqual([found?.name, found?.colorIndex, output.name, output.colorIndex], ['Shipped', 3, 'Shipped', 3]);
      assert.match(output.color!, /^#/);
    },
    line: 'label_add',
  }),
  'labels.edit': scenario('labels.edit', {
    async arrange(stage) {
      const { id } = await withLabels(stage);
      return { input: { labelId: id, name: 'Waiting' }, world: id };
    },
    async verify(stage, id, output) {
      const found = (await onPhone(stage)).find((label) => label.id === id);
      // The colour was not named, so it stays.
      assert.deepEqual([found?.name, found?.colorIndex, output.name], ['Waiting', 1, 'Waiting']);
    },
    line: 'label_edit',
  }),
  'labels.delete': scenario('labels.delete', {
    async arrange(stage) {
      const { id } = await withLabels(stage);
      return { input: { labelId: id }, world: id };
    },
    async verify(stage, id, output) {
      assert.deepEqual(
        (await onPhone(stage)).map((label) => label.id),
        ['2'],
      );
      assert.deepEqual(output, { id, deleted: true });
    },
    line: 'label_delete',
  }),
  'labels.assign': scenario('labels.assign', {
    async arrange(stage) {
      const { chatId } = await labelledChat(stage, ['1']);
      return { input: { chatId, labelIds: ['2'] }, world: chatId };
    },
    async verify(stage, chatId, output) {
      const having = (await onPhone(stage)).filter((label) => label.chats.includes(chatId)).map(({ id }) => id);
      assert.deepEqual([having, output.map(({ id }) => id)], [['2'], ['2']]);
    },
    line: 'label_assign',
  }),
};
