import assert from 'node:assert/strict';
import type { OperationId } from '@chasqui/shared';
import { ana, eventOf, me, png, until } from '../harness.js';
import { scenario, type Scenario, type Scenarios, type Stage } from './scenario.js';

/** The chat with Ana, with a message in it. */
export async function chatWithAna({ rig, signals }: Stage): Promise<string> {
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'hello' });
  await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  return `${ana}@c.us`;
}
export const chatOf = async ({ rig }: Stage, id: string) =>
  (await rig.simulator.client.chats({ phone: me })).find((chat) => chat.id === id)!;

type ChatOf = Awaited<ReturnType<typeof chatOf>>;
interface ChatResult {
  isArchived: boolean;
  isPinned: boolean;
  mutedUntil: string | null;
  unreadCount: number;
}

/** A change of one property of the chat with Ana. `first` brings the chat into the opposite state. */
function property<Id extends OperationId>(
  id: Id,
  given: { first: OperationId; input?: object; shows: (chat: ChatOf, output: ChatResult) => boolean; line?: string } & Pick<
    Scenario<Id>,
    'hollow'
  >,
): Scenario<Id, string> {
  return scenario(id, {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.session.run(given.first, { chatId }, 5_000);
      return { input: { chatId, ...given.input } as never, world: chatId };
    },
    async verify(stage, chatId, output) {
      const chat = await chatOf(stage, chatId);
      assert.ok(given.shows(chat, output as unknown as ChatResult), JSON.stringify({ chat, output }));
    },
    line: given.line ?? 'chatprop',
    ...(given.hollow ? { hollow: given.hollow } : {}),
  });
}

/** Chats are muted by methods of their models. */
const muting = { WAWebMuteModel: ['Mute.prototype.mute', 'Mute.prototype.unmute'] };
/** Mutes end in the future, each at another second. */
const until2030 = '2030-01-01T00:00:00.000Z';

/** What Ana's phone has seen of typing so far. */
const typingSeen = async ({ rig }: Stage) =>
  (await rig.simulator.client.typingSeen({ phone: ana })).map(({ from, state }) => ({ from, state }));

export const chats: Scenarios<'chats'> = {
  'chats.list': scenario('chats.list', {
    arrange: async (stage) => ({ input: { limit: 50, offset: 0 }, world: await chatWithAna(stage) }),
    async verify(_stage, id, output) {
      assert.ok(output.some((chat) => chat.id === id));
    },
    line: null,
  }),
  'chats.overview': scenario('chats.overview', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.rig.simulator.client.setPicture({ phone: ana, base64: png.toString('base64') });
      return { input: { limit: 50, offset: 0 }, world: chatId };
    },
    async verify({ rig }, id, output) {
      const { picture } = (await rig.simulator.client.accounts({})).find(({ phone }) => phone === ana)!;
      assert.ok(picture);
      assert.equal(output.find((chat) => chat.id === id)?.picture, picture);
    },
    // A picture that is refused or does not come is null, and the list is an answer all the same: see chats.browser.test.ts.
    line: null,
  }),
  'chats.get': scenario('chats.get', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      return { input: { chatId }, world: chatId };
    },
    async verify(_stage, id, output) {
      assert.deepEqual([output.id, output.lastMessage?.text, output.contact?.phone], [id, 'hello', `+${ana}`]);
    },
    line: null,
  }),
  'chats.delete': scenario('chats.delete', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      return { input: { chatId }, world: chatId };
    },
    async verify(stage, id, output) {
      assert.equal(await chatOf(stage, id), undefined);
      assert.deepEqual(output, { id, deleted: true });
    },
    line: 'chatdelete',
  }),
  'chats.clear': scenario('chats.clear', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      return { input: { chatId }, world: chatId };
    },
    async verify(stage, id) {
      assert.equal((await chatOf(stage, id)).last, null);
      assert.equal((await stage.rig.simulator.client.history({ phone: me, chat: id })).length, 0);
    },
    line: 'chatdelete',
  }),
  'chats.read': scenario('chats.read', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await until('the chat to be unread', async () => (await chatOf(stage, chatId)).unreadCount > 0);
      await until('the page to count it', async () => {
        const chat = (await stage.session.run('chats.get', { chatId }, 5_000)) as ChatResult;
        return chat.unreadCount > 0;
      });
      return { input: { chatId }, world: chatId };
    },
    async verify(stage, id, output) {
      assert.equal((await chatOf(stage, id)).unreadCount, 0);
      assert.equal(output.unreadCount, 0);
    },
    line: 'read',
  }),
  'chats.unread': scenario('chats.unread', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.session.run('chats.read', { chatId }, 5_000);
      return { input: { chatId }, world: chatId };
    },
    async verify(stage, id) {
      assert.equal((await chatOf(stage, id)).unreadCount, -1);
    },
    line: 'chatprop',
  }),
  'chats.archive': property('chats.archive', {
    first: 'chats.unarchive',
    shows: (chat, output) => chat.archive && output.isArchived,
  }),
  'chats.unarchive': property('chats.unarchive', {
    first: 'chats.archive',
    shows: (chat, output) => !chat.archive && !output.isArchived,
  }),
  'chats.pin': property('chats.pin', { first: 'chats.unpin', shows: (chat, output) => chat.pin > 0 && output.isPinned }),
  'chats.unpin': property('chats.unpin', { first: 'chats.pin', shows: (chat, output) => chat.pin === 0 && !output.isPinned }),
  'chats.mute': property('chats.mute', {
    first: 'chats.unmute',
    input: { until: until2030 },
    shows: (chat, output) => chat.mute === Date.parse(until2030) / 1_000 && output.mutedUntil === until2030,
    hollow: muting,
  }),
  'chats.unmute': property('chats.unmute', {
    first: 'chats.mute',
    shows: (chat, output) => chat.mute === 0 && output.mutedUntil === null,
    hollow: muting,
  }),
  'chats.typing': scenario('chats.typing', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      return { input: { chatId, state: 'recording' }, world: (await typingSeen(stage)).length };
    },
    async verify(stage, before, output) {
      const [seen] = (await typingSeen(stage)).slice(before);
      assert.deepEqual(seen, { from: `${me}@c.us`, state: 'recording' });
      assert.ok(Date.parse(output.lapsesAt) > Date.now());
    },
    line: 'chatstate',
  }),
  'chats.stopTyping': scenario('chats.stopTyping', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.session.run('chats.typing', { chatId, state: 'typing' }, 5_000);
      return { input: { chatId }, world: (await typingSeen(stage)).length };
    },
    async verify(stage, before) {
      const later = (await typingSeen(stage)).slice(before);
      assert.deepEqual([...later], [{ from: `${me}@c.us`, state: 'paused' }]);
    },
    line: 'chatstate',
  }),
};
