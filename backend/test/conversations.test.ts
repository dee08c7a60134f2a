/* eslint-disable max-lines -- one world of chats, and one block for each rule of their list */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type MessageResource, type ObservedMessage } from '@chasqui/shared';
import fc from 'fast-check';
import { insertRow } from '../src/db/rows.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { createRetention } from '../src/jobs/retention.js';
import { ContactRow, nameColumns } from '../src/contacts/contact.entity.js';
import type { ConversationResource } from '../src/messages/conversations/contract.js';
import { Conversation } from '../src/messages/conversations/conversation.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { settings } from './panel.rows.js';
import { databases } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const ben = '5511999990002';
const group = '120363041234567890@g.us';
const anaLid = '184467440737@lid';
const contactOf = (phone: string, lid: string, name: string) => ({ id: `${phone}@c.us`, phone: `+${phone}`, lid, name });
const people = { ana: contactOf(ana, anaLid, 'Ana'), ben: contactOf(ben, '184467440738@lid', 'Benício Ñandú ﬁSß 你好') };

/** The chats that the operations below write to. Two of them are one person. */
const chats = {
  ana: { chat: { id: `${ana}@c.us`, type: 'private', name: 'Ana' }, contact: people.ana },
  anaByLid: { chat: { id: anaLid, type: 'private', name: 'Ana' }, contact: people.ana },
  ben: { chat: { id: `${ben}@c.us`, type: 'private', name: null }, contact: people.ben },
  group: { chat: { id: group, type: 'group', name: 'Neighbours' }, contact: people.ben },
} as const;
type ChatName = keyof typeof chats;
const chatNames = Object.keys(chats) as ChatName[];
const personOf = (chatId: string): string => (chatId === anaLid ? `${ana}@c.us` : chatId);

type Operation =
  | { do: 'receive' | 'device' | 'send' | 'openOnPhone'; chat: ChatName }
  | { do: 'edit' | 'revoke' | 'seen' | 'delete'; which: number };
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ do: fc.constantFrom('receive', 'device', 'send', 'openOnPhone'), chat: fc.constantFrom(...chatNames) }),
  fc.record({ do: fc.constantFrom('edit', 'revoke', 'seen', 'delete'), which: fc.nat() }),
);

