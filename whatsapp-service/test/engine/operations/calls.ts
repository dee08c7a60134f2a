import assert from 'node:assert/strict';
import { ana, me } from '../harness.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

/** A call from Ana that rings on the page. */
export async function ringing({ rig, session }: Stage, from = ana): Promise<string> {
  const { id } = await rig.simulator.client.call({ from, to: me });
  // The page gets the call before the answer to this, because the connection keeps its order.
  await session.run('contacts.check', { numbers: [ana] }, 5_000);
  return id;
}
export const stateOf = async ({ rig }: Stage, id: string) =>
  (await rig.simulator.client.calls({ phone: me })).find((call) => call.id === id)?.state;

export const calls: Scenarios<'calls'> = {
  'calls.link': scenario('calls.link', {
    arrange: async () => ({ input: { startsAt: new Date(Date.now() + 3_600_000).toISOString(), type: 'video' }, world: null }),
    verify: async (_stage, _world, { url }) => assert.match(url, /^https:\/\/call\.whatsapp\.com\/video\/./),
    line: 'call_link',
  }),
  'calls.reject': scenario('calls.reject', {
    async arrange(stage) {
      const callId = await ringing(stage);
      return { input: { callId }, world: callId };
    },
    async verify(stage, id, output) {
      assert.equal(await stateOf(stage, id), 'rejected');
      const { contact, ...rest } = output;
      assert.deepEqual([rest, contact?.phone], [{ rejected: true, confirmed: true }, `+${ana}`]);
    },
    line: 'call_reject',
    hollow: { WAWebVoipStackInterface: ['getVoipStackInterface'], WADeprecatedSendIq: ['deprecatedCastStanza'] },
  }),
};
