import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { ana, linked, me, toAna, until, type Rig } from './stock.js';

describe('faults on the network', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await linked({ build: 'classic' });
  }, 30_000);
  afterAll(() => rig?.close());
  beforeEach(() => rig.simulator.client.clearFaults());

  const send = (text: string) => rig.client.sendMessage(toAna, text, { sendSeen: false });
  const acks = (key: string) =>
    rig.events
      .filter(({ name, args }) => name === 'message_ack' && (args[0] as { id: { id: string } }).id.id === key)
      .map(({ args }) => args[1]);
  const journal = async (key: string) => (await rig.simulator.client.journal({})).filter((entry) => entry.key === key);

  test('a refused send ends in ack −1', async () => {
    await rig.simulator.client.fault({ op: 'send', mode: 'fail' });
    const sent = await send('refused');
    await until('the refusal', () => acks(sent.id.id).includes(-1));
    expect(await journal(sent.id.id)).toEqual([]);
  });

  test('a request that is lost is never answered', async () => {
    await rig.simulator.client.fault({ op: 'send', mode: 'drop' });
    const lost = await send('lost');
    const next = await send('not lost');
    await until('the next one', () => acks(next.id.id).includes(2));
    expect(acks(lost.id.id)).toEqual([]);
    expect(await journal(lost.id.id)).toEqual([]);
  });

  test('a request whose reply is lost was still processed', async () => {
    await rig.simulator.client.fault({ op: 'send', mode: 'dropReply' });
    const sent = await send('answer lost');
    await until('its arrival', async () => (await journal(sent.id.id)).length === 1);
    // The ack of the other phone comes without the server's own.
    await until('the second tick', () => acks(sent.id.id).includes(2));
  });

  test('a repeated id is a repeat in the journal and one message on the phone', async () => {
    // The line breaks between the send and its answer: the page sends again under the same id.
    await rig.simulator.client.fault({ op: 'send', mode: 'dropReply' });
    const sent = await send('once');
    await until('its arrival', async () => (await journal(sent.id.id)).length === 1);
    await rig.simulator.client.drop({ phone: me, forMs: 20 });
    await until('the repeat', async () => (await journal(sent.id.id)).length === 2);
    expect((await journal(sent.id.id)).map(({ repeat, bodyLength }) => [repeat, bodyLength])).toEqual([
      [false, 6],
      [true, 6],
    ]);
    expect((await rig.simulator.client.received({ phone: ana })).filter(({ key }) => key === sent.id.id)).toHaveLength(1);
  });

  test('an account that may write to known chats only', async () => {
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: true });
    const known = await send('known');
    await until('the tick', () => acks(known.id.id).includes(1));
    const fresh = await rig.client.sendMessage('5511900001111@c.us', 'new here', { sendSeen: false });
    await until('the refusal', () => acks(fresh.id.id).includes(-1));
    await rig.simulator.client.restrict({ phone: me, reachOutLocked: false });
  });

  test('a phone that was off gets the waiting messages when it is on', async () => {
    await rig.simulator.client.setAccount({ phone: ana, offline: true });
    const sent = await send('sleep well');
    await until('the first tick', () => acks(sent.id.id).includes(1));
    expect((await rig.simulator.client.received({ phone: ana })).some(({ key }) => key === sent.id.id)).toBe(false);
    await rig.simulator.client.setAccount({ phone: ana, offline: false });
    await until('the second tick', () => acks(sent.id.id).includes(2));
  });

  test('acks may overtake each other when configured', async () => {
    await rig.simulator.client.setAccount({ phone: ana, autoRead: true });
    const orderly = await send('in order');
    await until('read', () => acks(orderly.id.id).includes(3));
    expect(acks(orderly.id.id)).toEqual([1, 2, 3]);
    await rig.simulator.client.setAcks({ chained: false });
    const unruly = await send('out of order');
    await until('all', () => acks(unruly.id.id).length >= 3);
    expect(acks(unruly.id.id)).toEqual([1, 3, 2]);
    await rig.simulator.client.setAcks({ chained: true });
    await rig.simulator.client.setAccount({ phone: ana, autoRead: false });
  });

  test('a blocked account is not notified: its messages keep one tick', async () => {
    await rig.simulator.client.block({ phone: ana, contact: me, blocked: true });
    const sent = await send('hello?');
    await until('the first tick', () => acks(sent.id.id).includes(1));
    expect((await rig.simulator.client.received({ phone: ana })).some(({ key }) => key === sent.id.id)).toBe(false);
    await rig.simulator.client.block({ phone: ana, contact: me, blocked: false });
  });

  test('a hollow function resolves without an effect, is reported when it is called, and works again afterwards', async () => {
    const { client } = rig.simulator;
    const isArchived = async () => (await client.chats({ phone: me })).find(({ id }) => id === toAna)?.archive;
    await send('so that there is a chat');
    await client.hollow({ functions: { WAWebCmd: ['Cmd.archiveChat'], WAWebMuteModel: ['Mute.prototype.mute'] } });
    await rig.client.archiveChat(toAna);
    await rig.client.muteChat(toAna);
    expect([...(await client.hollow({ functions: {} }))]).toEqual([
      'WAWebCmd.Cmd.archiveChat',
      'WAWebMuteModel.Mute.prototype.mute',
    ]);
    expect([await isArchived(), (await rig.client.getChatById(toAna)).isMuted]).toEqual([false, false]);
    await rig.client.archiveChat(toAna);
    expect([await isArchived(), [...(await client.hollow({ functions: {} }))]]).toEqual([true, []]);
  });

  test('a module that is not there throws, and is reported', async () => {
    const thrown = await rig.client.pupPage!.evaluate(() => {
      try {
        (window as unknown as { require: (name: string) => unknown }).require('WAWebNoSuchThing');
        return null;
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(thrown).toBe('Requiring unknown module "WAWebNoSuchThing"');
    expect(
      await until('the report', async () =>
        (await rig.simulator.client.missing()).length ? rig.simulator.client.missing() : null,
      ),
    ).toEqual(['WAWebNoSuchThing']);
  });
});
