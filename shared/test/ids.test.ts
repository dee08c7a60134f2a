import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { getCountries, getExampleNumber } from 'libphonenumber-js';
import examples from 'libphonenumber-js/examples.mobile.json' with { type: 'json' };
import {
  digitsOf,
  isId,
  isSessionName,
  maskAddress,
  newId,
  parseAddress,
  parseMessageKey,
  parseRecipient,
  phoneAddress,
  phoneOf,
  reserveWhatsappId,
} from '../src/index.js';

describe('our own ids', () => {
  test('are UUIDs of version 7 that sort by the time of their making', () => {
    const early = newId(1_700_000_000_000);
    const late = newId(1_700_000_000_001);
    expect(early).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(early < late).toBe(true);
    expect(isId(early)).toBe(true);
    expect(isId('default')).toBe(false);
  });

  test('never come twice', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => newId(1))).size).toBe(10_000);
  });
});

describe('recipients', () => {
  test.each([
    ['+55 11 99999-0001', '5511999990001@c.us'],
    ['0055 (11) 99999.0001', '5511999990001@c.us'],
    ['5511999990001', '5511999990001@c.us'],
    ['５５１１９９９９９０００１', '5511999990001@c.us'],
    ['5511999990001@s.whatsapp.net', '5511999990001@c.us'],
    ['5511999990001:12@c.us', '5511999990001@c.us'],
    ['184467440737@lid', '184467440737@lid'],
    ['120363041234567890@g.us', '120363041234567890@g.us'],
    ['4917012345678-1612345678@g.us', '4917012345678-1612345678@g.us'],
    ['120363041234567890@newsletter', '120363041234567890@newsletter'],
    ['status@broadcast', 'status@broadcast'],
    ['+49 (0) 170 1234567', '491701234567@c.us'],
    ['(+49) 170 1234567', '491701234567@c.us'],
    ['0049 (0)170/1234567', '491701234567@c.us'],
    ['+44 (0)20 7946 0958', '442079460958@c.us'],
    ['+39 06 1234 5678', '390612345678@c.us'],
    ['+39 (0)6 1234 5678', '390612345678@c.us'],
    ['+1 1 202 555 0123', '12025550123@c.us'],
    ['\u202a+55 11 99999-0001\u202c', '5511999990001@c.us'],
    ['+55 11 99999-0001\u200b', '5511999990001@c.us'],
    ['\u200e5511999990001@c.us\ufeff', '5511999990001@c.us'],
    // Spellings that WhatsApp keeps although the country has changed its numbers.
    ['+52 1 55 1234 5678', '5215512345678@c.us'],
    ['+225 07 12 34 56', '22507123456@c.us'],
    // An id is WhatsApp's word for itself.
    ['99912345678@c.us', '99912345678@c.us'],
  ])('%s is taken as %s', (input, id) => {
    expect(parseRecipient(input)).toMatchObject({ ok: true, address: { id } });
  });

  test.each([
    '',
    'x',
    '123456',
    '1234567890123456',
    '0811234567',
    '+0811234567',
    'ana@c.us',
    '55@example.com',
    '5511<script>',
    '@c.us',
    '+',
  ])('%p is refused with a sentence', (input) => {
    const result = parseRecipient(input);
    expect(result.ok).toBe(false);
    expect(!result.ok && result.message.length).toBeGreaterThan(20);
  });

  test('a national number is rewritten only where a country is set, by the rules of that country', () => {
    expect(parseRecipient('0811 2345 678', '62')).toMatchObject({ address: { id: '628112345678@c.us' } });
    // Italy keeps the zero of its landlines.
    expect(parseRecipient('06 6982', '39')).toMatchObject({ address: { id: '39066982@c.us' } });
    expect(parseRecipient('0811 2345 678')).toMatchObject({ ok: false });
  });

  test.each(['11999990001', '+11999990001', '99912345678', '55119999900012', '+491'])(
    '%s, valid in no country, is refused and the sentence says what to do',
    (input) => {
      const result = parseRecipient(input, '55');
      expect(result).toMatchObject({ ok: false });
      if (!result.ok && input.length > 6) expect(result.message).toMatch(/Add the country code.*send it as \d+@c\.us/);
    },
  );

  test('a number of any country is the same number in each way in which people write it', () => {
    const marks = fc.constantFrom('', '\u202a', '\u200e', '\ufeff', '\u2060', '\u00ad');
    const separators = fc.constantFrom('', ' ', '-', '.', ' / ', '\u00a0', '\u2011');
    fc.assert(
      fc.property(fc.constantFrom(...getCountries()), marks, separators, fc.boolean(), (country, mark, separator, isPlus) => {
        const example = getExampleNumber(country, examples)!;
        const { countryCallingCode: code, nationalNumber } = example;
        const digits = example.number.slice(1);
        const groups = nationalNumber.match(/.{1,3}/g)!.join(separator);
        const international = `${mark}${isPlus ? '+' : '00'}${code}${separator}${groups}${mark}`;
        expect([country, parseRecipient(international)]).toMatchObject([country, { address: { id: `${digits}@c.us` } }]);
        // As each country writes it at home, which is where a leading 0 comes from.
        const national = example.formatNational();
        if (/^\(?0/.test(national))
          expect([country, parseRecipient(`${mark}${national}`, code)]).toMatchObject([
            country,
            { address: { id: `${digits}@c.us` } },
          ]);
      }),
      { numRuns: 3_000 },
    );
  });

  test('a national 0 behind the country code of Germany, Britain, France, Turkey or Indonesia is not part of the number', () => {
    for (const country of ['DE', 'GB', 'FR', 'TR', 'ID', 'NL', 'CH', 'ZA', 'IN', 'JP', 'AU'] as const) {
      const { countryCallingCode: code, nationalNumber, number } = getExampleNumber(country, examples)!;
      expect(parseRecipient(`+${code} (0) ${nationalNumber}`)).toMatchObject({ address: { id: `${number.slice(1)}@c.us` } });
      expect(parseRecipient(`00${code}0${nationalNumber}`)).toMatchObject({ address: { id: `${number.slice(1)}@c.us` } });
    }
  });

  test('whatever is put in, the answer is an address that parses to itself, or a refusal', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^[+\d() .-]{1,24}$/), fc.stringMatching(/^\d{1,26}@[a-z.]{1,12}$/)),
        (input) => {
          const result = parseRecipient(input);
          if (result.ok) expect(parseAddress(result.address.id)).toEqual(result.address);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('addresses', () => {
  test('give the number where it is known and null where it is not', () => {
    expect(phoneOf('5511999990001@c.us')).toBe('+5511999990001');
    expect(digitsOf('5511999990001@c.us')).toBe('5511999990001');
    expect(phoneOf('184467440737@lid')).toBeNull();
    expect(phoneOf(null)).toBeNull();
    expect(phoneAddress('+5511999990001')).toBe('5511999990001@c.us');
  });

  test('show no whole number in logs', () => {
    expect(maskAddress('5511999990001@c.us')).toBe('phone:…01');
    expect(maskAddress('nonsense')).toBe('…');
  });
});

describe('WhatsApp message ids', () => {
  test('are reserved in the form of WhatsApp Web, the same on every attempt, another for another account', () => {
    const id = reserveWhatsappId('account', 'message');
    expect(id).toMatch(/^3EB0[0-9A-F]{18}$/);
    expect(reserveWhatsappId('account', 'message')).toBe(id);
    expect(reserveWhatsappId('other', 'message')).not.toBe(id);
  });

  test('are taken apart so that they can be compared by key', () => {
    expect(parseMessageKey('true_5511@c.us_3EB0AA')).toEqual({
      fromMe: true,
      chatId: '5511@c.us',
      key: '3EB0AA',
      participant: null,
    });
    expect(parseMessageKey('false_1203@g.us_ABC_77@lid')).toEqual({
      fromMe: false,
      chatId: '1203@g.us',
      key: 'ABC',
      participant: '77@lid',
    });
    expect(parseMessageKey('3EB0AA')).toBeNull();
  });
});

test('session names are neither ids nor words of the paths', () => {
  expect(isSessionName('shop-1')).toBe(true);
  for (const name of ['', 'a b', 'current', 'LIST', newId(), 'x'.repeat(65), 'ü']) expect(isSessionName(name)).toBe(false);
});
