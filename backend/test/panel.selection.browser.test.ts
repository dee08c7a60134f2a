import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { startWorld, type World } from './panel.fixture.js';
import { addMessage, addSession } from './panel.rows.js';
import { launch, shoot, views, visit, waitText } from './panel.visit.js';

/** Several messages of the list are decided at once. */

let world: World;
let browser: Browser;
const ids: string[] = [];

beforeAll(async () => {
  world = await startWorld();
  browser = await launch();
  const { database, events, accounts } = world;
  const sessionId = await addSession(database.write, { accountId: accounts.user, name: 'shop', status: 'connected' });
  for (const [n, status] of (['failed', 'failed', 'uncertain', 'sent'] as const).entries())
    ids.push(
      await addMessage(database, events, { sessionId, text: `Order ${n}`, status, at: new Date(Date.now() - n * 60_000) }),
    );
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

async function open(at: readonly [number, number] = [1440, 900]): Promise<Page> {
  const page = await visit(browser, world, at);
  await page.goto(`${world.url}/admin/resources/messages`);
  await page.waitForSelector('tbody tr');
  return page;
}
const offers = (page: Page): Promise<string[]> =>
  page.$$eval('.cq-selection button', (buttons) => buttons.map((button) => button.innerText));
const press = async (page: Page, label: string): Promise<void> => {
  await page
    .locator(`::-p-xpath(//*[contains(@class,"cq-selection")]//button[starts-with(normalize-space(),"${label}")])`)
    .click();
};

test('each action names how many of the selected messages allow it, asks first, and says what came of it', async () => {
  const page = await open();
  await page.click('thead input[type=checkbox]');
  await waitText(page, '4 selected', '.cq-selection');
  expect(await offers(page)).toEqual(['Try again (2)', 'They arrived (1)', 'They did not arrive (1)', 'Send again (1)']);
  await press(page, 'Try again');
  await waitText(page, 'Try again: 2 messages?', 'dialog');
  // Enter alone changes nothing.
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog', { hidden: true });
  expect(world.calls.filter(({ verb }) => verb === 'messages.retry')).toEqual([]);
  await press(page, 'Try again');
  await page.locator('dialog .cq-yes').click();
  await waitText(page, '2 messages are in the queue again, under the same ids.');
  const called = world.calls.filter(({ verb }) => verb === 'messages.retry').map(({ args }) => args[0]);
  expect(called).toEqual([ids[0], ids[1]]);
  expect(await page.$('.cq-selection')).toBeNull();
  await page.browserContext().close();
}, 120_000);

test('a message that cannot be changed is told with its reason, and the others are changed', async () => {
  const page = await open();
  world.calls.length = 0;
  // After the test above two are queued.
  await page.click('thead input[type=checkbox]');
  await waitText(page, 'Cancel messages (2)', '.cq-selection');
  world.failNext('messages.cancel', new AppError('MESSAGE_NOT_CANCELLABLE'));
  await press(page, 'Cancel messages');
  await page.locator('dialog .cq-yes').click();
  await waitText(page, '1 message is cancelled. 1 message could not be changed:');
  expect(world.calls.filter(({ verb }) => verb === 'messages.cancel').map(({ args }) => args[0])).toEqual([ids[1]]);
  await page.browserContext().close();
}, 120_000);

test.each(views)(
  'a row is selected by the keyboard and by a touch at %d pixels, %s, and does not open',
  async (width, theme) => {
    const page = await visit(browser, world, [width, 844]);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
    await page.goto(`${world.url}/admin/resources/messages`);
    await page.waitForSelector('tbody tr');
    await page.focus('tbody tr:nth-child(3) input');
    await page.keyboard.press('Space');
    await waitText(page, '1 selected', '.cq-selection');
    await page.click('tbody tr:nth-child(4) .cq-as-select label');
    await waitText(page, '2 selected', '.cq-selection');
    expect(page.url()).toMatch(/\/resources\/messages$/);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
    await shoot(page, `selection-${theme}`);
    await page.browserContext().close();
  },
  120_000,
);

test('the list is downloaded with the filters of its address', async () => {
  const page = await visit(browser, world, [1440, 900]);
  await page.goto(`${world.url}/admin/resources/messages?filters.status=sent`);
  const link = await page.waitForSelector('.cq-download a');
  const address = await link!.evaluate((found) => (found as HTMLAnchorElement).href);
  const text = await page.evaluate(async (url) => (await fetch(url)).text(), address);
  expect(text.trim().split('\r\n')).toHaveLength(2);
  expect(text).toContain('Order 3');
  await page.browserContext().close();
}, 120_000);
