import { afterEach, expect, test } from '@jest/globals';
import { ana, eventOf, link, me, online, startRig, until, type Rig } from './harness.js';

/** Whether the phone is asked for messages that could not be decrypted, and how often. */

let rig: Rig;
afterEach(async () => rig?.close());

const receiveUndecrypted = async (more: { asksPhone?: boolean }) => {
  let count = 0;
  rig = await startRig('2026-09b', true, { ...more, onAskedPhone: () => (count += 1) });
  const { signals } = await link(rig);
  await online(rig);
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'never readable', sealed: 'lost' });
  await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  return { key, counted: () => count, asked: () => rig.simulator.client.resendRequests({ phone: me }) };
};

test('by default the phone is asked, and each request is counted', async () => {
  const { key, counted, asked } = await receiveUndecrypted({});
  await until('the request', async () => (await asked()).includes(key));
  await until('its count', () => counted() === 1);
}, 60_000);

test('switched off, the phone is not asked', async () => {
  const { counted, asked } = await receiveUndecrypted({ asksPhone: false });
  // A request would come five seconds after the message.
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  expect([counted(), await asked()]).toEqual([0, []]);
}, 60_000);
