/* eslint-disable max-lines -- one browser and one world; starting both for each page would take longer than the tests */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import puppeteer, { type Browser, type Page } from 'puppeteer';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { updateRows } from '../src/db/rows.js';
import { passwords, startWorld, type World } from './panel.fixture.js';
import { addEvent, addImage, addKey, addMessage, addMessageEvents, addSession, addWebhook, addWorker } from './panel.rows.js';

/** A person at the panel: a real browser, the real pages, a seeded database. PANEL_SHOTS names a folder for pictures of every page. */
let world: World;
let browser: Browser;
const ids: Record<string, string> = {};
const shots = process.env['PANEL_SHOTS'];

beforeAll(async () => {
  world = await startWorld();
  await seed(world);
  const executablePath = process.env['BROWSER_PATH'];
  if (!executablePath) throw new Error('BROWSER_PATH is not set; npm test sets it.');
  browser = await puppeteer.launch({ executablePath, headless: true, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

/** A message with two earlier texts and two reactions, one of which was taken back. */
async function seedEdited(database: World['database'], now: number): Promise<void> {
  const at = (minutes: number): Date => new Date(now - minutes * 60_000);
  const id = await addMessage(database, world.events, {
    sessionId: ids['shop']!,
    text: 'We close at six today.',
    chatName: 'Ines Okafor',
    status: 'read',
    at: at(14),
  });
  ids['edited'] = id;
  const whatsappId = 'true_447400123123@c.us_3EB0A1B2C3D4E5F60718';
  await database.write.run((tx) => updateRows(tx, Message, { id }, { whatsappId, editedAt: at(9) }));
  const person = (name: string, phone: string) => ({ id: `${phone.slice(1)}@c.us`, phone, lid: null, name });
  const ines = person('Ines Okafor', '+447400123123');
  const leo = person('Leo Marsh', '+447400123124');
  await addMessageEvents(database, id, [
    { type: 'message.updated', at: at(12), data: { id, change: 'edited', previousText: 'We close at fife.' } },
    { type: 'message.reaction', at: at(11), data: { messageId: id, contact: leo, emoji: '🤔' } },
    { type: 'message.reaction', at: at(10), data: { messageId: id, contact: ines, emoji: '👍' } },
    { type: 'message.updated', at: at(9), data: { id, change: 'edited', previousText: 'We close at five.' } },
    { type: 'message.reaction', at: at(8), data: { messageId: id, contact: leo, emoji: null } },
  ]);
}

/** A day of an invented shop. */
async function seed({ database, events, accounts }: World): Promise<void> {
  const { write } = database;
  const owner = accounts.user;
  const hour = 3_600_000;
  const now = Date.now();
  await addWorker(write, { id: 'worker-1', sessions: 4, memoryMb: 812, memoryLimitMb: 4096, cpuPercent: 11 });
  await addWorker(write, { id: 'worker-2', sessions: 1, memoryMb: 240, memoryLimitMb: 4096, cpuPercent: 3, draining: true });
  const up = {
    accountId: owner,
    status: 'connected' as const,
    desired: 'running' as const,
    workerId: 'worker-1',
    memoryMb: 171,
    roundTripMs: 12,
  };
  ids['shop'] = await addSession(write, {
    ...up,
    name: 'shop',
    phoneNumber: '447400123101',
    pushName: 'Harbour Bakery',
    platform: 'android',
    lastSeen: new Date(),
    connectedAt: new Date(now - 5 * hour),
    sentCount: 1284,
    receivedCount: 967,
    failedCount: 3,
  });
  ids['orders'] = await addSession(write, {
    ...up,
    name: 'orders',
    phoneNumber: '447400123102',
    pushName: 'Harbour Orders',
    lastSeen: new Date(),
    connectedAt: new Date(now - 30 * hour),
  });
  await addSession(write, {
    ...up,
    name: 'support',
    phoneNumber: '447400123103',
    pushName: 'Harbour Help',
    lastSeen: new Date(),
    connectedAt: new Date(now - 2 * hour),
  });
  ids['desk'] = await addSession(write, {
    accountId: owner,
    name: 'front-desk',
    status: 'qr_pending',
    desired: 'running',
    reasonCode: 'WAITING_FOR_SCAN',
    reasonText: 'Scan the QR code with WhatsApp on the phone: Settings, Linked devices, Link a device.',
    qrText: '2@simulated-code-of-no-phone,AAAABBBBCCCCDDDD,EEEEFFFFGGGG',
    qrId: 'qr-1',
    qrExpiresAt: new Date(now + 55_000),
    workerId: 'worker-1',
  });
  await addSession(write, {
    accountId: owner,
    name: 'van-2',
    status: 'error',
    reasonCode: 'RECONNECT_EXHAUSTED',
    reasonText: 'All attempts to reconnect failed. Start the session again.',
    lastSeen: new Date(now - 3 * hour),
  });
  const people = ['Ines Okafor', 'Leo Marsh', 'Priya Nair', 'Jonas Weber', 'Ada Quill'];
  const said = [
    'Your bread is ready at four.',
    'Thank you! I am on my way.',
    'Is the rye loaf back?',
    'Order 1042 has left the shop.',
    'See you on Friday.',
  ];
  for (let index = 0; index < 110; index++) {
    const back = Math.round((index / 110) ** 1.3 * 23 * hour) + 60_000;
    const inbound = index % 5 < 2;
    await addMessage(database, events, {
      sessionId: ids['shop']!,
      direction: inbound ? 'inbound' : 'outbound',
      text: said[index % said.length]!,
      chatName: people[(index * 7) % people.length]!,
      at: new Date(now - back),
      status: inbound ? 'delivered' : (['read', 'delivered', 'sent'] as const)[index % 3]!,
    });
  }
  ids['failed'] = await addMessage(database, events, {
    sessionId: ids['shop']!,
    text: 'Your bread is ready at four.',
    chatName: 'Old number',
    status: 'failed',
    at: new Date(now - 40 * 60_000),
    reason: ['RECIPIENT_NOT_ON_WHATSAPP', 'The number is not registered on WhatsApp.'],
  });
  ids['uncertain'] = await addMessage(database, events, {
    sessionId: ids['orders']!,
    text: 'Order 1043 has left the shop.',
    chatName: 'Leo Marsh',
    status: 'uncertain',
    at: new Date(now - 9 * 60_000),
    reason: ['HELD_BY_POLICY', 'It is unknown whether the message was sent.'],
  });
  const mediaId = await addImage(write, owner);
  ids['image'] = await addMessage(database, events, {
    sessionId: ids['shop']!,
    text: 'The receipt',
    direction: 'inbound',
    status: 'delivered',
    chatName: 'Priya Nair',
    at: new Date(now - 5 * 60_000),
    mediaId,
    content: {
      type: 'image',
      media: { id: mediaId, mimetype: 'image/png', size: 70, filename: 'receipt.png', sha256: null },
      caption: 'The receipt',
    },
  });
  ids['markup'] = await addMessage(database, events, {
    sessionId: ids['shop']!,
    direction: 'inbound',
    status: 'delivered',
    text: '<img src=x onerror="window.broken=1"><script>window.broken=1</script> Hello',
    chatName: '<b>Bold</b>',
    at: new Date(now - 60_000),
  });
  await seedEdited(database, now);
  ids['hook'] = await addWebhook(write, owner, 'https://shop.example/whatsapp');
  ids['key'] = await addKey(write, {
    accountId: owner,
    sessionId: ids['shop']!,
    name: 'web shop',
    permissions: ['messages.send', 'instance.info'],
  });
  await addEvent(write, {
    accountId: owner,
    sessionId: ids['desk'],
    type: 'session.qr',
    data: { qrId: 'qr-1', qrText: 'never-shown', qrCode: 'never-shown', expiresAt: '' },
  });
}

interface Visit {
  page: Page;
  problems: string[];
}

/** A page that writes down what must not happen: errors on the console, and any request to another host. */
async function open(width = 1360, height = 940): Promise<Visit> {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width, height, deviceScaleFactor: shots && width < 500 ? 2 : 1 });
  page.setDefaultTimeout(60_000);
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warn') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== 'data:' && protocol !== 'blob:' && origin !== world.url)
      problems.push(`asked another host: ${request.url()}`);
  });
  return { page, problems };
}

