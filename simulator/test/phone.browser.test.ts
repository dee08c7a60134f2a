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

async function openChat(): Promise<void> {
  await page.type('#number', ana);
  await page.click('#start button');
  await page.waitForSelector('#write:not([hidden])');
}

test('who writes is seen to type, and to pause', async () => {
  await openChat();
  await page.type('#text', 'Hello');
  const seen = async () => (await simulator.client.typingSeen({ phone: ana })).map(({ state }) => state);
  await until('it to type', async () => (await seen()).join() === 'composing');
  await until('it to pause', async () => (await seen()).join() === 'composing,paused');
}, 20_000);

/** The start of each type of picture, in base64. */
const jpeg = /^\/9j\//;
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

test('a picture and a video are sent with a small JPEG; a file that the browser cannot show is sent without', async () => {
  await openChat();
  const film = await page.evaluate(recordFilm);
  for (const [name, type, bytes] of [
    ['a.png', 'image/png', png],
    ['a.webm', 'video/webm', film],
    ['b.webm', 'video/webm', Buffer.from('no film').toString('base64')],
  ] as const) {
    await page.evaluate(choose, name, type, bytes);
    await until(`${name} to arrive`, async () => (await received()).some(({ data }) => data['filename'] === name));
  }
  const [picture, video, broken] = await received();
  expect([picture, video, broken].map((one) => [one!.type, jpeg.test(String(one!.data['body']))])).toEqual([
    ['image', true],
    ['video', true],
    ['video', false],
  ]);
  expect(String(video!.data['body']).length).toBeLessThan(16_384);
}, 30_000);

const received = async () => (await simulator.client.received({ phone: ana })).filter(({ data }) => 'filename' in data);

/** Runs in the page. Chooses a file as a person does. */
function choose(name: string, type: string, base64: string): void {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], name, { type }));
  const input = document.querySelector<HTMLInputElement>('#file')!;
  input.files = files.files;
  input.dispatchEvent(new Event('change'));
}

/** Runs in the page. Returns a short film in base64. */
async function recordFilm(): Promise<string> {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 200;
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: 'video/webm' });
  const parts: Blob[] = [];
  recorder.ondataavailable = ({ data }) => void parts.push(data);
  const stopped = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let n = 0; n < 10; n += 1) {
    canvas.getContext('2d')!.fillStyle = n % 2 ? '#c06020' : '#2060c0';
    canvas.getContext('2d')!.fillRect(0, 0, 200, 200);
    await new Promise((done) => setTimeout(done, 50));
  }
  recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
