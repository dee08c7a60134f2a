import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import puppeteer, { type Browser, type Page } from 'puppeteer';
import { insertRow, updateRows } from '../src/db/rows.js';
import { QuotaUsage } from '../src/messages/quotas/quota.entity.js';
import { dayOf } from '../src/messages/quotas/periods.js';
import { Session } from '../src/sessions/session.entity.js';
import { Account } from '../src/accounts/account.entity.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addMessage, addSession, settings } from './panel.rows.js';
import { createRandom } from './support/traffic.js';

/** The page of usage, and what a session's page reads on demand. PANEL_SHOTS names a folder for pictures. */
let world: World;
let browser: Browser;
let shop: string;
const shots = process.env['PANEL_SHOTS'];
const sizes = { wide: [1440, 1500], phone: [390, 844] } as const;

beforeAll(async () => {
  world = await startWorld();
  await seed(world);
  const executablePath = process.env['BROWSER_PATH'];
  if (!executablePath) throw new Error('BROWSER_PATH is not set; npm test sets it.');
  browser = await puppeteer.launch({ executablePath, headless: true, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

/** Two weeks of a shop and of its orders. */
async function seed({ database, events, accounts }: World): Promise<void> {
  const { write } = database;
  const random = createRandom(7);
  const selfCheck = {
    checkedAt: new Date(Date.now() - 3_600_000).toISOString(),
    whatsappWebVersion: '2.3000.1030521460',
    missing: { 'calls.link': ['WAWebVoipGatingUtils.isCallLinkEnabled'] },
    unchecked: [],
    essential: [],
    listeners: ['calls'],
  };
  const up = { accountId: accounts.user, status: 'connected' as const, desired: 'running' as const, phoneNumber: '447400123101' };
  shop = await addSession(write, { ...up, name: 'shop', selfCheck, whatsappWebVersion: '2.3000.1030521460' });
  const orders = await addSession(write, { ...up, name: 'orders', settings: { ...settings, dailyLimit: 100 } });
  const now = Date.now();
  for (let index = 0; index < 160; index += 1) {
    const back = (random(14) * 24 + [0, 1, 2, 2, 3, 3, 4, 8][random(8)]!) * 3_600_000 + random(3_600_000);
    const isInbound = random(5) < 2;
    const isFailed = !isInbound && random(12) === 0;
    await addMessage(database, events, {
      sessionId: random(3) === 0 ? orders : shop,
      direction: isInbound ? 'inbound' : 'outbound',
      text: 'Your bread is ready.',
      at: new Date(now - back),
      status: isInbound ? 'delivered' : isFailed ? 'failed' : (['read', 'delivered', 'sent'] as const)[random(3)]!,
      reason: isFailed ? (random(2) ? ['EXPIRED', ''] : ['RECIPIENT_NOT_ON_WHATSAPP', '']) : undefined,
    });
  }
  const { timezone } = await database.reader.getRepository(Account).findOneByOrFail({ id: accounts.user });
  const period = dayOf(new Date(), timezone);
  await write.run(async (tx) => {
    await updateRows(tx, Account, { id: accounts.user }, { maxMessagesPerDay: 250 });
    await insertRow(tx, QuotaUsage, {
      scope: 'account.daily',
      ownerId: accounts.user,
      accountId: accounts.user,
      period,
      taken: 131,
    });
    await insertRow(tx, QuotaUsage, { scope: 'session.daily', ownerId: orders, accountId: accounts.user, period, taken: 97 });
    await insertRow(tx, QuotaUsage, { scope: 'session.daily', ownerId: shop, accountId: accounts.user, period, taken: 34 });
  });
}

async function open([width, height]: readonly [number, number]): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width, height });
  page.setDefaultTimeout(60_000);
  const problems: string[] = [];
  page.on('console', (message) => void (message.type() === 'error' && problems.push(message.text())));
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.goto(`${world.url}/admin`);
  await page.waitForSelector('#login');
  await page.type('#login', 'mara@example.org');
  await page.type('#password', passwords.admin);
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  await page.waitForSelector('[data-testid=dashboard]');
  return { page, problems };
}

const text = (page: Page, selector = 'body'): Promise<string> =>
  page.$eval(selector, (element) => (element as HTMLElement).innerText);
const waitText = (page: Page, part: string) =>
  page.waitForFunction((wanted) => document.body.innerText.includes(wanted), {}, part);
const overflow = (page: Page): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

async function shoot(page: Page, name: string): Promise<void> {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  const { width } = page.viewport()!;
  const height = await page.evaluate(() => document.querySelector('.cq-page')?.scrollHeight ?? 0);
  await page.setViewport({ width, height: Math.max(844, height + 80) });
  await new Promise((resolve) => setTimeout(resolve, 500)); // Charts settle; for pictures only.
  await page.screenshot({ path: join(shots, `${name}-${width}.png`) });
}

it.each(Object.entries(sizes))(
  'shows usage by day, hour, reason and quota, on a %s screen',
  async (_name, size) => {
    const { page, problems } = await open(size);
    await page.goto(`${world.url}/admin/pages/usage`);
    await page.waitForSelector('[data-testid=usage] .cq-chart canvas');
    const tiles = await text(page, '.cq-tiles');
    const sent = Number(/Sent\s+(\d+)/.exec(tiles)?.[1]);
    const received = Number(/Received\s+(\d+)/.exec(tiles)?.[1]);
    const failed = Number(/Failed\s+(\d+)/.exec(tiles)?.[1]);
    expect(sent + received + failed).toBe(160);
    const cells = await page.$$eval('.cq-heat tbody td', (found) => found.map((cell) => Number(cell.textContent)));
    expect([cells.length, cells.reduce((sum, value) => sum + value, 0)]).toEqual([168, sent + received]);
    const all = await text(page);
    expect(all).toContain('RECIPIENT_NOT_ON_WHATSAPP');
    expect(all).toMatch(/131 of 250/);
    expect(all).toMatch(/bakery · orders\s+97 of 100\s+Open\s+bakery · shop\s+34, no limit/);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    await shoot(page, 'usage');

    await page.select('.cq-usage-filter select', world.accounts.user);
    await waitText(page, 'all sessions');
    const [, sessionChoice] = await page.$$('.cq-usage-filter select');
    await sessionChoice!.select(shop);
    await page.waitForFunction(
      (before) => !(document.querySelector('.cq-tiles')?.textContent ?? before).startsWith(before),
      {},
      `Sent${sent}`,
    );
    const ofShop = Number(/Sent\s+(\d+)/.exec(await text(page, '.cq-tiles'))?.[1]);
    expect(ofShop).toBeGreaterThan(0);
    expect(ofShop).toBeLessThan(sent);
    await page.browserContext().close();
    expect(problems).toEqual([]);
  },
  60_000,
);

it('saves the figures of the page as CSV', async () => {
  const { page, problems } = await open(sizes.wide);
  await page.goto(`${world.url}/admin/pages/usage`);
  await page.waitForSelector('.cq-tiles');
  // The browser saves what the link names; the test reads it.
  await page.evaluate(() => {
    const { createObjectURL } = URL;
    URL.createObjectURL = (blob) => {
      void (blob as Blob).text().then((csv) => ((window as unknown as { saved: string }).saved = csv));
      return createObjectURL(blob);
    };
  });
  const [button] = await page.$$('xpath/.//button[contains(., "Download CSV")]');
  await button!.click();
  await page.waitForFunction(() => 'saved' in window);
  const csv = await page.evaluate(() => (window as unknown as { saved: string }).saved);
  const sent = /Sent\s+(\d+)/.exec(await text(page, '.cq-tiles'))?.[1];
  expect(csv).toContain(`summary,,sent,${sent}\r\n`);
  await page.browserContext().close();
  expect(problems).toEqual([]);
}, 60_000);

it.each(Object.entries(sizes))(
  'reads chats, health and capabilities of a session on demand, on a %s screen',
  async (_name, size) => {
    const { page, problems } = await open(size);
    const openTab = (tab: string) => page.goto(`${world.url}/admin/resources/sessions/records/${shop}/show?tab=${tab}`);
    await openTab('chats');
    await page.waitForSelector('[data-testid=glance]');
    expect(world.calls.filter(({ verb }) => ['sessions.glance', 'sessions.health'].includes(verb))).toEqual([]);
    const press = async (label: string): Promise<void> => {
      // A tab of the page may have the same name, and comes before.
      const buttons = await page.$$(`xpath/.//button[normalize-space()="${label}"]`);
      await buttons.at(-1)!.click();
    };
    await press('Groups');
    await waitText(page, 'WhatsApp Web has no groups of this account.');
    world.failNext('sessions.glance', new AppError('OPERATION_TIMEOUT', { operation: 'contacts.list', effect: 'none' }));
    await press('Contacts');
    await page.waitForSelector('[data-testid=glance] [role=alert]');
    await press('Chats');
    await waitText(page, 'Harbour team');
    expect(await text(page, '[data-testid=glance]')).toContain('2 unread');
    await openTab('health');
    await waitText(page, 'are limited');
    await press('Ask the worker');
    await waitText(page, 'WhatsApp lets this account write to no new chats.');
    expect(await text(page, '[data-testid=health]')).toMatch(/Round trip\s+12 ms/);
    await page.click('[data-testid=capabilities] summary');
    const limited = await text(page, '[data-testid=capabilities]');
    expect(limited).toContain('2.3000.1030521460');
    expect(limited).toContain('calls.link');
    expect(limited).toContain('Events that cannot be received: calls.');
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    await shoot(page, 'session');
    await openTab('chats');
    await page.waitForSelector('[data-testid=glance]');
    await world.database.write.run((tx) => updateRows(tx, Session, { id: shop }, { status: 'connecting' }));
    await waitText(page, 'once the phone is connected');
    await world.database.write.run((tx) => updateRows(tx, Session, { id: shop }, { status: 'connected' }));
    world.calls.length = 0;
    await page.browserContext().close();
    expect(problems.filter((problem) => !problem.includes('504'))).toEqual([]);
  },
  60_000,
);
