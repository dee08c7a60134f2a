import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { AppError, validationError } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { lookWithAxe } from './panel.axe.js';
import { startWorld, type World } from './panel.fixture.js';
import { addEvent, addMessage, addSession } from './panel.rows.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';

/** The form of a webhook: headers, filter, samples, and what can be tried before it is saved; and the page of events. */

let world: World;
let browser: Browser;
let page: Page;
let session: string;

beforeAll(async () => {
  world = await startWorld();
  const { database, events, accounts } = world;
  session = await addSession(database.write, { accountId: accounts.user, name: 'shop', status: 'connected' });
  await addMessage(database, events, { sessionId: session, text: 'Is the rye loaf back?', direction: 'inbound' });
  await addMessage(database, events, { sessionId: session, text: 'Yes, on Friday.' });
  const data = { contact: { name: 'Ana' }, text: 'Is the rye loaf back?' };
  await addEvent(database.write, { accountId: accounts.user, sessionId: session, type: 'message.received', data });
  browser = await launch();
  page = await visit(browser, world, [1440, 1400]);
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

const trial = '[data-testid=webhook-trial]';
const press = (label: string): Promise<void> =>
  page.evaluate((wanted) => {
    const found = [...document.querySelectorAll('button')].find((button) => button.innerText === wanted);
    if (!found) throw new Error(`There is no button ${wanted}.`);
    found.click();
  }, label);
const tick = (name: string): Promise<void> => page.$eval(`[data-choice="${name}"]`, (box) => (box as HTMLElement).click());
const bodyOf = (verb: string): unknown =>
  world.calls
    .filter((call) => call.verb === verb)
    .at(-1)
    ?.args.at(-1);
const textOf = (selector: string): Promise<string> => page.$eval(selector, (found) => (found as HTMLElement).innerText);

async function openForm(): Promise<void> {
  await page.goto(`${world.url}/admin/resources/webhooks/actions/new`);
  await page.waitForSelector(`option[value="${world.accounts.user}"]`);
  await page.select(`select:has(option[value="${world.accounts.user}"])`, world.accounts.user);
}

it('shows which past events a filter lets through, while it is written', async () => {
  await openForm();
  await waitText(page, 'would have been delivered', trial);
  const all = await page.$$eval(`${trial} li`, (rows) => rows.map((row) => (row as HTMLElement).dataset['matches']));
  expect(all.length).toBeGreaterThan(1);
  expect(new Set(all)).toEqual(new Set(['true']));
  await tick('inbound');
  await page.waitForSelector(`${trial} li[data-matches=false]`);
  await page.type('textarea', '11 99999-0001');
  await waitText(page, 'Add the country code', trial);
  await page.click('textarea', { count: 3 });
  await page.type('textarea', '+5521988877766');
  await waitText(page, ', 0 would have been delivered', trial);
  await shoot(page, 'webhook-filter');
});

it('shows a sample of each chosen event', async () => {
  await page.click('[data-testid=sample] summary');
  await page.waitForSelector('[data-testid=sample] option');
  await page.select('[data-testid=sample] select', 'message.received');
  await waitText(page, '"event": "message.received"', '[data-testid=sample] pre');
  expect(await lookWithAxe(page, 'a new webhook')).toEqual([]);
});

it('tests the receiver before anything is saved, with the errors of the test at their fields', async () => {
  await openForm();
  await page.type('input[type=url]', 'http://127.0.0.1/hook');
  world.failNext('webhooks.tryDraft', new AppError('URL_NOT_ALLOWED', {}, 'This address is not allowed.'));
  await press('Test before saving');
  await waitText(page, 'This address is not allowed.', '.cq-field-problem');
  expect(await page.$eval('input[type=url]', (input) => input === document.activeElement)).toBe(true);
  await press('Add a header');
  await page.type('[aria-label="Name of header 1"]', 'X-Shop');
  await page.type('[aria-label="Value of header 1"]', 'lima');
  await press('Test before saving');
  await waitText(page, 'The receiver answered 401 after 9 ms.', trial);
  expect(bodyOf('webhooks.tryDraft')).toEqual({
    ...{ accountId: world.accounts.user, webhookId: null, url: 'http://127.0.0.1/hook', headers: { 'X-Shop': 'lima' } },
  });
  expect(world.calls.map(({ verb }) => verb)).not.toContain('webhooks.create');
});

it('refuses headers at their field, and creates a webhook with headers and a filter', async () => {
  await press('Add a header');
  await page.type('[aria-label="Name of header 2"]', 'x-shop');
  await press('Create webhook');
  await waitText(page, 'The header x-shop occurs twice.', '.cq-picker .cq-field-problem');
  await page.click('[aria-label="Name of header 2"]', { count: 3 });
  await page.type('[aria-label="Name of header 2"]', 'Not a name');
  await press('Create webhook');
  await waitText(page, 'The name of a header has letters, digits and dashes.', '.cq-picker .cq-field-problem');
  await shoot(page, 'webhook-headers');
  await page.click('[aria-label="Remove header 2"]');
  world.failNext(
    'webhooks.create',
    validationError([{ path: 'headers', code: 'INVALID_FORMAT', message: 'The header Host is set by Chasqui.' }]),
  );
  await press('Create webhook');
  await waitText(page, 'The header Host is set by Chasqui.', '.cq-picker .cq-field-problem');
  await tick('outbound');
  await page.type('textarea', '+55 21 98887-7766');
  await press('Create webhook');
  await page.waitForSelector('.cq-once input');
  expect(bodyOf('webhooks.create')).toEqual({
    ...{
      accountId: world.accounts.user,
      sessionId: null,
      url: 'http://127.0.0.1/hook',
      description: null,
      events: ['message.*'],
    },
    ...{ headers: { 'X-Shop': 'lima' }, filter: { chats: ['+55 21 98887-7766'], directions: ['outbound'] } },
  });
});

it('keeps stored headers, whose values it does not know, until they are replaced', async () => {
  await page.evaluate(() =>
    [...document.querySelectorAll('a')].find((link) => link.innerText.startsWith('Open the webhook'))!.click(),
  );
  const settings = '[data-testid=webhook-settings]';
  await page.waitForSelector(settings);
  expect(await textOf(settings)).toContain('Sent along: X-Shop. Their values are not shown.');
  expect(await textOf('main')).toContain('one chat; sent');
  expect(await textOf('main')).not.toContain('lima');
  await press('Test before saving');
  await waitText(page, 'The receiver answered 401', trial);
  expect(bodyOf('webhooks.tryDraft')).not.toHaveProperty('headers');
  await press('Save changes');
  await waitText(page, 'Saved.');
  expect(bodyOf('webhooks.update')).not.toHaveProperty('headers');
  await press('Replace headers');
  await page.waitForSelector('[aria-label="Name of header 1"]');
  await page.click('[aria-label="Remove header 1"]');
  await press('Save changes');
  await page.waitForFunction((at) => !document.querySelector<HTMLElement>(at)!.innerText.includes('X-Shop'), {}, settings);
  expect(bodyOf('webhooks.update')).toMatchObject({ headers: {} });
  expect(await lookWithAxe(page, 'a webhook')).toEqual([]);
  await page.setViewport({ width: 390, height: 900 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
  await page.$eval('[data-testid=webhook-settings] fieldset', (field) => field.scrollIntoView());
  await shoot(page, 'webhook-settings');
});

const transform = '[data-testid=transform]';
const retry = '[data-testid=retry]';
const bodyForm = `${transform} select`;
/** Puts a text into a field whose label begins with the given words. */
async function fill(label: string, text: string): Promise<void> {
  const selector = `::-p-xpath(//label[span[starts-with(., "${label}")]]/*[self::input or self::textarea])`;
  const field = (await page.waitForSelector(selector))!;
  await field.click({ count: 3 });
  await page.keyboard.press('Backspace');
  if (text) await field.type(text);
}

/** The sentence at the field that has the focus, or at the group of fields around it. */
const problemAtFocus = async (sentence: string): Promise<void> => {
  await page.waitForFunction(
    (wanted) => {
      const marked = document.activeElement?.closest('[aria-invalid=true], [data-invalid]');
      return document.getElementById(marked?.getAttribute('aria-describedby')?.split(' ')[0] ?? '')?.textContent === wanted;
    },
    { timeout: 10_000 },
    sentence,
  );
};

it('previews a transformation, and refuses a wrong one at its field', async () => {
  await page.setViewport({ width: 1440, height: 1400 });
  await openForm();
  await page.type('input[type=url]', 'https://shop.example/hooks');
  await waitText(page, 'would have been delivered', trial);
  expect(await page.$('[data-testid=transformed]')).toBeNull();
  await page.select(bodyForm, 'template');
  await fill('Template', '{ "said": {{data.text}} }');
  await waitText(page, 'This is not JSON.', trial);
  await press('Create webhook');
  await problemAtFocus('This is not JSON. Names and texts need double quotes, placeholders too.');
  await fill('Template', '{ "said": "{{data text}}" }');
  world.failNext(
    'webhooks.create',
    new AppError('TRANSFORM_INVALID', { field: 'transform.template' }, 'A placeholder is a path in double braces.'),
  );
  await press('Create webhook');
  await problemAtFocus('A placeholder is a path in double braces.');
  await fill('Template', '{ "said": "{{data.text}}", "kind": "{{type}}" }');
  await waitText(page, '"said": "Is the rye loaf back?"', '[data-testid=transformed]');
  await page.select(bodyForm, 'fields');
  await press('Create webhook');
  await waitText(page, 'Add at least one value.', `${transform} .cq-field-problem`);
  await press('Add a value');
  await page.keyboard.type('words');
  await page.keyboard.press('Tab');
  await page.keyboard.type('data.text');
  await press('Add a name');
  await page.keyboard.type('message.received');
  await press('Create webhook');
  await waitText(page, 'Fill in both fields of each name.', `${transform} .cq-field-problem`);
  await page.type('[aria-label="Name of name 1"]', 'incoming');
  await waitText(page, '"words": "Is the rye loaf back?"', '[data-testid=transformed]');
  await waitText(page, 'as incoming', '[data-testid=transformed]');
  await page.$eval(transform, (field) => field.scrollIntoView());
  await shoot(page, 'webhook-transform');
});

it.each([
  ['Seconds before each retry', '5, soon', 'soon is not a number of seconds from 0.1 to 604800, which is a week.'],
  ['Most retries', '101', 'Enter a whole number from 0 to 100.'],
  ['Seconds that the receiver may take', '31', 'Enter a number of seconds from 0.1 to 30.'],
])('refuses retries at the field “%s”', async (label, text, sentence) => {
  await fill(label, text);
  await press('Create webhook');
  await problemAtFocus(sentence);
  await fill(label, '');
});

it('sends the transformation and the retries with the test, and with the new webhook', async () => {
  await fill('Seconds before each retry', '0.5 30');
  await fill('Seconds that the receiver may take', '2.5');
  await press('Test before saving');
  await waitText(page, 'The receiver answered 401', trial);
  const form = {
    transform: { fields: { words: 'data.text' }, rename: { 'message.received': 'incoming' } },
    retry: { delaysMs: [500, 30_000], timeoutMs: 2_500 },
  };
  expect(bodyOf('webhooks.tryDraft')).toMatchObject(form);
  await press('Create webhook');
  await page.waitForSelector('.cq-once input');
  expect(bodyOf('webhooks.create')).toMatchObject(form);
});

it('sends the transformation and the retries of a webhook only when they are changed', async () => {
  await page.evaluate(() =>
    [...document.querySelectorAll('a')].find((link) => link.innerText.startsWith('Open the webhook'))!.click(),
  );
  await page.waitForSelector(transform);
  expect(await textOf('main')).toContain('the values words; message.received as incoming');
  expect(await textOf('main')).toContain('after 0.5, 30 seconds; an attempt may take 2.5 seconds');
  await waitText(page, '"words": "Is the rye loaf back?"', '[data-testid=transformed]');
  expect(await lookWithAxe(page, 'a webhook with a transformation')).toEqual([]);
  const save = async (): Promise<unknown> => {
    const before = world.calls.length;
    await press('Save changes');
    const began = Date.now();
    while (world.calls.length === before && Date.now() - began < 10_000) await new Promise((resolve) => setTimeout(resolve, 20));
    await page.waitForFunction(() => document.querySelector<HTMLButtonElement>('form button[type=submit]')?.disabled === false);
    return bodyOf('webhooks.update');
  };
  const unchanged = await save();
  expect(unchanged).not.toHaveProperty('transform');
  expect(unchanged).not.toHaveProperty('retry');
  await fill('Most retries', '4');
  const retried = await save();
  expect(retried).toMatchObject({ retry: { delaysMs: [500, 30_000], maxRetries: 4, timeoutMs: 2_500 } });
  expect(retried).not.toHaveProperty('transform');
  expect(await save()).not.toHaveProperty('retry');
  await page.focus('[aria-label="Remove name 1"]');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement?.textContent === 'Add a name');
  await page.select(bodyForm, 'whole');
  const removed = await save();
  expect(removed).toMatchObject({ transform: null });
  expect(removed).not.toHaveProperty('retry');
  await page.setViewport({ width: 390, height: 900 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
  for (const theme of ['light', 'dark'] as const) {
    await page.evaluate((chosen) => void (document.documentElement.dataset['theme'] = chosen), theme);
    await page.$eval(retry, (field) => field.scrollIntoView({ block: 'end' }));
    await shoot(page, `webhook-retry-${theme}`);
  }
});

it('finds events by their words, and says when nothing fits', async () => {
  await page.goto(`${world.url}/admin/pages/events`);
  await page.waitForSelector('.cq-events li');
  const rows = (): Promise<string[]> =>
    page.$$eval('.cq-events li > :first-child', (found) => found.map((one) => (one as HTMLElement).innerText));
  expect((await rows()).length).toBeGreaterThan(3);
  await page.type('input[type=search]', 'RYE LOAF');
  await page.waitForFunction(() => document.querySelectorAll('.cq-events li').length === 1);
  expect(await rows()).toEqual([expect.stringContaining('Is the rye loaf back?')]);
  await shoot(page, 'events');
  await page.type('input[type=search]', ' nowhere');
  await waitText(page, 'None of them meets the filter.');
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
  expect(await lookWithAxe(page, 'events')).toEqual([]);
});
