import { describe, expect, test } from '@jest/globals';
import type { Contact } from '@chasqui/shared';
import fc from 'fast-check';
import { addSerialized } from '../../src/engine/wwebjs/bridge.js';
import { happenedAt, isoOf, millisecondsOf } from '../../src/engine/wwebjs/time.js';
import { isEdit, observe, observeAny, type RawMessage } from '../../src/engine/wwebjs/translate.js';
import { readCard } from '../../src/engine/wwebjs/vcard.js';
import { maxPayload, serialize } from '../../src/events/payload.js';

/** Data from senders of messages: the cost of reading it is bounded, and no value throws. */

const bare = (id: string): Contact => ({ id, phone: null, lid: null, name: null });
const size = 1_048_576;
/** Milliseconds of the processor, not of the wall: a busy machine must not fail the build. The best of three, after one to warm up. */
function costOf(work: () => unknown): number {
  work();
  const times = [1, 2, 3].map(() => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  });
  return Math.min(...times);
}

/** One MiB each, chosen to be bad for expressions, splitting and unfolding. */
const samples: Record<string, string> = {
  'lines that begin with TEL': 'TEL\n'.repeat(size / 4),
  'one line of TEL': 'TEL'.repeat(size / 3),
  'TEL with parameters': `TEL${';a=b'.repeat(size / 4)}`,
  'lines that begin with FN': 'FN\n'.repeat(size / 3),
  'folded lines': `FN:a\n${' b\n'.repeat(size / 3)}`,
  'empty lines': '\n'.repeat(size),
  'carriage returns': '\r'.repeat(size),
  semicolons: ';'.repeat(size),
  colons: ':'.repeat(size),
  underscores: '_'.repeat(size),
  at: '@'.repeat(size),
  digits: '1'.repeat(size),
  'digits and colons': ':1'.repeat(size / 2),
  base64: 'A'.repeat(size),
  blanks: ' '.repeat(size),
  surrogates: '\ud83d'.repeat(size),
  dots: '.'.repeat(size),
};
const textFields = [
  'body',
  'caption',
  'mimetype',
  'filename',
  'filehash',
  'loc',
  'notifyName',
  'author',
  'from',
  'to',
  'quotedStanzaID',
  'vcardFormattedName',
  'pollName',
  'inviteGrp',
  'inviteGrpName',
  'comment',
  'duration',
  't',
  'directPath',
] as const;
const types = [
  'chat',
  'image',
  'ptt',
  'document',
  'location',
  'vcard',
  'multi_vcard',
  'poll_creation',
  'groups_v4_invite',
  'product',
  'order',
  'payment',
  'event_creation',
  'list_response',
  'interactive_response',
  'new',
] as const;
const id = { fromMe: false, remote: '5511999990001@c.us', id: '3A01', _serialized: 'false_5511999990001@c.us_3A01' };

describe('a message of 1 MiB', () => {
  test.each(Object.keys(samples))('of %s in any field is read within 50 ms', (name) => {
    const sample = samples[name]!;
    for (const type of types) {
      // All fields at once: if the whole is quick, each of them is.
      const all: Record<string, unknown> = { id, type };
      for (const field of textFields) all[field] = sample;
      all['vcardList'] = [{ vcard: sample, displayName: sample }];
      all['pollOptions'] = [{ name: sample }];
      all['mentionedJidList'] = [sample];
      all['groupMentions'] = [{ groupJid: sample, groupSubject: sample }];
      expect([type, costOf(() => serialize(observe(all, bare, () => null))) < 50]).toEqual([type, true]);
      expect(costOf(() => isEdit(all, sample, 'before'))).toBeLessThan(50);
    }
    const ids = { fromMe: false, remote: sample, id: sample, participant: sample, _serialized: sample };
    expect(costOf(() => serialize(observe({ id: ids, type: 'chat', author: sample }, bare, () => null)))).toBeLessThan(50);
  });

  test.each<[string, RawMessage]>([
    ['100,000 cards', { type: 'multi_vcard', vcardList: Array.from({ length: 100_000 }, () => ({ vcard: 'TEL\nTEL\n' })) }],
    [
      '20 cards of 50 KB',
      { type: 'multi_vcard', vcardList: Array.from({ length: 20 }, () => ({ vcard: 'TEL\n'.repeat(13_000) })) },
    ],
    ['300,000 mentions', { type: 'chat', body: 'x', mentionedJidList: Array.from({ length: 300_000 }, () => 'x') }],
    [
      '300,000 mentions of groups',
      { type: 'chat', body: 'x', groupMentions: Array.from({ length: 300_000 }, () => ({ groupJid: 'x', groupSubject: 'x' })) },
    ],
    ['300,000 poll options', { type: 'poll_creation', pollOptions: Array.from({ length: 300_000 }, () => ({ name: 'x' })) }],
  ])('with %s is read within 50 ms and stays small', (_name, raw) => {
    const read = (): string => serialize(observe({ id, ...raw }, bare, () => null)).json;
    expect(costOf(read)).toBeLessThan(50);
    expect(read().length).toBeLessThan(maxPayload);
  });

  test('nested as deep as 1 MiB goes crosses the bridge', () => {
    let deep: unknown = 'x';
    for (let n = 0; n < 200_000; n += 1) deep = n % 2 ? [deep] : { id: deep };
    expect(() => addSerialized({ body: deep, id: { user: '55', server: 'c.us' } })).not.toThrow();
    expect(() => observeAny({ id, type: 'chat', body: deep, duration: deep, t: deep }, bare, () => null)).not.toThrow();
  });

  test('is cut, never refused: an event of any size has a payload that fits', () => {
    const { json, shortened } = serialize({ a: Array.from({ length: 2_000 }, () => 'y'.repeat(5_000)), id: 'kept' });
    expect([shortened, json.length <= maxPayload, JSON.parse(json).id]).toEqual([true, true, 'kept']);
    expect(serialize({ a: 'x' })).toEqual({ json: '{"a":"x"}', shortened: false });
  });
});

