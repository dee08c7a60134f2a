import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { newId } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { insertRow } from '../src/db/rows.js';
import { JobRun } from '../src/jobs/job.entity.js';
import { OptOut } from '../src/opt-outs/opt-out.entity.js';
import { Webhook, WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addDelivery, addKey, addWebhook, addWorker } from './panel.rows.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';

/** The pages of deliveries, jobs and backups as a person uses them. PANEL_SHOTS names a folder for pictures. */

let world: World;
let browser: Browser;
let page: Page;
/** An endpoint with 30 failed deliveries and one that arrived. */
let hook: string;

beforeAll(async () => {
  world = await startWorld();
  const { write } = world.database;
  await addWorker(write, { id: 'worker-1' });
  const owner = world.accounts.user;
  await addWebhook(write, owner, 'https://other.example/hooks');
  hook = newId();
  const now = new Date();
  const endpoint = {
    url: 'https://shop.example/hooks',
    events: ['message.*'],
    types: {},
    secret: 'sealed',
    createdAt: now,
    updatedAt: now,
  };
  await write.run((tx) => insertRow(tx, Webhook, { ...endpoint, id: hook, accountId: owner }));
  const shared = { webhookId: hook, accountId: owner };
  for (let number = 0; number < 30; number += 1)
    await addDelivery(world.database, { ...shared, type: 'message.sent', codes: [503, 500] });
  await addDelivery(world.database, { ...shared, type: 'message.received', codes: [204] });
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
  const context = page.browserContext();
  await context.overridePermissions(world.url, ['clipboard-read', 'clipboard-write', 'clipboard-sanitized-write']);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});
beforeEach(() => void world.calls.splice(0));

const open = async (path: string): Promise<void> => {
  await page.goto(`${world.url}/admin/${path}`);
  await page.waitForSelector('.cq-head .cq-live, .cq-head .cq-badge');
};
/** Presses the button with this label, within a part of the page. */
const press = async (label: string, within = 'main'): Promise<void> => {
  await page.waitForFunction(
    (wanted, where) => {
      const buttons = [...(document.querySelector(where)?.querySelectorAll('button') ?? [])];
      const button = buttons.find((one) => one.textContent === wanted && !one.disabled);
      button?.click();
      return button !== undefined;
    },
    {},
    label,
    within,
  );
};
/** Says yes in the dialog, and returns what it asked. */
async function confirm(): Promise<string> {
  const dialog = await page.waitForSelector('dialog[open]');
  const asked = await dialog!.evaluate(
    (one) => `${one.querySelector('h2')!.textContent} ${one.querySelector('p')?.textContent ?? ''}`,
  );
  await page.click('dialog[open] .cq-yes');
  return asked;
}
const waitRows = (number: number, selector = '.cq-deliveries > li') =>
  page.waitForFunction((wanted, at) => document.querySelectorAll(at).length === wanted, {}, number, selector);
const choose = (label: string, value: string) =>
  page.evaluate(
    (wanted, next) => {
      const found = [...document.querySelectorAll('.cq-delivery-filter label')].find(
        (one) => one.firstChild?.textContent === wanted,
      )!;
      const field = found.querySelector<HTMLSelectElement>('select')!;
      Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value')!.set!.call(field, next);
      field.dispatchEvent(new Event('change', { bubbles: true }));
    },
    label,
    value,
  );
const waiting = () => world.database.reader.getRepository(WebhookDelivery).countBy({ webhookId: hook, status: 'pending' });

it('filters, turns the pages of and opens deliveries, copies a request, and resends those selected and those counted', async () => {
  await open('pages/deliveries');
  await waitRows(25);
  await choose('Endpoint', hook);
  await choose('State', 'failed');
  await page.waitForFunction(
    (id) => location.search.includes(`webhookId=${id}`) && location.search.includes('status=failed'),
    {},
    hook,
  );
  await waitRows(25);
  await press('Older');
  await waitRows(5);
  await press('Newer');
  await waitRows(25);

  await page.click('.cq-deliveries > li details summary');
  await page.waitForSelector('.cq-deliveries details ol li');
  const attempts = await page.$$eval('.cq-deliveries details ol li', (all) => all.map((one) => one.textContent));
  expect(attempts).toEqual([expect.stringMatching(/^1\. .+503.*31 ms/), expect.stringMatching(/^2\. .+500.*31 ms/)]);
  const shown = await page.$$eval('.cq-deliveries details pre', (all) => all.map((one) => one.textContent));
  expect(shown).toEqual([
    'POST https://shop.example/hooks\nx-chasqui-event: message.sent\nx-chasqui-signature: …\n\n{\n  "event": "message.sent"\n}',
    '500\n\n{\n  "error": "down"\n}',
  ]);
  await press('Copy as curl');
  await waitText(page, 'The request is copied as curl.');
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(
    `curl -X POST 'https://shop.example/hooks' \\\n  -H 'x-chasqui-event: message.sent' \\\n  --data-raw '{"event":"message.sent"}'`,
  );
  await shoot(page, 'deliveries');

  for (const place of [1, 2]) await page.click(`.cq-deliveries > li:nth-child(${place}) input[type=checkbox]`);
  await press('Resend 2 selected');
  await waitText(page, '2 queued, under the same ids.', '.cq-notice');
  expect(await waiting()).toBe(2);
  // How many the filters mean is said before anything starts.
  await press('Count failed deliveries to resend');
  await press('Resend 28 now');
  expect(await waiting()).toBe(2);
  expect(await confirm()).toContain('Resend 28 failed deliveries that fit the filters?');
  await waitText(page, '28 queued, under the same ids.', '.cq-notice');
  expect(await waiting()).toBe(30);
  expect(world.calls.map(({ verb }) => verb).filter((verb) => verb.endsWith('.resend'))).toHaveLength(2);
}, 60_000);

