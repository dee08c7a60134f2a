import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'puppeteer';
import { startWorld, type World } from './panel.fixture.js';
import { addMessage, addSession, addWebhook } from './panel.rows.js';
import { launch, shoot, visit, views, waitText } from './panel.visit.js';

/** The search over everything, the footer, and the list of messages on a phone. */

let world: World;
let browser: Browser;
let page: Page;
let message: string;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

beforeAll(async () => {
  world = await startWorld();
  const { database, events, accounts } = world;
  const owner = { accountId: accounts.user, status: 'connected' as const };
  const shop = await addSession(database.write, { ...owner, name: 'harbour-shop', phoneNumber: '447400123101' });
  message = await addMessage(database, events, { sessionId: shop, text: 'The <b>sourdough</b> is ready.', status: 'read' });
  const long = 'The rye loaf of the harbour is ready, and so are the twelve rolls that were ordered for the weekend.';
  await addMessage(database, events, {
    sessionId: shop,
    text: long,
    status: 'failed',
    reason: ['RECIPIENT_NOT_ON_WHATSAPP', ''],
  });
  await addWebhook(database.write, accounts.user, 'https://harbour.example/hooks');
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
  // Only in this test: the scripts of a page of the panel need its nonce.
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});
beforeEach(async () => {
  await page.setViewport({ width: 1440, height: 900 });
  await page.goto(`${world.url}/admin/resources/sessions`);
  await page.waitForSelector('.cq-table');
});

async function openWithKeys(): Promise<void> {
  await page.keyboard.down('Control');
  await page.keyboard.press('k');
  await page.keyboard.up('Control');
  await page.waitForSelector('dialog[open] [role=combobox]');
}

const results = (): Promise<string[]> =>
  page.$$eval('.cq-finder [role=option]', (options) =>
    options.map(
      (option) => `${option.parentElement?.getAttribute('aria-label') ?? ''}: ${option.querySelector('b')?.textContent ?? ''}`,
    ),
  );

/** Types a term and waits for the server's answer. */
async function find(term: string): Promise<string[]> {
  await page.$eval('.cq-finder input', (input) => (input as HTMLInputElement).select());
  await page.keyboard.type(term);
  await page.waitForFunction(() => /results|Nothing/.test(document.querySelector('.cq-finder [role=status]')?.textContent ?? ''));
  return results();
}

it('finds sessions, messages, webhooks, accounts and pages from the keyboard, and opens the chosen one', async () => {
  await openWithKeys();
  expect(await find('harbour')).toEqual([
    'Sessions: harbour-shop',
    'Messages: The rye loaf of the harbour is ready, and so are the twelve rolls that were ordered for the weekend.',
    'Webhooks: harbour.example/hooks',
  ]);
  expect(await find('+44 7400 123101')).toEqual(['Sessions: harbour-shop']);
  expect(await find('bakery@')).toEqual(['Accounts: bakery']);
  expect(await find('sourdough')).toEqual(['Messages: The <b>sourdough</b> is ready.']);
  expect(await find('webhook')).toEqual(['Pages: Webhooks', 'Pages: New webhook']);
  expect(await find('no such thing')).toEqual([]);
  expect(await find(message)).toEqual(['Messages: The <b>sourdough</b> is ready.']);
  await find('harbour');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  const chosen = await page.$eval('.cq-finder input', (input) => {
    const option = document.getElementById(input.getAttribute('aria-activedescendant') ?? '');
    return [
      option?.getAttribute('aria-selected'),
      option?.querySelector('b')?.textContent?.slice(0, 12),
      document.activeElement === input,
    ];
  });
  expect(chosen).toEqual(['true', 'The rye loaf', true]);
  await page.keyboard.press('Enter');
  await waitText(page, 'The rye loaf', 'main');
  expect(await page.$('dialog')).toBeNull();
});

it('closes with Escape, and the focus is back where it was', async () => {
  await page.focus('.cq-table tbody a');
  await openWithKeys();
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog'));
  expect(await page.evaluate(() => document.activeElement?.matches('.cq-table tbody a'))).toBe(true);
});

it('is readable in both themes on both widths, and opens with a button', async () => {
  for (const [width, theme] of views) {
    await page.setViewport({ width, height: 844 });
    await page.evaluate((name) => void (document.documentElement.dataset['theme'] = name), theme);
    expect(await page.$eval('.cq-find svg', (icon) => icon.getBoundingClientRect().width)).toBeGreaterThan(10);
    await page.click('.cq-find');
    await page.waitForSelector('dialog[open] [role=combobox]');
    await find('harbour');
    await page.evaluate(axe);
    const serious = await page.evaluate(async () => {
      const { run } = (window as unknown as { axe: { run: () => Promise<AxeResults> } }).axe;
      const { violations } = await run();
      return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id }) => id);
    });
    expect([width, theme, serious]).toEqual([width, theme, []]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
    await shoot(page, `find-${theme}`);
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => !document.querySelector('dialog'));
    await shoot(page, `sessions-${theme}`);
  }
});

it('has a footer with the API reference, the guides, health and the version', async () => {
  const links = await page.$$eval('footer a', (found) => found.map((link) => [link.textContent, link.getAttribute('href')]));
  expect(links).toEqual([
    ['API reference', '/api/docs'],
    ['Guides', '/docs'],
    ['Health', '/health'],
  ]);
  expect(await page.$eval('footer', (footer) => footer.textContent)).toContain('Chasqui 0.1.0');
});

it('shows a message in two lines on a phone: who and when, text and state', async () => {
  await page.setViewport({ width: 390, height: 844 });
  await page.goto(`${world.url}/admin/resources/messages`);
  await page.waitForSelector('.cq-table tbody tr');
  const rows = await page.$$eval('.cq-table tbody tr', (found) =>
    found.map((row) => ({
      lines: (row as HTMLElement).innerText.split('\n').filter((line) => line.trim() !== ''),
      height: row.getBoundingClientRect().height,
    })),
  );
  expect(rows).toHaveLength(2);
  for (const { height } of rows) expect(height).toBeLessThan(76);
  expect(rows[0]!.lines.join(' ')).toMatch(/Ines Okafor.*ago|Ines Okafor.*now/);
  expect(rows[0]!.lines.join(' ')).toMatch(/The rye loaf.*Failed/);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
  for (const theme of ['light', 'dark']) {
    await page.evaluate((name) => void (document.documentElement.dataset['theme'] = name), theme);
    await shoot(page, `messages-${theme}`);
  }
});
