import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { AppError, validationError } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { startWorld, type World } from './panel.fixture.js';
import { addKey, addSession } from './panel.rows.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';

/** Where the forms of the panel show what the server refused. */

let world: World;
let browser: Browser;
let page: Page;
let session: string;
let key: string;

beforeAll(async () => {
  world = await startWorld();
  const { write } = world.database;
  session = await addSession(write, { accountId: world.accounts.user, name: 'shop', status: 'connected' });
  key = await addKey(write, { accountId: world.accounts.user, sessionId: session, name: 'web', permissions: ['*'] });
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

async function open(path: string, form = 'main form.cq-form'): Promise<void> {
  await page.goto(`${world.url}/admin/${path}`);
  await page.waitForSelector(form);
}

/** Submits a form past the checks of the browser, so that the server is the one that refuses. */
const submit = (form = 'main form.cq-form'): Promise<void> =>
  page.$eval(form, (element) => {
    (element as HTMLFormElement).noValidate = true;
    (element as HTMLFormElement).requestSubmit();
  });

/** What a person is shown of a refusal: the marked fields by their names, their sentences, the field with the focus, and the sentence at the button. */
async function shown(form = 'main form.cq-form') {
  await page.waitForSelector(`${form} [role=alert]`);
  return page.$eval(form, (element) => {
    const textOf = (id: string | null | undefined): string => (id && document.getElementById(id)?.textContent) || '';
    const marked = [...element.querySelectorAll('[aria-invalid=true], [data-invalid]')];
    const focused = document.activeElement;
    return {
      sentences: marked.map((field) => textOf(field.getAttribute('aria-describedby')?.split(' ')[0])),
      isFirstFocused: marked.length > 0 && (marked[0] === focused || marked[0]!.contains(focused)),
      summary: element.querySelector('[role=alert]')?.textContent ?? '',
    };
  });
}

it('shows each error at its field, focuses the first, and keeps what was typed', async () => {
  await open('resources/webhooks/actions/new');
  await page.type('input[type=url]', 'https://shop.example/hooks');
  await page.type('input[placeholder="Orders of the shop"]', 'Orders');
  world.failNext(
    'webhooks.create',
    validationError([
      { path: 'description', code: 'TAKEN', message: 'Another webhook has this name.' },
      { path: 'url', code: 'INVALID_FORMAT', message: 'Use https.' },
      { path: 'events.0', code: 'INVALID_FORMAT', message: 'There is no such event.' },
    ]),
  );
  await submit();
  expect(await shown()).toEqual({
    sentences: ['Use https.', 'Another webhook has this name.', 'There is no such event.'],
    isFirstFocused: true,
    summary: 'Correct the 3 marked fields.',
  });
  expect(await page.$eval('input[type=url]', (input) => (input as HTMLInputElement).value)).toBe('https://shop.example/hooks');
  await shoot(page, 'form-errors');
});

it.each([
  ['resources/sessions/actions/new', 'Letters, digits, dashes and underscores, at most 64.'],
  ['resources/webhooks/actions/new', 'Enter a URL.'],
  ['resources/accounts/actions/new', 'Letters, digits, dots, dashes and underscores, at most 64.'],
  ['resources/keys/actions/new', 'Enter a name.'],
  ['resources/plans/actions/new', ''],
  ['resources/templates/actions/new', ''],
  ['resources/optouts/actions/new', 'Enter at least one number.'],
  ['resources/bulk/actions/new', ''],
])('of the empty form %s every refused field is marked', async (path, first) => {
  await open(path);
  await page.waitForFunction(
    () => [...document.querySelectorAll('main form select option')].length > 0 || !document.querySelector('main form select'),
  );
  await submit();
  const { sentences, isFirstFocused, summary } = await shown();
  expect(summary).toMatch(/^Correct the (marked field|\d marked fields)\.$/);
  expect(isFirstFocused).toBe(true);
  expect(sentences.every((sentence) => sentence.length > 5)).toBe(true);
  if (first) expect(sentences[0]).toBe(first);
});

it.each([
  [
    'the settings of a session',
    () => `sessions/records/${session}/show?tab=settings`,
    '[data-testid=session-settings]',
    'input[type=number]',
    '-5',
  ],
  ['the name of a session', () => `sessions/records/${session}/show?tab=settings`, '[data-testid=rename]', 'input', 'no blanks'],
  [
    'the limit of a session',
    () => `sessions/records/${session}/show?tab=settings`,
    'form:has([aria-label="Limit a day"])',
    'input',
    '-5',
  ],
  ['the limit of a key', () => `keys/records/${key}/show`, 'form:has([aria-label="Requests in a window"])', 'input', '-5'],
  [
    'the limit of an account',
    () => `accounts/records/${world.accounts.user}/show`,
    'form:has([aria-label="Own daily limit"])',
    'input',
    '-5',
  ],
])('marks the refused field of %s', async (_name, path, form, field, value) => {
  await open(`resources/${path()}`, form);
  const input = (await page.$(`${form} ${field}`))!;
  await input.click({ count: 3 });
  await input.type(value);
  await submit(form);
  const { sentences, isFirstFocused, summary } = await shown(form);
  expect([sentences.length, isFirstFocused, summary]).toEqual([1, true, 'Correct the marked field.']);
  await shoot(page, `form-${_name.replaceAll(' ', '-')}`);
});

it('marks the field of an error that names it in no list, and says at the button what is about no field', async () => {
  await open('resources/sessions/actions/new');
  await page.waitForSelector('main form select option');
  await page.type('input[placeholder=front-desk]', 'shop');
  world.failNext('sessions.create', new AppError('ALREADY_EXISTS', { field: 'name' }));
  await submit();
  expect(await shown()).toMatchObject({
    sentences: ['Something with this name exists already. Choose another.'],
    isFirstFocused: true,
    summary: 'Correct the marked field.',
  });
  world.failNext('sessions.create', new AppError('QUOTA_EXCEEDED', {}, 'The plan allows one session.'));
  await submit();
  await waitText(page, 'The plan allows one session.', 'main form [role=alert]');
  expect((await shown()).sentences).toEqual([]);
});
