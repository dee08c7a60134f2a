import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, HTTPRequest, Page } from 'puppeteer';
import { startWorld, type World } from './panel.fixture.js';
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

it('a list that is paused says so, and from when it is', async () => {
  await page.goto(`${world.url}/admin/pages/events`);
  await page.waitForSelector('.cq-head .cq-live');
  await (await page.waitForSelector('::-p-text(Pause)'))!.click();
  await page.waitForFunction(() => /Not renewed, from /.test(document.querySelector('.cq-below')?.textContent ?? ''));
  expect(await page.$('.cq-head .cq-live')).toBeNull();
}, 60_000);
