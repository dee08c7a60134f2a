import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Contact, MessageResource, ObservedMessage, SessionResource } from '@chasqui/shared';
import fc from 'fast-check';
import { Traces } from '../src/privacy/traces.js';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/** People who are mentioned by their hidden id: they are named, erased and told apart like those who are mentioned by their number. */

const group = { id: '120363000000000009@g.us', type: 'group' as const, name: 'Team' };
const ben: Contact = { id: '5511999990088@c.us', phone: '+5511999990088', lid: null, name: 'Ben' };

test('a form is found in a text by itself, and not as a part of a longer number', () => {
  const digits = fc.integer({ min: 10_000_000, max: 99_999_999 }).map(String);
  const around = fc.string({ unit: fc.constantFrom(...'0123456789 @+:_"\n\u0001a'), maxLength: 4 });
  fc.assert(
    fc.property(digits, fc.constantFrom('@c.us', '@lid'), around, around, (number, suffix, before, after) => {
      const traces = new Traces([`${number}${suffix}`]);
      for (const form of [number, `${number}${suffix}`]) {
        const text = `${before}${form}${after}`;
        const isAlone = !/\d$/.test(before) && !(form === number && /^\d/.test(after));
        expect([text, traces.mayBeIn(text)]).toEqual([text, isAlone]);
        expect([text, traces.mayBeIn(JSON.stringify(text))]).toEqual([text, isAlone]);
      }
    }),
    { numRuns: 2_000 },
  );
});

