import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { newId } from '@chasqui/shared';
import type { Browser, HTTPRequest, Page } from 'puppeteer';
import { lookWithAxe } from './panel.axe.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addSession, addWorker } from './panel.rows.js';
import { launch, shoot, visit } from './panel.visit.js';

/** What the panel says where there is nothing to show: sentences of ours, with the next step, in place of those of AdminJS. */

let world: World;
let browser: Browser;
let page: Page;
let session: string;
/** What AdminJS says by itself. */
const foreign = /Resource of given id|Check out console|development console|does not exist/;

beforeAll(async () => {
  world = await startWorld();
  await addWorker(world.database.write, { id: 'worker-1' });
  session = await addSession(world.database.write, { accountId: world.accounts.user, name: 'shop', status: 'connected' });
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

const bodyOf = (one: Page): Promise<string> => one.$eval('body', (body) => body.innerText);

it.each([
  ['sessions', 'Session', 'Sessions'],
  ['messages', 'Message', 'Messages'],
  ['webhooks', 'Webhook', 'Webhooks'],
  ['accounts', 'Account', 'Accounts'],
  ['audit', 'Audit entry', 'Audit log'],
])(
  'says of a missing record of %s that it was deleted or the address is wrong, and leads to the list',
  async (table, name, list) => {
    await page.goto(`${world.url}/admin/resources/${table}/records/${newId()}/show`);
    await page.waitForSelector('[data-testid=not-found]');
    const text = await bodyOf(page);
    expect(text).toContain(`${name} not found`);
    expect(text).toContain('It was deleted, or the address is wrong.');
    expect(text).not.toMatch(foreign);
    const links = await page.$$eval('[data-testid=not-found] a.cq-main', (all) =>
      all.map((one) => [one.textContent, one.getAttribute('href')]),
    );
    expect(links).toEqual([[list, `/admin/resources/${table}`]]);
  },
);

it('is a page like every other', async () => {
  await page.goto(`${world.url}/admin/resources/messages/records/${newId()}/show`);
  await page.waitForSelector('[data-testid=not-found]');
  expect(await lookWithAxe(page, 'missing')).toEqual([]);
  await page.setViewport({ width: 1440, height: 900 });
  await shoot(page, 'missing-record');
  expect(await page.title()).toBe('Message not found · Messages · Chasqui');
}, 60_000);

it('tells staff at a form of admins which role it needs', async () => {
  const staff = await visit(browser, world, [1440, 900], { login: 'tomas@example.org', password: passwords.staff });
  for (const [table, title] of [
    ['webhooks', 'New webhook'],
    ['plans', 'New plan'],
  ] as const) {
    await staff.goto(`${world.url}/admin/resources/${table}/actions/new`);
    await staff.waitForSelector('[data-testid=not-found]');
    const text = await bodyOf(staff);
    expect(text).toContain(title);
    expect(text).toContain('This needs the role admin, and yours is staff.');
    expect(text).not.toMatch(foreign);
  }
  await staff.goto(`${world.url}/admin/resources/messages/actions/new`);
  await staff.waitForSelector('[data-testid=not-found]');
  expect(await bodyOf(staff)).toContain('There is no such page');
}, 60_000);

it('keeps the rows of a list while the backend is away, and raises no notice again and again', async () => {
  await page.goto(`${world.url}/admin/resources/sessions`);
  await page.waitForSelector('.cq-table tbody tr');
  const asked: string[] = [];
  const intercept = (request: HTTPRequest): void => {
    if (!/\/admin\/(live|api)\//.test(request.url())) return void request.continue();
    asked.push(request.url());
    void request.abort('connectionrefused');
  };
  await page.setRequestInterception(true);
  page.on('request', intercept);
  try {
    await page.waitForFunction(() => document.querySelector('.cq-fresh')?.textContent?.startsWith('Not live'));
    // The list is read every ten seconds.
    const until = asked.filter((url) => url.includes('/live/status')).length + 8;
    const seen = new Set<string>();
    while (asked.filter((url) => url.includes('/live/status')).length < until) {
      seen.add(await bodyOf(page));
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect([...seen].filter((text) => foreign.test(text))).toEqual([]);
    expect(asked.filter((url) => url.includes('/api/resources/sessions')).length).toBeLessThanOrEqual(1);
    expect(await page.$$eval('.cq-table tbody tr', (rows) => rows.length)).toBe(1);
  } finally {
    page.off('request', intercept);
    await page.setRequestInterception(false);
  }
  // It is read again as soon as the server answers.
  await Promise.all([
    page.waitForResponse((response) => response.url().includes('/api/resources/sessions/actions/list')),
    page.waitForSelector('.cq-fresh.cq-good'),
  ]);
}, 90_000);

it('opens a record by itself once the backend answers again', async () => {
  await page.goto(`${world.url}/admin/resources/sessions`);
  await page.waitForSelector('.cq-table tbody a');
  const intercept = (request: HTTPRequest): void =>
    void (request.url().includes('/admin/api/') ? request.abort('connectionrefused') : request.continue());
  await page.setRequestInterception(true);
  page.on('request', intercept);
  await page.click('.cq-table tbody a');
  await page.waitForFunction(
    () => document.querySelector('.cq-below')?.textContent === 'The server does not answer. Trying again.',
  );
  page.off('request', intercept);
  await page.setRequestInterception(false);
  await page.waitForSelector('[data-testid=session]');
  expect(page.url()).toContain(session);
}, 60_000);
