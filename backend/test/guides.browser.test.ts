import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'puppeteer';
import { launch, shoot, views } from './panel.visit.js';
import { startRig, type Rig } from './support/backend.js';

/** The guides in a browser: in both themes, on a wide screen and on a phone. */

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const paths = [
  '/docs',
  '/docs/readme',
  '/docs/integration-guide',
  '/docs/operations/backup',
  '/docs/operations/monitoring',
  '/docs/reference/settings',
];

let rig: Rig;
let browser: Browser;
let page: Page;
beforeAll(async () => {
  rig = await startRig();
  browser = await launch();
  page = await browser.newPage();
  // Only in this test: the pages run no scripts.
  await page.setBypassCSP(true);
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await rig?.close();
});

/** The serious findings of the page, and whatever is wider than the screen. */
async function problems(): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(async () => {
    const { run } = (window as unknown as { axe: { run: (options: object) => Promise<AxeResults> } }).axe;
    return run({ resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
  });
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes[0]!.html.slice(0, 160)}`);
  const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth] as const);
  if (content > screen) found.push(`The page is ${content} wide on a screen of ${screen}.`);
  return found;
}

it('can be read on every screen in both themes, and nothing is wider than the screen', async () => {
  const found: string[] = [];
  for (const path of paths) {
    for (const [width, theme] of views) {
      await page.setViewport({ width, height: 900 });
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
      await page.goto(rig.url + path);
      await shoot(page, `guides${path.replaceAll('/', '-')}-${theme}`);
      found.push(...(await problems()).map((problem) => `${path} ${width} ${theme}: ${problem}`));
    }
  }
  expect(found).toEqual([]);
}, 120_000);

it('shows headings, tables and code, and a link of the contents leads to its section', async () => {
  await page.setViewport({ width: 1440, height: 900 });
  await page.goto(`${rig.url}/docs/integration-guide`);
  const counts = await page.evaluate(() =>
    ['h2', 'table', 'pre', 'code', 'article ul'].map((part) => document.querySelectorAll(part).length),
  );
  for (const count of counts) expect(count).toBeGreaterThan(1);
  await page.click('summary');
  const sections = await page.$$('details a');
  expect(sections.length).toBeGreaterThan(5);
  await sections.at(-1)!.click();
  const isAtSection = () => {
    const box = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.getBoundingClientRect();
    return box !== undefined && box.top >= 0 && box.top < window.innerHeight;
  };
  await page.waitForFunction(isAtSection, { timeout: 5_000 });
});
