import { foldText } from '@chasqui/shared';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import fc from 'fast-check';
import { runStatement } from '../src/db/statement.js';
import { gramsIn, gramsOf } from '../src/search/grams.js';
import { makeAccount } from './support/account.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Text search finds what it is given: in every alphabet, in either case and normal form, before and after a message is indexed. */

const texts = fc
  .string({
    unit: fc.oneof(fc.constantFrom(...'aAéÉßẞİıIiΣσςйЙñÑÇ你好ไทย한ㄱ𝐀ﬁ🎉\u0301\u0307 '), {
      weight: 1,
      arbitrary: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
    }),
    minLength: 1,
    maxLength: 30,
  })
  // The iota below a Greek letter becomes a letter of its own in capitals, and takes an accent that follows it: `ᾄ` with one more accent is another text then.
  .filter((text) => !text.normalize('NFD').includes('\u0345'));

describe('folding', () => {
  const contains = (text: string, term: string): boolean => foldText(text).includes(foldText(term));

  test('a text contains each part of itself, in capitals, in small letters and in every normal form', () => {
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1, maxLength: 3 }), fc.nat({ max: 2 }), (parts, index) => {
        const text = parts.join('-');
        const part = parts[index % parts.length]!;
        for (const form of [part, part.normalize('NFC'), part.normalize('NFD'), part.normalize('NFKC')])
          for (const term of [form, form.toLowerCase(), form.toUpperCase()])
            expect([text, term, contains(text, term)]).toEqual([text, term, true]);
      }),
      { numRuns: 500 },
    );
  });

  test('the index knows every gram that is asked for of a contained term', () => {
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1, maxLength: 3 }), fc.nat({ max: 2 }), (parts, index) => {
        const folded = foldText(parts[index % parts.length]!);
        const known = gramsOf(parts.join('-'));
        if (folded !== '') for (const gram of gramsIn(folded)) expect(known.has(gram)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('accents count', () => {
    expect(contains('ação', 'acao')).toBe(false);
  });
});

const samples: [text: string, ...terms: string[]][] = [
  ['Привет, ÉCOLE Ñandú', 'Привет', 'привет', 'ПРИВЕТ', 'ÉCOLE', 'école', 'Ñandú', 'ñ', 'привет, éco'],
  ['τῷ ᾄδω', 'ᾄδω', 'ᾄδω'.toUpperCase(), 'τῷ'.toUpperCase()],
  ['AÇÃO Über ΑΘΗΝΑΣ', 'ação', 'AÇÃO', 'über', 'Über', 'αθηνας', 'ΑΘΗΝΑΣ', 'αθηνα'],
  ['ŞİŞLİ Isparta ırmak', 'şişli', 'ŞİŞLİ', 'ŞIŞLI', 'ISPARTA', 'ırmak', 'IRMAK'],
  ['Die Straße ist GROẞ', 'straße', 'STRASSE', 'strasse', 'groß', 'GROSS'],
  ['cafe\u0301 nai\u0308ve', 'café', 'CAFÉ', 'cafe\u0301', 'naïve'],
  ['今天你好吗', '你好', '好', '今天', '你好吗'],
  ['สวัสดีครับน้ำ', 'สวัสดี', 'ครับ', 'น้ำ', 'ดี'],
  ['안녕하세요 친구', '안녕', '녕하', '친구', '하'],
  ['مرحبا بالعالم שלום', 'مرحبا', 'عالم', 'שלום'],
  ['ｶﾞｲﾄﾞ Ｆｕｌｌ ﬁnal', 'ガイド', 'full', 'final', 'ﬁnal'],
  ['party 🎉👨‍👩‍👧 ❤️ now', '🎉', '👨‍👩‍👧', '❤', '❤️', 'y 🎉'],
  [
    '100%_sure! \'quoted\' "double" \\back * AND (OR) NOT^',
    '%',
    '_',
    '100%_',
    "'quoted'",
    '"double"',
    '\\',
    '*',
    'AND (OR)',
    'NOT^',
    '!',
  ],
  ['soft\u00adhyphen zero\u200bwidth', 'softhyphen', 'zerowidth', 'soft\u00adhyphen'],
  ['q', 'q', 'Q'],
];

