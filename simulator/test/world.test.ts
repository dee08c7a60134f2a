import { describe, expect, test } from '@jest/globals';
import { lidId, phoneId, type Account } from '../src/accounts.js';
import { createClock } from '../src/clock.js';
import { createFaults } from '../src/faults.js';
import { createJournal } from '../src/journal.js';
import { assertionFault, passkeyRequest } from '../src/passkeys.js';
import { createWorld } from '../src/world.js';

function stage() {
  const clock = createClock();
  const world = createWorld({ clock, faults: createFaults(), journal: createJournal(clock.now) });
  const [shop, ana, bruno] = ['5511988887777', '5511999990001', '5511999990002'].map((phone) =>
    world.phones.create({ phone, ackDelayMs: 1 }),
  ) as [Account, Account, Account];
  return { world, shop, ana, bruno };
}
const text = (body: string, to: string, key: string) => ({ key, to, type: 'chat', data: { body }, t: 0 });

describe('messages', () => {
  test('a repeated key is one message on the phone and two lines in the journal', () => {
    const { world, shop, ana } = stage();
    for (let n = 0; n < 2; n++) expect(world.messages.send(shop, null, text('hi', phoneId(ana), 'A1')).ack).toBe(1);
    expect(ana.received.map(({ key }) => key)).toEqual(['A1']);
    expect(world.journal.since(0).map(({ n, key, whatsappId, repeat }) => [n, key, whatsappId, repeat])).toEqual([
      [1, 'A1', 'true_5511999990001@c.us_A1', false],
      [2, 'A1', 'true_5511999990001@c.us_A1', true],
    ]);
    expect(world.journal.since(1)).toHaveLength(1);
  });

  test('a number that begins with 999, or was marked, is not on WhatsApp', () => {
    const { world, shop, ana } = stage();
    expect(world.messages.send(shop, null, text('hi', '99912345678@c.us', 'A1'))).toMatchObject({ ack: -1 });
    world.phones.create({ phone: ana.phone, gone: true });
    expect(world.messages.send(shop, null, text('hi', phoneId(ana), 'A2'))).toMatchObject({ ack: -1 });
    expect(world.journal.since(0).every(({ refused }) => refused)).toBe(true);
  });

  test('the ack of a group’s message rises when all of its members have acknowledged', () => {
    const { world, shop, ana, bruno } = stage();
    for (const phone of [ana, bruno]) phone.offline = true;
    const { id } = world.groups.create(shop, 'Team', [phoneId(ana), phoneId(bruno)]);
    world.messages.send(shop, null, text('all', id, 'G1'));
    world.messages.ack(shop, 'G1', 3, ana);
    expect(shop.history.get('G1')!.ack).toBe(1);
    world.messages.ack(shop, 'G1', 2, bruno);
    expect(shop.history.get('G1')!.ack).toBe(2);
    world.messages.ack(shop, 'G1', 4, bruno);
    expect(shop.history.get('G1')!.ack).toBe(3);
  });

  test('a chat under a LID is answered under LIDs', () => {
    const { world, shop, ana } = stage();
    world.messages.send(shop, null, text('hi', lidId(ana), 'L1'));
    expect([shop.history.get('L1')!.from, ana.history.get('L1')!.chat]).toEqual([lidId(shop), lidId(shop)]);
  });

  test('only its author edits a message, and a group’s admin may revoke it', () => {
    const { world, shop, ana, bruno } = stage();
    const { id } = world.groups.create(ana, 'Team', [phoneId(shop), phoneId(bruno)]);
    world.messages.send(shop, null, text('mine', id, 'E1'));
    expect(() => world.addon(bruno, { kind: 'edit', key: 'E1', value: 'yours' })).toThrow('not-authorized');
    expect(() => world.addon(bruno, { kind: 'revoke', key: 'E1', value: null })).toThrow('not-authorized');
    world.addon(ana, { kind: 'revoke', key: 'E1', value: null });
    expect([shop, bruno].map((one) => one.history.get('E1')!.type)).toEqual(['revoked', 'revoked']);
    expect(() => world.addon(ana, { kind: 'constructor', key: 'E1', value: null })).toThrow('knows nothing called');
  });
});

test('a fault is used up, and may be for one number alone', () => {
  const faults = createFaults();
  faults.order({ op: 'send', mode: 'fail', count: 1, phone: '1' });
  expect(faults.next('send', '2')).toBeNull();
  expect(faults.next('read', '1')).toBeNull();
  expect(faults.next('send', '1')?.mode).toBe('fail');
  expect(faults.next('send', '1')).toBeNull();
});

test('an assertion that answers another question is refused', () => {
  const passkey = { id: 'AQID', publicKey: null };
  const request = passkeyRequest(passkey);
  const clientDataJSON = Buffer.from(JSON.stringify({ type: 'webauthn.get', challenge: 'other' })).toString('base64url');
  const given = { id: 'AQID', clientDataJSON, authenticatorData: '', signature: '' };
  expect(assertionFault(passkey, request, given)).toBe('the answer to another question');
  expect(assertionFault(passkey, request, { ...given, id: 'BBBB' })).toBe('another passkey');
});
