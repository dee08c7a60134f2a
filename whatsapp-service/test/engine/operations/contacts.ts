import assert from 'node:assert/strict';
import { ana } from '../harness.js';
import { scenario, type Scenarios } from './scenario.js';

export const contacts: Scenarios<'contacts'> = {
  'contacts.check': scenario('contacts.check', {
    arrange: async () => ({ input: { numbers: [`+${ana}`, '99912345678', 'nonsense'] }, world: null }),
    async verify(_stage, _world, output) {
      assert.deepEqual(
        output.map(({ registered }) => registered),
        [true, false, false],
      );
    },
    line: 'exists',
  }),
};
