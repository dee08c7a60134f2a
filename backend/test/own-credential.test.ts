import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loginOf } from './support/account.js';
import { startRig, type Rig } from './support/backend.js';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.close());

test('GET /auth/me says when the credential ends: never, with the key, or with the token', async () => {
  const endOf = async (as: object): Promise<unknown> =>
    ((await rig.call('GET', '/auth/me', as)).body.data as { credential: { expiresAt: unknown } }).credential.expiresAt;
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  const make = async (end: string | null): Promise<{ key: string }> =>
    (await rig.call('POST', '/keys', { body: { name: `ends ${end}`, permissions: [], expiresAt: end } })).body.data as {
      key: string;
    };
  expect(await endOf({ key: (await make(expiresAt)).key })).toBe(expiresAt);
  expect(await endOf({ key: (await make(null)).key })).toBeNull();
  const inHours = (Date.parse(String(await endOf(await loginOf(rig)))) - Date.now()) / 3_600_000;
  expect(inHours).toBeGreaterThan(23);
  expect(inHours).toBeLessThanOrEqual(24);
});