it('shows the deliveries of one endpoint on its page, and how many start again before they do', async () => {
  const other = { webhookId: hook, accountId: world.accounts.user, type: 'message.failed' };
  await addDelivery(world.database, { ...other, codes: [500] });
  await open(`resources/webhooks/records/${hook}/show`);
  await waitText(page, 'message.failed', '.cq-deliveries');
  await page.click('.cq-deliveries > li details summary');
  await page.waitForSelector('.cq-deliveries details ol li');
  expect(await page.$eval('.cq-deliveries details pre', (one) => one.textContent)).toContain('x-chasqui-event: message.failed');
  expect(await page.$eval('.cq-deliveries', (list) => list.querySelector('input'))).toBeNull();
  await shoot(page, 'webhook-deliveries');
  await press('Send 1 failed again');
  expect(await confirm()).toBe(
    'Send 1 failed delivery to shop.example/hooks again? They keep their ids. They are sent now, in order.',
  );
  await waitText(page, '1 delivery waits again.', '.cq-notice');
  await page.click('main a[href*="pages/deliveries?webhookId="]');
  await waitRows(25);
  expect(page.url()).toBe(`${world.url}/admin/pages/deliveries?webhookId=${hook}`);
}, 60_000);

it('asks before a key is switched off and an opt-out is removed, and names them and what follows', async () => {
  const { write } = world.database;
  const key = await addKey(write, { accountId: world.accounts.user, sessionId: null, name: 'till', permissions: ['*'] });
  await page.goto(`${world.url}/admin/resources/keys/records/${key}/show`);
  await press('Switch off');
  expect(await confirm()).toBe(
    'Switch off the key till? Programs that use it are refused from the next request on, until it is switched on.',
  );
  // Switching it on again takes nothing from anyone.
  await press('Switch on');
  await waitText(page, 'Switched on.', '.cq-notice');
  const [id, now] = [newId(), new Date()];
  const person = { accountId: world.accounts.user, waId: '5511999990001@c.us', state: 'out' as const, source: 'api' as const };
  await write.run((tx) => insertRow(tx, OptOut, { ...person, id, changedAt: now, createdAt: now }));
  await page.goto(`${world.url}/admin/resources/optouts/records/${id}/show`);
  await press('Remove');
  expect(await confirm()).toBe(
    'Remove the opt-out of +55 11 99999-0001? The person can be written to again. Bulk jobs skip them no longer.',
  );
}, 60_000);

it('runs, stops and starts a job, and lists its runs', async () => {
  const at = new Date(Date.now() - 3_600_000);
  const done = {
    job: 'media.cleanup',
    trigger: 'schedule' as const,
    createdAt: at,
    startedAt: at,
    endedAt: at,
    code: null,
    detail: null,
  };
  const steps = [{ name: 'files', durationMs: 4, counts: { deleted: 3 }, error: null }];
  await world.database.write.run((tx) => insertRow(tx, JobRun, { ...done, id: newId(at.getTime()), status: 'succeeded', steps }));
  await open('pages/jobs');
  const job = '[data-testid="job-media.cleanup"]';
  await press('Runs', job);
  await waitText(page, 'Succeeded', '[data-testid="runs-media.cleanup"]');
  expect(await page.$eval('[data-testid="runs-media.cleanup"]', (runs) => runs.textContent)).toContain('3 deleted.');
  await press('Run now', job);
  await waitText(page, 'Waits to run', `${job} .cq-badge`);
  await waitText(page, 'by mara', '[data-testid="runs-media.cleanup"]');
  await press('Stop', job);
  expect(await confirm()).toMatch(/^Stop the schedule of Delete old files\? /);
  await press('Start', job);
  await waitText(page, 'It runs by its schedule again.', '.cq-notice');
  await shoot(page, 'jobs');
  const staff = await visit(browser, world, [1440, 900], { login: 'tomas@example.org', password: passwords.staff });
  await staff.goto(`${world.url}/admin/pages/jobs`);
  await staff.waitForSelector(job);
  expect(await staff.$$eval(`${job} button`, (all) => all.map((one) => one.textContent))).toEqual(['Runs']);
}, 60_000);

it('makes, downloads and deletes a backup', async () => {
  await open('pages/backups');
  await waitText(page, 'There is no backup yet');
  await press('Back up now');
  await waitText(page, 'Ready', '.cq-backups');
  await shoot(page, 'backups');
  const file = await page.evaluate(async () => {
    const link = document.querySelector<HTMLAnchorElement>('.cq-backups a[download]')!;
    const response = await fetch(link.href);
    return [response.status, response.headers.get('content-disposition'), await response.text()];
  });
  expect(file).toEqual([200, expect.stringContaining('chasqui-2026.backup'), 'sealed']);
  await press('Delete', '.cq-backups');
  expect(await confirm()).toMatch(
    /^Delete the backup chasqui-2026\.backup of .+\? Its file is removed, and nothing can be restored from it\.$/,
  );
  await waitText(page, 'There is no backup yet');
  expect(world.calls.map(({ verb }) => verb)).toEqual(['backups.create', 'backups.file', 'backups.remove']);
}, 60_000);
