import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { ana, eventOf, link, me, online, reserve, sendContent, signal, startRig, text, until, type Rig } from './harness.js';

/** What the page proves of a send, and the true reasons of refusals, in a real browser against the simulator. */

const bob = '5511977770121';
const eve = '5511977770122';
let rig: Rig;
let session: EngineSession;
let signals: EngineSignal[];

beforeAll(async () => {
  rig = await startRig('2026-09');
  ({ session, signals } = await link(rig));
  await online(rig);
  for (const phone of [bob, eve]) await rig.simulator.client.createAccount({ phone, name: phone });
}, 90_000);
afterAll(async () => rig?.close());

const lookUp = (reservedId: string, chatId = `${ana}@c.us`, more: { since?: string | null; deadlineMs?: number } = {}) =>
  session.run('session.lookup', { reservedId, chatId, since: more.since ?? null }, more.deadlineMs ?? 10_000) as Promise<{
    found: boolean;
    ack: number;
    proven?: boolean;
  }>;
const handed = async (key: string) => (await rig.simulator.client.journal({})).filter((line) => line.key === key);

test('groups refuse by name: only admins, not a member, no such group', async () => {
  const { client } = rig.simulator;
  const announce = (await client.createGroup({ by: bob, subject: 'Shop', participants: [me], announce: true })).id;
  const open = (await client.createGroup({ by: bob, subject: 'Open', participants: [me] })).id;
  const left = (await client.createGroup({ by: bob, subject: 'Left', participants: [me] })).id;
  const sendTo = async (recipient: string) => (await sendContent(session, text('hello'), { recipient })).outcome;
  expect(await sendTo(open)).toMatchObject({ outcome: 'sent' });
  expect(await sendTo(left)).toMatchObject({ outcome: 'sent' });
  expect(await sendTo(announce)).toMatchObject({ outcome: 'failed', reason: 'GROUP_ADMIN_REQUIRED', retryable: false });
  await client.changeGroup({ id: left, by: bob, how: 'remove', participants: [me] });
  await until('the page to know', async () => (await sendTo(left)).outcome === 'failed');
  const before = (await client.journal({})).length;
  expect(await sendTo(left)).toMatchObject({ outcome: 'failed', reason: 'CHAT_NOT_FOUND' });
  expect(await sendTo('120363999999999999@g.us')).toMatchObject({ outcome: 'failed', reason: 'CHAT_NOT_FOUND' });
  expect(await client.journal({})).toHaveLength(before);
  // An admin may write.
  await client.changeGroup({ id: announce, by: bob, how: 'promote', participants: [me] });
  await until('the promotion', async () => (await sendTo(announce)).outcome === 'sent');
}, 60_000);

test('a message that WhatsApp refused is sent under the same id by another attempt, and is found as sent', async () => {
  const { client } = rig.simulator;
  // Her phone is off: only the server's own ack can raise it.
  await client.setAccount({ phone: ana, offline: true });
  await client.fault({ op: 'send', mode: 'fail', count: 1 });
  const reservedId = reserve();
  const refused = await sendContent(session, text('refused once'), { reservedId, isFirst: true });
  expect(refused.outcome).toMatchObject({ outcome: 'failed', reason: 'WHATSAPP_REFUSED' });
  expect((await sendContent(session, text('refused once'), { reservedId })).outcome).toMatchObject({ outcome: 'sent' });
  expect(await handed(reservedId)).toHaveLength(1);
  expect(await lookUp(reservedId)).toMatchObject({ found: true, ack: 1 });
  await client.setAccount({ phone: ana, offline: false });
}, 30_000);

