import { createRequire } from 'node:module';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { BuildName } from '@chasqui/simulator';
import { ana, link, me, online, sendContent, signal, startRig, text, until, type Rig } from './harness.js';

/** What WhatsApp allows the account, and what it wants answered. */

const { Client } = createRequire(import.meta.url)('whatsapp-web.js') as {
  Client: { prototype: { inject(): Promise<void> } };
};

let rig: Rig;
afterEach(async () => rig?.close());
const stranger = '5511999990009';
const open = async (build: BuildName = '2026-09b') => {
  rig = await startRig(build);
  const linked = await link(rig);
  await online(rig);
  return linked;
};
const sentTo = async (phone: string): Promise<number> =>
  (await rig.simulator.client.journal({})).filter(({ chat }) => chat.startsWith(phone)).length;

describe('an account that may not start new chats', () => {
  test('is seen in the page; new chats are refused without asking WhatsApp, existing ones go on, and the end is seen too', async () => {
    const { session } = await open();
    expect((await sendContent(session, text('before'))).outcome).toMatchObject({ outcome: 'sent' });
    expect(await session.account(5_000)).toMatchObject({ reachOutLocked: false });
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: true });
    await until('the lock', async () => (await session.account(5_000)).reachOutLocked);
    const refused = await sendContent(session, text('hello'), { recipient: `${stranger}@c.us` });
    expect(refused.outcome).toMatchObject({ outcome: 'failed', reason: 'REACH_OUT_LOCKED', retryable: false });
    expect([refused.handedOver, await sentTo(stranger)]).toEqual([false, 0]);
    expect((await sendContent(session, text('still'))).outcome).toMatchObject({ outcome: 'sent' });
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: false });
    await until('the end of the lock', async () => !(await session.account(5_000)).reachOutLocked);
    const sent = await sendContent(session, text('hello'), { recipient: `${stranger}@c.us` });
    expect(sent.outcome).toMatchObject({ outcome: 'sent' });
  }, 60_000);

  test('is asked for, because the page may not have heard of it: when the account is read, and after a refusal', async () => {
    const { session } = await open();
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: true, untold: true });
    const first = await sendContent(session, text('one'), { recipient: `${stranger}@c.us` });
    expect(first).toMatchObject({ handedOver: true, outcome: { outcome: 'failed', reason: 'REACH_OUT_LOCKED' } });
    expect((await session.account(5_000)).reachOutLocked).toBe(true);
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: false, untold: true });
    expect((await session.account(5_000)).reachOutLocked).toBe(false);
    const second = await sendContent(session, text('two'), { recipient: `${stranger}@c.us` });
    expect(second.outcome).toMatchObject({ outcome: 'sent' });
  }, 60_000);

  test('a page that cannot ask WhatsApp does not contradict a refusal', async () => {
    const { session } = await open();
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: true, untold: true });
    await rig.simulator.client.fault({ op: 'reach_out_lock', mode: 'fail', count: 2 });
    expect((await session.account(5_000)).reachOutLocked).toBe(false);
    await sendContent(session, text('one'), { recipient: `${stranger}@c.us` });
    expect((await session.account(5_000)).reachOutLocked).toBe(true);
    const second = await sendContent(session, text('two'), { recipient: `${stranger}@c.us` });
    expect(second).toMatchObject({ handedOver: false, outcome: { outcome: 'failed', reason: 'REACH_OUT_LOCKED' } });
  }, 60_000);

  test('is learned from a refused first message where the page does not show it', async () => {
    const { session } = await open('2026-07');
    expect((await sendContent(session, text('before'))).outcome).toMatchObject({ outcome: 'sent' });
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: true });
    expect((await session.account(5_000)).reachOutLocked).toBe(false);
    const first = await sendContent(session, text('one'), { recipient: `${stranger}@c.us` });
    expect(first).toMatchObject({ handedOver: true, outcome: { outcome: 'failed', reason: 'REACH_OUT_LOCKED' } });
    expect((await session.account(5_000)).reachOutLocked).toBe(true);
    // The refused message has made a chat in the page. It holds no answer.
    const second = await sendContent(session, text('two'), { recipient: `${stranger}@c.us` });
    expect(second).toMatchObject({ handedOver: false, outcome: { outcome: 'failed', reason: 'REACH_OUT_LOCKED' } });
    expect((await sendContent(session, text('still'))).outcome).toMatchObject({ outcome: 'sent' });
  }, 60_000);
});

