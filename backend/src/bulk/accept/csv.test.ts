import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readCsv, variableName } from './csv.js';

const utf16 = (text: string): Uint8Array => Buffer.from(text, 'utf16le');
const swapped = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes).swap16();

describe('recipients from CSV', () => {
  const text = 'Phone;First name;Città\r\n+39 333 1234567;José;"Reggio; Emilia"\r\n\r\n+39 333 7654321;"Ann ""A"" B";Forlì\r\n';
  const expected = [
    { recipient: '+39 333 1234567', variables: { First_name: 'José', Città: 'Reggio; Emilia' } },
    { recipient: '+39 333 7654321', variables: { First_name: 'Ann "A" B', Città: 'Forlì' } },
  ];
  test.each<[string, string | Uint8Array]>([
    ['a text', text],
    ['UTF-8', Buffer.from(text)],
    ['UTF-8 with its mark', Buffer.from(`\ufeff${text}`)],
    ['UTF-16 with its mark', utf16(`\ufeff${text}`)],
    ['UTF-16 without a mark', utf16(text)],
    ['UTF-16, high byte first', swapped(utf16(`\ufeff${text}`))],
    ['UTF-16, high byte first, without a mark', swapped(utf16(text))],
    ['windows-1252', Buffer.from(text, 'latin1')],
    ['lines that end as on Unix', Buffer.from(text.replaceAll('\r\n', '\n'))],
  ])('are read from %s', (_, input) => {
    expect(readCsv(input, {}, 10).rows).toEqual(expected);
  });

  test.each([',', ';', '\t', '|'])('are read with the separator %j, also if a value contains the others', (separator) => {
    const lines = [
      ['name', 'number'],
      ['a,b;c|d', '+5511999990001'],
    ].map((row) => row.map((cell) => `"${cell}"`).join(separator));
    expect(readCsv(lines.join('\n'), {}, 10).rows).toEqual([{ recipient: '+5511999990001', variables: { name: 'a,b;c|d' } }]);
  });

  test('a mapping names the column of the recipients and those of the variables', () => {
    const rows = 'a,b,c\n1,+5511999990001,3\n';
    expect(readCsv(rows, { recipient: 'b', variables: { x: 'c' } }, 10).rows).toEqual([
      { recipient: '+5511999990001', variables: { x: '3' } },
    ]);
    expect(() => readCsv(rows, { recipient: 'nosuch' }, 10)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
  });

  test('a file with too many rows, an open quote or too many bytes is refused', () => {
    const refused = expect.objectContaining({ code: 'VALIDATION_FAILED' });
    expect(() => readCsv('phone\n1\n2\n3\n', {}, 2)).toThrow(refused);
    expect(readCsv('phone\n1\n2\n', {}, 2).rows).toHaveLength(2);
    expect(() => readCsv('phone\n"1\n', {}, 2)).toThrow(refused);
    expect(() => readCsv('x'.repeat(8_388_609), {}, 2)).toThrow(expect.objectContaining({ code: 'FILE_TOO_LARGE' }));
  });

  test('recipients that are too long for a chat are cut, all of them, and a character that no text has is refused', () => {
    const rows = `phone\n${'1'.repeat(81)}\n${'2'.repeat(200)}\n`;
    expect(readCsv(rows, {}, 10).rows.map(({ recipient }) => recipient)).toEqual(['1'.repeat(80), '2'.repeat(80)]);
    expect(() => readCsv('phone,name\n1,a\0b\n', {}, 10)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
  });

  test('a row with more values than the header has columns is refused by its number; separators at its end are no values', () => {
    expect(readCsv('phone,amount\n1,2.50,,\n', {}, 10).rows).toEqual([{ recipient: '1', variables: { amount: '2.50' } }]);
    expect(() => readCsv('phone,amount\n1,"1,50"\n\n2,2,50\n', {}, 10)).toThrow(
      expect.objectContaining({
        code: 'VALIDATION_FAILED',
        details: { fields: [{ path: 'file', code: 'TOO_MANY_VALUES', message: expect.stringContaining('Row 2 ') }] },
      }),
    );
  });

  test('blank lines are no rows, and do not count against the limit', () => {
    expect(readCsv(`phone\n${'\n , \n'.repeat(20)}1\n2\n`, {}, 2).rows.map(({ recipient }) => recipient)).toEqual(['1', '2']);
  });

  test('the name of a column becomes a name that a placeholder can have', () => {
    expect(['First name', ' Straße-Nr. ', '2nd', 'größe_cm', '!!'].map(variableName)).toEqual([
      'First_name',
      'Straße_Nr',
      '_2nd',
      'größe_cm',
      '',
    ]);
  });

  test.each([
    ['First name', 'First-name'],
    ['größe', 'gro\u0308ße'],
  ])('two columns that would be one variable are refused, and a mapping decides: %s, %s', (one, other) => {
    const file = `phone,${one},${other}\n1,a,b\n`;
    expect(() => readCsv(file, {}, 10)).toThrow(
      expect.objectContaining({
        code: 'VALIDATION_FAILED',
        details: { fields: [expect.objectContaining({ path: 'file', code: 'DUPLICATE_COLUMN' })] },
      }),
    );
    expect(readCsv(file, { variables: { x: one } }, 10).rows).toEqual([{ recipient: '1', variables: { x: 'a' } }]);
  });

  test.each([{}, { variables: { x: 'name' } }, { recipient: 'name' }])('two columns of one name are refused: %j', (mapping) => {
    const duplicate = { fields: [expect.objectContaining({ code: 'DUPLICATE_COLUMN' })] };
    expect(() => readCsv('phone,name, name \n1,a,b\n', mapping, 10)).toThrow(expect.objectContaining({ details: duplicate }));
  });

  test('any values come out as they were written', () => {
    const cell = fc.string({ unit: 'grapheme', maxLength: 20 }).map((one) => one.replaceAll('\0', '').trim());
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 20 }),
        fc.constantFrom(',', ';', '\t'),
        (rows, separator) => {
          const quote = (value: string): string => `"${value.replaceAll('"', '""')}"`;
          const lines = [['phone', 'value'], ...rows.map(([number, value]) => [`n${number}`, value])];
          const input = lines.map((row) => row.map(quote).join(separator)).join('\r\n');
          expect(readCsv(Buffer.from(input), {}, 100).rows).toEqual(
            rows.map(([number, value]) => ({ recipient: `n${number}`.trim(), variables: { value } })),
          );
        },
      ),
    );
  });
});
