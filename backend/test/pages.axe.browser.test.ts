import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { lookWithAxe } from './panel.axe.js';
import { launch, visit } from './panel.visit.js';
import { password } from './support/backend.js';
import { peopleFor, startJob } from './support/bulk.js';
import { startCore, type Core } from './support/core.js';

/** axe-core on the pages of a whole backend outside the frame of the panel, and on those that need a running job. */

let core: Core;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  await bundlePanel();
  core = await startCore({ mountPanel, settings: { HEARTBEAT_SECONDS: '60' } });
  browser = await launch();
  page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await core?.close();
});

it.each([
  ['the front page', '/', 'h1'],
  ['the list of guides', '/docs', 'ul a'],
  ['a guide', '/docs/integration-guide', 'pre'],
  // Swagger UI has a landmark of its own.
  ['the page of the API', '/api/docs', '.opblock-tag', 'operations'],
  ['the login', '/admin/login', '#login'],
  ['a first-password link that does not work', '/admin/first?token=x', 'h1'],
])(
  'finds nothing serious on %s, without a login',
  async (name, path, ready, mainId = 'content') => {
    await page.goto(core.rig.url + path);
    await page.waitForSelector(ready);
    expect(await lookWithAxe(page, name, mainId)).toEqual([]);
  },
  90_000,
);

it('finds nothing serious on the password pages, a missing page and a bulk job', async () => {
  const { id } = await startJob(core, { recipients: peopleFor(3) });
  const own = await visit(browser, core.rig, [1440, 900], { login: 'admin@localhost.localdomain', password });
  await own.setBypassCSP(true);
  const found: string[] = [];
  for (const [path, ready] of [
    ['/admin/password', '#next'],
    ['/admin/pages/nowhere', 'h1'],
    [`/admin/resources/bulk/records/${id}/show`, '.cq-recipients li'],
  ] as const) {
    await own.goto(core.rig.url + path);
    await own.waitForSelector(ready);
    found.push(...(await lookWithAxe(own, path)));
  }
  expect(found).toEqual([]);
}, 90_000);
