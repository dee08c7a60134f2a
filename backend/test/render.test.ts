import { describe, expect, test } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import fc from 'fast-check';
import {
  faultyPlaceholders,
  fill,
  maxFilledLength,
  missingVariables,
  variablesIn,
  type Variables,
} from '../src/templates/render.js';

const utc = { language: 'en', timezone: 'UTC' };
const brazil = { language: 'pt-BR', timezone: 'America/Sao_Paulo' };
/** `Intl` writes blanks that do not break. */
const plain = (text: string): string => text.replace(/[\u00a0\u202f]/g, ' ');
const filled = (text: string, variables: Variables, locale = utc): string => plain(fill(text, variables, locale));
const errorOf = (run: () => unknown): AppError => {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown.');
};

describe('variables', () => {
  test('are found in every string of a content, in order and each once', () => {
    const content = {
      message: 'Dear {{name}}, {{ order }}',
      options: ['{{b|x}}', { deep: ['{{name}} {{c|number}}'] }],
      n: 1,
      none: null,
    };
    expect(variablesIn(content)).toEqual(['name', 'order', 'b', 'c']);
  });

  test('are missing if they have neither a value nor a default', () => {
    const content = ['{{a}} {{b|x}} {{c}} {{d|date}} {{e|date|soon}} {{f|x}} {{f}}'];
    expect(missingVariables(content, { c: '' })).toEqual(['a', 'd', 'f']);
    expect(errorOf(() => fill(content, { c: '' }, utc))).toMatchObject({
      code: 'MISSING_VARIABLE',
      details: { variables: ['a', 'd', 'f'] },
    });
  });

  test('never find what an object inherits', () => {
    expect(missingVariables('{{constructor}} {{toString}} {{__proto__}}', {})).toEqual(['constructor', 'toString', '__proto__']);
  });

  test('keep the content’s own names and values that are no strings', () => {
    const content = JSON.parse('{"{{a}}":"{{a}}","__proto__":{"x":"{{a}}"},"n":7,"yes":true,"none":null}') as object;
    expect(JSON.stringify(fill(content, { a: 'A' }, utc))).toBe(
      '{"{{a}}":"A","__proto__":{"x":"A"},"n":7,"yes":true,"none":null}',
    );
  });

  test.each([
    ['{{a}}', { a: 'x' }, 'x'],
    ['{{ a }}{{a}}', { a: 'x' }, 'xx'],
    ['{{{a}}}', { a: 'x' }, '{x}'],
    ['{{a|there}}', {}, 'there'],
    ['{{a | there you }}', { a: '' }, 'there you'],
    ['[{{a|}}]', {}, '[]'],
    ['{{a}}', { a: '' }, ''],
    ['{{a|x|y}}', {}, 'x|y'],
    ['{{a|text|date}}', {}, 'date'],
    ['{{a}} {{b}}', { a: 7.5, b: false }, '7.5 false'],
    ['{{имя}} {{größe_2}}', { имя: 'Аня', größe_2: 'L' }, 'Аня L'],
    ['{{a', { a: 'x' }, '{{a'],
    ['{{first name}} {{}} {{ }} {{1a}} {{a-b}} {a}', { a: 'x' }, '{{first name}} {{}} {{ }} {{1a}} {{a-b}} {a}'],
    ['{{{{a}}}}', { a: 'x' }, '{{x}}'],
  ] as [string, Variables, string][])('%j with %j becomes %j', (text, variables, result) => {
    expect(filled(text, variables)).toBe(result);
  });

  test('what looks like a placeholder and is none is named', () => {
    expect(faultyPlaceholders(['{{first name}} {{a}}', '{{}} {{x|currency:EURO}} {{x|currency}} {{first name}} {a}'])).toEqual([
      '{{first name}}',
      '{{}}',
      '{{x|currency:EURO}}',
      '{{x|currency}}',
    ]);
  });
});