describe.each(await databases())('conversations on %s', (database) => {
  let core: Core;
  /** Messages of which the phone has shown the chat. */
  const readOnPhone = new Set<string>();
  beforeAll(async () => {
    core = await startCore({ database });
    core.worker.answer.set('messages.seen', {});
  });
  afterAll(() => core?.close());

  const observedIn = (name: ChatName, more: Partial<ObservedMessage> = {}): ObservedMessage => {
    const { chat, contact } = chats[name];
    const message = core.inbound('x', { chat, contact, from: more.fromMe ? '5511988887777@c.us' : contact.id, ...more });
    return { ...message, whatsappId: `${message.fromMe}_${chat.id}_${message.key}` };
  };
  const receive = (name: ChatName, more: Partial<ObservedMessage> = {}): Promise<void> =>
    core.worker.emit(core.sessionId, 'message.observed', { message: observedIn(name, more), origin: 'live' });
  const allMessages = async (): Promise<MessageResource[]> => {
    const all: MessageResource[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body } = await core.get(`/messages/list?limit=100${cursor && `&cursor=${cursor}`}`);
      all.push(...(body.data as MessageResource[]));
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    return all;
  };
  const list = async (query = '', limit = 2): Promise<ConversationResource[]> => {
    const all: ConversationResource[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { status, body } = await core.get(`/conversations?limit=${limit}${query}${cursor && `&cursor=${cursor}`}`);
      expect(status).toBe(200);
      all.push(...(body.data as ConversationResource[]));
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    return all;
  };

  /** What the list must say, from the messages themselves. */
  const expected = (messages: readonly MessageResource[]) => {
    const rows = new Map<string, { person: string; last: string; text: string | null; status: string; unread: number }>();
    for (const { id, chat, text, status, direction } of messages) {
      const person = personOf(chat.id);
      const row = rows.get(person) ?? { person, last: id, text, status, unread: 0 };
      rows.set(person, row);
      row.unread += Number(direction === 'inbound' && status === 'delivered' && !readOnPhone.has(id));
    }
    return [...rows.values()];
  };
  const shown = (conversations: readonly ConversationResource[]) =>
    conversations.map(({ chat, lastMessage: { id: last, text, status }, unreadCount: unread }) => ({
      person: personOf(chat.id),
      last,
      text,
      status,
      unread,
    }));

  async function run(step: Operation): Promise<void> {
    const { sessionId, worker } = core;
    switch (step.do) {
      case 'receive':
        return receive(step.chat);
      case 'device':
        return receive(step.chat, { fromMe: true, ack: 1 });
      case 'send': {
        const { body } = await core.send('from the API', { recipient: chats[step.chat].chat.id });
        return void (await core.reaches((body.data as { id: string }).id, 'sent'));
      }
      case 'openOnPhone': {
        const { chat } = chats[step.chat];
        for (const message of await allMessages())
          if (personOf(message.chat.id) === personOf(chat.id)) readOnPhone.add(message.id);
        return worker.emit(sessionId, 'chat.updated', { chat, change: 'unread', unreadCount: 0 });
      }
      default: {
        const messages = await allMessages();
        const message = messages[step.which % Math.max(1, messages.length)];
        if (!message) return;
        if (step.do === 'delete') return void (await core.rig.call('DELETE', `/messages/${message.id}?scope=log`));
        if (step.do === 'seen') {
          if (message.direction === 'inbound') expect((await core.post(`/messages/${message.id}/seen`, {})).status).toBe(200);
          return;
        }
        const [, , key] = message.whatsappId!.split('_');
        const at = new Date().toISOString();
        const about = {
          whatsappId: message.whatsappId!,
          key: key!,
          chat: message.chat,
          fromMe: message.direction === 'outbound',
          at,
        };
        if (step.do === 'edit')
          return worker.emit(sessionId, 'message.edited', { ...about, from: message.from, text: `edited at ${at}` } as never);
        return worker.emit(sessionId, 'message.revoked', { ...about, from: message.from } as never);
      }
    }
  }

  test('the list is what a plain computation over all messages says, whatever happens to them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 12 }), async (steps) => {
        for (const step of steps) await run(step);
        const plain = expected(await allMessages());
        expect(shown(await list())).toEqual(plain);
        expect(shown(await list('&unread=true', 1))).toEqual(plain.filter(({ unread }) => unread > 0));
        expect(shown(await list('&unread=false', 1))).toEqual(plain.filter(({ unread }) => unread === 0));
      }),
      { numRuns: 6, endOnFailure: true },
    );
  });

  test('a conversation is found by a part of the name in any case, by the number in any form, and by the name of a group', async () => {
    for (const name of chatNames) await receive(name);
    const found = async (search: string) =>
      (await list(`&search=${encodeURIComponent(search)}`)).map(({ chat }) => personOf(chat.id));
    expect(await found('benício')).toEqual([`${ben}@c.us`]);
    expect(await found('ÑANDÚ')).toEqual([`${ben}@c.us`]);
    for (const other of ['ben\u0131\u0301cio', 'FISS', 'ＦＩＳẞ', '你好'])
      expect([other, await found(other)]).toEqual([other, [`${ben}@c.us`]]);
    expect(await found('neighbour')).toEqual([group]);
    expect(await found('+55 (11) 99999-0001')).toEqual([`${ana}@c.us`]);
    expect(await found('99990002')).toEqual([`${ben}@c.us`]);
    expect(await found('%')).toEqual([]);
    expect(await found('nobody has this name')).toEqual([]);
    // A message that is sent by the API does not say what its group is called.
    const { body } = await core.send('from the API', { recipient: group });
    await core.reaches((body.data as { id: string }).id, 'sent');
    expect((await list())[0]).toMatchObject({ chat: { id: group, name: 'Neighbours' }, lastMessage: { text: 'from the API' } });
    expect(await found('neighbour')).toEqual([group]);
    expect(await found('neighbourly')).toEqual([]);
  });

  test('a person who is a contact is found under that name only', async () => {
    await receive('ben', { chat: { ...chats.ben.chat, name: 'Old Nickname' } });
    const found = async (search: string) => (await list(`&search=${encodeURIComponent(search)}`)).map(({ chat }) => chat.id);
    expect(await found('old nickname')).toEqual([]);
    expect(await found('benício')).toEqual([`${ben}@c.us`]);
  });

  test('among more people with a name than one statement lists, each is found', async () => {
    const { sessionId, rig } = core;
    const accountId = ((await core.get('/auth/me')).body.data as { id: string }).id;
    await receive('ana');
    const [now, lid] = [new Date(), null];
    await rig.database.write.run(async (tx) => {
      for (let number = 0; number < 501; number += 1)
        await insertRow(tx, ContactRow, {
          ...{ id: newId(), accountId, sessionId, phone: `49170${1_000_000 + number}`, lid },
          ...{ createdAt: now, updatedAt: now, ...nameColumns(`Ana ${number}`) },
        });
    });
    expect((await list('&search=ana')).map(({ contact }) => contact?.name)).toEqual(['Ana']);
    await rig.database.write.run((tx) => tx.manager.query(`DELETE FROM contacts WHERE phone LIKE '49170%'`));
  });

  test('a person with a read and an unread chat is unread, and not in the list without unread messages', async () => {
    await run({ do: 'openOnPhone', chat: 'ana' });
    await run({ do: 'openOnPhone', chat: 'anaByLid' });
    await receive('anaByLid');
    const { body } = await core.send('from the API', { recipient: `${ana}@c.us` });
    await core.reaches((body.data as { id: string }).id, 'sent');
    const ofAna = (some: readonly ConversationResource[]) => some.filter(({ contact }) => contact?.phone === `+${ana}`);
    expect(ofAna(await list('&unread=true'))).toMatchObject([{ unreadCount: 1, lastMessage: { text: 'from the API' } }]);
    expect(ofAna(await list('&unread=false'))).toEqual([]);
  });

  describe('a person whose older chat is the unread one', () => {
    /** Rows of `conversations` without messages, which no list shows. */
    const addRows = (count: number, at: number, unread: number): Promise<void> =>
      core.rig.database.write.run(async (tx) => {
        const { sessionId } = core;
        const accountId = ((await core.get('/auth/me')).body.data as { id: string }).id;
        for (let number = 0; number < count; number += 1) {
          const chatId = `${4_900_000_000_000 + number}@${at}.test`;
          await insertRow(tx, Conversation, {
            sessionId,
            chatId,
            accountId,
            lastAt: at,
            lastId: newId(at),
            unread,
            readTo: null,
            chatName: null,
            foldedName: null,
          });
        }
      });
    const removeRows = () =>
      core.rig.database.write.run((tx) => tx.manager.query(`DELETE FROM conversations WHERE "chatId" LIKE '%.test'`));
    const order = async (query: string, limit: number) => shown(await list(query, limit)).map(({ person }) => person);
    /** The first three conversations, read in pages. */
    const firstThree = async (query: string, limit: number): Promise<string[]> => {
      const found: ConversationResource[] = [];
      for (let cursor: string | null = ''; cursor !== null && found.length < 3;) {
        const { body } = await core.get(`/conversations?limit=${limit}${query}${cursor && `&cursor=${cursor}`}`);
        found.push(...(body.data as ConversationResource[]));
        cursor = (body.meta as { nextCursor: string | null }).nextCursor;
      }
      return shown(found).map(({ person }) => person);
    };

    beforeAll(async () => {
      for (const name of chatNames) await run({ do: 'openOnPhone', chat: name });
      await receive('anaByLid');
      await receive('group');
      await receive('ben');
      const { body } = await core.send('the newest message', { recipient: `${ana}@c.us` });
      await core.reaches((body.data as { id: string }).id, 'sent');
      await receive('group');
    });
    afterEach(removeRows);
    const expectedOrder = [group, `${ana}@c.us`, `${ben}@c.us`];

    test('is at the place of the newest message in the list of unread conversations, as in the whole list', async () => {
      expect(await order('', 50)).toEqual(expectedOrder);
      for (const limit of [1, 2, 50]) expect([limit, await order('&unread=true', limit)]).toEqual([limit, expectedOrder]);
      expect(await order('&unread=true&search=ana', 1)).toEqual([`${ana}@c.us`]);
      expect(await order('&unread=true&search=nobody', 1)).toEqual([]);
    });

    test('also among so many unread conversations that no page reads all of them', async () => {
      await addRows(501, 1_000_000, 1);
      for (const limit of [1, 2]) expect([limit, await firstThree('&unread=true', limit)]).toEqual([limit, expectedOrder]);
      expect(await order('&unread=true', 50)).toEqual(expectedOrder);
      expect(await order('&unread=true&search=ana', 1)).toEqual([`${ana}@c.us`]);
    });

    test('also behind so many read conversations that a page ends before it is full', async () => {
      await addRows(501, 1_000_000, 1);
      await addRows(1_500, Date.now() + 60_000, 0);
      const { body } = await core.get('/conversations?unread=true&limit=2');
      expect(body).toMatchObject({ data: [], meta: { nextCursor: expect.any(String) } });
      for (const limit of [1, 2]) expect([limit, await firstThree('&unread=true', limit)]).toEqual([limit, expectedOrder]);
      expect(await order('&unread=true', 50)).toEqual(expectedOrder);
    });
  });

  test('a conversation shows the person as known now, and the last message as it is now', async () => {
    await receive('anaByLid', { content: { type: 'text', message: 'first' } });
    const [first] = await list('', 1);
    expect(first).toMatchObject({
      sessionId: core.sessionId,
      chat: { id: anaLid, type: 'private', name: 'Ana' },
      contact: { phone: `+${ana}`, lid: anaLid, name: 'Ana' },
      lastMessage: { direction: 'inbound', origin: 'live', type: 'text', text: 'first', status: 'delivered', reason: null },
    });
    const long = 'é'.repeat(5_000);
    await receive('ben', { content: { type: 'text', message: long } });
    expect((await list('', 1))[0]!.lastMessage.text).toBe('é'.repeat(200));
  });

  test('a story and a notice of WhatsApp are no conversation', async () => {
    const before = shown(await list());
    await receive('ana', { chat: { id: 'status@broadcast', type: 'status', name: null }, from: `${ana}@c.us` });
    await receive('ana', { content: { type: 'notice', subtype: 'e2e_notification', message: null } as never });
    expect(shown(await list())).toEqual(before);
  });

  test('a key of one session sees the chats of that session, and other accounts see none', async () => {
    const other = (await core.post('/sessions', { name: `other-${database}` })).body.data as { id: string };
    await receive('group');
    for (const recipient of [group, '5511999990009']) {
      const body = { sessionId: other.id, recipient, message: 'x', queueIfOffline: true, async: true };
      expect((await core.post('/messages/send-text', body)).status).toBe(202);
    }
    const made = (await core.post(`/sessions/${other.id}/keys`, { name: 'k', permissions: ['messages.receive'] })).body.data;
    const key = (made as { key: string }).key;
    const { body } = await core.rig.call('GET', '/conversations', { key });
    // Only the first session knows the name of the group.
    expect((body.data as ConversationResource[]).map(({ chat, sessionId }) => [sessionId, chat.id, chat.name])).toEqual([
      [other.id, '5511999990009@c.us', null],
      [other.id, group, null],
    ]);
    expect((await list())[0]).toMatchObject({ sessionId: other.id, lastMessage: { status: 'queued' } });
    expect((await list(`&sessionId=${core.sessionId}`)).some(({ sessionId }) => sessionId === other.id)).toBe(false);
    expect((await core.rig.call('GET', `/conversations?sessionId=${core.sessionId}`, { key })).status).toBe(404);
    await core.rig.call('DELETE', `/sessions/${other.id}`);
    expect((await list()).some(({ sessionId }) => sessionId === other.id)).toBe(false);
  });

  test('of an account with more sessions than one statement can read is whole', async () => {
    const before = shown(await list());
    const accountId = ((await core.get('/auth/me')).body.data as { id: string }).id;
    const [createdAt, metadata] = [new Date(), {}];
    const rows = Array.from({ length: 501 }, (_, index) => {
      const name = `one-of-many-${index}`;
      return {
        id: newId(),
        accountId,
        name,
        liveName: name,
        status: 'disconnected' as const,
        settings,
        metadata,
        createdAt,
        updatedAt: createdAt,
      };
    });
    await core.rig.database.write.run(async (tx) => {
      for (const row of rows) await insertRow(tx, Session, row);
    });
    expect(shown(await list())).toEqual(before);
    await core.rig.database.write.run((tx) => tx.manager.delete(Session, { accountId, status: 'disconnected', createdAt }));
  });

  test('an erased person has no conversation, and a group keeps its own', async () => {
    await receive('ben');
    await receive('group');
    await receive('ana');
    const asked = await core.post('/privacy/erasures', { contact: ben, confirm: ben });
    const { id } = asked.body.data as { id: string };
    await eventually('the erasure to end', async () => {
      const { status } = (await core.get(`/privacy/erasures/${id}`)).body.data as { status: string };
      return status === 'done';
    });
    const rest = await list();
    expect(rest.map(({ chat }) => personOf(chat.id))).toEqual([`${ana}@c.us`, group]);
    expect(JSON.stringify(rest)).not.toContain(ben);
  });

  test('when names may not be stored any more, those of people are forgotten, and those of groups stay', async () => {
    const stranger = '5511999990077@c.us';
    const contact = { id: stranger, phone: '+5511999990077', lid: null, name: null };
    await receive('group');
    await receive('ana', { chat: { id: stranger, type: 'private', name: 'Passer-by' }, contact, from: stranger });
    const names = async () => Object.fromEntries((await list()).map(({ chat }) => [chat.id, chat.name]));
    expect(await names()).toMatchObject({ [stranger]: 'Passer-by', [group]: 'Neighbours' });
    const store = (storage: string) => core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { storage } } });
    expect((await store('metadata')).status).toBe(200);
    expect(await names()).toMatchObject({ [stranger]: null, [group]: 'Neighbours' });
    expect(await list('&search=passer')).toEqual([]);
    expect((await store('full')).status).toBe(200);
    const { body } = await core.post('/privacy/erasures', { contact: contact.phone, confirm: contact.phone });
    await eventually('the erasure to end', async () => {
      const { id } = body.data as { id: string };
      return ((await core.get(`/privacy/erasures/${id}`)).body.data as { status: string }).status === 'done';
    });
  });

  test('a group is called what the newest message that names it says, and is found by that name in any spelling', async () => {
    const found = async (search: string) => (await list(`&search=${encodeURIComponent(search)}`)).map(({ chat }) => chat.name);
    const named = (name: string | null, more: Partial<ObservedMessage> = {}) =>
      receive('group', { chat: { ...chats.group.chat, name }, ...more });
    await named('Vízinhos ÇA');
    await named(null);
    expect(await found('VIZINHOS ça')).toEqual([]);
    expect(await found('VÍZINHOS ça')).toEqual(['Vízinhos ÇA']);
    expect(await found('neighbour')).toEqual([]);
    // The first message of a chat is sent by the API; what WhatsApp shows of it names the chat.
    const club = '120363049999999999@g.us';
    const sent = await core.send('first', { recipient: club });
    await core.reaches((sent.body.data as { id: string }).id, 'sent');
    expect((await list())[0]!.chat).toEqual({ id: club, type: 'group', name: null });
    const left = core.worker.left.at(-1)!;
    const shownAs = observedIn('group', { fromMe: true, ack: 1, chat: { id: club, type: 'group', name: 'Clube' } });
    const own = { ...shownAs, key: left.command.reservedId, whatsappId: `true_${club}_${left.command.reservedId}` };
    await core.worker.emit(core.sessionId, 'message.observed', { message: own, origin: 'live' });
    expect((await list())[0]!.chat).toEqual({ id: club, type: 'group', name: 'Clube' });
    expect(await found('clube')).toEqual(['Clube']);
  });

  test('retention ends a conversation with its last message, and keeps one whose message still waits', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    await core.send('waits', { recipient: ben, queueIfOffline: true, async: true });
    const clock = { now: () => new Date(Date.now() + 91 * 86_400_000), monotonic: () => performance.now() };
    const { database: db } = core.rig;
    const media = { remove: async () => undefined, expire: async () => undefined } as never;
    const retention = createRetention(
      { database: db, clock, report: () => undefined },
      { media, thumbnails: createThumbnails({ database: db }), days: { messages: 90, media: 0, events: 365 } },
    );
    await retention.ofMessages();
    expect((await list()).map(({ chat, unreadCount }) => [chat.id, unreadCount])).toEqual([[`${ben}@c.us`, 0]]);
  });
});
