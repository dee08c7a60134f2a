import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, HTTPRequest, Page } from 'puppeteer';
import { startWorld, type World } from './panel.fixture.js';
import { addEvent, addSession } from './panel.rows.js';
import { launch, visit } from './panel.visit.js';

/** A page calls its data live only while answers arrive. The state of the installation is still answered here: only the data of the page fails. */

let world: World;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  world = await startWorld();
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

/** Lets every read of data fail, but not that of the state, until the returned function is called. */
async function withoutData(answer: (request: HTTPRequest) => unknown): Promise<() => Promise<void>> {
  const intercept = (request: HTTPRequest): void =>
    void (/\/admin\/live\/(?!status)/.test(request.url()) ? answer(request) : request.continue());
  await page.setRequestInterception(true);
  page.on('request', intercept);
  return async () => {
    page.off('request', intercept);
    await page.setRequestInterception(false);
  };
}
const hang = (): undefined => undefined;
const refuse = (request: HTTPRequest): Promise<void> =>
  request.respond({
    status: 500,
    contentType: 'application/json',
    body: JSON.stringify({ error: { code: 'INTERNAL_ERROR', message: 'The request failed.' } }),
  });

it.each([
  ['deliveries', 'hang', hang],
  ['events', 'hang', hang],
  ['deliveries', 'are refused', refuse],
  ['events', 'are refused', refuse],
  ['jobs', 'are refused', refuse],
  ['backups', 'are refused', refuse],
  ['errors', 'are refused', refuse],
  ['workers', 'are refused', refuse],
  ['privacy', 'are refused', refuse],
  ['schedules', 'are refused', refuse],
])(
  'the page of %s is not called live within ten seconds after its reads %s',
  async (path, _how, answer) => {
    await page.goto(`${world.url}/admin/pages/${path}`);
    await page.waitForSelector('.cq-head .cq-live:not(.cq-lost)');
    const restore = await withoutData(answer);
    try {
      const began = Date.now();
      await page.waitForSelector('.cq-head .cq-lost');
      expect(Date.now() - began).toBeLessThan(10_000);
      expect(await page.$eval('.cq-head .cq-lost', (state) => state.textContent)).toMatch(/\. Updated .+\.$/);
      expect(await page.$('.cq-head .cq-live:not(.cq-lost)')).toBeNull();
    } finally {
      await restore();
    }
    await page.waitForSelector('.cq-head .cq-live:not(.cq-lost)');
  },
  60_000,
);

it('the page of events stands still while it is paused, says from when it is, and catches up when it goes on', async () => {
  const { write } = world.database;
  const accountId = world.accounts.user;
  const sessionId = await addSession(write, { accountId, name: 'shop', status: 'connected' });
  const say = (text: string) =>
    addEvent(write, { accountId, sessionId, type: 'message.received', data: { contact: { name: 'Ana' }, text } });
  const isShown = (text: string) =>
    page.waitForFunction((part) => document.querySelector('main')?.textContent?.includes(part), {}, text);
  await page.goto(`${world.url}/admin/pages/events`);
  await say('Before the pause');
  await isShown('Before the pause');
  let reads = 0;
  const count = (request: HTTPRequest): void => void (request.url().includes('/live/event-page') ? (reads += 1) : null);
  const button = (await page.waitForSelector('button[aria-pressed=false]'))!;
  await button.focus();
  await page.keyboard.press('Space');
  await page.waitForSelector('button[aria-pressed=true]');
  await page.waitForFunction(() => /Not renewed, from /.test(document.querySelector('.cq-below')?.textContent ?? ''));
  expect(await page.$('.cq-head .cq-live')).toBeNull();
  page.on('request', count);
  await say('During the pause');
  // The state of the installation is read every two seconds: after two more reads of it, the list would have been read too.
  for (let round = 0; round < 2; round += 1)
    await page.waitForRequest((request) => request.url().includes('/live/status'), { timeout: 20_000 });
  expect(reads).toBe(0);
  expect(await page.$eval('main', (main) => main.textContent)).not.toContain('During the pause');
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Continue');
  await page.keyboard.press('Space');
  await page.waitForSelector('button[aria-pressed=false]');
  await isShown('During the pause');
  await page.waitForSelector('.cq-head .cq-live:not(.cq-lost)');
  page.off('request', count);
}, 60_000);
