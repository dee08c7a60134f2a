import assert from 'node:assert/strict';
import { ana, heard, me, sendContent, text } from '../harness.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** A text from Ana that the page has. */
async function fromAna(
  { rig, signals }: Stage,
  words = 'hello',
): Promise<{ key: string; input: { whatsappId: string; chatId: string } }> {
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: words });
  const { payload } = await heard(signals, 'message.observed', ({ message }) => message.key === key);
  return { key, input: { whatsappId: payload.message.whatsappId, chatId: `${ana}@c.us` } };
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

export const messages: Scenarios<'messages'> = {
  'messages.react': scenario('messages.react', {
    async arrange(stage) {
      const { key, input } = await fromAna(stage);
      return { input: { ...input, emoji: '🎉' }, world: key };
    },
    async verify(stage, key) {
      assert.equal((await onPhone(stage, key)).marks.reactions[`${me}@c.us`]?.emoji, '🎉');
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
      assert.equal((await onPhone(stage, key)).marks.reactions[`${me}@c.us`], undefined);
    },
    line: 'addon',
  }),
};
