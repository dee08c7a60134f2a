import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { Browser, HTTPRequest, Page } from 'puppeteer';
import { insertRow, updateRows } from '../src/db/rows.js';
import { JobState } from '../src/jobs/job.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { Webhook } from '../src/webhooks/webhook.entity.js';
import { Worker } from '../src/whatsapp/worker.entity.js';
import { startWorld, type World } from './panel.fixture.js';
import { addLeader, addSession, addWebhook, addWorker } from './panel.rows.js';
import { launch, shoot, views, visit } from './panel.visit.js';

/** What every screen says within ten seconds when something is down: words, colour, the title and the icon of the tab. */

/** Each outage is told within this time. */
const promisedMs = 10_000;
/** How long a test waits, so that a failure says how long it took. */
const boundMs = 40_000;
let world: World;
let browser: Browser;
let page: Page;
let shop: string;
let hook: string;
/** When the backend of these tests began. It does not miss a leader at once. */
let startedAt: number;

beforeAll(async () => {
  startedAt = performance.now();
  world = await startWorld();
  const { write } = world.database;
  await addWorker(write, { id: 'worker-1' });
  const up = { accountId: world.accounts.user, status: 'connected' as const, desired: 'running' as const, workerId: 'worker-1' };
  shop = await addSession(write, { ...up, name: 'shop', phoneNumber: '447400123101', connectedAt: new Date() });
  hook = await addWebhook(write, world.accounts.user, 'https://shop.example/hooks');
  await write.run((tx) => updateRows(tx, Webhook, { id: hook }, { failures: 0, openUntil: null, lastDeliveredAt: new Date() }));
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

/** Everything works before each test, however the one before it ended. */
beforeEach(async () => {
  await change((tx) => updateRows(tx, Session, { id: shop }, { status: 'connected', reasonCode: null }));
  await change((tx) => updateRows(tx, Webhook, { id: hook }, { failures: 0, failingSince: null, openUntil: null }));
  await change((tx) => updateRows(tx, Worker, { id: 'worker-1' }, { lastHeartbeatAt: new Date(Date.now() + 3_600_000) }));
});

const change = (run: Parameters<World['database']['write']['run']>[0]): Promise<unknown> => world.database.write.run(run);
const open = async (path: string): Promise<void> => {
  await page.goto(`${world.url}/admin${path}`);
  await page.waitForSelector('.cq-head h1');
};
/**
 * How long the page takes for one answer of the server until it is drawn: the slowest of three. It is added to what is promised, so that a busy machine
 * does not count as a slow panel.
 */
const delayMs = (): Promise<number> =>
  page.evaluate(async () => {
    let slowest = 0;
    for (let round = 0; round < 3; round += 1) {
      const began = performance.now();
      await fetch('/admin/live/status');
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      slowest = Math.max(slowest, performance.now() - began);
    }
    return slowest;
  });

/** Causes an outage, and waits for its alarm. It must be told in time, and look right in both themes on both widths. */
async function told(name: string, cause: () => unknown, ...expected: Parameters<typeof alarm>): Promise<void> {
  const allowedMs = promisedMs + (await delayMs());
  const began = Date.now();
  await cause();
  await alarm(...expected);
  expect(Date.now() - began).toBeLessThanOrEqual(allowedMs);
  await look(name);
}

/** The page fits a wide screen and a phone, in both themes. PANEL_SHOTS names a folder for pictures. */
async function look(name: string): Promise<void> {
  for (const [width, theme] of views) {
    await page.setViewport({ width, height: 900 });
    await page.evaluate((chosen) => void (document.documentElement.dataset['theme'] = chosen), theme);
    // The menu slides out of a narrow page. What turns round while something loads never ends.
    await page.evaluate(async () => {
      const ended = document.getAnimations().map(({ finished }) => finished.catch(() => undefined));
      await Promise.race([Promise.all(ended), new Promise((resolve) => setTimeout(resolve, 1_000))]);
    });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect([name, width, overflow > 0 ? `wider by ${overflow}` : 'fits']).toEqual([name, width, 'fits']);
    await shoot(page, `outage-${name}-${theme}`);
  }
  await page.setViewport({ width: 1440, height: 900 });
}

/** Waits until an alert of this colour has these words, and the tab has this title and, of a problem, the red icon. */
async function alarm(tone: 'warn' | 'bad', words: string, title: string): Promise<void> {
  await page.waitForFunction(
    (wanted, colour) =>
      [...document.querySelectorAll(`[data-testid=alerts] .cq-${colour}`)].some((one) => one.textContent?.includes(wanted)),
    { timeout: boundMs, polling: 100 },
    words,
    tone,
  );
  await settled(async () => {
    expect(await page.title()).toMatch(title);
    if (tone === 'bad') expect(await page.$eval('link[rel=icon]', (link) => link.getAttribute('href'))).toContain('favicon-bad');
  });
}
/** Repeats what is expected until it is so: the parts of a page ask for their data one by one. */
async function settled(look: () => Promise<void>): Promise<void> {
  for (const end = Date.now() + boundMs; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}
const calm = () =>
  page.waitForFunction(
    () => document.querySelector('[data-testid=alerts]')?.textContent === '' && !document.title.startsWith('('),
    {
      timeout: boundMs,
    },
  );
const sessionPage = (): string => `/resources/sessions/records/${shop}/show`;

it.each([
  ['the overview', ''],
  ['a list', '/resources/messages'],
  ['a page', '/pages/events'],
])('says on %s that a worker is silent, and which phones that costs', async (name, path) => {
  await open(path);
  await calm();
  // It dies right after a heartbeat, which is when the panel learns of it last.
  await told(
    `worker-${name.replace(/^an? |^the /, '')}`,
    () => change((tx) => updateRows(tx, Worker, { id: 'worker-1' }, { lastHeartbeatAt: new Date() })),
    'bad',
    'Worker worker-1 is silent: 1 phone is offline.',
    '(1 offline) ',
  );
  if (path === '') {
    await page.waitForFunction(() => document.querySelector('.cq-tile.cq-bad')?.textContent?.includes('0 / 1'));
    expect(await page.$eval('.cq-tile', (tile) => tile.textContent)).toContain('1 offline, 1 of them not confirmed');
    expect(await page.$eval('.cq-bars', (bars) => bars.textContent)).toBe('Not confirmed1');
    expect(await page.$eval('.cq-workers .cq-badge', (badge) => badge.textContent)).toBe('Silent');
  }
  await change((tx) => updateRows(tx, Worker, { id: 'worker-1' }, { lastHeartbeatAt: new Date(Date.now() + 3_600_000) }));
  await calm();
});

it('does not call a phone connected whose worker is silent', async () => {
  await open(sessionPage());
  await page.waitForSelector('.cq-badge.cq-good');
  await change((tx) => updateRows(tx, Worker, { id: 'worker-1' }, { lastHeartbeatAt: new Date(Date.now() - 8_000) }));
  await page.waitForFunction(() => document.querySelector('.cq-head .cq-badge.cq-bad')?.textContent === 'Not confirmed', {
    timeout: boundMs,
  });
  expect(await page.$eval('[data-testid=state-card]', (card) => card.textContent)).toContain('Its worker is silent');
  await change((tx) => updateRows(tx, Worker, { id: 'worker-1' }, { lastHeartbeatAt: new Date(Date.now() + 3_600_000) }));
  await page.waitForSelector('.cq-head .cq-badge.cq-good');
});

it('says that a phone unlinked itself, and offers the way back instead of linking steps that are not due', async () => {
  await open(sessionPage());
  const lost = { status: 'disconnected' as const, reasonCode: 'LOGGED_OUT_BY_PHONE', disconnectedAt: new Date() };
  await told(
    'phone',
    () => change((tx) => updateRows(tx, Session, { id: shop }, lost)),
    'bad',
    'shop is offline. The phone unlinked this device.',
    '(1 offline) shop · Sessions · Chasqui',
  );
  await page.waitForFunction(() => document.querySelector('.cq-head .cq-badge.cq-bad')?.textContent === 'Offline');
  await look('phone-session');
  await settled(async () => {
    const card = await page.$eval('[data-testid=state-card]', (one) => one.textContent);
    expect(card).toMatch(/The phone unlinked this device\..*Since .*Press “Start”.*LOGGED_OUT_BY_PHONE.*Start$/);
  });
  await change((tx) => updateRows(tx, Session, { id: shop }, { ...lost, reasonCode: 'WORKER_LOST' }));
  await page.waitForFunction(() => document.querySelector('[data-testid=state-card]')?.textContent?.includes('WORKER_LOST'), {
    timeout: boundMs,
  });
  // It comes back by itself: nothing to link, nothing to press.
  expect(await page.$('.cq-steps')).toBeNull();
  expect(await page.$('[data-testid=state-card] button')).toBeNull();
  await change((tx) => updateRows(tx, Session, { id: shop }, { status: 'suspended', reasonCode: 'SUSPENDED_BY_STAFF' }));
  await page.waitForSelector('[data-testid=session][data-status=suspended]');
  expect(await page.$('[data-testid=send]')).toBeNull();
  await change((tx) => updateRows(tx, Session, { id: shop }, { status: 'connected', reasonCode: null }));
  await calm();
});

it('says that a receiver fails, when it is tried again, and what failed in the last day', async () => {
  await open('/resources/webhooks');
  await page.waitForSelector('.cq-table .cq-badge.cq-good');
  const failing = { failures: 14, failingSince: new Date(Date.now() - 60_000), openUntil: new Date(Date.now() + 50_000) };
  await told(
    'receiver',
    () => change((tx) => updateRows(tx, Webhook, { id: hook }, failing)),
    'bad',
    'The webhook shop.example/hooks fails: the last 14 attempts failed.',
    '(1 problem) Webhooks · Chasqui',
  );
  expect(await page.$eval('[data-testid=alerts]', (one) => one.textContent)).toMatch(/Next attempt in \d+ s\./);
  // The list is read again when the alerts change.
  await page.waitForSelector('.cq-table .cq-badge.cq-bad', { timeout: 5_000 });
  expect(await page.$eval('.cq-table tbody', (rows) => (rows as HTMLElement).innerText)).toMatch(/Paused after failures\s+50 %/);
  await change((tx) => updateRows(tx, Webhook, { id: hook }, { failures: 0, failingSince: null, openUntil: null }));
  await calm();
});

it.each([
  ['backend that hangs', () => undefined, 'The backend does not answer.'],
  ['backend that is gone', (request: HTTPRequest) => request.abort('connectionrefused'), 'The backend does not answer.'],
  [
    'database that does not answer',
    (request: HTTPRequest) =>
      request.respond({
        status: 503,
        contentType: 'application/json',
        body: JSON.stringify({ error: { code: 'DATABASE_UNAVAILABLE', message: 'The database does not answer.' } }),
      }),
    'The database does not answer.',
  ],
])('says of a %s by itself how old the data is, and keeps nothing green', async (name, answer, words) => {
  await open('');
  await page.waitForSelector('.cq-tile.cq-good');
  let isOut = false;
  await page.setRequestInterception(true);
  const intercept = (request: HTTPRequest): void =>
    void (isOut && request.url().includes('/admin/live/') ? answer(request) : request.continue());
  page.on('request', intercept);
  try {
    await told(name.replaceAll(' ', '-'), () => (isOut = true), 'bad', words, '(no answer) Overview · Chasqui');
    expect(await page.$eval('[data-testid=alerts]', (one) => one.textContent)).toMatch(/What you see is from/);
    expect(await page.$eval('.cq-fresh', (one) => [one.className, one.textContent])).toEqual([
      'cq-fresh cq-bad',
      expect.stringContaining('Not live, updated'),
    ]);
    const edges = await page.$$eval('.cq-tile', (tiles) => tiles.map((tile) => getComputedStyle(tile).borderTopColor));
    const green = await page.evaluate(() => {
      const probe = document.body.appendChild(document.createElement('i'));
      probe.style.color = 'var(--cq-good)';
      return getComputedStyle(probe).color;
    });
    expect(edges).not.toContain(green);
  } finally {
    page.off('request', intercept);
    await page.setRequestInterception(false);
  }
  await calm();
});

it('says that no backend runs the jobs, and which of them fails', async () => {
  await open('');
  await change((tx) =>
    insertRow(tx, JobState, { name: 'media.cleanup', isStopped: false, handledUntil: new Date(), failures: 4, retryAt: null }),
  );
  await told('job', () => undefined, 'bad', 'The job “Delete old files” fails.', '(1 problem) Overview · Chasqui');
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.cq-tile.cq-bad')].some((tile) => /Jobs failing1/.test(tile.textContent!)),
  );
  await change((tx) => updateRows(tx, JobState, { name: 'media.cleanup' }, { failures: 0 }));
  await calm();
  if (performance.now() - startedAt < 31_000)
    await new Promise((resolve) => setTimeout(resolve, 31_000 - (performance.now() - startedAt)));
  await told(
    'leader',
    () => addLeader(world.database.write, new Date(Date.now() - 60_000)),
    'bad',
    'No backend runs the jobs.',
    '(1 problem) Overview · Chasqui',
  );
  await addLeader(world.database.write);
  await calm();
}, 90_000);

it('asks with the focus on Cancel: neither Enter twice nor Escape unlinks a phone', async () => {
  await open(sessionPage());
  const button = await page.waitForSelector('::-p-text(Unlink phone)');
  const asked = () => world.calls.filter(({ verb }) => verb === 'sessions.logout').length;
  for (const key of ['Enter', 'Escape'] as const) {
    await button!.focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    expect(await page.$eval('dialog', (one) => one.textContent)).toMatch(/Unlink \+44.* from shop\?The login is deleted\./);
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Cancel');
    await page.keyboard.press(key);
    await page.waitForFunction(() => !document.querySelector('dialog'));
    expect(asked()).toBe(0);
  }
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Unlink phone');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog .cq-yes');
  await page.click('dialog .cq-yes');
  await page.waitForSelector('[data-testid=session][data-status=disconnected]');
  expect(asked()).toBe(1);
});
