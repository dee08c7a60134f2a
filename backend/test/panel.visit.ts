import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer, { type Browser, type Page } from 'puppeteer';
import { passwords } from './panel.fixture.js';

/** A real browser at the panel, signed in. */

export async function launch(): Promise<Browser> {
  const executablePath = process.env['BROWSER_PATH'];
  if (!executablePath) throw new Error('BROWSER_PATH is not set; npm test sets it.');
  return puppeteer.launch({ executablePath, headless: true, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** Opens the panel in a context of its own, as the admin of `startWorld` or another person. */
export async function visit(
  browser: Browser,
  { url }: { url: string },
  [width, height]: readonly [number, number],
  { login, password } = { login: 'mara@example.org', password: passwords.admin },
): Promise<Page> {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width, height });
  page.setDefaultTimeout(60_000);
  await page.goto(`${url}/admin`);
  await page.waitForSelector('#login');
  await page.type('#login', login);
  await page.type('#password', password);
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  await page.waitForSelector('[data-testid=dashboard]');
  return page;
}

/** The widths and themes in which every page is looked at. */
export const views = [
  [1440, 'light'],
  [1440, 'dark'],
  [390, 'light'],
  [390, 'dark'],
] as const;

/** Waits until an element contains a text. */
export const waitText = async (page: Page, part: string, selector = 'body'): Promise<void> => {
  await page.waitForFunction(
    (wanted, at) => document.querySelector<HTMLElement>(at)?.innerText.includes(wanted),
    {},
    part,
    selector,
  );
};

/** Takes a picture, if PANEL_SHOTS names a folder. */
export async function shoot(page: Page, name: string): Promise<void> {
  const folder = process.env['PANEL_SHOTS'];
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}-${page.viewport()?.width ?? 0}.png`) });
}
