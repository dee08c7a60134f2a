import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, ElementHandle, Page } from 'puppeteer';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { launch, visit, views } from './panel.visit.js';
import { password } from './support/backend.js';
import { phoneOfRow, requireTrueCounts, rowsOf } from './support/bulk.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Templates, bulk jobs, schedules and opt-outs as a person uses them: a real browser at a whole backend. PANEL_SHOTS names a folder for pictures. */

let core: Core;
let browser: Browser;
let page: Page;
const folder = mkdtempSync(join(tmpdir(), 'panel-bulk-'));
const shots = process.env['PANEL_SHOTS'];
const problems: string[] = [];

beforeAll(async () => {
  await bundlePanel();
  // The stand-in beats once; it must not look silent.
  core = await startCore({ mountPanel, settings: { HEARTBEAT_SECONDS: '60' } });
  browser = await launch();
  page = await visit(browser, core.rig, [1440, 900], { login: 'admin@localhost.localdomain', password });
  page.on('console', (message) => void (message.type() === 'error' && problems.push(message.text())));
  page.on('pageerror', (error) => problems.push(String(error)));
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await core?.close();
  rmSync(folder, { recursive: true, force: true });
});

const open = async (path: string): Promise<void> => {
  await page.goto(`${core.rig.url}/admin/${path}`);
  await page.waitForSelector('.cq-head h1');
};
const text = (selector: string): Promise<string> => page.$eval(selector, (element) => (element as HTMLElement).innerText);
const waitText = (part: string, selector = 'body') =>
  page
    .waitForFunction(
      (wanted, where) => (document.querySelector<HTMLElement>(where)?.innerText ?? '').includes(wanted),
      {},
      part,
      selector,
    )
    .catch(async () => {
      throw new Error(`"${part}" is not in ${selector}, but: ${await text(selector).catch(String)}\n${problems.join('\n')}`);
    });

/** The field with this label. */
async function field(label: string): Promise<ElementHandle<HTMLInputElement>> {
  const found = await page.waitForSelector(
    `xpath/.//label[starts-with(normalize-space(.), "${label}")]//*[self::input or self::select or self::textarea]`,
  );
  return found as ElementHandle<HTMLInputElement>;
}
/** Replaces the value of a field as a browser does: React notices it. */
async function fill(label: string, value: string): Promise<void> {
  await (
    await field(label)
  ).evaluate((element, next) => {
    const { set } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), 'value')!;
    set!.call(element, next);
    element.dispatchEvent(new Event(element instanceof HTMLSelectElement ? 'change' : 'input', { bubbles: true }));
  }, value);
}
/** Presses the last enabled button with this label: that of an open dialog comes after the others. */
async function press(label: string, within = ''): Promise<void> {
  const path = `xpath/.${within}//button[normalize-space()="${label}" and not(@disabled)]`;
  await page.waitForSelector(path);
  await (await page.$$(path)).at(-1)!.click();
}
const confirm = async (): Promise<void> => {
  await page.waitForSelector('dialog[open] .cq-yes');
  await page.click('dialog[open] .cq-yes');
};

/** The page fits a wide screen and a phone, in both themes. */
async function look(name: string): Promise<void> {
  for (const [width, theme] of views) {
    await page.setViewport({ width, height: 900 });
    await page.evaluate((chosen) => void (document.documentElement.dataset['theme'] = chosen), theme);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect([name, width, overflow > 0 ? `wider by ${overflow}` : 'fits']).toEqual([name, width, 'fits']);
    if (!shots) continue;
    mkdirSync(shots, { recursive: true });
    const height = await page.evaluate(() => document.querySelector('.cq-page')?.scrollHeight ?? 0);
    await page.setViewport({ width, height: Math.max(844, height + 140) });
    await page.screenshot({ path: join(shots, `${name}-${width}-${theme}.png`) });
  }
  await page.setViewport({ width: 1440, height: 900 });
}

