import assert from 'node:assert/strict';
import { ana, eventOf, me, sendContent, text, until } from '../harness.js';
import { scenario, type Scenario, type Scenarios, type Stage } from './scenario.js';

type Input = Record<'whatsappId' | 'chatId', string>;
type Delivered = Parameters<Stage['rig']['simulator']['client']['deliver']>[0];

/** A message from Ana that the page has. */
export async function fromAna({ rig, signals }: Stage, more: Partial<Delivered> = {}): Promise<{ key: string; input: Input }> {
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'hello', ...more });
  const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  return { key, input: { whatsappId: payload.message.whatsappId, chatId: payload.message.chat.id } };
}

/** What Ana's phone shows of a message. */
export const onPhone = async ({ rig }: Stage, key: string, phone = ana) =>
  (await rig.simulator.client.history({ phone })).find((message) => message.key === key)!;

/** A text to Ana that WhatsApp's server has. */
export async function toAna(stage: Stage, words = 'hello') {
  const { reservedId, outcome } = await sendContent(stage.session, text(words));
  assert.ok(outcome.outcome === 'sent', JSON.stringify(outcome));
  return { key: reservedId, input: { whatsappId: outcome.whatsappId, chatId: `${ana}@c.us` } };
}

const mine = `${me}@c.us`;
const poll = {
  type: 'poll' as const,
  question: 'When?',
  options: ['Today', 'Tomorrow', 'Never'],
  multiple: true,
} satisfies Partial<Delivered>;
const event = {
  type: 'raw',
  raw: { type: 'event_creation', data: { eventName: 'Dinner', eventStartTime: 1_800_000_000 } },
} as const satisfies Partial<Delivered>;

/** Stars and pins: `set` says which way. */
const starring = (id: 'messages.star' | 'messages.unstar', set: boolean): Scenario<'messages.star', string> =>
  scenario('messages.star', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      if (!set) await stage.session.run('messages.star', { ...input }, 5_000);
      return { input, world: key };
    },
    async verify(stage, key) {
      assert.equal((await onPhone(stage, key, me)).marks.star, set, id);
    },
    line: 'addon',
  });

const changes: Pick<Scenarios<'messages'>, 'messages.edit' | 'messages.delete' | 'messages.react' | 'messages.unreact'> = {
  'messages.edit': scenario('messages.edit', {
    async arrange(stage) {
      const { key, input } = await toAna(stage, 'a typo');
      return { input: { ...input, message: 'See https://example.com/today' }, world: key };
    },
    async verify(stage, key, { message }) {
      assert.equal((await onPhone(stage, key)).data['body'], 'See https://example.com/today');
      assert.ok(message?.content.type === 'text');
      assert.deepEqual([message.key, message.content.message], [key, 'See https://example.com/today']);
      const { payload } = await eventOf(stage.signals, 'message.edited', (edit) => edit.key === key);
      assert.deepEqual([payload.text, payload.at], ['See https://example.com/today', message.editedAt]);
    },
    line: 'addon',
  }),
  'messages.delete': scenario('messages.delete', {
    async arrange(stage) {
      const { key, input } = await toAna(stage, 'never said');
      return { input: { ...input, scope: 'everyone' }, world: key };
    },
    async verify(stage, key, { message }) {
      assert.equal((await onPhone(stage, key)).type, 'revoked');
      assert.deepEqual([message?.key, typeof message?.revokedAt], [key, 'string']);
    },
    line: 'addon',
  }),
  'messages.react': scenario('messages.react', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      return { input: { ...input, emoji: '🎉' }, world: key };
    },
    async verify(stage, key) {
      assert.equal((await onPhone(stage, key)).marks.reactions[mine]?.emoji, '🎉');
    },
    line: 'addon',
  }),
  'messages.unreact': scenario('messages.unreact', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      await stage.session.run('messages.react', { ...input, emoji: '🎉' }, 5_000);
      return { input, world: key };
    },
    async verify(stage, key) {
      assert.equal((await onPhone(stage, key)).marks.reactions[mine], undefined);
    },
    line: 'addon',
  }),
};

