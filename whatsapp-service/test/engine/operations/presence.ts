import assert from 'node:assert/strict';
import { ana, eventOf, me } from '../harness.js';
import { chatWithAna } from './chats.js';
import { scenario, type Scenarios } from './scenario.js';

export const presence: Scenarios<'presence'> = {
  'presence.set': scenario('presence.set', {
    async arrange({ session }) {
      await session.run('presence.set', { state: 'unavailable' }, 5_000);
      return { input: { state: 'available' }, world: null };
    },
    async verify({ rig }, _world, output) {
      const account = (await rig.simulator.client.accounts({})).find(({ phone }) => phone === me)!;
      assert.deepEqual([account.presence, output.state], ['available', 'available']);
    },
    line: 'presence',
  }),
  'presence.subscribe': scenario('presence.subscribe', {
    async arrange(stage) {
      // A person of whom this page has eventOf nothing yet.
      const number = `55117${String(Date.now()).slice(-8)}`;
      const { client } = stage.rig.simulator;
      await client.createAccount({ phone: number });
      const { key } = await client.deliver({ from: number, to: me, type: 'text', text: 'hello' });
      await eventOf(stage.signals, 'message.observed', ({ message }) => message.key === key);
      return { input: { chatId: `${number}@c.us` }, world: number };
    },
    async verify({ rig, signals }, number, output) {
      assert.deepEqual(output, { chatId: `${number}@c.us`, subscribed: true });
      await rig.simulator.client.presence({ phone: number, state: 'available' });
      const { payload } = await eventOf(
        signals,
        'presence.observed',
        ({ contact, state }) => contact?.phone === `+${number}` && state === 'available',
      );
      assert.equal(payload.chat.id, `${number}@c.us`);
    },
    line: 'presence_subscribe',
  }),
  'presence.unsubscribe': scenario('presence.unsubscribe', {
    async arrange(stage) {
      const chatId = await chatWithAna(stage);
      await stage.session.run('presence.subscribe', { chatId }, 5_000);
      return { input: { chatId }, world: null };
    },
    async verify({ rig, signals }, _world, output) {
      assert.equal(output.subscribed, false);
      const before = signals.length;
      await rig.simulator.client.typing({ from: ana, to: me, state: 'composing' });
      await rig.simulator.client.typing({ from: ana, to: me, state: 'paused' });
      const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'later' });
      await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      const later = signals.slice(before).filter((signal) => signal.type === 'event' && signal.event === 'presence.observed');
      assert.deepEqual(later, []);
    },
    line: null,
    hollow: null,
    without: null,
  }),
};