describe('contact cards', () => {
  test.each<[string, string, { name: string | null; phone: string | null }]>([
    ['plain', 'BEGIN:VCARD\nFN:Bruno\nTEL;type=CELL:+55 11 2\nEND:VCARD', { name: 'Bruno', phone: '+55 11 2' }],
    [
      'of an iPhone',
      'FN:B\r\nitem1.TEL;waid=5511966660002:+55 11 96666-0002\r\nitem1.X-ABLabel:Mobile',
      { name: 'B', phone: '+55 11 96666-0002' },
    ],
    ['in lower case', 'fn:B\ntel:+1', { name: 'B', phone: '+1' }],
    ['with a folded number', 'FN:B\nTEL:+55 11\n  96666', { name: 'B', phone: '+55 11 96666' }],
    ['with the number in waid alone', 'FN:B\nTEL;waid=5511966660002:', { name: 'B', phone: '+5511966660002' }],
    ['with words in place of the number', 'FN:B\nTEL;waid=5511966660002:call me', { name: 'B', phone: '+5511966660002' }],
    ['with words alone', 'FN:B\nTEL:call me', { name: 'B', phone: null }],
    ['with a number behind words', 'FN:B\nTEL:call me\nTEL:+55 11 2', { name: 'B', phone: '+55 11 2' }],
    [
      'of version 4, whose number is a URI',
      'FN:B\nTEL;VALUE=uri;TYPE="voice,home":tel:+55-11-2',
      { name: 'B', phone: '+55-11-2' },
    ],
    ['with escaped characters', 'FN:Silva\\, João\\; Filho\\\\x\\nY\nTEL:3', { name: 'Silva, João; Filho\\x Y', phone: '3' }],
    [
      'of version 2.1, in quoted-printable',
      'FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Jo=C3=A3o=20da=\n=20Silva\nTEL;CELL:3',
      { name: 'João da Silva', phone: '3' },
    ],
    ['with broken quoted-printable', 'FN;ENCODING=QUOTED-PRINTABLE:=ZZ=C3\nTEL:3', { name: '=ZZ\ufffd', phone: '3' }],
    ['without FN', 'N:Silva;João;da;Dr.;Jr.\nTEL:3', { name: 'Dr. João da Silva Jr.', phone: '3' }],
    ['with an empty FN', 'FN:\nN:;Ana;;;\nTEL:3', { name: 'Ana', phone: '3' }],
    ['with colons in a quoted parameter', 'FN:B\nTEL;TYPE="a:b;c":+55 11 2', { name: 'B', phone: '+55 11 2' }],
    ['with another property first', 'TELEX:1\nX:TEL:2\nTEL:3', { name: null, phone: '3' }],
    ['with neither', 'BEGIN:VCARD\nEND:VCARD', { name: null, phone: null }],
    ['empty', '', { name: null, phone: null }],
  ])('%s', (_name, card, expected) => {
    expect(readCard(card)).toEqual(expected);
  });

  test('never throw, whatever they are', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (card) => void readCard(card)));
  });
});

describe('times of WhatsApp', () => {
  const at = Date.UTC(2026, 10, 28, 12);

  test.each([
    ['seconds', at / 1e3],
    ['milliseconds', at],
    ['microseconds', at * 1e3],
    ['nanoseconds', at * 1e6],
    ['seconds as text', String(at / 1e3)],
  ])('in %s are the same moment', (_unit, value) => {
    expect(millisecondsOf(value)).toBe(at);
    expect(happenedAt(value, at)).toBe('2026-11-28T12:00:00.000Z');
  });

  test.each([
    -1,
    0,
    5,
    1_000_000_000,
    253_402_300_800,
    NaN,
    Infinity,
    -Infinity,
    1e21,
    1e300,
    null,
    undefined,
    '',
    'soon',
    [],
    {},
    [at],
    true,
  ])('%p is no time: what happened then happened now', (value) => {
    expect(happenedAt(value, at)).toBe('2026-11-28T12:00:00.000Z');
  });

  test('more than a day ahead happened now; the end of a mute may lie there', () => {
    expect(happenedAt(at / 1e3 + 90_000, at)).toBe('2026-11-28T12:00:00.000Z');
    expect(happenedAt(at / 1e3 + 3_600, at)).toBe('2026-11-28T13:00:00.000Z');
    expect(isoOf(4_102_444_800, at)).toBe('2100-01-01T00:00:00.000Z');
  });

  test('any value becomes a date that the contract accepts', () => {
    fc.assert(
      fc.property(fc.oneof(fc.double(), fc.anything(), fc.maxSafeInteger()), (value) => {
        for (const iso of [happenedAt(value), isoOf(value)]) expect(iso).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      }),
    );
  });
});
