import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { foldText, type MessageResource } from '@chasqui/shared';
import fc from 'fast-check';
import { runStatement } from '../src/db/statement.js';
import { Message } from '../src/messages/message.entity.js';
import { databases } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Over HTTP, a text search returns exactly what a plain scan of all texts returns: for generated texts and terms, before and after indexing. */

const alphabets = [
  'abcXYZ',
  'éÉàÀñÑçÇöÖ',
  'e\u0301E\u0301n\u0303',
  'ßẞẞssSS',
  'İIıi',
  'ΣσςΑάΏ',
  'приветПРИВЕТ',
  'שלום',
  'مرحبا',
  '你好吗今天',
  'カガｶﾞあア',
  '한국어안녕',
  'สวัสดีน้ำ',
  'नमस्ते',
  '🎉👍🏽❤️👨‍👩‍👧🇩🇪',
  '%_%_',
  '\'"`\\',
  '*:^()-+?[]{}$|&<>',
  'ﬁＦｕｌｌ①²',
  '\u200b\u00ad\u200d\ufeff',
  ' \n\t\u00a0',
  '0123',
  '𝐀𝒷😀',
].map((letters) => [...letters]);
const word = fc
  .constantFrom(...alphabets)
  .chain((letters) => fc.array(fc.constantFrom(...letters), { minLength: 1, maxLength: 6 }))
  .map((letters) => letters.join(''));
const text = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(''));

/** A term: a part of one of the texts in some form, or any text at all. */
const term = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(
          (part: string) => part,
          (part: string) => part.toUpperCase(),
          (part: string) => part.toLowerCase(),
          (part: string) => part.normalize('NFD'),
          (part: string) => part.normalize('NFKC'),
        ),
      )
      .map(([which, from, length, form]) => (texts: readonly string[]): string => {
        const letters = [...texts[which % texts.length]!];
        const at = from % letters.length;
        return form(letters.slice(at, at + length).join(''));
      }),
  },
  { weight: 1, arbitrary: word.map((one) => (): string => one) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }).map((one) => (): string => one) },
);

const generated = fc.sample(text, { numRuns: 120 });
/** The longest texts that there can be, with characters of one code unit and of two, and a word at their very ends. */
const long = [`${'lorem ipsum '.repeat(5_460)} omegaword`.slice(-65_536), `${'😀'.repeat(32_763)} deltaword`];
const texts = [...new Set([...generated, ...long, 'x', '%', '_', '\\', "'", '"'])];

describe.each(await databases())('text search on %s', (database) => {
  let core: Core;
  const ids = new Map<string, string>();
  beforeAll(async () => {
    core = await startCore({ database });
    // Without a name: a search finds all messages of a person by it.
    const contact = { id: `${ana}@c.us`, phone: `+${ana}`, lid: null, name: null };
    const chat = { id: `${ana}@c.us`, type: 'private' as const, name: null };
    for (const one of texts)
      core.worker.queue(core.sessionId, 'message.observed', { message: core.inbound(one, { contact, chat }), origin: 'live' });
    // The backend may take in a part of a batch, and the rest when it is sent again.
    await eventually('every text to be recorded', async () => {
      await core.worker.flush();
      return (await core.rig.database.reader.getRepository(Message).count()) === texts.length;
    });
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body } = await core.get(`/messages/list?limit=50${cursor && `&cursor=${cursor}`}`);
      for (const { id, text } of body.data as MessageResource[]) ids.set(text!, id);
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    expect([...ids.keys()].sort()).toEqual([...texts].sort());
  }, 120_000);
  afterAll(() => core?.close());

  const search = async (what: string, limit: number): Promise<{ status: number; found: string[] }> => {
    const found: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const query = `search=${encodeURIComponent(what)}&limit=${limit}${cursor && `&cursor=${cursor}`}`;
      const { status, body } = await core.get(`/messages/list?${query}`);
      if (status !== 200) return { status, found };
      if ('searchComplete' in body.meta!) expect(body.meta).toMatchObject({ searchComplete: true });
      found.push(...(body.data as MessageResource[]).map(({ id }) => id));
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    return { status: 200, found };
  };
  const scan = (what: string): string[] => {
    const folded = foldText(what);
    const matching = texts.filter((one) => foldText(one).includes(folded)).map((one) => ids.get(one)!);
    return matching.sort().reverse();
  };
  const waiting = async (): Promise<number> => {
    const sql = 'SELECT COUNT(*) AS n FROM search_queue';
    return Number((await runStatement<{ n: number | string }>(core.rig.database.reader, sql)).rows[0]!.n);
  };

  const checkTerms = (numRuns: number) =>
    fc.assert(
      fc.asyncProperty(term, fc.constantFrom(3, 40, 200), async (make, limit) => {
        const what = make(texts);
        const isRefused = what.includes('\0') || [...what].length === 0 || what.length > 200 || foldText(what) === '';
        // A query string cannot hold half of a surrogate pair.
        fc.pre(!/\p{Surrogate}/u.test(what));
        const { status, found } = await search(what, limit);
        expect([what, status]).toEqual([what, isRefused ? 422 : 200]);
        if (!isRefused) expect([what, found]).toEqual([what, scan(what)]);
      }),
      { numRuns, endOnFailure: true },
    );

  test('while texts are being indexed', () => checkTerms(40));

  test('when every text is indexed', async () => {
    await eventually('everything to be indexed', async () => (await waiting()) === 0);
    await checkTerms(150);
  });

  test('the last word of the longest texts, single letters, and terms that are too long or hold U+0000', async () => {
    for (const what of ['omegaword', 'DELTAWORD', 'x', '%', '_', '\\', "'", '"', '😀', ' ']) {
      const { status, found } = await search(what, 200);
      expect([what, status, found]).toEqual([what, 200, scan(what)]);
    }
    for (const what of ['a'.repeat(201), 'a\0b', '\0', '']) expect([what, (await search(what, 10)).status]).toEqual([what, 422]);
  });
});
