import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browserCandidates, browserFromSettings, findBrowser } from '../lib/browser.mjs';

let folder;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'chasqui-browser-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program that answers `--version` as a browser does, or fails like a stub. */
function fake(name, answer = 'Chromium 142.0.7444.134') {
  const path = join(folder, name);
  writeFileSync(path, answer ? `#!/bin/sh\necho "${answer}"\n` : '#!/bin/sh\necho "install the snap" >&2\nexit 1\n');
  chmodSync(path, 0o755);
  return path;
}

const everything = {
  exists: () => true,
  onPath: (name) => `/bin/${name}`,
  downloads: ['/cache/shell'],
  env: {},
  home: '/home/me',
};

test('a headless shell comes before a downloaded one, that before Chromium, that before Chrome', () => {
  const order = browserCandidates({ ...everything, platform: 'linux' });
  const at = (path) => order.indexOf(path);
  const wanted = [
    '/bin/chromium-headless-shell',
    '/bin/chrome-headless-shell',
    '/cache/shell',
    '/bin/chromium',
    '/snap/bin/chromium',
    '/bin/google-chrome-stable',
    '/opt/google/chrome/chrome',
  ];
  expect(order).toEqual(expect.arrayContaining(wanted));
  expect(wanted.map(at)).toEqual(wanted.map(at).toSorted((a, b) => a - b));
  expect(new Set(order).size).toBe(order.length);
});

test('macOS and Windows are searched where their programs lie', () => {
  const nothingOnPath = { ...everything, onPath: () => null, downloads: [] };
  expect(browserCandidates({ ...nothingOnPath, platform: 'darwin' })).toEqual([
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    '/home/me/Applications/Chromium.app/Contents/MacOS/Chromium',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/home/me/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ]);
  const env = { PROGRAMFILES: 'C:\\Program Files', LOCALAPPDATA: 'C:\\Users\\me\\AppData\\Local' };
  expect(browserCandidates({ ...nothingOnPath, platform: 'win32', env })).toContain(
    'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  );
});

test('BROWSER_PATH wins over CHROME_PATH, that over PUPPETEER_EXECUTABLE_PATH', () => {
  const env = { BROWSER_PATH: '/a', CHROME_PATH: '/b', PUPPETEER_EXECUTABLE_PATH: '/c' };
  const exists = () => true;
  expect(browserFromSettings(env, exists)).toEqual({ path: '/a', source: 'BROWSER_PATH' });
  expect(browserFromSettings({ ...env, BROWSER_PATH: '' }, exists)).toEqual({ path: '/b', source: 'CHROME_PATH' });
  expect(browserFromSettings({ PUPPETEER_EXECUTABLE_PATH: '/c' }, exists)).toEqual({
    path: '/c',
    source: 'PUPPETEER_EXECUTABLE_PATH',
  });
  expect(browserFromSettings({}, exists)).toBeNull();
});

test('a setting that names no program is an error that names the setting, never a reason to search', async () => {
  fake('chromium');
  await expect(findBrowser({ PATH: folder, CHROME_PATH: join(folder, 'absent') })).rejects.toThrow('CHROME_PATH is');
  const stub = fake('stub', '');
  await expect(findBrowser({ PATH: folder, BROWSER_PATH: stub })).rejects.toThrow('does not answer like a browser');
});

test('a program that only asks to install something is skipped for one that replies', async () => {
  fake('chromium-headless-shell', '');
  const chromium = fake('chromium');
  const found = await findBrowser({ PATH: `${folder}:/bin`, PUPPETEER_CACHE_DIR: folder });
  expect(found).toEqual({ path: chromium, source: 'found', version: 'Chromium 142.0.7444.134' });
});

test('a browser that an earlier start downloaded is found again, the newest first', async () => {
  for (const version of ['linux-99.0.1', 'linux-142.0.2', 'linux-142.0.10']) {
    const place = join('chrome-headless-shell', version, 'chrome-headless-shell-linux64');
    mkdirSync(join(folder, place), { recursive: true });
    fake(join(place, 'chrome-headless-shell'), `Google Chrome for Testing ${version.slice(6)}`);
  }
  const found = await findBrowser({ PATH: join(folder, 'none'), PUPPETEER_CACHE_DIR: folder });
  expect(found.path).toContain('linux-142.0.10');
});
