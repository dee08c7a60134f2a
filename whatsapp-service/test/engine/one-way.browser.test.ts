import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import puppeteer, { type Browser, type Page } from 'puppeteer';
import { createOneWay } from '../../src/engine/wwebjs/one-way.js';
import { until } from './harness.js';

/** Functions in the page whose results are not awaited. */

let server: Server;
let browser: Browser;
let page: Page;
const eventOf: unknown[][] = [];
const failures: string[][] = [];

beforeAll(async () => {
  server = createServer((_req, res) => void res.setHeader('content-type', 'text/html').end('<title>a page</title>'));
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const executablePath = process.env['BROWSER_PATH'];
  browser = await puppeteer.launch({
    ...(executablePath ? { executablePath } : {}),
    args: ['--no-sandbox', '--site-per-process', '--js-flags=--expose-gc'],
    headless: 'shell',
  });
  page = await browser.newPage();
  const expose = createOneWay(page, (name, error) => void failures.push([name, String(error)]));
  await expose('first', (...args) => void eventOf.push(['first', ...args]));
  await expose('second', (...args) => void eventOf.push(['second', ...args]));
}, 30_000);
afterAll(async () => {
  await browser?.close();
  server?.close();
});

const at = (host: string): string => `http://${host}:${(server.address() as AddressInfo).port}/`;
const run = (script: string): Promise<unknown> => page.evaluate(script);

test('are there before the first page, after a change of the renderer, and after a reload', async () => {
  await run(`first('blank')`);
  await page.goto(at('127.0.0.1'));
  await run(`first('one', { a: [1] }, null)`);
  await page.goto(at('localhost'));
  await run(`second('another renderer')`);
  await page.reload();
  await run(`second('after the reload')`);
  await until('all four', () => eventOf.length === 4);
  expect(eventOf.splice(0)).toEqual([
    ['first', 'blank'],
    ['first', 'one', { a: [1] }, null],
    ['second', 'another renderer'],
    ['second', 'after the reload'],
  ]);
}, 20_000);

test('arrive in the order in which they were called, among each other too, and return a promise of undefined', async () => {
  expect(await run(`first(0)`)).toBeUndefined();
  await run(`for (let n = 1; n <= 1000; n += 1) (n % 3 ? first : second)(n)`);
  await until('all of them', () => eventOf.length === 1001);
  expect(eventOf.splice(0).map(([, n]) => n)).toEqual(Array.from({ length: 1001 }, (_, n) => n));
}, 20_000);

test('other calls of the binding change nothing', async () => {
  await run(
    `for (const junk of ['', 'null', '7', '{}', '["first"]', '[["first"],[]]', '["__proto__",[]]', '["none",[1]]', '{"']) chasquiCall(junk)`,
  );
  await run(`first('still there')`);
  await until('the last one', () => eventOf.length > 0);
  expect(eventOf.splice(0)).toEqual([['first', 'still there']]);
}, 20_000);

test('console output of the page does not stay in its memory', async () => {
  await run(`(() => {
    const printed = { much: new Array(1000).fill('x') };
    window.held = new WeakRef(printed);
    console.log(printed);
  })()`);
  // Chromium itself remembers the last thousand lines.
  await run(`for (let n = 0; n < 1100; n += 1) console.log({ n })`);
  const isHeld = async (): Promise<unknown> =>
    run(`new Promise((done) => setTimeout(() => { gc(); done(held.deref() !== undefined); }, 20))`);
  await until('it to be let go', async () => {
    await run(`console.log({ one: 'more' })`);
    return !(await isHeld());
  });
}, 20_000);
