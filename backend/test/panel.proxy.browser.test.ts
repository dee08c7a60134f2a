import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { readRows } from '../src/db/rows.js';
import { Session } from '../src/sessions/session.entity.js';
import { lookWithAxe } from './panel.axe.js';
import { launch, shoot, visit, waitText } from './panel.visit.js';
import { password } from './support/backend.js';
import { startCore, type Core } from './support/core.js';

/** The proxy in the settings of a session, with the real verbs: what is stored, and what a person is shown of it. */

let core: Core;
let browser: Browser;
let page: Page;
let sessionId: string;
const form = '[data-testid=session-settings]';

beforeAll(async () => {
  await bundlePanel();
  core = await startCore({ mountPanel, settings: { HEARTBEAT_SECONDS: '60' } });
  sessionId = core.sessionId;
  browser = await launch();
  page = await visit(browser, core.rig, [1440, 1400], { login: 'admin@localhost.localdomain', password });
  await page.setBypassCSP(true);
  await open();
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await core?.close();
});

async function open(): Promise<void> {
  await page.goto(`${core.rig.url}/admin/resources/sessions/records/${sessionId}/show?tab=settings`);
  await page.waitForSelector(form);
}
async function field(label: string) {
  return (await page.waitForSelector(`::-p-xpath(//label[span[.="${label}"]]/input)`))!;
}
async function fill(label: string, text: string): Promise<void> {
  const input = await field(label);
  await input.click({ count: 3 });
  await page.keyboard.press('Backspace');
  if (text) await input.type(text);
}
const valueOf = async (label: string): Promise<string> =>
  (await field(label)).evaluate((input) => (input as HTMLInputElement).value);
async function stored() {
  const [row] = await readRows(core.rig.database.reader, Session, 'id = ?', [sessionId], ['settings', 'proxyPassword']);
  return { proxy: row!.settings.proxy, sealed: row!.proxyPassword };
}
/** Submits the form with Enter in a field, and returns the status of the reply. */
async function save(label = 'Proxy'): Promise<number> {
  await (await field(label)).focus();
  const [response] = await Promise.all([
    page.waitForResponse((one) => one.url().endsWith(`/live/sessions/${sessionId}/settings`)),
    page.keyboard.press('Enter'),
  ]);
  await page.waitForFunction((at) => !document.querySelector<HTMLButtonElement>(`${at} button[type=submit]`)!.disabled, {}, form);
  return response.status();
}
/** What a person is shown of a refused field. */
const problem = async (label: string) =>
  (await field(label)).evaluate((input) => ({
    isFocused: document.activeElement === input,
    isMarked: input.getAttribute('aria-invalid'),
    sentence: document.getElementById(input.getAttribute('aria-describedby')?.split(' ')[0] ?? '')?.textContent,
    summary: input.closest('form')?.querySelector('[role=alert]')?.textContent,
  }));

it.each([
  ['an address of no proxy', 'ftp://proxy.example.com:21'],
  ['a private address', 'socks5://10.1.2.3:1080'],
])('shows that %s is refused at its field, which has the focus', async (_name, url) => {
  await fill('Proxy', url);
  expect(await save()).toBe(422);
  await page.waitForSelector(`${form} [role=alert]`);
  const shown = await problem('Proxy');
  expect(shown).toMatchObject({ isFocused: true, isMarked: 'true', summary: 'Correct the marked field.' });
  expect(shown.sentence).toMatch(/proxy|address|host|allowed/i);
  expect((await stored()).proxy ?? null).toBeNull();
  await shoot(page, `proxy-refused-${_name.length}`);
});

it('sets a proxy, whose password is sealed and never shown again', async () => {
  await fill('Proxy', 'socks5://proxy.example.com:1080');
  await fill('User name at the proxy', 'shop');
  await fill('Password at the proxy', 'wet paint 77');
  expect(await save()).toBe(200);
  await waitText(page, 'Saved.');
  const { proxy, sealed } = await stored();
  expect(proxy).toEqual({ url: 'socks5://proxy.example.com:1080', username: 'shop', hasPassword: true });
  expect(sealed).not.toContain('wet paint');
  await open();
  expect(await valueOf('Password at the proxy')).toBe('');
  expect(await (await field('Password at the proxy')).evaluate((input) => (input as HTMLInputElement).placeholder)).toBe(
    '••••••••',
  );
  expect(await page.content()).not.toContain('wet paint');
  expect(await page.content()).not.toContain(sealed!);
});

it('keeps the password when the form is saved unchanged', async () => {
  const before = await stored();
  expect(await save()).toBe(200);
  expect(await stored()).toEqual(before);
  expect(await lookWithAxe(page, 'the settings of a session')).toEqual([]);
  for (const width of [1440, 390]) {
    await page.setViewport({ width, height: 1400 });
    await (await field('Proxy')).evaluate((input) => input.scrollIntoView({ block: 'center' }));
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
    await shoot(page, 'proxy-set');
  }
});

it('asks for the password again, at its field, when the address changes', async () => {
  const before = await stored();
  await fill('Proxy', 'socks5://other.example.com:1080');
  expect(await save()).toBe(422);
  await page.waitForSelector(`${form} [role=alert]`);
  expect(await problem('Password at the proxy')).toEqual({
    ...{ isFocused: true, isMarked: 'true', summary: 'Correct the marked field.' },
    sentence: 'Send the password again: the stored one belongs to another address or user name.',
  });
  expect(await stored()).toEqual(before);
});

it('removes the proxy with its password', async () => {
  await fill('Password at the proxy', 'again');
  expect(await save()).toBe(200);
  expect((await stored()).sealed).not.toBeNull();
  await fill('Proxy', '');
  expect(await save()).toBe(200);
  expect(await stored()).toEqual({ proxy: null, sealed: null });
});
