import { beforeEach, expect, test } from '@jest/globals';
import type { Device } from '../src/accounts.js';
import { createFaults } from '../src/faults.js';
import { createJournal } from '../src/journal.js';
import type { Push } from '../src/wire.js';
import { createWorld, type World } from '../src/world.js';

/** The phones and what travels between them, without a page: the oracle itself must be right. */

let world: World;
let pushes: Push[];
let device: Device;
const shop = '5511988887777';
const ana = '5511999990001';

beforeEach(() => {
  world = createWorld({ journal: createJournal(() => new Date()), now: () => new Date(), faults: createFaults() });
  // Each test has its own: the timers of one that is over still push into theirs.
  const own: Push[] = [];
  pushes = own;
  world.create({ phone: ana, name: 'Ana' });
  device = { id: 'd', token: 't', send: (push) => own.push(push), close: null, queue: [] };
  world.create({ phone: shop, name: 'Shop' }).devices.set('d', device);
});

const me = () => world.accounts.get(shop)!;
const other = () => world.accounts.get(ana)!;
const send = (key: string, to = `${ana}@c.us`) =>
  world.send(me(), device, { key, to, type: 'chat', data: { body: 'hello' }, t: 1 });

test('a key that comes twice is shown once and journalled twice, the second time as a repeat', () => {
  expect([send('A').ack, send('A').ack]).toEqual([1, 1]);
  expect(other().received.map((message) => message.key)).toEqual(['A']);
  expect(world.journal.since(0).map(({ key, repeat }) => [key, repeat])).toEqual([
    ['A', false],
    ['A', true],
  ]);
});

test('a number that is not on WhatsApp, and a new chat under the reach-out lock, are refused', () => {
  expect(send('A', '99911112222@c.us').ack).toBe(-1);
  me().reachOutLocked = true;
  expect(send('B').ack).toBe(-1);
  me().reachOutLocked = false;
  send('C');
  me().reachOutLocked = true;
  expect(send('D').ack).toBe(1);
  expect(
    world.journal
      .since(0)
      .filter(({ refused }) => refused)
      .map(({ key }) => key),
  ).toEqual(['A', 'B']);
});

test('acks climb one after the other to those that the other phone gives', async () => {
  other().autoRead = true;
  send('A');
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(pushes.filter(({ ev }) => ev === 'ack').map(({ d }) => (d as { ack: number }).ack)).toEqual([2, 3]);
});

test('nothing reaches a phone that is off, and its senders see one tick', async () => {
  other().offline = true;
  send('A');
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(pushes.filter(({ ev }) => ev === 'ack')).toEqual([]);
});

test('what comes while a page is away waits for it, in order', () => {
  device.send = null;
  for (const text of ['one', 'two']) world.fromPhone(other(), `${shop}@c.us`, { type: 'chat', data: { body: text } });
  expect(device.queue.map(({ d }) => (d as { data: { body: string } }).data.body)).toEqual(['one', 'two']);
});

test('a group message reaches the members and nobody else; only admins change who they are', () => {
  const bruno = world.create({ phone: '5511999990002', name: 'Bruno' });
  const clara = world.create({ phone: '5511999990003', name: 'Clara' });
  const id = world.groups.create(other(), 'Team', [`${shop}@c.us`, '5511999990002@c.us']);
  send('A', id);
  expect([other(), bruno, clara].map((account) => account.received.filter(({ key }) => key === 'A').length)).toEqual([1, 1, 0]);
  expect(() => world.groups.add(bruno, id, ['5511999990003@c.us'])).toThrow('not-authorized');
  world.groups.property(other(), id, 'announce', true);
  expect(send('B', id).ack).toBe(-1);
});

test('an edit or a revoke is told to everybody who has the message', () => {
  const key = world.fromPhone(other(), `${shop}@c.us`, { type: 'chat', data: { body: 'frist' } });
  world.addon(other(), { kind: 'edit', key, value: 'first' });
  expect(me().history.get(key)?.data['body']).toBe('first');
  world.addon(other(), { kind: 'revoke', key, value: null });
  expect([me().history.get(key)?.type, pushes.filter(({ ev }) => ev === 'addon').length]).toEqual(['revoked', 2]);
  expect(() => world.addon(other(), { kind: 'edit', key: 'nothing', value: 'x' })).toThrow('no such message');
});

test('a fault is met by as many requests as were ordered', () => {
  const faults = createFaults();
  faults.order({ op: 'send', mode: 'fail', count: 2 });
  expect([faults.next('read'), faults.next('send')?.mode, faults.next('send')?.mode, faults.next('send')]).toEqual([
    null,
    'fail',
    'fail',
    null,
  ]);
});
