import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { chosenOption, optionsOf, requestOf, textOf, type MessageContent } from '../src/index.js';

/** Lists and buttons as text: what is shown, and which answers choose an option. */

const contentOf = (fields: Record<string, unknown>): MessageContent => requestOf('list').toContent(fields, { countryCode: null });

const menu = contentOf({
  title: 'Menu',
  message: 'What shall we bring?',
  footer: 'Until nine',
  buttonText: 'Choose a dish',
  sections: [
    { title: 'Warm', rows: [{ id: 'soup', title: 'Soup', description: 'of the day' }] },
    {
      rows: [
        { id: 'rice', title: 'Rice' },
        { id: 'two', title: '2 eggs' },
      ],
    },
  ],
});

describe('a list as text', () => {
  test('numbers its options through all sections', () => {
    expect(textOf(menu)).toBe(
      '*Menu*\n\nWhat shall we bring?\n\nChoose a dish\n\n*Warm*\n1. Soup\n    of the day\n\n2. Rice\n3. 2 eggs\n\n_Until nine_',
    );
  });

  test.each([
    ['1', 'soup'],
    [' 2 ', 'rice'],
    ['2.', 'rice'],
    ['2)', 'rice'],
    ['2. rice', 'rice'],
    ['RICE', 'rice'],
    ['  so\u0075p ', 'soup'],
    ['２', 'rice'],
    ['2 eggs', 'two'],
    ['3', 'two'],
  ])('is answered by %j', (answer, id) => {
    expect(chosenOption(optionsOf(menu), answer)?.id).toBe(id);
  });

  test.each(['', '0', '4', '-1', '1 2', '1. rice', 'the soup', 'soup, please', '1e0', '999', `1${' '.repeat(300)}`])(
    'is not answered by %j',
    (answer) => {
      expect(chosenOption(optionsOf(menu), answer)).toBeNull();
    },
  );

  test('two options that an answer cannot tell apart are refused', () => {
    const sections = z.strictObject(requestOf('list').fields).shape['sections']!;
    const rows = (...titles: string[]) => [{ rows: titles.map((title, id) => ({ id: String(id), title })) }];
    expect(z.safeParse(sections, rows('Soup', 'Rice')).success).toBe(true);
    expect(z.safeParse(sections, rows('Soup', 'soup')).success).toBe(false);
  });
});
