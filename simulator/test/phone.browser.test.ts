import { afterAll, beforeAll, expect, test } from '@jest/globals';
import puppeteer, { type Browser, type Page } from 'puppeteer';
import { startSimulator, type Simulator } from '../src/index.js';
import { ana, me, until } from './stock.js';

/** The page of a phone, in a browser: what a person changes there is what other phones and linked pages see. */

let simulator: Simulator;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  simulator = await startSimulator({ build: 'classic' });
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  await simulator.client.createAccount({ phone: ana, name: 'Ana' });
  const executablePath = process.env['BROWSER_PATH'];
  if (!executablePath) throw new Error('BROWSER_PATH is not set; npm test sets it.');
  browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  page = await browser.newPage();
  page.setDefaultTimeout(10_000);
  await page.goto(`${simulator.controlUrl}/phone`);
  await page.waitForSelector(`#phone option[value="${me}"]`);
  await page.select('#phone', me);
}, 40_000);
afterAll(async () => {
  await browser?.close();
  await simulator?.close();
});

const account = async (phone: string) => (await simulator.client.accounts()).find((one) => one.phone === phone);

test('a business account gets labels, and loses one', async () => {
  expect(await page.$eval('#label-box', (box) => (box as HTMLElement).hidden)).toBe(true);
  await page.click('#business');
  await page.waitForSelector('#label-box:not([hidden])');
  for (const name of ['New customer', 'Paid']) {
    await page.type('#label-name', name);
    await page.click('#add-label button');
    await page.waitForSelector(`[aria-label="Delete the label ${name}"]`);
  }
  const names = async () => (await simulator.client.labels({ phone: me })).map(({ name }) => name);
  expect(await names()).toEqual(['New customer', 'Paid']);
  await page.click('[aria-label="Delete the label New customer"]');
  await until('the label to be gone', async () => (await names()).join() === 'Paid');
  await page.click('#business');
  await page.waitForSelector('#label-box[hidden]', { hidden: true });
});

test('a phone is shown as available until that is switched off', async () => {
  await page.click('#available');
  await until('it to be available', async () => (await account(me))?.presence === 'available');
  await page.click('#available');
  await until('it to be unavailable', async () => (await account(me))?.presence === 'unavailable');
});

test('who writes is seen to type, and to pause', async () => {
  await page.type('#number', ana);
  await page.click('#start button');
  await page.waitForSelector('#write:not([hidden])');
  await page.type('#text', 'Hello');
  const seen = async () => (await simulator.client.typingSeen({ phone: ana })).map(({ state }) => state);
  await until('it to type', async () => (await seen()).join() === 'composing');
  await until('it to pause', async () => (await seen()).join() === 'composing,paused');
}, 20_000);
