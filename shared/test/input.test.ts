import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { findUnfit } from '../src/input.js';

const fit = fc.jsonValue({ maxDepth: 4 }).map(withoutNul);
const nul = String.fromCharCode(0);

function withoutNul(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('\\u0000', '')) as unknown;
}

/** The value with one text somewhere in it, as a value or as a name. */
const holding = (text: string): fc.Arbitrary<unknown> =>
  fc
    .array(fc.tuple(fc.constantFrom('list', 'value', 'name'), fit), { maxLength: 6 })
    .map((layers) =>
      layers.reduce<unknown>(
        (inner, [kind, beside]) =>
          kind === 'list' ? [beside, inner] : kind === 'value' ? { beside, inner } : { inner, [`a${text}b`]: beside },
        text,
      ),
    );

test('U+0000 is found wherever it stands, and nothing else is refused', () => {
  fc.assert(fc.property(fit, (value) => findUnfit(value) === null));
  fc.assert(
    fc.property(
      fc.tuple(fc.string(), fc.string()).chain(([before, after]) => holding(`${before}${nul}${after}`)),
      (value) => findUnfit(value)?.code === 'INVALID_CHARACTER',
    ),
  );
});

test('U+0000 is found in a name', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fit,
      (name, value) => findUnfit({ list: [{ [`${name}${nul}`]: value }] })?.code === 'INVALID_CHARACTER',
    ),
  );
});

test('depth and number of values are bounded, and a reply about them is short', () => {
  const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as unknown;
  expect(findUnfit(deep(32))).toBeNull();
  expect(findUnfit(deep(33))?.code).toBe('TOO_BIG');
  expect(findUnfit(deep(200_000))?.code).toBe('TOO_BIG');
  expect(findUnfit(Array.from({ length: 20_000 }, () => 0))).toBeNull();
  expect(findUnfit({ list: Array.from({ length: 20_000 }, () => 0) })?.code).toBe('TOO_BIG');
  expect(findUnfit({ [`${'x'.repeat(100_000)}${nul}`]: 1 })!.path.length).toBeLessThan(300);
});