describe.each(await databases())('search on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core.close());

  const find = async (term: string, more = ''): Promise<{ texts: (string | null)[]; meta: Record<string, unknown> }> => {
    const { body } = await core.get(`/messages/list?search=${encodeURIComponent(term)}&limit=200${more}`);
    if (!body.success) throw new Error(JSON.stringify(body.error));
    return { texts: (body.data as MessageResource[]).map(({ text }) => text), meta: body.meta as Record<string, unknown> };
  };
  const waiting = async (): Promise<number> =>
    Number(
      (await runStatement<{ n: number | string }>(core.rig.database.reader, 'SELECT COUNT(*) AS n FROM search_queue')).rows[0]!.n,
    );
  const indexed = () => eventually('everything to be indexed', async () => (await waiting()) === 0);
  const receive = (text: string, more = {}) =>
    core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text, more), origin: 'live' });

  test('each term finds its text and no other, before it is indexed and afterwards', async () => {
    for (const [text] of samples) await receive(text);
    for (const isIndexed of [false, true]) {
      if (isIndexed) await indexed();
      for (const [text, ...terms] of samples)
        for (const term of terms) {
          const found = (await find(term)).texts;
          expect([isIndexed, term, found.includes(text)]).toEqual([isIndexed, term, true]);
          const folded = foldText(term);
          for (const other of found) expect(foldText(other!)).toContain(folded);
        }
    }
    expect((await find('nowhere to be found')).texts).toEqual([]);
  });

  test('an edited text is found by its new words and not by its old ones', async () => {
    const message = core.inbound('the former wording');
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    await indexed();
    await core.worker.emit(core.sessionId, 'message.edited', {
      whatsappId: message.whatsappId,
      key: message.key,
      chat: message.chat,
      at: new Date().toISOString(),
      text: 'the present wording',
    });
    for (const isIndexed of [false, true]) {
      if (isIndexed) await indexed();
      expect((await find('present wording')).texts).toEqual(['the present wording']);
      expect((await find('former wording')).texts).toEqual([]);
    }
  });

  test('pages by cursor and by offset contain every match once, in order, with other filters too', async () => {
    for (let number = 0; number < 30; number += 1)
      await receive(`paged Größe ${number}`, number % 3 === 0 ? { fromMe: true, ack: 1 } : {});
    await indexed();
    for (let number = 30; number < 40; number += 1) await receive(`paged Größe ${number}`);
    const all = Array.from({ length: 40 }, (_, number) => `paged Größe ${number}`);
    const inbound = all.filter((_, number) => number % 3 !== 0 || number >= 30);
    for (const [filter, expected] of [
      ['', all],
      ['&direction=inbound', inbound],
      ['&type=text&direction=inbound&chatId=5511999990001', inbound],
      [`&origin=live&status=delivered&sessionId=${core.sessionId}`, inbound],
      ['&type=image', []],
      ['&direction=inbound&origin=device', []],
    ] as const)
      for (const order of ['asc', 'desc'] as const) {
        const wanted = order === 'asc' ? [...expected] : [...expected].reverse();
        const whole = await find('PAGED GRÖSSE', `${filter}&order=${order}`);
        expect([filter, order, whole.texts]).toEqual([filter, order, wanted]);
        expect(whole.meta).toMatchObject({ total: wanted.length, totalExact: true, searchComplete: true });
        const paged: (string | null)[] = [];
        for (let cursor: string | null = ''; cursor !== null;) {
          const path: string = `/messages/list?search=paged%20gr%C3%B6%C3%9Fe&limit=7&order=${order}${filter}${cursor && `&cursor=${cursor}`}`;
          const { body } = await core.get(path);
          if (!body.success) throw new Error(JSON.stringify(body.error));
          paged.push(...(body.data as MessageResource[]).map(({ text }) => text));
          cursor = (body.meta as { nextCursor: string | null }).nextCursor;
        }
        expect([filter, order, paged]).toEqual([filter, order, wanted]);
      }
    const { body } = await core.get('/messages/list?search=paged&limit=5&offset=3');
    expect((body.data as MessageResource[]).map(({ text }) => text)).toEqual(all.slice(32, 37).reverse());
  });

  test('a deleted message leaves the index', async () => {
    await receive('short-lived words');
    await indexed();
    const { manager } = core.rig.database.reader;
    const size = async (): Promise<number> =>
      Number((await runStatement<{ n: number | string }>(manager, 'SELECT COUNT(*) AS n FROM message_grams')).rows[0]!.n);
    const before = await size();
    await core.rig.database.write.run((tx) => tx.manager.query(`DELETE FROM messages WHERE text = 'short-lived words'`));
    await indexed();
    expect((await find('short-lived words')).texts).toEqual([]);
    expect(await size()).toBe(before - 1);
  });

  test('a term without any character is refused, and one of 200 characters is found', async () => {
    for (const term of ['\u200b', '\u00ad\u200d'])
      expect((await core.get(`/messages/list?search=${encodeURIComponent(term)}`)).body.error?.code).toBe('VALIDATION_FAILED');
    const long = Array.from({ length: 50 }, (_, number) => `w${number}`).join(' ');
    await receive(`before ${long} after`);
    await indexed();
    expect((await find(long)).texts).toEqual([`before ${long} after`]);
  });

  test('messages of another account are not found', async () => {
    await receive('words of one account');
    const other = await makeAccount(core.rig);
    expect((await core.rig.call('GET', '/messages/list?search=words%20of%20one', { key: other.key })).body.data).toEqual([]);
  });
});