describe.each(await databases())('mentions on %s', (database) => {
  let core: Core;
  let sink: Sink;
  let idle: string;
  beforeAll(async () => {
    sink = await startSink('ok');
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    idle = ((await core.post('/sessions', { name: 'idle' })).body.data as SessionResource).id;
  });
  afterAll(async () => {
    await core?.close();
    await sink?.close();
  });

  let made = 0;
  const person = (name: string) => {
    made += 1;
    const digits = `55119550${String(10_000 + made)}`;
    const user = `2550${String(10_000_000 + made)}`;
    const contact: Contact = { id: `${digits}@c.us`, phone: `+${digits}`, lid: `${user}@lid`, name };
    return { digits, user, lid: `${user}@lid`, contact };
  };
  const receive = async (text: string, more: Partial<ObservedMessage> = {}): Promise<MessageResource> => {
    const whole = { chat: group, contact: ben, from: ben.id, to: group.id, ...more };
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text, whole), origin: 'live' });
    return named(text);
  };
  const named = (text: string): Promise<MessageResource> =>
    eventually(`the message ${text}`, async () =>
      ((await core.get('/messages/list?limit=200')).body.data as MessageResource[]).find((message) => message.text === text),
    );
  const learn = (contact: Contact) => core.worker.emit(core.sessionId, 'contact.observed', { contact });

  test('they are named, in the order of the mentions, also when they become known later', async () => {
    const [known, later] = [person('Known'), person('Later')];
    await learn(known.contact);
    const mentions = [later.lid, known.lid, ben.id];
    const text = `@${later.user} @${known.user} and @${ben.id.split('@')[0]}`;
    const unknown: Contact = { id: later.lid, phone: null, lid: later.lid, name: null };
    await receive('Ben writes first', { contact: ben });
    const message = await receive(text, { mentions });
    expect(message).toMatchObject({ mentions, mentionedContacts: [unknown, known.contact, ben] });
    const event = (await core.events('message.received')).find(({ data }) => data['text'] === text)!;
    expect(event.data).toMatchObject({ mentions, mentionedContacts: [unknown, known.contact, ben] });
    await learn(later.contact);
    expect((await named(text)).mentionedContacts).toEqual([later.contact, known.contact, ben]);
    const { body } = await core.send(`for @${known.user}`, { recipient: group.id, mentions: [known.lid] });
    expect(body.data).toMatchObject({ mentions: [known.lid], mentionedContacts: [known.contact] });
    expect(core.worker.left.at(-1)!.command.options.mentions).toEqual([known.lid]);
  });

  test('groups are shown with the names that the text has, in the message and its event, received, sent and completed later', async () => {
    const groupMentions = [
      { id: '120363040000000002@g.us', name: 'Orders' },
      { id: '120363040000000003@g.us', name: null },
    ];
    const text = 'See @120363040000000002@g.us';
    expect(await receive(text, { groupMentions })).toMatchObject({ groupMentions });
    const event = (await core.events('message.received')).find(({ data }) => data['text'] === text)!;
    expect(event.data).toMatchObject({ groupMentions });
    expect((await receive('mentions no group')).groupMentions).toEqual([]);
    const key = '3A0000000000GROUPS';
    const placeholder = { type: 'unknown', whatsappType: 'ciphertext', message: null, placeholder: 'undecrypted' } as const;
    const report = (message: ObservedMessage) =>
      core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    const whole = { chat: group, contact: ben, from: ben.id, to: group.id, key };
    await report(core.inbound('', { ...whole, content: placeholder }));
    await report(core.inbound('deciphered', { ...whole, groupMentions }));
    expect(await named('deciphered')).toMatchObject({ groupMentions });
    const own = [{ id: '120363040000000002@g.us', name: 'Ours' }];
    const { body } = await core.post('/messages/send-text', { recipient: group.id, message: text, groupMentions: own });
    expect(body.data).toMatchObject({ groupMentions: own });
  });

  test('filters for a person match what is with the person, and not what only mentions them', async () => {
    const who = person('Filtered');
    await learn(who.contact);
    const hook = await core.post('/webhooks', {
      url: sink.url,
      events: ['message.received'],
      filter: { chats: [who.digits, who.lid] },
    });
    await receive(`only mentions @${who.user}`, { mentions: [who.lid] });
    const own = { chat: { id: who.lid, type: 'private' as const, name: null }, contact: who.contact, from: who.lid };
    await receive(`is from @${who.user}`, own);
    for (const form of [who.digits, who.lid])
      expect(((await core.get(`/messages/list?contact=${form}`)).body.data as MessageResource[]).map(({ text }) => text)).toEqual(
        [`is from @${who.user}`],
      );
    const { id } = hook.body.data as { id: string };
    expect((await core.get(`/webhooks/${id}/deliveries`)).body.data).toHaveLength(1);
  });

  test('an erasure removes them from every mention and event, and leaves people whose numbers contain theirs', async () => {
    const who = person('Erased');
    await learn(who.contact);
    const neighbour = { lid: `9${who.user}@lid`, digits: `4${who.digits.slice(0, 12)}` };
    const byLid = await receive(`Ask @${who.user}, or @9${who.user}`, { mentions: [who.lid, neighbour.lid] });
    const bare = await receive(`Only the text names @${who.user}`);
    const groupId = '120363040000000004@g.us';
    const byGroup = await receive('The name of a group', { groupMentions: [{ id: groupId, name: `with @${who.user}` }] });
    const ours = dataOf(
      await core.post('/messages/send-text', {
        ...{ recipient: ben.id, message: `Ask in @${groupId}`, groupMentions: [{ id: groupId, name: `for @${who.digits}` }] },
      }),
    );
    const theirs = await receive('from them', {
      contact: who.contact,
      from: who.lid,
      groupMentions: [{ id: groupId, name: 'x' }],
    });
    const other = await receive(`Ask @9${who.user}`, { mentions: [neighbour.lid] });
    const wait = async (message: string, mentions: string[]) =>
      dataOf(await core.send(message, { sessionId: idle, recipient: ben.id, mentions, queueIfOffline: true, async: true })).id;
    const cancelled = await wait(`greet @${who.user}`, [who.lid]);
    const kept = [await wait(`greet @9${who.user}`, [neighbour.lid]), await wait(`dial ${who.digits}`, [])];
    const { body } = await core.post('/privacy/erasures', { contact: who.digits, confirm: who.digits });
    const { id } = body.data as { id: string };
    await eventually('the erasure', async () => {
      const { status } = (await core.get(`/privacy/erasures/${id}`)).body.data as { status: string };
      if (status === 'failed') throw new Error('The erasure failed.');
      return status === 'done';
    });
    expect(await core.message(byLid.id)).toMatchObject({
      text: `Ask @erased, or @9${who.user}`,
      mentions: [neighbour.lid],
      mentionedContacts: [{ id: neighbour.lid, lid: neighbour.lid }],
    });
    expect((await core.message(bare.id)).text).toBe('Only the text names @erased');
    expect((await core.message(byGroup.id)).groupMentions).toEqual([{ id: groupId, name: 'with @erased' }]);
    expect((await core.message(theirs.id)).groupMentions).toEqual([]);
    expect((await core.message(ours.id)).groupMentions).toEqual([{ id: groupId, name: 'for @erased' }]);
    expect(await core.message(other.id)).toMatchObject({ text: `Ask @9${who.user}`, mentions: [neighbour.lid] });
    expect((await core.message(cancelled)).status).toBe('cancelled');
    for (const one of kept) expect((await core.message(one)).status).toBe('queued');
    const all = (await core.get('/events?limit=200')).body.data as { type: string; data: unknown }[];
    // The one that tells the account that the erasure has ended names whom it was about.
    const events = all.filter(({ type }) => type !== 'contact.erased');
    const traces = new Traces([`${who.digits}@c.us`, who.lid]);
    const left = events.filter(({ data }) => traces.mayBeIn(JSON.stringify(data).replaceAll(`dial ${who.digits}`, '')));
    expect(left).toEqual([]);
    expect(JSON.stringify(events)).toContain(neighbour.lid);
  });
});

test('in the storage mode metadata no mention is stored', async () => {
  const core = await startCore({ database: 'sqlite', settings: { MESSAGE_CONTENT_STORAGE: 'metadata' } });
  try {
    const message = core.inbound('@25501234', {
      chat: group,
      contact: ben,
      from: ben.id,
      mentions: ['25501234@lid'],
      groupMentions: [{ id: '120363040000000005@g.us', name: 'Secret circle' }],
    });
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    const [shown] = (await core.get('/messages/list')).body.data as MessageResource[];
    expect(shown).toMatchObject({ text: null, mentions: [], mentionedContacts: [], groupMentions: [] });
    expect(JSON.stringify(await core.events())).not.toMatch(/25501234|Secret circle/);
    const rows = await core.rig.database.reader.query<object[]>('SELECT * FROM messages');
    expect(JSON.stringify(rows)).not.toMatch(/25501234|Secret circle/);
  } finally {
    await core.close();
  }
});
