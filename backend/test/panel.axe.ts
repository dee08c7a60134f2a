import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Page } from 'puppeteer';
import { views } from './panel.visit.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The serious findings of the page as it is shown now, each with its elements. */
async function findings(page: Page): Promise<string[]> {
  const results = await page.evaluate(async () => {
    const { run } = (window as unknown as { axe: { run: (options: object) => Promise<AxeResults> } }).axe;
    return run({ resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
  });
  return results.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .slice(0, 3)
          .map(({ html }) => html.slice(0, 160))
          .join(' | ')}`,
    );
}

/**
 * Returns what axe-core calls serious or critical on the page that is open, in both themes and on both widths. The page must also have exactly one
 * main landmark, with the id that “Skip to the content” leads to. The page must allow scripts without its nonce.
 */
export async function lookWithAxe(page: Page, name: string, mainId = 'content'): Promise<string[]> {
  await page.evaluate(axe);
  const found: string[] = [];
  const landmarks = await page.$$eval('main, [role=main]', (all) => all.map(({ id }) => id));
  if (landmarks.join() !== mainId) found.push(`${name}: the main landmarks have the ids [${landmarks.join()}]`);
  for (const [width, theme] of views) {
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
    await page.evaluate((chosen) => void (document.documentElement.dataset['theme'] = chosen), theme);
    // A page that follows the system learns of its theme in the next frame.
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    await page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => undefined))));
    found.push(...(await findings(page)).map((one) => `${name} ${width} ${theme}: ${one}`));
  }
  return found;
}
