import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Contact, MessageResource, ObservedMessage } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/** One person is one contact, whichever form of their id a message, a filter or a payload uses. */

let lastNumber = 0;
const person = (name: string | null = 'Bea') => {
  lastNumber += 1;
  const digits = `55119770${String(10_000 + lastNumber)}`;
  const lid = `2770${String(10_000_000 + lastNumber)}@lid`;
  const contact: Contact = { id: `${digits}@c.us`, phone: `+${digits}`, lid, name };
  return { digits, id: `${digits}@c.us`, lid, name, contact };
};
type Person = ReturnType<typeof person>;

describe.each(await databases())('contacts on %s', (database) => {
  let core: Core;
  let sink: Sink;
  beforeAll(async () => {
    sink = await startSink('ok');
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
  });
  afterAll(async () => {
    await core.close();
    await sink.close();
  });

  /** A message from a person whose chat is written by the LID; `known` is what the page says of them. */
  const fromLid = (who: Person, text: string, known: Partial<Contact> = {}, more: Partial<ObservedMessage> = {}) =>
    core.inbound(text, {
      chat: { id: who.lid, type: 'private', name: who.name },
      contact: { ...who.contact, ...known },
      from: who.lid,
      ...more,
    });
  const takeIn = async (...messages: ObservedMessage[]): Promise<void> => {
    for (const message of messages) await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
  };
  const list = async (query: string): Promise<MessageResource[]> => {
    const { body } = await core.get(`/messages/list?${query}`);
    if (!body.success) throw new Error(JSON.stringify(body));
    return body.data as MessageResource[];
  };
  const textsOf = async (query: string) => (await list(query)).map(({ text }) => text).sort();
  const named = (text: string): Promise<MessageResource> =>
    eventually(`the message ${text}`, async () => (await list('limit=200')).find((message) => message.text === text));

  test('messages from a LID and messages to the number are found by each form, as a chat and as a contact', async () => {
    const who = person();
    await takeIn(fromLid(who, `question ${who.digits}`));
    await core.send(`answer ${who.digits}`, { recipient: who.digits, async: true });
    const both = [`answer ${who.digits}`, `question ${who.digits}`];
    await named(both[1]!);
    for (const form of [who.lid, who.id, who.digits, `+${who.digits}`, `${who.digits}@s.whatsapp.net`])
      for (const filter of ['chatId', 'contact'])
        expect([filter, form, await textsOf(`${filter}=${encodeURIComponent(form)}`)]).toEqual([filter, form, both]);
  });

  test('a person’s messages in groups are found by each form, and the group’s other messages are not', async () => {
    const [who, other] = [person('Cem'), person('Dora')];
    const group = { id: '120363000000000001@g.us', type: 'group' as const, name: 'Team' };
    await takeIn(
      core.inbound(`mine ${who.digits}`, { chat: group, contact: who.contact, from: who.lid, to: group.id }),
      core.inbound(`theirs ${who.digits}`, { chat: group, contact: other.contact, from: other.id, to: group.id }),
    );
    await named(`theirs ${who.digits}`);
    for (const form of [who.lid, who.id, who.digits])
      expect([form, await textsOf(`contact=${form}`)]).toEqual([form, [`mine ${who.digits}`]]);
    expect(await textsOf(`chatId=${who.digits}`)).toEqual([]);
  });

  test('a person who uses another person’s number as a name is not found under it', async () => {
    const who = person();
    const liar = person(`+${who.digits}`);
    const other = person(`"${who.id}"`);
    await takeIn(fromLid(liar, `liar ${who.digits}`), fromLid(other, `quoter ${who.digits}`));
    await named(`quoter ${who.digits}`);
    expect(await textsOf(`contact=${who.digits}`)).toEqual([]);
    expect(await textsOf(`chatId=${who.digits}`)).toEqual([]);
  });

  test('numbers are filled whenever they are known, in private chats and in groups', async () => {
    const who = person('Edda');
    const group = { id: '120363000000000002@g.us', type: 'group' as const, name: 'Team' };
    await takeIn(
      fromLid(who, `private ${who.digits}`),
      core.inbound(`group ${who.digits}`, { chat: group, contact: who.contact, from: who.lid, to: group.id }),
    );
    for (const text of [`private ${who.digits}`, `group ${who.digits}`])
      expect(await named(text)).toMatchObject({ from: who.lid, fromNumber: who.digits, contact: who.contact });
    const sent = await core.send(`to the LID ${who.digits}`, { recipient: who.lid, async: true });
    expect(sent.body.data).toMatchObject({ to: who.lid, toNumber: who.digits, contact: who.contact });
    const queued = (await core.events('message.queued')).find(({ data }) => data['text'] === `to the LID ${who.digits}`);
    expect(queued?.data).toMatchObject({ toNumber: who.digits, contact: who.contact });
  });

  test('the number of earlier messages is filled once it is known, and an event is published', async () => {
    const who = person('Finn');
    const bare = { id: who.lid, phone: null, lid: who.lid, name: 'Finn' };
    await takeIn(fromLid(who, `before ${who.digits}`, bare));
    expect(await named(`before ${who.digits}`)).toMatchObject({ fromNumber: null, contact: bare });
    expect(await textsOf(`contact=${who.digits}`)).toEqual([]);
    await takeIn(fromLid(who, `after ${who.digits}`));
    await named(`after ${who.digits}`);
    expect(await named(`before ${who.digits}`)).toMatchObject({ fromNumber: who.digits, contact: who.contact });
    expect(await textsOf(`contact=${who.digits}`)).toEqual([`after ${who.digits}`, `before ${who.digits}`]);
    expect((await core.events('contact.updated')).map(({ data }) => data)).toContainEqual({
      contact: who.contact,
      previous: bare,
    });
  });

  test('a spelling that WhatsApp answers with is the same person: the ninth digit, 521, 549, ten digits', async () => {
    for (const [typed, registered] of [
      ['5511999887701', '551199887701'],
      ['525512345601', '5215512345601'],
      ['541123456701', '5491123456701'],
      ['2250712345601', '22512345601'],
      // Under no rule of ours: what WhatsApp answers decides.
      ['4912345678901', '4998765432101'],
    ] as const) {
      const lid = `${registered.slice(0, 12)}77@lid`;
      const text = `to ${typed}`;
      const { body } = await core.send(text, { recipient: typed, async: true });
      const { id } = body.data as MessageResource;
      await core.reaches(id, 'sent', 'delivered');
      const { reservedId: key } = core.worker.left.find((one) => one.messageId === id)!.command;
      const contact = { id: `${registered}@c.us`, phone: `+${registered}`, lid, name: null };
      await core.worker.emit(core.sessionId, 'message.ack', {
        whatsappId: `true_${registered}@c.us_${key}`,
        key,
        chat: { id: contact.id, type: 'private', name: null },
        at: new Date().toISOString(),
        ack: 2,
        participant: contact,
      });
      await core.reaches(id, 'delivered');
      await takeIn(
        core.inbound(`from ${typed}`, {
          chat: { id: lid, type: 'private', name: null },
          contact: { id: lid, phone: null, lid, name: null },
          from: lid,
        }),
      );
      await named(`from ${typed}`);
      for (const form of [typed, registered, lid])
        expect([form, await textsOf(`contact=${form}`)]).toEqual([form, [`from ${typed}`, text]]);
      expect(await named(`from ${typed}`)).toMatchObject({ fromNumber: registered });
    }
  });

  test('a number that was never sent to is found by its other spelling', async () => {
    const [typed, registered] = ['5521987654301', '552187654301'];
    const contact = { id: `${registered}@c.us`, phone: `+${registered}`, lid: null, name: null };
    await takeIn(
      core.inbound('other spelling', { chat: { id: contact.id, type: 'private', name: null }, contact, from: contact.id }),
    );
    await named('other spelling');
    expect(await textsOf(`chatId=${typed}`)).toEqual(['other spelling']);
  });

  test('a number that moved to another person leaves the first one their LID and their messages', async () => {
    const [first, second] = [person('Gil'), person('Hal')];
    await takeIn(fromLid(first, `first ${first.digits}`));
    await named(`first ${first.digits}`);
    await takeIn(fromLid(second, `second ${first.digits}`, { phone: `+${first.digits}`, id: first.id }));
    await named(`second ${first.digits}`);
    expect(await textsOf(`contact=${first.lid}`)).toEqual([`first ${first.digits}`]);
    expect(await textsOf(`contact=${second.lid}`)).toEqual([`second ${first.digits}`]);
    expect(await textsOf(`contact=${first.digits}`)).toEqual([`second ${first.digits}`]);
  });

  test('a renamed contact and a newly saved one are published, and shown on earlier messages', async () => {
    const who = person('Ida One');
    await takeIn(fromLid(who, `renamed ${who.digits}`));
    await named(`renamed ${who.digits}`);
    const renamed = { ...who.contact, name: 'Ida (work)' };
    await core.worker.emit(core.sessionId, 'contact.observed', { contact: renamed });
    const updates = async () => (await core.events('contact.updated')).map(({ data }) => data);
    await eventually('the new name', async () => (await named(`renamed ${who.digits}`)).contact?.name === 'Ida (work)');
    expect(await updates()).toContainEqual({ contact: renamed, previous: who.contact });
    const fresh = person('Jan');
    await core.worker.emit(core.sessionId, 'contact.observed', { contact: fresh.contact });
    await eventually('the new contact', async () =>
      (await updates()).some(({ contact }) => (contact as Contact).lid === fresh.lid),
    );
    const before = (await updates()).length;
    await core.worker.emit(core.sessionId, 'contact.observed', { contact: fresh.contact });
    await takeIn(fromLid(fresh, `nothing new ${fresh.digits}`));
    await named(`nothing new ${fresh.digits}`);
    expect(await updates()).toHaveLength(before);
  });

  test('a webhook filter finds the person by each form, and one that can never match is refused', async () => {
    const who = person('Kai');
    const hooks: string[] = [];
    for (const [index, form] of [who.lid, who.id, who.digits, `+${who.digits.slice(0, 4)} ${who.digits.slice(4)}`].entries()) {
      const { status, body } = await core.post('/webhooks', {
        url: `${sink.url}/filter-${index}`,
        events: ['message.received', 'chat.updated'],
        filter: { chats: [form] },
      });
      expect([form, status]).toEqual([form, 201]);
      hooks.push((body.data as { id: string }).id);
    }
    await takeIn(fromLid(who, 'first by LID'), fromLid(person(), 'somebody else'));
    const byNumber = { chat: { id: who.id, type: 'private' as const, name: null }, from: who.id };
    await takeIn(core.inbound('then by number', { ...byNumber, contact: { ...who.contact, lid: null } }));
    await core.worker.emit(core.sessionId, 'chat.updated', {
      chat: { id: who.lid, type: 'private', name: null },
      change: 'unread',
      unreadCount: 1,
    });
    const typesTo = async (id: string) =>
      ((await core.get(`/webhooks/${id}/deliveries?limit=50`)).body.data as { event: string }[]).map(({ event }) => event).sort();
    for (const id of hooks) expect(await typesTo(id)).toEqual(['chat.updated', 'message.received', 'message.received']);
    for (const filter of [
      { chats: ['Kai'] },
      { chats: [who.id, '011 97777'] },
      { chats: ['5511@nowhere'] },
      { types: ['txt'] },
    ]) {
      const reply = await core.post('/webhooks', { url: `${sink.url}/never`, events: ['message.received'], filter });
      expect([filter, reply.status]).toEqual([filter, 422]);
    }
  });

  test('a new name that is reported for one id is shown on messages under every id of the person, and the former name can return', async () => {
    const who = person('Lea One');
    const byNumber = { chat: { id: who.id, type: 'private' as const, name: null }, from: who.id };
    await takeIn(
      fromLid(who, `by LID ${who.digits}`),
      core.inbound(`by number ${who.digits}`, { ...byNumber, contact: { ...who.contact, lid: null } }),
    );
    await named(`by number ${who.digits}`);
    const nameOn = async (text: string) => (await named(text)).contact?.name;
    for (const [told, name] of [
      [{ id: who.lid, phone: null, lid: who.lid }, 'Lea Two'],
      [{ id: who.id, phone: who.contact.phone, lid: null }, 'Lea One'],
      [{ id: who.lid, phone: null, lid: who.lid }, 'Lea Three'],
      [{ id: who.id, phone: who.contact.phone, lid: null }, 'Lea One'],
    ] as const) {
      await core.worker.emit(core.sessionId, 'contact.observed', { contact: { ...told, name } });
      for (const text of [`by LID ${who.digits}`, `by number ${who.digits}`])
        expect([told, text, await nameOn(text)]).toEqual([told, text, name]);
    }
    const names = (await core.events('contact.updated'))
      .map(({ data }) => data['contact'] as Contact)
      .filter(({ lid }) => lid === who.lid)
      .map(({ name }) => name);
    expect(names).toEqual(['Lea Two', 'Lea One', 'Lea Three', 'Lea One']);
  });

  test('a send to another spelling, or a mention of it, changes no number and publishes no contact.updated', async () => {
    for (const [typed, registered] of [
      ['5511999887711', '551199887711'],
      ['525512345611', '5215512345611'],
      ['541123456711', '5491123456711'],
      ['2250712345611', '22512345611'],
    ] as const) {
      const lid = `${registered.slice(0, 12)}78@lid`;
      const contact: Contact = { id: `${registered}@c.us`, phone: `+${registered}`, lid, name: 'Mia' };
      await takeIn(core.inbound(`in ${typed}`, { chat: { id: lid, type: 'private', name: null }, contact, from: lid }));
      await named(`in ${typed}`);
      for (const round of [1, 2]) {
        const { body } = await core.send(`out ${round} ${typed}`, { recipient: typed, async: true });
        const { id } = body.data as MessageResource;
        await core.reaches(id, 'sent', 'delivered');
        const { reservedId: key } = core.worker.left.find((one) => one.messageId === id)!.command;
        const about = { whatsappId: `true_${typed}@c.us_${key}`, key, at: new Date().toISOString() };
        const chat = { id: `${typed}@c.us`, type: 'private' as const, name: null };
        const typedContact = { id: `${typed}@c.us`, phone: `+${typed}`, lid: null, name: null };
        await core.worker.emit(core.sessionId, 'message.ack', {
          ...about,
          chat,
          ack: 2,
          participant: { ...contact, name: null },
        });
        await core.worker.emit(core.sessionId, 'message.ack', { ...about, chat, ack: 3, participant: typedContact });
        expect(await named(`in ${typed}`)).toMatchObject({ fromNumber: registered, contact: { phone: `+${registered}` } });
      }
      const updates = (await core.events('contact.updated')).filter(({ data }) => (data['contact'] as Contact).lid === lid);
      expect([typed, updates.map(({ data }) => data)]).toEqual([typed, []]);
      for (const form of [typed, registered, lid]) expect(await textsOf(`contact=${form}`)).toHaveLength(3);
    }
  });
});
