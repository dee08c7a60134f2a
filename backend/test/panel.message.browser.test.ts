import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { ContactForm, ContactRow, nameColumns } from '../src/contacts/contact.entity.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { MediaFile } from '../src/media/media-file.entity.js';
import { Thumbnail } from '../src/media/thumbnail.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { startWorld, type World } from './panel.fixture.js';
import { addImage, addMessage, addSession } from './panel.rows.js';
import { launch, views, visit } from './panel.visit.js';
import { thumbnail } from './support/thumbnail.js';

/** One person has one name in the panel, and the page of a message shows what belongs to it. PANEL_SHOTS names a folder for pictures. */

let world: World;
let browser: Browser;
const ids: Record<string, string> = {};
const shots = process.env['PANEL_SHOTS'];
const ana = '5511999990001@c.us';
const place = {
  type: 'location' as const,
  latitude: -23.5505,
  longitude: -46.6333,
  name: 'Praça da Sé',
  address: 'Sé, São Paulo',
};
const sentAt = new Date('2026-11-28T06:04:39.123Z');

beforeAll(async () => {
  world = await startWorld();
  browser = await launch();
  await seed(world);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

async function seed({ database, events, accounts }: World): Promise<void> {
  const { write } = database;
  const own = { accountId: accounts.user, status: 'connected' as const };
  const sessionId = (ids['session'] = await addSession(write, { ...own, name: 'shop', phoneNumber: '5511988887777' }));
  const add = async (name: string, text: string | null, changes: Partial<Message>, more = {}): Promise<void> => {
    const id = await addMessage(database, events, { sessionId, text: text ?? '', status: 'sent', at: sentAt, ...more });
    await write.run((tx) => updateRows(tx, Message, { id }, { text, chatName: null, ...changes }));
    ids[name] = id;
  };
  await add('late', 'Before the name was known', { chatId: ana });
  await add('stale', 'Under the former name', { chatId: ana, chatName: 'Aninha' });
  await add('place', 'Praça da Sé', { chatId: ana, whatsappId: `true_${ana}_3EB0A1B2C3D4E5F60718` }, { content: place });
  await add('unknown', 'To a number alone', { chatId: '5521988877766@c.us' });
  await add('hidden', 'From a hidden id', { chatId: '277012345678901@lid' });
  const contact = newId();
  await write.run(async (tx) => {
    const [createdAt, updatedAt] = [new Date(), new Date()];
    const person = { phone: '5511999990001', lid: null, ...nameColumns('Ana Souza'), createdAt, updatedAt };
    await insertRow(tx, ContactRow, { id: contact, accountId: accounts.user, sessionId, ...person });
    await insertRow(tx, ContactForm, { sessionId, waId: ana, accountId: accounts.user, contactId: contact });
  });
}

const text = (page: Page, selector: string): Promise<string> =>
  page.$eval(selector, (element) => (element as HTMLElement).innerText);
const rowsOf = (page: Page): Promise<string[]> =>
  page.$$eval('tbody tr', (rows) => rows.map((row) => (row as HTMLElement).innerText.replace(/\s+/g, ' ').trim()));
const overflow = (page: Page): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

async function shoot(page: Page, name: string, [width, theme]: readonly [number, string]): Promise<void> {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}-${width}-${theme}.png`), fullPage: true });
}

async function search(page: Page, term: string): Promise<string[]> {
  await page.goto(`${world.url}/admin/resources/messages?filters.text=${encodeURIComponent(term)}`);
  await page.waitForFunction(() => document.querySelector('tbody tr') ?? document.querySelector('.cq-empty'));
  return rowsOf(page);
}

test('every row of a person has the name of now, else the number; the search finds both', async () => {
  const page = await visit(browser, world, [1440, 900]);
  await page.goto(`${world.url}/admin/resources/messages`);
  await page.waitForSelector('tbody tr');
  const rows = await rowsOf(page);
  expect(rows.filter((row) => row.startsWith('Ana Souza'))).toHaveLength(3);
  expect(rows.filter((row) => row.startsWith('+55 21 98887-7766'))).toHaveLength(1);
  expect(rows.filter((row) => row.startsWith('Person without a known number'))).toHaveLength(1);
  expect(rows.join()).not.toMatch(/@|Aninha/);
  for (const [term, count] of [
    ['souza', 3],
    ['11 99999-0001', 3],
    ['+55 (21) 98887-7766', 1],
    [ids['hidden']!, 1],
    ['Aninha', 0],
  ] as const)
    expect([term, (await search(page, term)).length]).toEqual([term, count]);
  await page.goto(`${world.url}/admin/resources/sessions`);
  await page.waitForSelector('tbody tr');
  expect((await rowsOf(page)).join()).toContain('+55 11 98888-7777');
  await page.browserContext().close();
}, 180_000);

test('the page of a message shows exact times, ids to copy, what it belongs to, its place and its JSON', async () => {
  const page = await visit(browser, world, [1440, 900]);
  await page.goto(`${world.url}/admin/resources/messages/records/${ids['place']}/show`);
  await page.waitForSelector('.cq-timeline li');
  expect(await text(page, 'h1')).toBe('To Ana Souza');
  expect(await text(page, '.cq-timeline')).toMatch(/28 Nov 2026, \d\d:\d\d:39\.123/);
  expect(await text(page, '[data-testid=place]')).toMatch(/^Sé, São Paulo\s+-23\.5505, -46\.6333\s+Open the map$/);
  const map = await page.$eval('[data-testid=place] a', (link) => [link.getAttribute('href'), link.getAttribute('rel')]);
  expect(map).toEqual([
    'https://www.openstreetmap.org/?mlat=-23.5505&mlon=-46.6333#map=16/-23.5505/-46.6333',
    'noopener noreferrer',
  ]);
  const details = await text(page, '.cq-ids');
  for (const id of [ids['place']!, `true_${ana}_3EB0A1B2C3D4E5F60718`, ana]) expect(details).toContain(id);
  await page.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', {
      value: { writeText: (copied: string) => Promise.resolve(document.body.setAttribute('data-copied', copied)) },
    });
  });
  await page.click('[aria-label="Copy: WhatsApp id"]');
  await page.waitForSelector('[aria-label="Copied: WhatsApp id"]');
  expect(await page.$eval('body', (body) => body.getAttribute('data-copied'))).toBe(`true_${ana}_3EB0A1B2C3D4E5F60718`);
  await page.click('.cq-ids + .cq-details summary');
  const json = JSON.parse(await page.waitForSelector('[data-testid=raw]').then(() => text(page, '[data-testid=raw]'))) as object;
  expect(json).toMatchObject({ id: ids['place'], content: { latitude: -23.5505 }, createdAt: sentAt.toISOString() });
  await page.evaluate(() =>
    [...document.querySelectorAll('a')].find((link) => link.innerText.startsWith('All messages with'))!.click(),
  );
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 3);
  await page.browserContext().close();
}, 180_000);

test('the page of a message shows the thumbnail where the file itself is not here or cannot be shown', async () => {
  const page = await visit(browser, world, [1440, 900]);
  const { write } = world.database;
  const files = { image: 'image/png', document: 'application/pdf', video: 'video/mp4' };
  const shown = async (message: string): Promise<unknown[]> => {
    await page.goto(`${world.url}/admin/resources/messages/records/${message}/show`);
    await page.waitForSelector('.cq-media');
    const pictures = await page.$$eval('.cq-media img', (images) =>
      Promise.all(images.map((one) => one.decode().then(() => [one.dataset['testid'] ?? null, one.naturalWidth > 0]))),
    );
    const posters = await page.$$eval('.cq-media video[poster]', (videos) => videos.map((one) => one.getAttribute('poster')));
    return [...pictures, ...posters];
  };
  for (const [type, mimetype] of Object.entries(files)) {
    const mediaId = await addImage(write, world.accounts.user, mimetype);
    const messageId = await addMessage(world.database, world.events, {
      sessionId: ids['session']!,
      text: '',
      status: 'sent',
      at: sentAt,
    });
    await write.run((tx) => updateRows(tx, Message, { id: messageId }, { text: null, mediaId }));
    const without = await shown(messageId);
    expect(without).toEqual(type === 'image' ? [[null, true]] : []);
    await write.run((tx) => insertRow(tx, Thumbnail, { messageId, sessionId: ids['session']!, data: thumbnail }));
    const address = `/admin/live/thumbnails/${messageId}`;
    const small = ['thumbnail', true];
    expect(await shown(messageId)).toEqual({ image: without, document: [small], video: [address] }[type]);
    await write.run((tx) => updateRows(tx, MediaFile, { id: mediaId }, { state: 'pending' }));
    expect(await shown(messageId)).toEqual([small]);
  }
  await page.browserContext().close();
}, 180_000);

test('the list shows the small picture beside the text of its message, and none that was deleted since', async () => {
  const page = await visit(browser, world, [1440, 900]);
  const { write } = world.database;
  const add = async (text: string): Promise<string> => {
    const row = { sessionId: ids['session']!, text, status: 'sent' as const, at: sentAt };
    const messageId = await addMessage(world.database, world.events, row);
    await write.run((tx) => insertRow(tx, Thumbnail, { messageId, sessionId: ids['session']!, data: thumbnail }));
    return messageId;
  };
  const [kept, deleted] = [await add('The new menu'), await add('The old menu')];
  // The picture of the second one is gone when the page asks for it.
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const isDeleted = request.url().endsWith(`/thumbnails/${deleted}`);
    void (isDeleted ? request.respond({ status: 404, body: '' }) : request.continue());
  });
  await page.goto(`${world.url}/admin/resources/messages`);
  await page.waitForFunction(
    (source: string) => {
      const pictures = [...document.querySelectorAll<HTMLImageElement>('.cq-thumb')];
      return pictures.some((one) => one.naturalWidth > 0 && one.src.endsWith(source));
    },
    {},
    `/admin/live/thumbnails/${kept}`,
  );
  await page.waitForFunction((source: string) => !document.querySelector(`img[src$="${source}"]`), {}, deleted);
  const cells = await page.$$eval('.cq-as-body', (all) =>
    all.map((cell) => [cell.textContent, cell.querySelectorAll('.cq-thumb').length]),
  );
  expect(cells).toContainEqual(['The new menu', 1]);
  expect(cells).toContainEqual(['The old menu', 0]);
  await page.browserContext().close();
}, 120_000);

test('a message leads to the ones before and after it in the list that a person comes from', async () => {
  const page = await visit(browser, world, [1440, 900]);
  await page.goto(`${world.url}/admin/resources/messages?filters.status=sent&sortBy=createdAt&direction=asc`);
  await page.waitForSelector('tbody tr');
  const listed = await page.$$eval('tbody tr td a[href*="/records/"]', (links) =>
    links.map((link) => /records\/([^/]+)/.exec(link.getAttribute('href')!)![1]!),
  );
  expect(listed.length).toBeGreaterThan(3);
  await page.goto(`${world.url}/admin/resources/messages/records/${listed[1]}/show`);
  const links = () =>
    page.$$eval('.cq-neighbours a', (all) =>
      all.map((link) => [link.textContent, /records\/([^/]+)/.exec(link.getAttribute('href')!)![1]]),
    );
  await page.waitForSelector('.cq-neighbours');
  expect(await links()).toEqual([
    ['← Previous message', listed[0]],
    ['Next message →', listed[2]],
  ]);
  await page.click('.cq-neighbours a:last-child');
  await page.waitForFunction((id) => location.pathname.includes(id), {}, listed[2]!);
  await page.waitForFunction(
    (id) => document.querySelector('.cq-neighbours a')?.getAttribute('href')?.includes(id),
    {},
    listed[1]!,
  );
  // The first one of the list has none before it.
  await page.goto(`${world.url}/admin/resources/messages/records/${listed[0]}/show`);
  await page.waitForSelector('.cq-neighbours');
  expect(await links()).toEqual([['Next message →', listed[1]]]);
}, 60_000);

test('the chart of the overview has its figures in a table', async () => {
  await addMessage(world.database, world.events, { sessionId: ids['session']!, text: 'now', status: 'failed' });
  const page = await visit(browser, world, [1440, 900]);
  // Figures of a zone are cached for some seconds: this one is nobody else's.
  await page.emulateTimezone('Europe/Lisbon');
  await page.goto(`${world.url}/admin`);
  await page.waitForSelector('.cq-chart canvas');
  for (const [label, rows] of [
    ['24 hours', 24],
    ['14 days', 14],
  ] as const) {
    await (await page.waitForSelector(`::-p-text(${label})`))!.click();
    await page.waitForFunction((wanted) => document.querySelectorAll('.cq-figures tbody tr').length === wanted, {}, rows);
    const [sums, spoken] = await page.evaluate(() => {
      const cells = [...document.querySelectorAll('.cq-figures tbody tr')].map((row) =>
        [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent)),
      );
      return [
        [0, 1, 2].map((column) => cells.reduce((sum, row) => sum + row[column]!, 0)),
        document.querySelector('.cq-chart')!.getAttribute('aria-label'),
      ];
    });
    expect(spoken).toContain(`: ${sums![0]} sent, ${sums![1]} received, ${sums![2]} failed.`);
    expect(sums![2]).toBe(1);
  }
  await page.click('.cq-panel summary');
  await shoot(page, 'chart-table', [1440, 'light']);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
}, 60_000);

test('both pages fit a phone, in light and in dark', async () => {
  for (const [width, theme] of views) {
    const page = await visit(browser, world, [width, 900]);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
    for (const [name, path, ready] of [
      ['messages', 'messages', 'tbody tr'],
      ['sessions', 'sessions', 'tbody tr'],
      ['message', `messages/records/${ids['place']}/show`, '.cq-timeline li'],
    ] as const) {
      await page.goto(`${world.url}/admin/resources/${path}`);
      await page.waitForSelector(ready);
      expect([name, width, await overflow(page)]).toEqual([name, width, 0]);
      await shoot(page, name, [width, theme]);
    }
    await page.browserContext().close();
  }
}, 240_000);