describe('formats', () => {
  test.each([
    ['{{v|number}}', 1234567.5, utc, '1,234,567.5'],
    ['{{v|number}}', '1234567.5', brazil, '1.234.567,5'],
    ['{{v|number}}', '12345678901234567890.5', utc, '12,345,678,901,234,567,890.5'],
    ['{{v|currency:EUR}}', '1234.5', { ...utc, language: 'de' }, '1.234,50 €'],
    ['{{v|currency:brl}}', 99, brazil, 'R$ 99,00'],
    ['{{v|currency: JPY}}', 99, utc, '¥99'],
    ['{{v|date}}', '2026-11-21T01:30:00Z', utc, 'November 21, 2026'],
    ['{{v|date}}', '2026-11-21T01:30:00Z', brazil, '20 de novembro de 2026'],
    ['{{v|date}}', '2026-11-21', brazil, '21 de novembro de 2026'],
    ['{{v|time}}', '2026-11-21T01:30:00+0000', brazil, '22:30'],
    ['{{v|time}}', '2026-11-21T01:30', brazil, '01:30'],
    ['{{v|datetime}}', Date.UTC(2026, 10, 21, 1, 30), brazil, '20 de novembro de 2026 às 22:30'],
    ['{{v|datetime|soon}}', '', brazil, 'soon'],
  ])('%s with %j', (text, v, locale, result) => {
    expect(filled(text, { v }, locale)).toBe(result);
  });

  test.each([
    ['{{v|number}}', 'seven'],
    ['{{v|number}}', '0x10'],
    ['{{v|number}}', ''],
    ['{{v|number}}', true],
    ['{{v|number}}', Infinity],
    ['{{v|currency:EUR}}', '1,5'],
    ['{{v|date}}', '2026-02-30'],
    ['{{v|date}}', 'tomorrow'],
    ['{{v|time}}', '2026-11-21'],
    ['{{v|datetime}}', '2026-11-21T25:00Z'],
    ['{{v|datetime}}', 1e300],
    ['{{v|date}}', false],
  ])('%s refuses %j by name', (text, v) => {
    const error = errorOf(() => fill(text, { v }, utc));
    expect(error.code).toBe('VALIDATION_FAILED');
    expect(error.details['fields']).toMatchObject([{ path: 'variables.v', code: 'INVALID_VARIABLE' }]);
  });
});

describe('for every content', () => {
  const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/);
  const part = fc.oneof(
    name.map((one) => ({ text: `{{${one}}}`, name: one })),
    fc.string().map((one) => ({ text: one.replace(/[{}]/g, ''), name: null })),
  );

  test('values are inserted once and unchanged, also those that look like placeholders', () => {
    const value = fc.oneof(
      fc.string(),
      name.map((one) => `{{${one}}}`),
      fc.constant('$&$1{{'),
    );
    fc.assert(
      fc.property(fc.array(part), value, (parts, inserted) => {
        const content = { body: parts.map(({ text }) => text).join('') };
        const variables = Object.fromEntries(variablesIn(content).map((one) => [one, inserted]));
        const expected = parts.map((one) => (one.name === null ? one.text : inserted)).join('');
        expect(fill(content, variables, utc)).toEqual({ body: expected });
      }),
    );
  });

  test('exactly the missing variables are named, and with values for them nothing is missing', () => {
    fc.assert(
      fc.property(fc.array(part), fc.dictionary(name, fc.string()), (parts, variables) => {
        const content = parts.map(({ text }) => text);
        const missing = missingVariables(content, variables);
        const all = [...new Set(parts.flatMap((one) => one.name ?? []))];
        expect(missing).toEqual(all.filter((one) => !Object.hasOwn(variables, one)));
        const complete = { ...variables, ...Object.fromEntries(missing.map((one) => [one, 'x'])) };
        expect(missingVariables(content, complete)).toEqual([]);
        fill(content, complete, utc);
      }),
    );
  });

  test('a content without placeholders is unchanged', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (content) => {
        fc.pre(variablesIn(content).length === 0);
        expect(JSON.stringify(fill(content, {}, utc))).toBe(JSON.stringify(content));
      }),
    );
  });

  test('the result is bounded: a value that is repeated does not multiply', () => {
    const content = Array.from({ length: 10_000 }, () => '{{a}}');
    const started = performance.now();
    expect(errorOf(() => fill(content, { a: 'x'.repeat(60_000) }, utc)).code).toBe('VALIDATION_FAILED');
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(fill('{{a}}', { a: 'x'.repeat(maxFilledLength) }, utc)).toHaveLength(maxFilledLength);
    expect(errorOf(() => fill(['{{a}}', 'y'], { a: 'x'.repeat(maxFilledLength) }, utc)).code).toBe('VALIDATION_FAILED');
  });

  test.each(['{', '{{', '{{a', '{{a|', '{{a|{', '}}{{', '{{a}}', '{{|', '{{a||'])(
    '200,000 characters of %j take no second',
    (unit) => {
      const text = unit.repeat(Math.floor(200_000 / unit.length));
      const started = performance.now();
      variablesIn(text);
      faultyPlaceholders(text);
      fill(text, { a: 'b' }, utc);
      // A second, and the rest for a busy machine. A quadratic search takes minutes.
      expect(performance.now() - started).toBeLessThan(10_000);
    },
  );
});
