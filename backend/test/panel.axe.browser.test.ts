import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'puppeteer';
import { pageGroups } from '../panel/frame/pages.js';
import { startWorld, type World } from './panel.fixture.js';
import { addKey, addMessage, addSession, addWebhook, addWorker } from './panel.rows.js';
import { launch, visit, views } from './panel.visit.js';

/** axe-core on every page of the panel, in both themes and on both widths: no finding that it calls serious or critical. */

let world: World;
let browser: Browser;
let page: Page;
const ids: Record<string, string> = {};
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

beforeAll(async () => {
  world = await startWorld();
  const { database, events, accounts } = world;
  const { write } = database;
  await addWorker(write, { id: 'worker-1', sessions: 1, memoryMb: 812, memoryLimitMb: 4096, cpuPercent: 11 });
  const owner = { accountId: accounts.user, workerId: 'worker-1' };
  ids['session'] = await addSession(write, { ...owner, name: 'shop', status: 'connected', phoneNumber: '447400123101' });
  ids['lost'] = await addSession(write, {
    ...owner,
    name: 'van',
    status: 'disconnected',
    reasonCode: 'LOGGED_OUT_BY_PHONE',
    phoneNumber: '447400123102',
  });
  ids['code'] = await addSession(write, {
    ...owner,
    name: 'desk',
    status: 'qr_pending',
    reasonCode: 'WAITING_FOR_SCAN',
    qrText: '2@code,AAAA,BBBB,CCCC',
    qrId: 'qr-1',
    qrExpiresAt: new Date(Date.now() + 3_600_000),
  });
  const said = { sessionId: ids['session'], text: 'Your bread is ready.', chatName: 'Ines Okafor' };
  ids['message'] = await addMessage(database, events, { ...said, status: 'read' });
  ids['uncertain'] = await addMessage(database, events, { ...said, status: 'uncertain', reason: ['HELD_BY_POLICY', ''] });
  await addMessage(database, events, { ...said, status: 'failed', reason: ['RECIPIENT_NOT_ON_WHATSAPP', ''] });
  ids['hook'] = await addWebhook(write, accounts.user, 'https://shop.example/hooks');
  ids['key'] = await addKey(write, { accountId: accounts.user, sessionId: ids['session'], name: 'web', permissions: ['*'] });
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
  // Only in this test: the scripts of a page of the panel need its nonce.
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

const pages = (): string[] => {
  const record = (table: string, id: string | undefined): string => `resources/${table}/records/${id}/show`;
  const lists = [
    'sessions',
    'messages',
    'bulk',
    'webhooks',
    'templates',
    'optouts',
    'accounts',
    'plans',
    'keys',
    'audit',
    'failures',
  ];
  const forms = ['sessions', 'webhooks', 'templates', 'optouts', 'accounts', 'plans', 'keys', 'bulk'];
  return [
    '',
    ...lists.map((list) => `resources/${list}`),
    ...forms.map((form) => `resources/${form}/actions/new`),
    ...pageGroups.flatMap(({ links }) => links.map(([path]) => path.slice(1))).filter((path) => path.startsWith('pages/')),
    ...['session', 'lost', 'code'].map((name) => record('sessions', ids[name])),
    ...['chats', 'settings', 'webhooks', 'keys', 'events', 'health'].map(
      (tab) => `${record('sessions', ids['session'])}?tab=${tab}`,
    ),
    record('messages', ids['message']),
    record('messages', ids['uncertain']),
    record('webhooks', ids['hook']),
    record('accounts', world.accounts.user),
    record('keys', ids['key']),
  ];
};

/** The serious findings of the page as it is shown now, each with its elements. */
async function findings(): Promise<string[]> {
  const results = await page.evaluate(async () => {
    const { run } = (window as unknown as { axe: { run: (options: object) => Promise<AxeResults> } }).axe;
    return run({ resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
  });
  return results.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .slice(0, 3)
          .map(({ html }) => html.slice(0, 160))
          .join(' | ')}`,
    );
}

it('finds nothing serious on any page, in either theme, on a wide screen or a phone', async () => {
  const found: string[] = [];
  for (const path of pages()) {
    await page.goto(`${world.url}/admin/${path}`);
    await page.waitForSelector('.cq-head h1');
    await page.waitForSelector('.cq-table, .cq-empty, .cq-list, .cq-workers, .cq-form, .cq-facts, .cq-tiles, .cq-panel');
    await page.evaluate(axe);
    for (const [width, theme] of views) {
      await page.setViewport({ width, height: 900 });
      await page.evaluate((name) => void (document.documentElement.dataset['theme'] = name), theme);
      found.push(...(await findings()).map((one) => `${path} ${width} ${theme}: ${one}`));
    }
  }
  expect(found).toEqual([]);
}, 240_000);
