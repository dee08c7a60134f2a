import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { root } from './support/source.js';

/** The dark theme stands twice in the style sheet, because CSS cannot share it between a choice and the operating system. */
test('the dark theme is the same whether a person or the operating system chose it', () => {
  const css = readFileSync(join(root, 'backend/static/fonts.css'), 'utf8');
  const valuesOf = (selector: string): string[] => {
    const start = css.indexOf('{', css.indexOf(selector));
    return css
      .slice(start + 1, css.indexOf('}', start))
      .split(';')
      .map((line) => line.trim())
      .filter(Boolean);
  };
  const chosen = valuesOf(":root[data-theme='dark']");
  expect(chosen.length).toBeGreaterThan(20);
  expect(valuesOf(":root[data-theme='auto']")).toEqual(chosen);
});
