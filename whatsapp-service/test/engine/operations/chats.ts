import assert from 'node:assert/strict';
import { ana, heard, me } from '../harness.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** The chat with Ana, with a message in it. */
async function chatWithAna({ rig, signals }: Stage): Promise<string> {
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'hello' });
  await heard(signals, 'message.observed', ({ message }) => message.key === key);
  return `${ana}@c.us`;
}
const chatOf = async ({ rig }: Stage, id: string) =>
  (await rig.simulator.client.chats({ phone: me })).find((chat) => chat.id === id)!;

export const chats: Scenarios<'chats'> = {
  'chats.list': scenario('chats.list', {
    arrange: async (stage) => ({ input: { limit: 50, offset: 0 }, world: await chatWithAna(stage) }),
    async verify(_stage, id, output) {
      assert.ok(output.some((chat) => chat.id === id));
    },
    line: null,
  }),
  'chats.archive': scenario('chats.archive', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.session.run('chats.unarchive', { chatId }, 5_000);
      return { input: { chatId }, world: chatId };
    },
    async verify(stage, id, output) {
      assert.equal((await chatOf(stage, id)).archive, true);
      assert.equal(output.isArchived, true);
    },
    line: 'chatprop',
  }),
  'chats.unarchive': scenario('chats.unarchive', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.session.run('chats.archive', { chatId }, 5_000);
      return { input: { chatId }, world: chatId };
    },
    async verify(stage, id, output) {
      assert.equal((await chatOf(stage, id)).archive, false);
      assert.equal(output.isArchived, false);
    },
    line: 'chatprop',
  }),
};
