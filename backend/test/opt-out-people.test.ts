import { describe, expect, test } from '@jest/globals';
import { newId, wordOf, type Contact, type OptOutResource } from '@chasqui/shared';
import fc from 'fast-check';
import type { Caller } from '../src/accounts/caller.js';
import { createContacts } from '../src/contacts/contacts.js';
import { runStatement } from '../src/db/statement.js';
import { EventRow } from '../src/events/event.entity.js';
import { createSealer } from '../src/lib/sealer.js';
import { checkKeywords, defaultKeywords, matchKeyword } from '../src/opt-outs/keywords.js';
import { createOptOuts } from '../src/opt-outs/opt-outs.js';
import { OptOut, OptOutForm } from '../src/opt-outs/opt-out.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { addSession } from './panel.rows.js';
import { databases } from './support/backend.js';
import { closeAfterEach, openOwn } from './support/own-database.js';
import { coreOf } from './support/parts.js';

closeAfterEach();

const keyText = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const number = '5511999990001';
const id = `${number}@c.us`;
const oldSpelling = '551199990001@c.us';
const lid = '184467440737@lid';
const other = '5511988880002@c.us';
const group = '120363041234567890@g.us';

describe.each(await databases())('people who opted out on %s', (database) => {
  async function open(keys = `k1:${keyText(1)}`) {
    const { opened } = await openOwn(database);
    const core = coreOf(opened);
    const contacts = createContacts(core, { storageOf: async () => 'full' });
    const optOuts = createOptOuts(core, { contacts, sealer: createSealer(keys) });
    const accountId = newId();
    const caller: Caller = {
      accountId,
      role: 'user',
      credential: { type: 'none', id: null, name: 'test' },
      permissions: ['*'],
      sessionId: null,
      isPasswordLogin: false,
      requestId: '',
      ip: null,
    };
    const id = await addSession(opened.write, { accountId, name: 'shop', status: 'connected', desired: 'running' });
    const session = { id, accountId, settings: {} as never };
    const learn = (contact: Contact) => contacts.learnNow(session, [{ contact }]);
    const among = async (...addresses: string[]) => [...(await optOuts.among(accountId, addresses))].sort();
    const rekey = (text: string) => createOptOuts(core, { contacts, sealer: createSealer(text) });
    return { core, opened, contacts, optOuts, accountId, caller, learn, among, rekey };
  }
  const ana: Contact = { id, phone: `+${number}`, lid, name: 'Ana' };

  test('are found by the number, its other spelling, and the LID once it is known', async () => {
    const { optOuts, caller, learn, among } = await open();
    expect(await among(id, lid)).toEqual([]);
    await optOuts.add(caller, [id], 'api');
    expect(await among(id, oldSpelling, lid, other, group)).toEqual([id, oldSpelling].sort());
    await learn(ana);
    expect(await among(id, oldSpelling, lid, other, group)).toEqual([lid, id, oldSpelling].sort());
  });

  test('who opted out by the LID are found by the number, and are removed by it', async () => {
    const { optOuts, accountId, caller, learn, among } = await open();
    await learn(ana);
    await optOuts.add(caller, [lid], 'api');
    expect(await among(id, lid)).toEqual([lid, id].sort());
    await optOuts.remove(caller, oldSpelling, 'api');
    expect(await among(id, lid, oldSpelling)).toEqual([]);
    await expect(optOuts.find(accountId, id)).rejects.toMatchObject({ code: 'OPT_OUT_NOT_FOUND' });
  });

  test('two rows that turn out to be one person are joined, and the last change counts', async () => {
    const { opened, optOuts, accountId, caller, learn, among } = await open();
    await optOuts.add(caller, [lid], 'api');
    await optOuts.add(caller, [id], 'api');
    await learn(ana);
    await optOuts.remove(caller, id, 'api');
    expect(await among(id, lid)).toEqual([]);
    expect(await opened.reader.getRepository(OptOut).countBy({ accountId })).toBe(1);
  });

  test.each(['keyword', 'call'])('a repeated opt-out by %s overrules an earlier opt-in that is read later', async (by) => {
    const { opened, optOuts, accountId, caller, among } = await open();
    const session = await opened.reader.getRepository(Session).findOneByOrFail({ accountId });
    const get = (text: string, minutesAgo: number) => {
      const at = new Date(Date.now() - minutesAgo * 60_000);
      return opened.write.run((tx) => optOuts.received(tx, session, { waId: id, text, at }, async () => null));
    };
    await get('STOP', 20);
    if (by === 'keyword') await get('STOP', 10);
    else await optOuts.add(caller, [id], 'api');
    // By a session that was not connected until now.
    await get('START', 15);
    expect(await among(id)).toEqual([id]);
    await get('START', by === 'keyword' ? 5 : 0);
    expect(await among(id)).toEqual([]);
  });

  test('whose rows turn out to be one person have the state that was confirmed last', async () => {
    const { opened, optOuts, accountId, learn, among } = await open();
    const session = await opened.reader.getRepository(Session).findOneByOrFail({ accountId });
    const get = (waId: string, text: string, minutesAgo: number) => {
      const at = new Date(Date.now() - minutesAgo * 60_000);
      return opened.write.run((tx) => optOuts.received(tx, session, { waId, text, at }, async () => null));
    };
    await get(lid, 'STOP', 20);
    await get(id, 'STOP', 16);
    await get(id, 'START', 15);
    await get(lid, 'STOP', 10);
    await learn(ana);
    expect(await among(id, lid)).toEqual([lid, id].sort());
  });

  test('belong to one account', async () => {
    const { optOuts, caller } = await open();
    await optOuts.add(caller, [id], 'api');
    expect([...(await optOuts.among(newId(), [id]))]).toEqual([]);
  });

  test('stay opted out after an erasure, by forms that were never used for it, and no row names them', async () => {
    const { opened, optOuts, accountId, caller, among } = await open();
    await optOuts.add(caller, [id], 'api');
    await opened.write.run((tx) => optOuts.erase(tx, accountId, [id, lid]));
    expect(await among(id, lid, other)).toEqual([lid, id].sort());
    const { people } = await optOuts.list(accountId, { limit: 50, offset: 0 });
    expect(people).toMatchObject([{ contact: null, source: 'api' }]);
    await optOuts.remove(caller, people[0]!.id, 'panel');
    expect(await among(id, lid)).toEqual([]);
  });

  test('who are erased while they are added or removed are not named again by the event', async () => {
    const { core, contacts, accountId, caller, learn } = await open();
    let isErased = false;
    // An erasure commits just before a change gets the lock of the log.
    const lock: typeof core.events.lock = async (tx) => {
      await core.events.lock(tx);
      if (isErased) await contacts.erase(tx, accountId, [id, lid]);
    };
    const optOuts = createOptOuts(
      { ...core, events: { ...core.events, lock } },
      { contacts, sealer: createSealer(`k1:${keyText(1)}`) },
    );
    const named = async (): Promise<string[]> => {
      const rows = await core.database.reader.getRepository(EventRow).find({ order: { cursor: 'ASC' } });
      return rows.filter(({ type }) => type.startsWith('contact.opted_')).map(({ data }) => JSON.stringify(data));
    };
    await learn(ana);
    isErased = true;
    const [{ id: rowId }] = (await optOuts.add(caller, [id], 'api')).people as [OptOutResource];
    isErased = false;
    await learn(ana);
    isErased = true;
    await optOuts.remove(caller, id, 'api');
    expect((await named()).map((data) => [data.includes('Ana'), data.includes(lid)])).toEqual([
      [false, false],
      [false, false],
    ]);
    isErased = false;
    await learn(ana);
    expect((await optOuts.add(caller, [id], 'api')).people).toMatchObject([{ id: rowId, contact: { name: 'Ana' } }]);
    // Named by the row's id, and erased with the address in the row.
    const erasing: typeof core.events.lock = async (tx) => {
      await core.events.lock(tx);
      await runStatement(tx.manager, 'UPDATE opt_outs SET "waId" = NULL WHERE id = ?', [rowId]);
    };
    const parts = { contacts, sealer: createSealer(`k1:${keyText(1)}`) };
    const before = (await named()).length;
    await createOptOuts({ ...core, events: { ...core.events, lock: erasing } }, parts).remove(caller, rowId, 'api');
    expect((await named()).slice(before)).toEqual([]);
  });

  test('are found under a new encryption key, and after the old one was removed', async () => {
    const { optOuts, accountId, caller, rekey } = await open();
    await optOuts.add(caller, [id], 'api');
    const rotated = rekey(`k2:${keyText(2)},k1:${keyText(1)}`);
    expect([...(await rotated.among(accountId, [id]))]).toEqual([id]);
    for (const row of await rotated.reseal.page('')) expect(await rotated.reseal.one(row)).toBe(true);
    for (const row of await rotated.reseal.page('')) expect(await rotated.reseal.one(row)).toBe(false);
    expect([...(await rekey(`k2:${keyText(2)}`).among(accountId, [id]))]).toEqual([id]);
  });

  test('a month after a person opted in again nothing names them, and those who are out stay', async () => {
    const { core, opened, optOuts, caller, contacts, among } = await open();
    await optOuts.add(caller, [id, other], 'api');
    await optOuts.remove(caller, id, 'api');
    const later = (days: number) => {
      const clock = { ...core.clock, now: () => new Date(Date.now() + days * 86_400_000) };
      return createOptOuts({ ...core, clock }, { contacts, sealer: createSealer(`k1:${keyText(1)}`) });
    };
    expect(await later(29).prune()).toBe(0);
    expect(await later(31).prune()).toBe(1);
    // The number and its other spelling.
    expect(await opened.reader.getRepository(OptOutForm).countBy({})).toBe(2);
    expect(await among(id, other)).toEqual([other]);
  });

  test('the people of 10,000 addresses are found within a second', async () => {
    const { optOuts, accountId, caller } = await open();
    const addresses = Array.from({ length: 10_000 }, (_, index) => `4917${String(10_000_000 + index)}@c.us`);
    const out = addresses.filter((_, index) => index % 100 === 0);
    await optOuts.add(caller, out, 'api');
    const started = performance.now();
    expect([...(await optOuts.among(accountId, addresses))]).toEqual(out);
    // A second, and the rest for a busy machine. A look-up for each address takes a minute.
    expect(performance.now() - started).toBeLessThan(8_000);
  });
});