test('the linked devices are counted without the phone', async () => {
  const { session } = await open();
  expect((await session.account(5_000)).linkedDevices).toBe(1);
}, 60_000);

test('the dialog of a new account is answered, so that the device is not logged out', async () => {
  rig = await startRig('2026-09b');
  await rig.simulator.client.setPage({ newsMs: 3_000 });
  const { session, signals } = await link(rig);
  await signal(signals, 'ready');
  await session.account(5_000);
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  expect(signals.some(({ type }) => type === 'gone')).toBe(false);
  expect((await sendContent(session, text('still here'), { recipient: `${ana}@c.us` })).outcome).toMatchObject({
    outcome: 'sent',
  });
}, 60_000);

test('the end of a lock is read where the page shows it', async () => {
  const { session } = await open();
  const end = new Date(Date.now() + 7_200_000).toISOString();
  await rig.simulator.client.restrict({ phone: me, reachOutLocked: true, until: end });
  await until('the lock', async () => (await session.account(5_000)).reachOutLocked);
  expect(await session.account(5_000)).toMatchObject({ reachOutLocked: true, reachOutUntil: end });
}, 60_000);

describe.each(['classic', '2026-07', '2026-09', '2026-09b'] as const)('build %s', (build) => {
  test('a temporary ban ends the session with its end, at once and at the next start, until it is over', async () => {
    const { signals } = await open(build);
    await rig.simulator.client.ban({ phone: me, seconds: 3_600 });
    const gone = await signal(signals, 'gone');
    expect(gone).toMatchObject({ reason: 'ACCOUNT_TEMPORARILY_BANNED', until: expect.any(Date) });
    expect(Math.abs(gone.until!.getTime() - Date.now() - 3_600_000)).toBeLessThan(60_000);
    await rig.open[0]!.session.close();
    const again = await rig.launch();
    expect(await signal(again.signals, 'gone')).toMatchObject({ reason: 'ACCOUNT_TEMPORARILY_BANNED' });
    await again.session.close();
    await rig.simulator.client.ban({ phone: me, seconds: 0 });
    await signal((await rig.launch()).signals, 'ready');
  }, 90_000);

  test('a temporary ban that comes before the worker finds the page loaded ends the session', async () => {
    const { session } = await open(build);
    await rig.simulator.client.ban({ phone: me, seconds: 3_600 });
    await session.close();
    const { inject } = Client.prototype;
    Client.prototype.inject = async function () {
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      return inject.call(this);
    };
    try {
      const { signals } = await rig.launch();
      expect(await signal(signals, 'gone')).toMatchObject({ reason: 'ACCOUNT_TEMPORARILY_BANNED' });
    } finally {
      Client.prototype.inject = inject;
    }
  }, 90_000);

  test('a check of the account is seen by the probe where the page has it, with its kind, and so is its end', async () => {
    const { session } = await open(build);
    const check = async () => (await session.probe(5_000)).challenge ?? null;
    expect(await check()).toBeNull();
    const hasChecks = build === '2026-09' || build === '2026-09b';
    for (const [type, kind] of [
      ['PASSKEY', 'passkey'],
      ['CAPTCHA', 'other'],
    ] as const) {
      await rig.simulator.client.challenge({ phone: me, open: true, type });
      if (hasChecks) await until(`the check with ${type}`, async () => (await check()) === kind);
      else expect(await check()).toBeNull();
    }
    await rig.simulator.client.challenge({ phone: me, open: false });
    await until('its end', async () => (await check()) === null);
  }, 60_000);
});