it('shows what a template becomes while it is written, and keeps each change as a version', async () => {
  await open('resources/templates/actions/new');
  await fill('Name', 'paid');
  await fill('Message', 'Hi {{name}}, {{amount|number}} paid');
  await waitText('Enter a value for name, amount.', '[data-testid=preview]');
  await fill('amount', '1234.5');
  await waitText('Enter a value for name.', '[data-testid=preview]');
  await (await page.$$('[data-testid=preview] input'))[0]!.type('Ana');
  await waitText('Hi Ana, 1,234.5 paid', '[data-testid=preview] .cq-bubble');
  await look('template-new');
  await press('Create template');
  await waitText('version 1', '.cq-head');
  await fill('Message', 'Hello {{name|there}}');
  await waitText('Hello there', '[data-testid=preview] .cq-bubble');
  await press('Save template');
  await waitText('version 2', '.cq-head');
  await waitText('messages that were accepted before stay as they are', '.cq-notice');
  await look('template');
  await open('resources/templates');
  await waitText('paid', '.cq-table');
  await look('templates');
  expect(problems.splice(0)).toEqual([]);
}, 60_000);

it('checks the rows of a CSV file, starts the job, follows it, and pauses, resumes, retries and cancels it', async () => {
  core.worker.scripts.push({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
  const rows = [0, 1, 2, 3, 4].map((row) => `${phoneOfRow(row)};João ${row}`);
  const file = join(folder, 'people.csv');
  writeFileSync(file, Buffer.from(['Telefone;Nome', ...rows, `${phoneOfRow(0)};again`, 'nobody;x'].join('\r\n'), 'latin1'));
  await open('resources/bulk/actions/new');
  await waitText('choose a session');
  await fill('Session', core.sessionId);
  await fill('Name', 'autumn');
  await fill('Message', 'Olá {{Nome}}, {{order}}');
  await (await field('CSV file')).uploadFile(file);
  await page.waitForFunction(() => [...document.querySelectorAll('textarea')].some(({ value }) => value.includes('João 4')));
  await press('Check the recipients');
  await waitText('The job cannot be accepted like this.');
  await waitText('These variables have no value: order.');
  await look('bulk-refused');
  await fill('Message', 'Olá {{Nome}}');
  expect(await page.$$('xpath/.//button[contains(., "Send to")]')).toEqual([]);
  await press('Check the recipients');
  await waitText('Result of the check');
  const facts = await text('.cq-page');
  expect(facts).toMatch(/Rows\s+7\s+Get a message\s+5\s+Skipped, DUPLICATE\s+1\s+Skipped, INVALID_RECIPIENT\s+1/);
  expect(facts).toContain('Olá João 0');
  expect(facts).toMatch(/Row 7: nobody/);
  await look('bulk-checked');
  await press('Send to 5 recipients');

  await waitText('autumn', '.cq-head h1');
  await waitText('Failed', '.cq-recipients');
  await press('Pause');
  await waitText('Paused', '.cq-head .cq-badge');
  await waitText('of 7', '.cq-meter');
  await look('bulk-paused');
  const [job] = (await core.get('/messages/bulk')).body.data as { id: string; status: string }[];
  expect(job!.status).toBe('paused');
  await fill('Show', 'skipped');
  await page.waitForFunction(() => document.querySelectorAll('.cq-recipients li').length === 2);
  const skipped = await text('.cq-recipients');
  expect(skipped).toMatch(/6\. \+5511988000000[\s\S]+Skipped[\s\S]+7\. nobody[\s\S]+Skipped/);
  const reasons = (await rowsOf(core, job!.id, '&status=skipped')).map(({ reason }) => reason!.message);
  for (const reason of reasons) expect(skipped).toContain(reason);
  await fill('Show', 'failed');
  await waitText('1. +5511988000000', '.cq-recipients');
  const [failed] = await rowsOf(core, job!.id, '&status=failed');
  expect(await text('.cq-recipients')).toContain(failed!.reason!.message);
  await press('Send failed again');
  await waitText('There are none.');
  await fill('Show', '');
  await press('Resume');
  await waitText('Running', '.cq-head .cq-badge');
  await waitText('Sent', '.cq-recipients');
  await look('bulk-running');
  await press('Cancel job');
  await waitText('Recipients without a message get none.', 'dialog[open]');
  await confirm();
  await waitText('Cancelled', '.cq-head .cq-badge');
  await eventually('an empty queue', async () => (await rowsOf(core, job!.id, '&status=queued')).length === 0);
  await requireTrueCounts(core, job!.id);
  const sent = await rowsOf(core, job!.id, '&status=sent');
  await page.waitForFunction(
    (wanted) => document.querySelector('.cq-facts')?.textContent?.includes(`Sent${wanted}`),
    {},
    String(sent.length),
  );
  expect(core.worker.left.map(({ command }) => command.recipient)).toEqual(sent.map(({ contact }) => contact!.id));
  await look('bulk-cancelled');
  await open('resources/bulk');
  await waitText('Cancelled', '.cq-table');
  await look('bulk-list');
  expect(problems.splice(0).filter((problem) => !problem.includes('422'))).toEqual([]);
}, 90_000);

/** A time of the browser, as its fields for a date and a time write it. */
const localTime = (day: number, hour: string): Promise<string> =>
  page.evaluate(
    (date, time) => {
      const now = new Date();
      const first = new Date(Date.UTC(now.getFullYear(), now.getMonth() + 1, date));
      return `${first.toISOString().slice(0, 10)}T${time}`;
    },
    day,
    hour,
  );

it('shows planned messages as a list and a calendar, moves and cancels them, and makes recurring schedules', async () => {
  await open(`resources/sessions/records/${core.sessionId}/show`);
  await page.waitForSelector('[data-testid=send]');
  await fill('To', phoneOfRow(60));
  await fill('Text', 'The shop opens at nine.');
  await fill('Send at', await localTime(11, '09:00'));
  await press('Send later');
  await waitText('Scheduled', '[data-testid=send]');
  const [planned] = (await core.get('/messages/list?status=scheduled')).body.data as { id: string; scheduledAt: string }[];

  await open('pages/schedules');
  await waitText('The shop opens at nine.', '[data-testid=scheduled-messages]');
  await press('Month after');
  await page.waitForSelector('.cq-calendar button[aria-label*="11 "][aria-label$=", 1 planned"]');
  await page.click('.cq-calendar button[aria-label$=", 1 planned"]');
  await waitText(phoneOfRow(60), '[data-testid=schedules-page] .cq-columns > div:first-child');
  await look('schedules-calendar');
  await press('Move');
  await page.waitForSelector('[aria-label="New time"]');
  await page.$eval(
    '[aria-label="New time"]',
    (element, next) => {
      const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')!;
      set!.call(element, next);
      element.dispatchEvent(new Event('input', { bubbles: true }));
    },
    await localTime(12, '10:30'),
  );
  await look('schedules-move');
  await press('Move');
  await waitText('Moved.', '.cq-notice');
  await page.waitForSelector('.cq-calendar button[aria-label*="12 "][aria-label$=", 1 planned"]');
  expect((await core.message(planned!.id)).scheduledAt!.slice(8, 10)).toBe('12');

  await press('New schedule');
  await page.waitForSelector('[data-testid=new-schedule]');
  await fill('Session', core.sessionId);
  await fill('To', phoneOfRow(61));
  await fill('Text', 'Good morning');
  await fill('Name', 'Morning');
  await fill('as cron writes it', 'nonsense nonsense');
  await waitText('Write five fields', '[data-testid=next-times]');
  // A preview that the server did not answer is asked for again, without another change.
  await page.setOfflineMode(true);
  await fill('as cron writes it', '0 9 * * 1');
  await waitText('The server does not answer. Trying again.', '[data-testid=next-times]');
  await page.setOfflineMode(false);
  // The line about the silent server goes away, and what is below it moves up: a click meets its button only after that.
  await page.waitForFunction(() => !document.querySelector('.cq-fresh')?.textContent?.startsWith('Not live'));
  await waitText('Next:', '[data-testid=next-times]');
  expect((await text('[data-testid=next-times]')).split('·')).toHaveLength(5);
  await look('schedules-new');
  await press('Create schedule');
  await waitText('Morning', '[data-testid=schedules]');
  await waitText('Next ', '[data-testid=schedules]');
  await page.waitForFunction(
    () => document.querySelectorAll('.cq-calendar button[aria-label*="planned"]:not([aria-label*="nothing"])').length >= 4,
  );
  await press('Pause', '//*[@data-testid="schedules"]');
  await waitText('Paused', '[data-testid=schedules] .cq-badge');
  await press('Resume', '//*[@data-testid="schedules"]');
  await waitText('Active', '[data-testid=schedules] .cq-badge');
  await press('Change times');
  await page.waitForSelector('[data-testid=change-times]');
  await look('schedules');
  await press('Go back');
  await press('Cancel', '//*[@data-testid="scheduled-messages"]');
  await waitText(`Cancel the message to`, 'dialog[open]');
  await confirm();
  await waitText('No scheduled messages');
  expect((await core.message(planned!.id)).status).toBe('cancelled');
  await press('Delete', '//*[@data-testid="schedules"]');
  await confirm();
  await waitText('No recurring schedules');
  expect((await core.get('/schedules')).body.data).toEqual([]);
  expect(problems.splice(0).filter((problem) => !/422|ERR_INTERNET_DISCONNECTED/.test(problem))).toEqual([]);
}, 90_000);

it('opts people out one by one and from a file, says which lines name nobody, and removes one again', async () => {
  const listed = async (): Promise<string[]> =>
    ((await core.get('/opt-outs')).body.data as { contact: { phone: string } }[]).map(({ contact }) => contact.phone).sort();
  await open('resources/optouts/actions/new');
  await fill('People', `${phoneOfRow(70)}\nnobody`);
  await press('Opt out');
  await waitText('nobody', '.cq-field-problem');
  expect(await listed()).toEqual([]);
  await look('optouts-new');
  await fill('People', phoneOfRow(70));
  await press('Opt out');
  await waitText(phoneOfRow(70).slice(1), '.cq-table');

  const file = join(folder, 'out.csv');
  const lines = Array.from({ length: 620 }, (_, row) => phoneOfRow(70 + row));
  writeFileSync(file, Buffer.from(['telefone;nome', ...lines.map((line) => `${line};José`), 'nobody;x'].join('\r\n'), 'latin1'));
  await open('resources/optouts/actions/new');
  await (await field('List')).uploadFile(file);
  await press('Import');
  await waitText('Added 619', '[data-testid=import]');
  const result = await text('[data-testid=import]');
  expect(result).toContain('1 was on the list already');
  expect(result).toMatch(/Row 622: nobody/);
  await look('optouts-imported');
  const all = (await core.get('/opt-outs?limit=1')).body.meta;
  expect(all).toMatchObject({ total: 620 });
  expect((await core.get(`/opt-outs/${encodeURIComponent(phoneOfRow(300))}`)).body.data).toMatchObject({ source: 'panel' });

  await open('resources/optouts');
  await look('optouts');
  await page.click('.cq-table tbody a');
  await page.waitForSelector('[data-testid=optout]');
  await waitText('a person at this panel');
  await look('optout');
  await press('Remove');
  await waitText('The person can be written to again.', 'dialog[open]');
  await confirm();
  await page.waitForSelector('.cq-table');
  expect((await core.get('/opt-outs?limit=1')).body.meta).toMatchObject({ total: 619 });
  expect(problems.splice(0).filter((problem) => !problem.includes('422'))).toEqual([]);
}, 90_000);