describe('keywords', () => {
  test.each([
    ['STOP', 'STOP', 'out'],
    [' stop. ', 'STOP', 'out'],
    ['¡Stop!', 'STOP', 'out'],
    ['“unsubscribe”\n', 'UNSUBSCRIBE', 'out'],
    ['ＳＴＯＰ', 'STOP', 'out'],
    ['\u200estart\u200e 🙏', 'START', 'in'],
  ])('%j is %s', (text, keyword, state) => {
    expect(matchKeyword(defaultKeywords, text)).toMatchObject({ keyword, state });
  });

  test.each(['please stop', 'stop it', 'STOPP', 's t o p', '', '...', '🛑', 'stop'.repeat(100)])('%j is none', (text) => {
    expect(matchKeyword(defaultKeywords, text)).toBeNull();
  });

  test('those of a language have answers of their own', () => {
    const portuguese = { out: ['PARAR', 'Não quero mais'], in: ['VOLTAR'], replyOut: 'Certo.', replyIn: null };
    const keywords = { ...defaultKeywords, replyOut: 'Done.', languages: { pt: portuguese } };
    expect(matchKeyword(keywords, 'não  QUERO mais!')).toEqual({ keyword: 'Não quero mais', state: 'out', reply: 'Certo.' });
    expect(matchKeyword(keywords, 'stop')).toMatchObject({ reply: 'Done.' });
    expect(matchKeyword(keywords, 'voltar')).toMatchObject({ state: 'in', reply: null });
  });

  test('a word that opts out and in, and one without letters, are refused by name', () => {
    const languages = { pt: { out: ['start'], in: ['!!'], replyOut: null, replyIn: null } };
    expect(() => checkKeywords({ ...defaultKeywords, languages })).toThrow(
      expect.objectContaining({
        details: {
          fields: [
            expect.objectContaining({ path: 'languages.pt.out.0', code: 'AMBIGUOUS' }),
            expect.objectContaining({ path: 'languages.pt.in.0', code: 'INVALID_FORMAT' }),
          ],
        },
      }),
    );
  });

  test('marks and blanks around a text never change its word', () => {
    const marks = fc.stringMatching(/^[\s.,!?"'()«»¡¿*_~-]{0,10}$/);
    fc.assert(
      fc.property(fc.stringMatching(/^[a-zA-Z0-9]{1,20}$/), marks, marks, (word, before, after) => {
        expect(wordOf(`${before}${word}${after}`)).toBe(wordOf(word));
      }),
    );
  });
});