async function signIn(page: Page, who: 'admin' | 'staff' = 'admin'): Promise<void> {
  await page.goto(`${world.url}/admin`);
  await page.waitForSelector('#login');
  await page.type('#login', who === 'admin' ? 'mara@example.org' : 'tomas@example.org');
  await page.type('#password', passwords[who]);
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  await page.waitForSelector('[data-testid=dashboard]');
}

const text = (page: Page, selector = 'body'): Promise<string> =>
  page.$eval(selector, (element) => (element as HTMLElement).innerText);
const waitText = (page: Page, part: string) =>
  page.waitForFunction((wanted) => document.body.innerText.includes(wanted), {}, part);
const pathOf = (table: string, id: string): string => `${world.url}/admin/resources/${table}/records/${id}/show`;
const overflow = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const box = document.querySelector('[data-css=app-content]');
    return Math.max(document.documentElement.scrollWidth - window.innerWidth, box ? box.scrollWidth - box.clientWidth : 0);
  });

async function shoot(page: Page, name: string): Promise<void> {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await new Promise((resolve) => setTimeout(resolve, 400)); // Charts and fonts settle; for pictures only.
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

describe('a person at the panel', () => {
  it('signs in, sees the figures, links a phone, sends, and follows the message', async () => {
    const { page, problems } = await open();
    await page.goto(`${world.url}/admin/login`);
    await shoot(page, 'login-light');
    await signIn(page);
    await page.waitForSelector('.cq-tile');
    const figures = await text(page, '.cq-tiles');
    expect(figures).toMatch(/Sessions connected\s+3 \/ 5/);
    expect(figures).toMatch(/Uncertain\s+1/);
    await page.waitForSelector('.cq-chart canvas');
    expect(await text(page)).toContain('All attempts to connect again failed.');
    await shoot(page, 'dashboard-light');
    if (shots) await page.setViewport({ width: 1360, height: 1110 });
    await shoot(page, 'panel');

    await page.setViewport({ width: 1360, height: 940 });
    await page.goto(pathOf('sessions', ids['desk']!));
    await page.waitForSelector('.cq-qr img');
    expect(await page.$eval('.cq-qr img', (image) => (image as HTMLImageElement).naturalWidth)).toBeGreaterThan(0);
    expect(await text(page)).toMatch(/A new code in \d+ s/);
    await shoot(page, 'session-qr-light');
    await page.click('.cq-details summary');
    await page.type('input[type=tel]', '+44 7400 123123');
    await page.click('.cq-details button');
    await waitText(page, 'K7Q2-M9XA');

    await world.database.write.run((tx) =>
      updateRows(
        tx,
        Session,
        { id: ids['desk']! },
        {
          status: 'connected',
          qrText: null,
          reasonCode: null,
          reasonText: null,
          phoneNumber: '447400123144',
          pushName: 'Front Desk',
          connectedAt: new Date(),
        },
      ),
    );
    await page.waitForSelector('[data-testid=session][data-status=connected]');
    expect(await text(page)).toContain('Front Desk is connected.');
    expect(await page.$('.cq-qr')).toBeNull();

    await page.type('[data-testid=send] input', '+44 7400 123199');
    await page.type('[data-testid=send] textarea', 'Hello from the panel');
    await page.click('[data-testid=send] button');
    await page.waitForSelector('[data-testid=send] .cq-note a');
    expect(world.calls.find((call) => call.verb === 'messages.sendText')?.args).toEqual([
      ids['desk'],
      { recipient: '+44 7400 123199', message: 'Hello from the panel' },
    ]);
    await page.click('[data-testid=send] .cq-note a');
    await page.waitForSelector('[data-testid=message]');
    await page.waitForSelector('.cq-timeline li');
    expect(await text(page, '.cq-timeline')).toMatch(/Queued[\s\S]*Sending[\s\S]*attempt 1[\s\S]*Sent/);
    expect(await text(page, '.cq-bubble')).toContain('Hello from the panel');
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 60_000);

  it('retries a failed message and settles an uncertain one, each after a confirmation where it matters', async () => {
    const { page, problems } = await open();
    await signIn(page, 'staff');
    await page.goto(pathOf('messages', ids['failed']!));
    await waitText(page, 'This number is not on WhatsApp.');
    expect(await text(page, '.cq-actions .cq-main')).toBe('Correct the number and resend');
    await shoot(page, 'message-failed-light');
    await page.click('::-p-text(Try again)');
    await page.waitForSelector('[data-testid=message][data-status=queued]');
    await page.goto(pathOf('messages', ids['uncertain']!));
    await waitText(page, 'It arrived');
    await page.click('.cq-actions .cq-button');
    await page.waitForFunction(() =>
      /^Did the message to .+ arrive\?$/.test(document.querySelector('dialog h2')?.textContent ?? ''),
    );
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => !document.querySelector('dialog'));
    expect(await text(page)).toContain('It arrived');
    await page.click('.cq-actions .cq-button');
    await page.waitForSelector('dialog .cq-yes');
    await page.click('dialog .cq-yes');
    await page.waitForSelector('[data-testid=message][data-status=sent]');
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 60_000);

  it('shows reactions and earlier texts of a message, and asks WhatsApp for receipts on a click', async () => {
    const { page, problems } = await open();
    await signIn(page, 'staff');
    await page.goto(pathOf('messages', ids['edited']!));
    await page.waitForSelector('[data-testid=reactions]');
    expect((await text(page, '[data-testid=reactions]')).trim()).toBe('👍 Ines Okafor');
    expect(await text(page, '[data-testid=edits]')).toMatch(/five\.[\s\S]*fife\./);
    expect(world.calls.filter(({ verb }) => verb === 'messages.receipts')).toEqual([]);
    await page.click('[data-testid=receipts] button');
    await waitText(page, '1 more has not');
    expect(await text(page, '[data-testid=receipts]')).toContain('Ana');
    await shoot(page, 'message-edited-light');
    world.failNext('messages.receipts', new AppError('SESSION_NOT_CONNECTED'));
    await page.click('[data-testid=receipts] button');
    await page.waitForSelector('[data-testid=receipts] [role=alert]');
    await page.browserContext().close();
    // The browser itself notes the refused request.
    expect(problems.filter((problem) => !problem.includes('409'))).toEqual([]);
  }, 60_000);

  it('decides on messages of the formerly linked account, after a confirmation, and offers only those that can be sent', async () => {
    const { page, problems } = await open();
    const { database, events } = world;
    const [session, ...held] = [
      ids['orders']!,
      await addMessage(database, events, { sessionId: ids['orders']!, text: 'Held, certain', status: 'queued' }),
      await addMessage(database, events, { sessionId: ids['orders']!, text: 'Held, uncertain', status: 'queued' }),
    ];
    await database.write.run(async (tx) => {
      await updateRows(tx, Session, { id: session }, { linkedAccountNumber: 2 });
      await updateRows(tx, Message, { id: held[1]! }, { hasUncertainAttempt: true });
    });
    const decisions = () => world.calls.filter(({ verb }) => verb === 'messages.decideHeld').map(({ args }) => args);
    await signIn(page, 'staff');
    await page.goto(pathOf('sessions', session!));
    await page.waitForSelector('::-p-text(Send 1 as this account)');
    await waitText(page, 'Cancel 2');
    await page.click('::-p-text(Send 1 as this account)');
    await waitText(page, ' as the account that is linked now?');
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => !document.querySelector('dialog'));
    expect(decisions()).toEqual([]);
    await page.click('::-p-text(Send 1 as this account)');
    await waitText(page, ' as the account that is linked now?');
    await page.click('dialog .cq-yes');
    await waitText(page, 'They are in the queue again.');
    await waitText(page, 'Cancel 1');
    expect(await text(page)).not.toContain('as this account');
    await page.click('::-p-text(Cancel 1)');
    await waitText(page, 'They were accepted for the WhatsApp account that was linked before, and are never sent.');
    await page.click('dialog .cq-yes');
    await page.waitForFunction(() => !document.body.innerText.includes('Cancel 1'));
    expect(decisions()).toEqual([
      [session, 'send'],
      [session, 'cancel'],
    ]);
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 60_000);

  it('makes a plan, puts an account on it and sees its limits; sets those of a session and a key', async () => {
    const { page, problems } = await open();
    await signIn(page);
    await page.goto(`${world.url}/admin/resources/plans/actions/new`);
    await page.waitForSelector('.cq-form input');
    const fill = async (index: number, value: string): Promise<void> => {
      const input = (await page.$$('.cq-form input'))[index]!;
      await input.click({ count: 3 });
      await input.type(value);
    };
    for (const [index, value] of ['Small shop', '500', '9000', '2', '600', '0.0050', 'usd'].entries()) await fill(index, value);
    await page.click('.cq-form .cq-main');
    await waitText(page, 'Choose this plan on an account’s page.');
    expect(world.calls.find(({ verb }) => verb === 'plans.create')?.args).toEqual([
      {
        name: 'Small shop',
        dailyMessages: 500,
        monthlyMessages: 9000,
        maxSessions: 2,
        apiLimit: 600,
        pricePerMessage: '0.0050',
        currency: 'USD',
      },
    ]);
    await shoot(page, 'plan-light');
    await page.goto(pathOf('accounts', world.accounts.user));
    await page.waitForSelector('select[aria-label=Plan] option:nth-child(2)');
    await page.select(
      'select[aria-label=Plan]',
      await page.$eval('select[aria-label=Plan] option:nth-child(2)', (option) => (option as HTMLOptionElement).value),
    );
    const press = (label: string): Promise<void> =>
      page.evaluate((wanted) => {
        const found = [...document.querySelectorAll('button')].find((button) => button.innerText === wanted);
        if (!found) throw new Error(`There is no button ${wanted}.`);
        found.click();
      }, label);
    await press('Set plan');
    await waitText(page, '0 of 500');
    expect(await text(page)).toMatch(/Messages this month\s+0 of 9,000/);
    await shoot(page, 'account-light');

    await page.goto(`${pathOf('sessions', ids['shop']!)}?tab=settings`);
    await page.waitForSelector('input[aria-label="Limit a day"]');
    await page.type('input[aria-label="Limit a day"]', '250');
    await press('Set limit');
    await waitText(page, '0 of 250');
    await page.select('select[aria-label="Stored of messages"]', 'metadata');
    await press('Set');
    await page.waitForFunction(() => document.body.innerText.includes('It applies from the next message.'));
    expect(world.calls.filter(({ verb }) => verb === 'sessions.setLimits').map(({ args }) => args)).toEqual([
      [ids['shop'], { dailyLimit: 250 }],
      [ids['shop'], { storage: 'metadata' }],
    ]);
    await shoot(page, 'session-limits-light');

    await page.goto(pathOf('keys', ids['key']!));
    await page.waitForSelector('input[aria-label="Requests in a window"]');
    await page.type('input[aria-label="Requests in a window"]', '40');
    await press('Set limit');
    await waitText(page, '40 in a window');
    await shoot(page, 'key-light');
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 60_000);

  it('creates a webhook, shows its delivered and failed events, and sends one again', async () => {
    const { page, problems } = await open();
    await signIn(page);
    await page.goto(`${world.url}/admin/resources/webhooks/actions/new`);
    await page.waitForFunction(() => (document.querySelector('.cq-form select') as HTMLSelectElement | null)?.value);
    await page.type('input[type=url]', 'https://shop.example/hooks');
    await page.click('.cq-form .cq-main');
    await page.waitForSelector('.cq-once input');
    expect(await page.$eval('.cq-once input', (input) => (input as HTMLInputElement).value)).toBe('whsec_shown_once');
    const { args } = world.calls.find(({ verb }) => verb === 'webhooks.create')!;
    expect(args).toMatchObject([{ url: 'https://shop.example/hooks', events: ['message.*'], sessionId: null }]);
    await page.goto(pathOf('webhooks', ids['hook']!));
    await waitText(page, 'Paused after failures');
    expect(await text(page, '.cq-deliveries')).toMatch(/message\.sent\s+Failed[\s\S]*message\.queued\s+Delivered/);
    await page.click('.cq-deliveries details summary');
    await waitText(page, 'upstream is down');
    await shoot(page, 'webhook-light');
    const press = (label: string): Promise<void> =>
      page.evaluate((wanted) => {
        [...document.querySelectorAll('button')].find((button) => button.innerText === wanted)!.click();
      }, label);
    await press('Test');
    await waitText(page, 'The receiver answered 204 after 12 ms.');
    await press('Send 1 failed again');
    await page.waitForSelector('dialog[open] .cq-yes');
    await page.click('dialog[open] .cq-yes');
    await waitText(page, '1 delivery waits again. The receiver is tried');
    expect(world.calls.some(({ verb }) => verb === 'webhooks.redeliverFailed')).toBe(true);
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 60_000);

  it('shows markup as text and pictures as pictures', async () => {
    const { page, problems } = await open();
    await signIn(page);
    await page.goto(`${world.url}/admin/resources/messages`);
    await page.waitForSelector('.cq-table');
    expect(await text(page)).toContain('<b>Bold</b>');
    expect(await text(page)).toContain('<img src=x onerror=');
    expect(
      await page.$$eval('.cq-table th:not(.cq-as-select)', (heads) =>
        heads.map((head) => (head as HTMLElement).innerText.trim()),
      ),
    ).toEqual(['Chat', 'Direction', 'Text', 'Status', 'Session', 'When']);
    expect(await text(page, 'h1')).toBe('Messages');
    await shoot(page, 'messages-light');
    await page.click('.cq-filter [aria-expanded]');
    await waitText(page, 'Chat id');
    await page.focus('.cq-more-filters select');
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => !document.querySelector('.cq-more-filters'));
    await shoot(page, 'filters-light');
    await page.select('.cq-filter select', 'uncertain');
    await page.waitForFunction(
      () => document.querySelectorAll('.cq-table tbody tr').length === 0 && document.querySelector('.cq-empty'),
    );
    expect(await text(page, '.cq-empty')).toContain('Nothing matches');
    await page.goto(pathOf('messages', ids['markup']!));
    await page.waitForSelector('.cq-bubble');
    expect(await text(page, '.cq-bubble')).toContain('<script>window.broken=1</script> Hello');
    expect(await page.evaluate(() => 'broken' in window)).toBe(false);
    await page.goto(pathOf('messages', ids['image']!));
    await page.waitForFunction(() => (document.querySelector('.cq-media img') as HTMLImageElement | null)?.naturalWidth === 320);
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 60_000);

  it('keeps the dark theme, on every page, over a new login', async () => {
    const { page, problems } = await open();
    await signIn(page);
    await page.click('[aria-label="Use the dark theme"]');
    await page.waitForSelector('[aria-label="Use the light theme"]');
    expect(await page.evaluate(() => getComputedStyle(document.querySelector('.cq-panel')!).backgroundColor)).toBe(
      'rgb(21, 29, 28)',
    );
    await page.waitForSelector('.cq-chart canvas');
    await shoot(page, 'dashboard-dark');
    for (const [name, path] of [
      ['sessions', 'resources/sessions'],
      ['messages', 'resources/messages'],
      ['webhooks', 'resources/webhooks'],
      ['accounts', 'resources/accounts'],
      ['plans', 'resources/plans'],
      ['keys', 'resources/keys'],
      ['audit', 'resources/audit'],
      ['failures', 'resources/failures'],
      ['templates', 'resources/templates'],
      ['optouts', 'resources/optouts'],
      ['events', 'pages/events'],
      ['schedules', 'pages/schedules'],
      ['workers', 'pages/workers'],
      ['jobs', 'pages/jobs'],
      ['errors', 'pages/errors'],
      ['capabilities', 'pages/capabilities'],
      ['privacy', 'pages/privacy'],
    ]) {
      await page.goto(`${world.url}/admin/${path}`);
      await page.waitForSelector('.cq-head h1');
      await page.waitForSelector('.cq-table, .cq-empty, .cq-list, .cq-workers');
      await shoot(page, `${name}-dark`);
    }
    await page.goto(pathOf('sessions', ids['shop']!));
    await page.waitForSelector('[data-testid=session]');
    await shoot(page, 'session-dark');
    await page.goto(pathOf('messages', ids['image']!));
    await page.waitForSelector('.cq-media img');
    await shoot(page, 'message-dark');
    await Promise.all([page.waitForNavigation(), page.click('[aria-label="Sign out"]')]);
    expect(await page.$eval('html', (html) => html.dataset['theme'])).toBe('dark');
    await shoot(page, 'login-dark');
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 90_000);

  it('fits a phone, with the menu a tap away', async () => {
    const { page, problems } = await open(390, 844);
    await signIn(page);
    await page.waitForSelector('.cq-chart canvas');
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    await shoot(page, 'dashboard-phone');
    const paths = [
      'resources/sessions',
      'resources/messages',
      'resources/accounts',
      'resources/webhooks',
      'resources/plans',
      'resources/keys',
      'resources/audit',
      'resources/failures',
      'resources/templates',
      'resources/optouts',
      'resources/templates/actions/new',
      'resources/optouts/actions/new',
      'pages/events',
      'pages/schedules',
      'pages/workers',
      'pages/jobs',
      'pages/errors',
      'pages/usage',
      'pages/capabilities',
      'pages/privacy',
      'resources/sessions/actions/new',
      'resources/keys/actions/new',
      'resources/accounts/actions/new',
      'resources/plans/actions/new',
      'resources/webhooks/actions/new',
    ];
    for (const path of [
      ...paths,
      `resources/sessions/records/${ids['shop']}/show`,
      `resources/messages/records/${ids['markup']}/show`,
      `resources/accounts/records/${world.accounts.user}/show`,
      `resources/keys/records/${ids['key']}/show`,
      `resources/webhooks/records/${ids['hook']}/show`,
    ]) {
      await page.goto(`${world.url}/admin/${path}`);
      await page.waitForSelector('.cq-head h1');
      await page.waitForSelector('.cq-table, .cq-empty, .cq-list, .cq-workers, .cq-form, .cq-facts, .cq-tiles');
      expect([path, await overflow(page)]).toEqual([path, 0]);
      await shoot(page, `${path.replaceAll('/', '-').slice(0, 28)}-phone`);
    }
    await page.click('[aria-label=Menu]');
    await page.waitForSelector('.cq-sidebar.cq-open');
    await page.evaluate(() => (document.querySelector('.cq-sidebar a[href="/admin/pages/workers"]') as HTMLElement).click());
    await page.waitForFunction(
      () => document.querySelector('h1')?.textContent === 'Workers' && !document.querySelector('.cq-open'),
    );
    await page.browserContext().close();
    expect(problems).toEqual([]);
  }, 90_000);

  it('is used with the keyboard alone', async () => {
    const { page } = await open();
    await signIn(page);
    await page.goto(`${world.url}/admin/resources/sessions`);
    await page.waitForSelector('.cq-table');
    await page.focus('.cq-table tbody a');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-testid=session]');
    await page.goto(`${world.url}/admin/pages/schedules`);
    await page.waitForSelector('.cq-calendar');
    const chosen = () => page.$eval('.cq-calendar td[aria-selected=true] button', (day) => day.getAttribute('aria-label'));
    const before = await chosen();
    await page.focus('.cq-calendar button[tabindex="0"]');
    // One stop of the Tab key; the arrow keys move within the calendar, also into the next month.
    for (const key of ['ArrowRight', 'ArrowDown', 'ArrowUp', 'ArrowLeft', 'PageDown'] as const) {
      if (key === 'PageDown') expect(await chosen()).toBe(before);
      const last = await chosen();
      await page.keyboard.press(key);
      await page.waitForFunction(
        (label) => document.activeElement?.closest('.cq-calendar') && document.activeElement.getAttribute('aria-label') !== label,
        {},
        last,
      );
      expect(await page.$$eval('.cq-calendar button[tabindex="0"]', (days) => days.length)).toBe(1);
    }
    expect(await chosen()).not.toBe(before);
    const unreachable = await page.evaluate(
      () =>
        [...document.querySelectorAll<HTMLElement>('.cq-sidebar a, .cq-topbar button, .cq-actions button')].filter(
          (one) => one.tabIndex < 0,
        ).length,
    );
    expect(unreachable).toBe(0);
    await page.browserContext().close();
  }, 60_000);
});
