import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { startWorld, type World } from './panel.fixture.js';
import { addSession, addWorker } from './panel.rows.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';

/** The page of a session that WhatsApp asks for the passkey of its account. */

let world: World;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  world = await startWorld();
  await addWorker(world.database.write, { id: 'worker-1' });
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

const show = async (name: string, reasonCode: string): Promise<string> => {
  const id = await addSession(world.database.write, {
    ...{ accountId: world.accounts.user, name, workerId: 'worker-1', phoneNumber: '447400123109' },
    ...{ status: 'passkey_required', desired: 'running', reasonCode },
  });
  await page.goto(`${world.url}/admin/resources/sessions/records/${id}/show`);
  await page.waitForSelector('[data-testid=passkey]');
  return page.$eval('body', (body) => body.innerText);
};

it('shows how to answer a check of a linked account, and that the answer was accepted', async () => {
  const text = await show('checked', 'ACCOUNT_PASSKEY_REQUIRED');
  expect(text).toContain('WhatsApp checks this account and sends nothing until it has the account’s passkey.');
  expect(text).not.toContain('Link this phone');
  await shoot(page, 'passkey-of-a-linked-account');
  const response = { clientDataJSON: 'e30', authenticatorData: 'e30', signature: 'e30' };
  await page.$eval(
    '[data-testid=passkey] textarea',
    (area, value) => {
      const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value')!.set!;
      set.call(area, value);
      area.dispatchEvent(new Event('input', { bubbles: true }));
    },
    JSON.stringify({ id: 'a2V5', response }),
  );
  await page.click('[data-testid=passkey] button[type=submit]');
  await waitText(page, 'WhatsApp accepted the answer. The session continues.');
}, 90_000);

it('of an account that is being linked stays a step of linking', async () => {
  const text = await show('linking', 'WAITING_FOR_PASSKEY');
  expect(text).toContain('Link this phone');
  expect(text).not.toContain('WhatsApp checks this account');
}, 90_000);
