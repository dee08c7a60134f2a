import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { updateRows } from '../src/db/rows.js';
import { Message } from '../src/messages/message.entity.js';
import { lookWithAxe } from './panel.axe.js';
import { startWorld, type World } from './panel.fixture.js';
import { addMessage, addSession } from './panel.rows.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';

/** What the panel says of a recipient while it is typed, and of a message whose outcome is unknown. */

let world: World;
let browser: Browser;
let page: Page;
let session: string;

beforeAll(async () => {
  world = await startWorld();
  session = await addSession(world.database.write, { accountId: world.accounts.user, name: 'shop', status: 'connected' });
  browser = await launch();
  page = await visit(browser, world, [390, 900]);
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

const messagePath = (id: string): string => `${world.url}/admin/resources/messages/records/${id}/show`;
const hint = '[data-testid=recipient-hint]';
const noCode = 'This number is valid in no country. Add the country code, such as +55 11 99999-0001.';
const textOf = (selector: string): Promise<string> => page.$eval(selector, (found) => (found as HTMLElement).innerText);

async function type(selector: string, text: string): Promise<void> {
  const input = (await page.waitForSelector(selector))!;
  await input.click({ count: 3 });
  await input.type(text);
}

it('says while a number is typed that its country code is missing, and which number it is once it is there', async () => {
  await page.goto(`${world.url}/admin/resources/sessions/records/${session}/show`);
  const to = '[data-testid=send] input';
  await type(to, '11 99');
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(await textOf(hint)).toBe('');
  await type(to, '11 99999-0001');
  await waitText(page, noCode, hint);
  await shoot(page, 'hint');
  expect(await lookWithAxe(page, 'a hint')).toEqual([]);
  await type(to, '+55 11 99999-0001');
  await waitText(page, 'To +55 11 99999-0001.', hint);
  await type(to, '120363041111111111@g.us');
  await waitText(page, 'To a group.', hint);
  // Looking at a recipient sends nothing.
  expect(
    world.calls.map(({ verb }) => verb).filter((verb) => verb.startsWith('messages.') && verb !== 'messages.readRecipient'),
  ).toEqual([]);
});

it('says the same where a schedule is made, and where a failed message gets another number, with the refusal at the field', async () => {
  await page.goto(`${world.url}/admin/pages/schedules`);
  await page.waitForFunction(() =>
    [...document.querySelectorAll('button')].some((button) => button.innerText === 'New schedule'),
  );
  await page.evaluate(() =>
    [...document.querySelectorAll('button')].find((button) => button.innerText === 'New schedule')!.click(),
  );
  await type('[data-testid=new-schedule] input[placeholder^="+44"]', '11 99999-0001');
  await waitText(page, noCode, hint);
  const reason: [string, string] = ['RECIPIENT_NOT_ON_WHATSAPP', ''];
  const said = { sessionId: session, text: 'Hello', status: 'failed' as const, reason };
  await page.goto(messagePath(await addMessage(world.database, world.events, said)));
  await page.waitForFunction(() =>
    [...document.querySelectorAll('button')].some((button) => button.innerText.startsWith('Correct the')),
  );
  await page.evaluate(() =>
    [...document.querySelectorAll('button')].find((button) => button.innerText.startsWith('Correct the'))!.click(),
  );
  await type('input[type=tel]', '+49 abc');
  const message = 'A number holds digits, blanks, dashes and brackets only.';
  const { AppError } = await import('@chasqui/shared');
  const fields = [{ path: 'recipient', code: 'INVALID_RECIPIENT', message }];
  world.failNext('messages.resendTo', new AppError('INVALID_RECIPIENT', { fields }, message));
  await page.keyboard.press('Enter');
  await waitText(page, message, 'small.cq-field-problem');
  expect(
    await page.$eval('input[type=tel]', (input) => [input === document.activeElement, input.getAttribute('aria-invalid')]),
  ).toEqual([true, 'true']);
  await shoot(page, 'resend-refused');
  await type('input[type=tel]', '+44 7400 123124');
  await waitText(page, 'To +447400123124.', hint);
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('[data-testid=message]')?.getAttribute('data-status') === 'sent');
});

it('says how often and when an uncertain message was looked up, what that showed, and what comes next', async () => {
  const reason: [string, string] = ['TIMEOUT_AFTER_HANDOVER', ''];
  const { database, events } = world;
  const id = await addMessage(database, events, { sessionId: session, text: 'Hello', status: 'uncertain', reason });
  const set = (changes: Partial<Message>) => database.write.run((tx) => updateRows(tx, Message, { id }, changes));
  const line = '[data-testid=lookups]';
  await set({ nextAttemptAt: new Date(Date.now() + 60_000) });
  await page.goto(messagePath(id));
  await waitText(page, 'It has not been looked up in WhatsApp Web yet.', line);
  const next = new Date(Date.now() + 40_000);
  await set({ lookups: 1_380, lookedUpAt: new Date(Date.now() - 20_000), lookupResult: 'pending', nextAttemptAt: next });
  await waitText(page, 'Looked up 1,380 times in WhatsApp Web, last 2', line);
  expect(await textOf(line)).toMatch(
    /it is in WhatsApp Web, which has not sent it yet\. The next lookup is in \d\d s, at \d\d:\d\d:\d\d\.$/,
  );
  await shoot(page, 'lookups');
  expect(await lookWithAxe(page, 'lookups')).toEqual([]);
  await set({ lookups: 1, lookupResult: 'no_answer', nextAttemptAt: null });
  await waitText(page, 'WhatsApp Web did not answer. It waits for your decision', line);
  expect(await textOf(line)).toContain('Looked up once');
});
