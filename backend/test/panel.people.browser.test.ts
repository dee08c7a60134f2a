import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { newId } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { Account } from '../src/accounts/account.entity.js';
import { Plan } from '../src/accounts/plan.entity.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { insertRow } from '../src/db/rows.js';
import { lookWithAxe } from './panel.axe.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addSession } from './panel.rows.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';

/** What the panel sets of accounts and keys, and what the audit log says of it. */

let world: World;
let browser: Browser;
let page: Page;
let staff: Page;
let session: string;
let plan: string;

beforeAll(async () => {
  world = await startWorld();
  const { write } = world.database;
  session = await addSession(write, { accountId: world.accounts.user, name: 'shop', status: 'connected' });
  plan = newId();
  const limits = {
    dailyMessages: 500,
    monthlyMessages: 0,
    maxSessions: 3,
    apiLimit: 1000,
    pricePerMessage: '0.01',
    currency: 'EUR',
  };
  const times = { createdAt: new Date(), updatedAt: new Date() };
  await write.run((tx) => insertRow(tx, Plan, { id: plan, name: 'Small', ...limits, ...times }));
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
  await page.setBypassCSP(true);
  staff = await visit(browser, world, [390, 900], { login: 'tomas@example.org', password: passwords.staff });
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

const callsOf = (verb: string): unknown[] => world.calls.filter((call) => call.verb === verb).map(({ args }) => args);
const accountPath = (id: string): string => `${world.url}/admin/resources/accounts/records/${id}/show`;
const zoneForm = '[data-testid=timezone]';
const textOf = (of: Page, selector: string): Promise<string> => of.$eval(selector, (found) => (found as HTMLElement).innerText);

const secretOf = async (of: Page): Promise<string> =>
  (await of.waitForSelector('.cq-once input'))!.evaluate((input) => (input as HTMLInputElement).value);

async function setZone(of: Page, zone: string): Promise<void> {
  const input = (await of.waitForSelector(`${zoneForm} input`))!;
  await input.click({ count: 3 });
  await input.type(zone);
  await of.keyboard.press('Enter');
}

it('sets the time zone of an account, which its page shows, and marks the field of one that does not exist', async () => {
  await page.goto(accountPath(world.accounts.user));
  await setZone(page, 'America/Nowhere');
  await waitText(page, 'Use a time zone such as America/Lima.', `${zoneForm} .cq-field-problem`);
  expect(await page.$eval(`${zoneForm} input`, (input) => input === document.activeElement)).toBe(true);
  await shoot(page, 'zone-refused');
  await setZone(page, 'America/Sao_Paulo');
  await waitText(page, 'The time zone is America/Sao Paulo now.');
  const { timezone } = await world.database.reader.getRepository(Account).findOneByOrFail({ id: world.accounts.user });
  expect(timezone).toBe('America/Sao_Paulo');
  const suggested = await page.$$eval(`${zoneForm} datalist option`, (options) =>
    options.map((one) => (one as HTMLOptionElement).value),
  );
  expect(suggested).toContain('America/Lima');
  expect(await lookWithAxe(page, 'an account')).toEqual([]);
});

it('offers the zone of the browser', async () => {
  await page.emulateTimezone('Asia/Tokyo');
  await page.goto(accountPath(world.accounts.user));
  await (await page.waitForSelector(`${zoneForm} .cq-form > .cq-button[type=button], ${zoneForm} button[type=button]`))!.click();
  await page.waitForFunction(
    (form) => (document.querySelector(`${form} input`) as HTMLInputElement).value === 'Asia/Tokyo',
    {},
    zoneForm,
  );
  await page.emulateTimezone('UTC');
});

it('lets staff set their own zone and no other', async () => {
  await staff.goto(accountPath(world.accounts.staff));
  await setZone(staff, 'Europe/Lisbon');
  await waitText(staff, 'The time zone is Europe/Lisbon now.');
  expect(await staff.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
  await shoot(staff, 'zone-staff');
  await staff.goto(accountPath(world.accounts.user));
  await waitText(staff, 'Only an admin can change accounts.');
  expect(await staff.$(zoneForm)).toBeNull();
  const status = await staff.evaluate(async (path) => {
    const headers = { 'content-type': 'application/json' };
    return (await fetch(path, { method: 'POST', headers, body: '{"timezone":"UTC"}' })).status;
  }, `${world.url}/admin/live/accounts/${world.accounts.user}/timezone`);
  expect(status).toBe(403);
});

const formPath = (table: string): string => `${world.url}/admin/resources/${table}/actions/new`;

it('creates an account on a plan', async () => {
  await page.goto(formPath('accounts'));
  await page.waitForSelector(`option[value="${plan}"]`);
  await page.type('main form input[maxlength="64"]', 'fresh-shop');
  await page.type('input[type=email]', 'fresh@example.org');
  await page.select('select:has(option[value="' + plan + '"])', plan);
  await shoot(page, 'new-account');
  await page.keyboard.press('Tab');
  await page.$eval('main form', (form) => (form as HTMLFormElement).requestSubmit());
  expect(await secretOf(page)).toBe('one-time-7Hq');
  expect(callsOf('accounts.create')).toEqual([
    [{ username: 'fresh-shop', email: 'fresh@example.org', role: 'user', planId: plan }],
  ]);
});

it('creates a key with single permissions, an expiry and a limit', async () => {
  await page.goto(formPath('keys'));
  await page.waitForSelector(`option[value="${world.accounts.user}"]`);
  await page.type('main form input[maxlength="100"]', 'reader');
  await page.select(`select:has(option[value="${world.accounts.user}"])`, world.accounts.user);
  await page.waitForSelector(`option[value="${session}"]`);
  await page.select('select:has(option[value=single])', 'single');
  await page.waitForSelector('[data-choice="messages.send"]');
  await page.evaluate(() => {
    for (const details of document.querySelectorAll<HTMLDetailsElement>('.cq-picker details')) details.open = true;
  });
  // The set that was chosen before is where single permissions begin.
  for (const name of ['messages.send', 'chats.*', 'audit.read'])
    await page.$eval(`[data-choice="${name}"]`, (box) => (box as HTMLElement).click());
  await page.select('select:has(option[value=at])', 'at');
  await page.waitForSelector('input[type=datetime-local]');
  await page.$eval('input[type=datetime-local]', (input) => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')!.set!.call(input, '2030-01-31T08:30');
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
  await page.type('input[type=number][min="0"]', '-5');
  await page.$eval('main form', (form) => Object.assign(form, { noValidate: true }).requestSubmit());
  await waitText(page, 'Enter 0 or more.', '.cq-field-problem');
  await shoot(page, 'new-key');
  expect(await lookWithAxe(page, 'a new key')).toEqual([]);
  await page.click('input[type=number][min="0"]', { count: 3 });
  await page.type('input[type=number][min="0"]', '60');
  await page.type('input[type=number][max="86400"]', '30');
  await page.$eval('main form', (form) => (form as HTMLFormElement).requestSubmit());
  expect(await secretOf(page)).toBe('cq_live_shown_once');
  const permissions = ['instance.info', 'chats.*', 'audit.read'];
  const limit = { rateLimit: 60, rateWindowMs: 30_000, expiresAt: new Date('2030-01-31T08:30Z'), autoRotation: false };
  const key = { accountId: world.accounts.user, sessionId: null, name: 'reader', permissions, ...limit };
  expect(callsOf('keys.create')).toEqual([[key]]);
});

it('shows what was changed in the audit log, from what to what, by whom and in which account', async () => {
  const entry = { actorType: 'key' as const, actorName: 'Primary key', action: 'account.govern', objectType: 'account' };
  const id = newId();
  const of = { accountId: world.accounts.user, objectId: world.accounts.user, at: new Date() };
  const changes = { role: 'staff', maxMessagesPerDay: 500, isActive: true };
  const previous = { role: 'user', maxMessagesPerDay: 0, isActive: true };
  await world.database.write.run((tx) => insertRow(tx, AuditLog, { id, ...entry, ...of, changes, previous }));
  await page.goto(`${world.url}/admin/resources/audit`);
  await page.waitForSelector('.cq-of-audit tbody tr');
  const row = `.cq-of-audit tbody tr:has(a[href$="${id}/show"])`;
  expect(await textOf(page, `${row} .cq-as-changes`)).toBe('role: user → staff\nmaxMessagesPerDay: 0 → 500');
  expect(await textOf(page, `${row} .cq-as-actor`)).toBe('bakery · Primary key');
  expect(await textOf(page, `${row} .cq-as-name`)).toBe('bakery');
  await shoot(page, 'audit');
  expect(await page.$eval(`${row} .cq-as-object a`, (link) => link.getAttribute('href'))).toBe(
    `/admin/resources/accounts/records/${world.accounts.user}/show`,
  );
  await page.goto(`${world.url}/admin/resources/audit/records/${id}/show`);
  await waitText(page, 'user → staff');
  expect(await textOf(page, 'main')).not.toContain('isActive');
  await shoot(page, 'audit-entry');
  for (const theme of ['light', 'dark']) {
    await staff.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
    await staff.goto(`${world.url}/admin/resources/audit`);
    await staff.waitForSelector('.cq-of-audit tbody tr');
    await shoot(staff, `audit-${theme}`);
    expect(await staff.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
  }
});
