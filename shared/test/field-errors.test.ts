import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { z } from 'zod';
import { fieldErrors, readSettings } from '../src/index.js';

/** Why a field was refused, as people read it. */

const sentences = (schema: z.ZodType, value: unknown): string[] =>
  fieldErrors(schema.safeParse(value).error?.issues ?? []).map(({ message }) => message);
const choice = z.enum(['queued', 'sent']);

describe('the sentence of a refused field', () => {
  test.each<[string, z.ZodType, unknown, string]>([
    ['a missing text', z.string(), undefined, 'Required.'],
    ['a missing choice', choice, undefined, 'Required.'],
    ['a missing union', z.union([z.string(), z.number()]), undefined, 'Required.'],
    ['a number for a text', z.string(), 1, 'Must be a text.'],
    ['null for a text', z.string(), null, 'Must be a text.'],
    ['a text for a number', z.number(), 'x', 'Must be a number.'],
    ['a fraction', z.number().int(), 1.5, 'Must be a whole number.'],
    ['a text for a flag', z.boolean(), 'yes', 'Must be true or false.'],
    ['a text for a list', z.array(z.string()), 'x', 'Must be a list.'],
    ['a list for an object', z.strictObject({}), [], 'Must be an object.'],
    ['an empty text', z.string().min(1), '', 'Must not be empty.'],
    ['an empty list', z.array(z.string()).min(1), [], 'Must not be empty.'],
    ['a short text', z.string().min(8), 'abc', 'Must have at least 8 characters.'],
    ['a long text', z.string().max(3), 'abcd', 'Must have at most 3 characters.'],
    ['a text for one character', z.string().max(1), 'ab', 'Must have at most 1 character.'],
    ['a long list', z.array(z.number()).max(1), [1, 2], 'Must have at most 1 entry.'],
    ['a longer list', z.array(z.number()).max(2), [1, 2, 3], 'Must have at most 2 entries.'],
    ['a small number', z.number().min(0), -1, 'Must be at least 0.'],
    ['a large number', z.number().max(5), 6, 'Must be at most 5.'],
    ['a number at an open limit', z.number().gt(5), 5, 'Must be more than 5.'],
    ['a number at the other open limit', z.number().lt(5), 5, 'Must be less than 5.'],
    ['an unknown choice', choice, 'x', 'Must be one of queued, sent.'],
    ['another literal', z.literal('text'), 'x', 'Must be text.'],
    ['a wrong time', z.iso.datetime(), 'x', 'Must be a time in ISO 8601 with its zone, such as 2026-01-31T12:00:00Z.'],
    ['a wrong address', z.email(), 'x', 'Must be an e-mail address.'],
    ['a text of another form', z.string().regex(/^a$/), 'b', 'Must be in the form that the documents show.'],
    ['a number between two steps', z.number().multipleOf(5), 7, 'Must be a multiple of 5.'],
    ['an unknown field', z.strictObject({}), { x: 1 }, 'Unknown field. Remove it, or check its spelling.'],
    ['a sentence of the schema', z.string('Choose an account.'), undefined, 'Choose an account.'],
    ['a sentence of a limit', z.number().min(1, 'Enter 1 or more.'), 0, 'Enter 1 or more.'],
  ])('about %s', (_case, schema, value, sentence) => {
    expect(sentences(schema, value)).toEqual([sentence]);
  });

  test('names at most twenty values of a choice', () => {
    const values = Array.from({ length: 25 }, (_, n) => `v${n}`) as [string, ...string[]];
    expect(sentences(z.enum(values), 'x')).toEqual([`Must be one of ${values.slice(0, 20).join(', ')} and 5 others.`]);
  });

  test('is never the validator’s own, whatever comes', () => {
    const schema = z.strictObject({
      text: z.string().min(2).max(5),
      count: z.number().int().min(1).max(3),
      choice,
      when: z.iso.datetime(),
      list: z.array(z.union([z.string(), z.number()])).max(2),
      names: z.record(z.string(), z.boolean()),
    });
    const anything = fc.oneof(
      fc.anything(),
      fc.record({
        ...{ text: fc.anything(), count: fc.anything(), choice: fc.anything() },
        ...{ when: fc.anything(), list: fc.anything(), names: fc.anything() },
      }),
    );
    fc.assert(
      fc.property(anything, (value) => {
        for (const sentence of sentences(schema, value))
          expect(sentence).toMatch(/^(Required|Must|Unknown field|Matches none of the allowed forms)/);
      }),
    );
  });
});

test('a wrong setting is named with what it must be', () => {
  expect(() => readSettings({ PORT: 'x' })).toThrow(/\n {2}PORT must be a number in digits\n/);
  expect(() => readSettings({ NODE_ENV: 'x' })).toThrow(/\n {2}NODE_ENV must be one of /);
});
