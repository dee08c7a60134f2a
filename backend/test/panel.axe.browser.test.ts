import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { newId } from '@chasqui/shared';
import { pageGroups } from '../panel/frame/pages.js';
import { Plan } from '../src/accounts/plan.entity.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { Failure } from '../src/failures/failure.entity.js';
import { OptOut } from '../src/opt-outs/opt-out.entity.js';
import { Template, TemplateVersion } from '../src/templates/template.entity.js';
import { Worker } from '../src/whatsapp/worker.entity.js';
import { lookWithAxe } from './panel.axe.js';
import { startWorld, type World } from './panel.fixture.js';
import { addKey, addMessage, addSession, addWebhook, addWorker } from './panel.rows.js';
import { launch, visit } from './panel.visit.js';

/** axe-core on every page of the panel, in both themes and on both widths: no finding that it calls serious or critical. */

let world: World;
let browser: Browser;
let page: Page;
const ids: Record<string, string> = {};

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
  await addRecords();
  browser = await launch();
  page = await visit(browser, world, [1440, 900]);
  // Only in this test: the scripts of a page of the panel need its nonce.
  await page.setBypassCSP(true);
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

/** One record of each of the kinds that no helper makes. */
async function addRecords(): Promise<void> {
  const { database, accounts } = world;
  const [now, accountId] = [new Date(), accounts.user];
  for (const name of ['plan', 'template', 'optout', 'audit', 'failure']) ids[name] = newId();
  const id = (name: string): string => ids[name]!;
  const times = { createdAt: now, updatedAt: now };
  await database.write.run(async (tx) => {
    const limits = { dailyMessages: 500, monthlyMessages: 0, maxSessions: 3, apiLimit: 1000 };
    await insertRow(tx, Plan, { id: id('plan'), name: 'Small', ...limits, pricePerMessage: '0.01', currency: 'EUR', ...times });
    await insertRow(tx, Template, { id: id('template'), accountId, name: 'paid', liveName: 'paid', version: 1, ...times });
    const content = { message: 'Hi {{name}}' };
    await insertRow(tx, TemplateVersion, {
      templateId: id('template'),
      version: 1,
      accountId,
      type: 'text',
      content,
      createdAt: now,
    });
    const said = { state: 'out' as const, source: 'keyword' as const, keyword: 'STOP' };
    await insertRow(tx, OptOut, {
      id: id('optout'),
      accountId,
      waId: '447400123123@c.us',
      ...said,
      changedAt: now,
      createdAt: now,
    });
    const entry = { actorType: 'panel' as const, actorName: 'mara', action: 'session.stop', objectType: 'session' };
    await insertRow(tx, AuditLog, {
      id: id('audit'),
      at: now,
      accountId,
      ...entry,
      objectId: id('session'),
      changes: { by: 'mara' },
    });
    const cause = { kind: 'job' as const, subject: 'cleanup', code: 'STORAGE_FULL', detail: 'The disk is full.', count: 2 };
    await insertRow(tx, Failure, { id: id('failure'), ...cause, firstAt: now, lastAt: now });
  });
}

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
    record('plans', ids['plan']),
    record('templates', ids['template']),
    record('optouts', ids['optout']),
    record('audit', ids['audit']),
    record('failures', ids['failure']),
  ];
};

/** Opens a page of the panel and waits until it shows its data. */
async function open(path: string): Promise<void> {
  await page.goto(`${world.url}/admin/${path}`);
  await page.waitForSelector('.cq-head h1');
  await page.waitForSelector('.cq-table, .cq-empty, .cq-list, .cq-workers, .cq-form, .cq-facts, .cq-tiles, .cq-panel');
}

it('finds nothing serious on any page, in either theme, on a wide screen or a phone', async () => {
  const found: string[] = [];
  for (const path of pages()) {
    await open(path);
    found.push(...(await lookWithAxe(page, path)));
  }
  expect(found).toEqual([]);
}, 300_000);

it('finds nothing serious while an outage is shown, and while a dialog asks', async () => {
  const { write } = world.database;
  const heartbeatAt = (time: number) =>
    write.run((tx) => updateRows(tx, Worker, { id: 'worker-1' }, { lastHeartbeatAt: new Date(time) }));
  await heartbeatAt(Date.now() - 60_000);
  try {
    await open('');
    await page.waitForSelector('[data-testid=alerts] .cq-bad');
    const found = await lookWithAxe(page, 'outage');
    await heartbeatAt(Date.now() + 3_600_000);
    await open(`resources/sessions/records/${ids['session']}/show`);
    await (await page.waitForSelector('::-p-text(Unlink phone)'))!.click();
    await page.waitForSelector('dialog[open]');
    expect([...found, ...(await lookWithAxe(page, 'dialog'))]).toEqual([]);
  } finally {
    await heartbeatAt(Date.now() + 3_600_000);
  }
}, 90_000);
