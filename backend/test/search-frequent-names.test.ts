import { foldText, newId, type Contact, type MessageResource } from '@chasqui/shared';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { foundMessages } from '../src/admin/views/found-messages.js';
import { ContactForm, ContactRow } from '../src/contacts/contact.entity.js';
import { maxPeople } from '../src/contacts/lookup.js';
import { insertRows } from '../src/db/rows.js';
import { Conversation } from '../src/messages/conversations/conversation.entity.js';
import { createMessageSearch } from '../src/search/search.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { silentLog } from './support/silent-log.js';

/** A name, a number or a group name that more people or groups have than a search lists: all of their messages are found, also those of the oldest. */

const maria: Contact = { id: '5521988877766@c.us', phone: '+5521988877766', lid: '277012345678901@lid', name: 'Maria Souza' };
const ines: Contact = { id: '447400123123@c.us', phone: '+447400123123', lid: null, name: 'Ines Okafor' };
const group = { id: '120363000000000077@g.us', type: 'group' as const, name: 'Club Sol' };
const many = maxPeople + 100;

describe.each(await databases())('a search for what very many have on %s', (database) => {
  let core: Core;
  const ids: Record<string, string> = {};
  const receive = async (name: string, more: object): Promise<void> => {
    const message = core.inbound(`a text of ${name}`, more);
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    ids[name] = await eventually('the message to be recorded', async () => {
      const [newest] = (await core.get('/messages?limit=1')).body.data as MessageResource[];
      return newest?.whatsappId === message.whatsappId ? newest.id : null;
    });
  };
  /** Everyone here is newer than the people of the messages. */
  const fill = async (): Promise<void> => {
    const { sessionId, rig } = core;
    const { accountId } = (await rig.database.reader.query('SELECT "accountId" FROM sessions'))[0] as { accountId: string };
    const now = new Date();
    const rows = Array.from({ length: many }, (_, number) => ({ id: newId(), number: String(10_000 + number) }));
    await rig.database.write.run(async (tx) => {
      await insertRows(
        tx,
        ContactRow,
        rows.map(({ id, number }) => {
          const name = `Maria ${number}`;
          const times = { createdAt: now, updatedAt: now };
          return { id, accountId, sessionId, phone: `55219${number}888`, lid: null, name, foldedName: foldText(name), ...times };
        }),
      );
      await insertRows(
        tx,
        ContactForm,
        rows.map(({ id, number }) => ({ sessionId, waId: `5521988${number}@c.us`, accountId, contactId: id })),
      );
      const chat = { accountId, sessionId, lastAt: 0, unread: 0, readTo: null };
      await insertRows(
        tx,
        Conversation,
        rows.map(({ id, number }) => {
          const chatName = `Club ${number}`;
          return { ...chat, chatId: `1203639${number}@g.us`, lastId: id, chatName, foldedName: foldText(chatName) };
        }),
      );
    });
  };
  const isIndexed = (): Promise<unknown> =>
    eventually('everything to be indexed', async () => {
      const [row] = (await core.rig.database.reader.query('SELECT COUNT(*) AS n FROM search_queue')) as { n: number | string }[];
      return Number(row!.n) === 0;
    });

  beforeAll(async () => {
    core = await startCore({ database });
    const fromMaria = { chat: { id: maria.lid, type: 'private', name: null }, contact: maria, from: maria.lid };
    await receive('chat', fromMaria);
    await receive('hers in the group', { chat: group, contact: maria, from: maria.id, to: group.id });
    await receive('of another in the group', { chat: group, contact: ines, from: ines.id, to: group.id });
    await receive('of another', { chat: { id: ines.id, type: 'private', name: null }, contact: ines, from: ines.id });
    await fill();
  });
  afterAll(() => core?.close());

  const cases: [what: string, term: string, found: string[]][] = [
    ['name', 'maria', ['chat', 'hers in the group']],
    ['beginning of a number', '5521988', ['chat', 'hers in the group']],
    ['part of a number', '2198887', ['chat', 'hers in the group']],
    ['name of a group', 'club', ['hers in the group', 'of another in the group']],
  ];
  test.each(['waiting', 'indexed'])('finds the messages of the oldest of them, with messages that are %s', async (stage) => {
    if (stage === 'indexed') await isIndexed();
    for (const [what, term, found] of cases)
      for (const order of ['asc', 'desc']) {
        const pages: string[] = [];
        for (let cursor: string | null = ''; cursor !== null;) {
          const { body } = await core.get(`/messages?search=${term}&limit=1&order=${order}${cursor && `&cursor=${cursor}`}`);
          pages.push(...(body.data as MessageResource[]).map(({ id }) => id));
          cursor = (body.meta as { nextCursor: string | null }).nextCursor;
        }
        const expected = found.map((name) => ids[name]!);
        expect([what, order, pages]).toEqual([what, order, order === 'asc' ? expected : expected.reverse()]);
      }
  });

  test('finds them over all accounts, as the panel does', async () => {
    await isIndexed();
    const { database } = core.rig;
    const search = createMessageSearch({ database, log: silentLog, report: () => undefined });
    for (const [what, term, found] of cases)
      expect([
        what,
        await foundMessages({ reader: database.reader, search }, term, { maxMatches: 10, maxExamined: 1_000 }),
      ]).toEqual([what, found.map((name) => ids[name]!).reverse()]);
  });
});