test('a message in the page with ack 0 is found as such, and another attempt hands nothing over beside it', async () => {
  const { client } = rig.simulator;
  await client.setAccount({ phone: ana, offline: true });
  // The server has it, and the page never learns that from its answer.
  await client.fault({ op: 'send', mode: 'dropReply', count: 1 });
  const reservedId = reserve();
  const slow = await sendContent(session, text('slow'), { reservedId, isFirst: true, deadlineMs: 700 });
  expect(slow.outcome).toMatchObject({ outcome: 'uncertain' });
  expect(await lookUp(reservedId)).toMatchObject({ found: true, ack: 0 });
  const again = sendContent(session, text('slow'), { reservedId, deadlineMs: 15_000 });
  // Calls into the page are answered in order: by now the other attempt has had its turn there.
  expect(await lookUp(reservedId)).toMatchObject({ found: true, ack: 0 });
  await client.setAccount({ phone: ana, offline: false });
  expect((await again).outcome).toMatchObject({ outcome: 'sent' });
  expect((await handed(reservedId)).map(({ repeat }) => repeat)).toEqual([false]);
}, 30_000);

test('a message behind hundreds of newer ones is found; one behind unread history is not proven absent', async () => {
  const { client } = rig.simulator;
  const since = new Date().toISOString();
  const group = (await client.createGroup({ by: bob, subject: 'Busy', participants: [me] })).id;
  let reservedId = '';
  await until('the group', async () => {
    const sent = await sendContent(session, text('early'), { recipient: group });
    reservedId = sent.reservedId;
    return sent.outcome.outcome === 'sent';
  });
  const t = Math.floor(Date.now() / 1_000) + 1_200;
  for (let n = 0; n < 260; n += 1) await client.deliver({ from: bob, to: group, type: 'text', text: `n ${n}`, t: t + n });
  await session.close();
  ({ session, signals } = await rig.launch());
  await signal(signals, 'ready');
  expect(await lookUp(reservedId, group, { since })).toMatchObject({ found: true, ack: expect.any(Number) });

  const unknown = reserve();
  // Of three pages of history, two fit into the 70 % of the deadline that a lookup reads for.
  const slow = { op: 'history', mode: 'delay', delayMs: 800, count: 100 } as const;
  await session.close();
  ({ session, signals } = await rig.launch());
  await signal(signals, 'ready');
  await client.fault(slow);
  expect(await lookUp(unknown, group, { since, deadlineMs: 2_000 })).toEqual({ found: false, proven: false });
  await client.clearFaults({});
  expect(await lookUp(unknown, group, { since })).toEqual({ found: false, proven: true });
  // Nothing older than this has to be read.
  const soon = new Date((t + 900) * 1_000).toISOString();
  expect(await lookUp(unknown, group, { since: soon })).toEqual({ found: false, proven: true });
}, 90_000);

test('an ack in a group says whose receipt raised it', async () => {
  const { client } = rig.simulator;
  const group = (await client.createGroup({ by: bob, subject: 'Two', participants: [me] })).id;
  await until(
    'the group',
    async () => (await sendContent(session, text('here'), { recipient: group })).outcome.outcome === 'sent',
  );
  const { payload } = await eventOf(signals, 'message.ack', (one) => one.chat.id === group && one.ack >= 2);
  expect(payload.participant?.phone).toBe(`+${bob}`);
}, 30_000);

// The last one ends the session.
test('an account that WhatsApp blocks is reported with that reason', async () => {
  const { client } = rig.simulator;
  await client.keepOut({ phone: me, state: 'TOS_BLOCK' });
  expect((await signal(signals, 'gone')).reason).toBe('ACCOUNT_BANNED');
  await session.close();
  for (const [state, reason] of [
    ['SMB_TOS_BLOCK', 'ACCOUNT_RESTRICTED'],
    ['PROXYBLOCK', 'NETWORK_BLOCKED'],
  ] as const) {
    const next = await rig.launch();
    await signal(next.signals, 'ready');
    await online(rig);
    await client.keepOut({ phone: me, state });
    expect((await signal(next.signals, 'gone')).reason).toBe(reason);
    await next.session.close();
  }
}, 90_000);
