import assert from 'node:assert/strict';
import { me } from '../harness.js';
import { scenario, type Scenarios } from './scenario.js';

export const profile: Scenarios<'profile'> = {
  'profile.get': scenario('profile.get', {
    async arrange({ rig }) {
      await rig.simulator.client.setAccount({ phone: me, about: 'Open until six' });
      return { input: {}, world: null };
    },
    async verify(_stage, _world, output) {
      assert.deepEqual([output.phoneNumber, output.name, output.about], [`+${me}`, 'Shop', 'Open until six']);
    },
    line: 'about',
  }),
};
