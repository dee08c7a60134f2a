import assert from 'node:assert/strict';
import { ana, eventOf, me, until } from '../harness.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** A story of this phone, which the page has and Ana too. */
export async function story({ rig, signals, session }: Stage, from: string, text: string) {
  const { client } = rig.simulator;
  const { key: greeting } = await client.deliver({ from: ana, to: me, type: 'text', text: 'hello' });
  await eventOf(signals, 'message.observed', ({ message }) => message.key === greeting);
  await client.deliver({ from: me, to: ana, type: 'text', text: 'hello' });
  const { key } = await client.deliver({ from, to: 'status@broadcast', type: 'text', text });
  await until('the story to be on the page', async () =>
    JSON.stringify(await session.run('stories.list', {}, 5_000)).includes(key),
  );
  return key;
}

export const stories: Scenarios<'stories'> = {
  'stories.list': scenario('stories.list', {
    async arrange(stage) {
      const mine = await story(stage, me, 'ours');
      return { input: {}, world: [mine, await story(stage, ana, 'hers')] };
    },
    async verify(_stage, [mine, hers], output) {
      const found = output.flatMap((one) =>
        one.messages.map(({ whatsappId, text }) => [one.contact.phone, one.mine, text, whatsappId] as const),
      );
      assert.deepEqual(
        found
          .filter(([, , , id]) => id.includes(mine!) || id.includes(hers!))
          .map(([phone, isMine, text]) => [phone, isMine, text])
          .sort(),
        [
          [`+${me}`, true, 'ours'],
          [`+${ana}`, false, 'hers'],
        ].sort(),
      );
    },
    line: null,
  }),
  'stories.revoke': scenario('stories.revoke', {
    async arrange(stage) {
      const key = await story(stage, me, 'taken back');
      const listed = (await stage.session.run('stories.list', { mine: true }, 5_000)) as { messages: { whatsappId: string }[] }[];
      const { whatsappId } = listed.flatMap(({ messages }) => messages).find((one) => one.whatsappId.includes(key))!;
      return { input: { messageId: whatsappId }, world: key };
    },
    async verify({ rig }, key) {
      assert.equal((await rig.simulator.client.history({ phone: ana })).find((one) => one.key === key)?.type, 'revoked');
    },
    line: 'addon',
  }),
};
