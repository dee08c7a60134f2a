import { expect, test } from '@jest/globals';
import { parseUrl } from '../src/index.js';

test('an address with a letter beyond ASCII is one, however often it is asked for', () => {
  const texts = ['https://münchen.example', 'https://a.example', 'none', 'https://an example'];
  const wrong = texts.filter((text, index) => {
    const expected = index < 2;
    for (let run = 0; run < 20_000; run++) if ((parseUrl(text) !== null) !== expected) return true;
    return false;
  });
  expect(wrong).toEqual([]);
});
