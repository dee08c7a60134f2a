import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { findUnfit, instant } from '../src/input.js';

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

test('an instant is accepted with every offset while its year in UTC has four digits', () => {
  for (const text of ['0000-01-01T00:00:00Z', '9999-12-31T23:59:59Z', '9999-12-31T23:59:59+23:59', '2026-11-21T10:00:00-03:00'])
    expect([text, instant.safeParse(text).success]).toEqual([text, true]);
  for (const text of ['0000-01-01T00:00:00+00:01', '9999-12-31T23:59:59-00:01', '2026-02-30T00:00:00Z', '2026-11-21', 'soon', ''])
    expect([text, instant.safeParse(text).success]).toEqual([text, false]);
});
