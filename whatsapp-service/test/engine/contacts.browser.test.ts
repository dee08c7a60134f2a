import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { eventOf, link, me, online, sendContent, startRig, until, type Rig } from './harness.js';

/** Who is behind an id, in a real page: numbers under another spelling, people without a number, and names that change. */

describe('contacts in the page', () => {
  let rig: Rig;
  let session: EngineSession;
  let signals: EngineSignal[];
  beforeAll(async () => {
    rig = await startRig('2026-09');
    ({ session, signals } = await link(rig));
    await online(rig);
  }, 90_000);
  afterAll(async () => rig?.close());

  test('a number that is registered under another spelling is reported and sent to as WhatsApp spells it', async () => {
    const [registered, typed, gone] = ['551199887701', '5511999887701', '5511977660000'];
    await rig.simulator.client.createAccount({ phone: gone, gone: true });
    await rig.simulator.client.createAccount({ phone: registered, name: 'Nina', spellings: [typed] });
    const rows = await session.run('contacts.check', { numbers: [`+${typed}`, `+${registered}`, `+${gone}`] }, 20_000);
    const contact = { id: `${registered}@c.us`, phone: `+${registered}`, name: 'Nina' };
    expect(rows).toMatchObject([
      { input: `+${typed}`, normalised: `${registered}@c.us`, registered: true, contact },
      { input: `+${registered}`, normalised: `${registered}@c.us`, registered: true, contact },
      { input: `+${gone}`, normalised: `${gone}@c.us`, registered: false, contact: null },
    ]);
    const { outcome } = await sendContent(session, { type: 'text', message: 'hello Nina' }, { recipient: `${typed}@c.us` });
    expect(outcome).toMatchObject({ outcome: 'sent' });
    const received = await rig.simulator.client.received({ phone: registered });
    expect(received.map(({ text }) => text)).toEqual(['hello Nina']);
  }, 60_000);

  test('a person who hides the number is identified by the LID alone', async () => {
    const [hidden] = ['5511977661234'];
    await rig.simulator.client.createAccount({ phone: hidden, name: 'Hugo', hidesNumber: true });
    const group = await rig.simulator.client.createGroup({
      by: hidden,
      subject: 'Quiet',
      participants: [me],
      lidAddressing: true,
    });
    const { key } = await rig.simulator.client.deliver({ from: hidden, to: group.id, type: 'text', text: 'who am I?' });
    const {
      payload: { message },
    } = await eventOf(signals, 'message.observed', (payload) => payload.message.key === key);
    expect(message.contact).toMatchObject({ phone: null, name: 'Hugo' });
    expect(message.contact!.id).toMatch(/@lid$/);
  }, 60_000);

  test('a new name and a saved contact are reported, and later messages carry them', async () => {
    const bea = '5511977665678';
    await rig.simulator.client.createAccount({ phone: bea, name: 'Bea One' });
    const say = async (text: string) => {
      const { key } = await rig.simulator.client.deliver({ from: bea, to: me, type: 'text', text });
      return (await eventOf(signals, 'message.observed', ({ message }) => message.key === key)).payload.message.contact?.name;
    };
    expect(await say('first')).toBe('Bea One');
    await rig.simulator.client.setAccount({ phone: bea, name: 'Bea Two' });
    await eventOf(signals, 'contact.observed', ({ contact }) => contact.name === 'Bea Two');
    expect(await say('renamed')).toBe('Bea Two');
    await rig.simulator.client.setContact({ phone: me, contact: bea, name: 'Bea (work)' });
    const {
      payload: { contact },
    } = await eventOf(signals, 'contact.observed', (payload) => payload.contact.name === 'Bea (work)');
    expect(contact).toMatchObject({ id: `${bea}@c.us`, phone: `+${bea}` });
    await until('the name in a message', async () => (await say('saved')) === 'Bea (work)');
  }, 60_000);
});
