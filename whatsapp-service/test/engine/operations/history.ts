import assert from 'node:assert/strict';
import { ana, eventOf, me } from '../harness.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** A text from Ana that the page has. */
async function fromAna({ rig, signals }: Stage): Promise<string> {
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'once upon a time' });
  await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  return key;
}

export const history: Scenarios<'history'> = {
  'history.messages': scenario('history.messages', {
    arrange: async (stage) => ({ input: { chatId: `${ana}@c.us`, limit: 200 }, world: await fromAna(stage) }),
    async verify({ rig }, key, output) {
      const onPhone = (await rig.simulator.client.history({ phone: me, chat: `${ana}@c.us` })).map((message) => message.key);
      assert.equal(output[0]!.key, key);
      assert.deepEqual(output.map((message) => message.key).reverse(), [...onPhone.slice(-200)]);
    },
    line: 'history',
  }),
  'history.request': scenario('history.request', {
    async arrange(stage) {
      await fromAna(stage);
      const before = (await stage.rig.simulator.client.historyRequests({ phone: me })).length;
      return { input: { chatId: `${ana}@c.us` }, world: before };
    },
    async verify({ rig }, before, output) {
      const requests = await rig.simulator.client.historyRequests({ phone: me });
      assert.deepEqual([[...requests.slice(before)], output], [[`${ana}@c.us`], { requested: true }]);
    },
    line: 'history_request',
  }),
};
