import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { workerEvents } from '@chasqui/shared';
import { readIdentity } from '../../src/engine/wwebjs/own-identity.js';

const schema = workerEvents['session.observed'].pick({
  phoneNumber: true,
  lid: true,
  pushName: true,
  platform: true,
  whatsappWebVersion: true,
});

test('an identity that is sound is handed on', () => {
  const answer = { phone: '5511988887777@c.us', lid: '1@lid', pushName: 'Shop', platform: 'android', version: '2.3000.1' };
  expect(readIdentity(answer)).toEqual({
    phoneNumber: '5511988887777',
    lid: '1@lid',
    pushName: 'Shop',
    platform: 'android',
    whatsappWebVersion: '2.3000.1',
  });
});

test('whatever the page says, the identity fits the contract and the columns', () => {
  const value = fc.oneof(fc.anything(), fc.string({ unit: 'binary', maxLength: 300 }), fc.constant('\ud83d'.repeat(500)));
  const answers = fc.oneof(
    fc.anything(),
    fc.record({ phone: value, lid: value, pushName: value, platform: value, version: value }),
  );
  fc.assert(
    fc.property(answers, (answer) => {
      const identity = schema.parse(readIdentity(answer));
      for (const text of Object.values(identity)) expect((text ?? '').length).toBeLessThanOrEqual(128);
      for (const text of Object.values(identity)) expect(text ?? '').not.toContain('\0');
    }),
    { numRuns: 60 },
  );
});