export const messages: Scenarios<'messages'> = {
  ...changes,
  'messages.get': scenario('messages.get', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage, { text: 'read me again' });
      return { input, world: key };
    },
    async verify(_stage, key, output) {
      assert.ok(output.content.type === 'text');
      assert.deepEqual([output.key, output.content.message, output.fromMe], [key, 'read me again', false]);
    },
    line: null,
  }),
  'messages.search': scenario('messages.search', {
    async arrange(stage) {
      const word = `needle${Math.random().toString(36).slice(2)}`;
      const { key } = await fromAna(stage, { text: `a ${word} in the hay` });
      return { input: { query: word, chatId: `${ana}@c.us` }, world: key };
    },
    async verify(_stage, key, output) {
      assert.deepEqual(
        output.map((message) => message.key),
        [key],
      );
    },
    line: 'search',
  }),
  'messages.reactions': scenario('messages.reactions', {
    async arrange(stage) {
      const { key, input } = await toAna(stage);
      await until('the message on the phone', () => onPhone(stage, key));
      await stage.rig.simulator.client.react({ phone: ana, key, emoji: '🙏' });
      await eventOf(stage.signals, 'message.reaction', (reaction) => reaction.key === key);
      return { input, world: key };
    },
    async verify(_stage, _key, output) {
      assert.deepEqual(
        output.map(({ contact, emoji }) => [contact.phone, emoji]),
        [[`+${ana}`, '🙏']],
      );
      assert.ok(Math.abs(Date.parse(output[0]!.at!) - Date.now()) < 60_000);
    },
    line: null,
  }),
  'messages.star': starring('messages.star', true),
  'messages.unstar': starring('messages.unstar', false),
  'messages.pin': scenario('messages.pin', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      return { input: { ...input, seconds: 86_400 }, world: key };
    },
    async verify(stage, key) {
      assert.deepEqual(
        [(await onPhone(stage, key)).marks.pin?.by, (await onPhone(stage, key)).marks.pin?.seconds],
        [mine, 86_400],
      );
    },
    line: 'addon',
  }),
  'messages.unpin': scenario('messages.unpin', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      await stage.session.run('messages.pin', { ...input, seconds: 604_800 }, 5_000);
      return { input, world: key };
    },
    async verify(stage, key) {
      assert.equal((await onPhone(stage, key)).marks.pin, null);
    },
    line: 'addon',
  }),
  'messages.seen': scenario('messages.seen', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      return { input, world: key };
    },
    async verify(stage, key) {
      assert.ok((await onPhone(stage, key)).marks.receipts[mine]?.read);
    },
    line: 'read',
  }),
  'messages.votes': scenario('messages.votes', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage, poll);
      await stage.rig.simulator.client.vote({ phone: ana, key, options: ['Tomorrow'] });
      await eventOf(stage.signals, 'poll.vote', (vote) => vote.key === key);
      return { input, world: null };
    },
    async verify(_stage, _world, output) {
      assert.deepEqual(
        output.map(({ contact, options }) => [contact.phone, options]),
        [[`+${ana}`, ['Tomorrow']]],
      );
    },
    line: null,
  }),
  'messages.vote': scenario('messages.vote', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage, poll);
      return { input: { ...input, options: ['Never', 'Today'] }, world: key };
    },
    async verify(stage, key, output) {
      assert.deepEqual([...((await onPhone(stage, key)).marks.votes[mine]?.options ?? [])].sort(), ['Never', 'Today']);
      assert.deepEqual(output.options, ['Never', 'Today']);
    },
    line: 'addon',
  }),
  'messages.receipts': scenario('messages.receipts', {
    async arrange(stage) {
      const { key, input } = await toAna(stage);
      await stage.rig.simulator.client.ack({ phone: ana, key, ack: 3 });
      return { input, world: key };
    },
    async verify(_stage, _key, output) {
      const people = (list: typeof output.read): (string | null)[] => list.map(({ contact }) => contact.phone);
      assert.deepEqual([people(output.delivered), people(output.read), people(output.played)], [[`+${ana}`], [`+${ana}`], []]);
      assert.deepEqual(output.remaining, { delivered: 0, read: 0, played: 1 });
    },
    line: 'message',
  }),
  'messages.calendarResponse': scenario('messages.calendarResponse', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage, event);
      return { input: { ...input, response: 'maybe' }, world: key };
    },
    async verify(stage, key, output) {
      assert.equal((await onPhone(stage, key)).marks.responses[mine]?.response, 3);
      assert.deepEqual(output, { response: 'maybe' });
    },
    line: 'addon',
  }),
};
