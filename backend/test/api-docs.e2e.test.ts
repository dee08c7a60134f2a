import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';
import { launch, shoot } from './panel.visit.js';

/** What a person does at `/api/docs` who has an API key and nothing else: both real processes, the simulator, and a browser at the page. */

const ana = '5511999990001';
const shop = '5511988887701';

let stack: Stack;
let browser: Browser;
let page: Page;
beforeAll(async () => {
  stack = await startStack({ settings: { SEND_RATE_PER_MINUTE: '0', HEARTBEAT_SECONDS: '0.5' } });
  await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
  await stack.simulator.client.createAccount({ phone: shop, name: 'Shop' });
  browser = await launch();
  page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 1000 });
  await page.goto(`${stack.urls.backend}/api/docs`);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await stack?.close();
}, 60_000);

test('there is one way to give the key, for all routes', async () => {
  const document = (await (await fetch(`${stack.urls.backend}/api/v1/openapi.json`)).json()) as {
    components: { securitySchemes: Record<string, object> };
    security: object[];
    paths: Record<string, Record<string, { security?: object[] }>>;
  };
  expect(document.components.securitySchemes).toEqual({
    ApiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: expect.stringContaining('Paste the API key') },
  });
  expect(document.security).toEqual([{ ApiKey: [] }]);
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  const others = operations.filter(({ security }) => security && JSON.stringify(security) !== '[]');
  expect(others).toEqual([]);
});

const click = (selector: string) => page.locator(selector).click();

test('the key is entered in one box, once', async () => {
  await click('.auth-wrapper .btn.authorize');
  await page.waitForSelector('.dialog-ux input');
  expect(await page.$$('.dialog-ux input')).toHaveLength(1);
  await page.type('.dialog-ux input', stack.key());
  await click('.dialog-ux .btn.authorize');
  await page.waitForFunction(() => document.querySelector('.dialog-ux')?.textContent?.includes('Authorized'));
  await click('.dialog-ux .btn-done');
  await page.waitForFunction(() => document.querySelector('.dialog-ux') === null);
});

/** Opens a route, sends its example as it is printed, and returns the reply that the page shows. */
async function tryOut(
  group: string,
  operation: string,
): Promise<{ status: string; reply: { success: boolean; data: Record<string, unknown> } }> {
  // Swagger UI escapes the dot of an id for selectors, so the id itself contains a backslash.
  const block = `[id$="${operation.replace('.', String.raw`\\.`)}"]`;
  if ((await page.$(block)) === null) await click(`#operations-tag-${group}`);
  await click(`${block} .opblock-summary-control`);
  await click(`${block} .try-out__btn`);
  await click(`${block} .execute`);
  const live = `${block} .live-responses-table`;
  await page.waitForSelector(`${live} .response-col_status`);
  await page.waitForFunction((at) => /\{/.test(document.querySelector(`${at} .highlight-code`)?.textContent ?? ''), {}, live);
  await shoot(page, `api-docs-${operation}`);
  const status = await page.$eval(`${live} tbody .response-col_status`, (cell) => cell.textContent ?? '');
  const text = await page.$eval(`${live} .highlight-code pre`, (pre) => pre.textContent ?? '');
  return { status: status.trim().slice(0, 3), reply: JSON.parse(text) as { success: boolean; data: Record<string, unknown> } };
}

test('a session is started, linked, and a first message is sent from the page', async () => {
  const started = await tryOut('sessions', 'sessions.init');
  expect(started).toMatchObject({ status: '200', reply: { success: true, data: { status: 'qr_pending' } } });
  await stack.simulator.client.scan({ qr: started.reply.data['qrText'] as string, phone: shop });
  await eventually('the session to be connected', async () => {
    const { body } = await stack.api<{ status: string }>('GET', '/sessions/status');
    return body.data.status === 'connected';
  });
  const sent = await tryOut('messages', 'messages.sendText');
  expect(sent).toMatchObject({
    status: '200',
    reply: { success: true, data: { status: 'sent', to: expect.stringContaining(ana) } },
  });
  const received = await stack.simulator.client.received({ phone: ana });
  const { text } = sent.reply.data;
  expect(text).toMatch(/\w/);
  expect(received.map(({ data }) => data['body'])).toEqual([text]);
}, 120_000);
