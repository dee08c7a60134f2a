import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { aptInstall, findOnPath, isExecutable, mayUseApt, runCommand } from './command.mjs';
import { root } from './paths.mjs';
import { withSetupLock } from './setup-lock.mjs';
import { Problem, say, step, tail } from './terminal.mjs';

export const browserSettings = ['BROWSER_PATH', 'CHROME_PATH', 'PUPPETEER_EXECUTABLE_PATH'];

const shellNames = ['chromium-headless-shell', 'chrome-headless-shell', 'headless-shell', 'headless_shell'];
const chromiumNames = ['chromium', 'chromium-browser'];
const chromeNames = ['google-chrome-stable', 'google-chrome', 'chrome'];

/** The locations of browsers that are not on PATH, by platform; the snap last, since it cannot reach hidden folders. */
function fixedPlaces(platform, env, home) {
  if (platform === 'darwin') {
    const apps = ['/Applications', join(home, 'Applications')];
    return {
      chromium: apps.map((folder) => `${folder}/Chromium.app/Contents/MacOS/Chromium`),
      chrome: apps.map((folder) => `${folder}/Google Chrome.app/Contents/MacOS/Google Chrome`),
    };
  }
  if (platform === 'win32') {
    const folders = [env.PROGRAMFILES, env['PROGRAMFILES(X86)'], env.LOCALAPPDATA].filter(Boolean);
    return {
      chromium: folders.map((folder) => `${folder}\\Chromium\\Application\\chrome.exe`),
      chrome: folders.map((folder) => `${folder}\\Google\\Chrome\\Application\\chrome.exe`),
    };
  }
  return {
    chromium: ['/usr/lib/chromium/chromium', '/usr/lib64/chromium-browser/chromium-browser', '/snap/bin/chromium'],
    chrome: ['/opt/google/chrome/chrome'],
  };
}

/** The folder of puppeteer's downloads. */
export const downloadDir = (env = process.env) => env.PUPPETEER_CACHE_DIR || join(homedir(), '.cache/puppeteer');

/** Headless shells that an earlier start downloaded, the newest first. */
function downloadedShells(folder) {
  const shells = join(folder, 'chrome-headless-shell');
  if (!existsSync(shells)) return [];
  return readdirSync(shells)
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .flatMap((version) =>
      readdirSync(join(shells, version)).flatMap((build) =>
        ['chrome-headless-shell', 'chrome-headless-shell.exe'].map((name) => join(shells, version, build, name)),
      ),
    );
}

/**
 * All browsers that may be there, the best first: a headless shell needs half the memory of Chromium and locks no profile.
 * `exists` and `onPath` are arguments so that the order can be tested without any browser.
 */
export function browserCandidates({
  env = process.env,
  platform = process.platform,
  home = homedir(),
  exists = isExecutable,
  onPath = (name) => findOnPath(name, { env, platform }),
  downloads = downloadedShells(downloadDir(env)),
} = {}) {
  const named = (names) => names.map((name) => onPath(name)).filter(Boolean);
  const places = fixedPlaces(platform, env, home);
  const all = [
    ...named(shellNames),
    ...downloads.filter(exists),
    ...named(chromiumNames),
    ...places.chromium.filter(exists),
    ...named(chromeNames),
    ...places.chrome.filter(exists),
  ];
  return [...new Set(all)];
}

/** The browser that a setting names, as an absolute path, or null. A setting that names none is an error, not a reason to search. */
export function browserFromSettings(env, exists = isExecutable) {
  const name = browserSettings.find((candidate) => env[candidate]);
  if (!name) return null;
  const path = resolve(root, env[name]);
  if (exists(path)) return { path, source: name };
  throw new Problem(
    `${name} is ${env[name]}, and there is no program that may be run.`,
    `Correct ${name}, or remove it: then a browser is searched, and fetched when there is none.`,
  );
}

/**
 * Asks a browser for its version: `Chromium 142.0.7444.134`. Null when it does not answer: Ubuntu's `chromium-browser` is a script that
 * only says that a snap must be installed, and a downloaded browser may lack libraries. On Windows the call would open a window, so it is not made.
 */
export async function browserVersion(path) {
  if (process.platform === 'win32') return { version: 'present' };
  const result = await runCommand(path, ['--version'], { timeoutMs: 20_000 });
  const named = /chrom|headless/i;
  const line = result.output.split('\n').find((text) => named.test(text) && /\d\.\d/.test(text));
  const version = line ? line.slice(line.search(named)).trim() : /^\d+\.\d+\.\d+\.\d+/m.exec(result.output)?.[0];
  return result.code === 0 && version ? { version } : { version: null, output: result.output };
}

/** The first browser that answers, without fetching one; null when there is none. */
export async function findBrowser(env = process.env) {
  const set = browserFromSettings(env);
  for (const candidate of set ? [set] : browserCandidates({ env }).map((path) => ({ path, source: 'found' }))) {
    const { version, output } = await browserVersion(candidate.path);
    if (version) return { ...candidate, version };
    if (set) {
      throw new Problem(
        `${set.source} is ${set.path}, which does not answer like a browser:\n${tail(output ?? '', 6)}`,
        `Correct ${set.source}, or remove it: then a browser is searched, and fetched when there is none.`,
      );
    }
  }
  return null;
}

/** Finds a browser or gets one: puppeteer's own download, then this system's packages. Needs the packages to be installed. */
export async function getBrowser(env = process.env) {
  const found = await findBrowser(env);
  return found ?? withSetupLock(async () => (await findBrowser(env)) ?? fetchBrowser(env));
}

async function fetchBrowser(env) {
  const tried = [];
  const ways = [['Downloading the headless browser (about 100 MB, once)', downloadBrowser]];
  if (mayUseApt()) ways.push(["Installing Chromium from this system's packages", installBrowserPackage]);
  for (const [title, fetchIt] of ways) {
    try {
      await step(title, (tell) => fetchIt(env, tell));
    } catch (error) {
      const reason = essence(error.message);
      tried.push(`${title}:\n${reason}`);
      say(`  ${reason.split('\n').at(-1).trim()}`);
    }
    // Also after a failure: the package may be there although a later step of its set-up complained.
    const now = await findBrowser(env);
    if (now) return now;
  }
  throw noBrowser(tried);
}

/** What a program said went wrong: from its last error on, without its help text before and the path of its own code after. */
function essence(text) {
  const lines = text.split('\n').filter((line) => line.trim() && !/^\s+at /.test(line));
  const start = lines.findLastIndex((line) => /^(\w*Error|E):/.test(line));
  return tail(lines.slice(Math.max(0, start)).join('\n'), 6);
}

/** The headless shell of the version that the pinned puppeteer supports. */
async function downloadBrowser(env, tell) {
  const load = createRequire(join(root, 'whatsapp-service/package.json'));
  const manifest = findManifest(load.resolve('puppeteer'));
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  const cli = join(dirname(manifest), typeof bin === 'string' ? bin : bin.puppeteer);
  const result = await runCommand(process.execPath, [cli, 'browsers', 'install', 'chrome-headless-shell'], {
    cwd: root,
    env: { ...env, PUPPETEER_CACHE_DIR: downloadDir(env) },
    timeoutMs: 10 * 60_000,
    onLine: tell,
  });
  if (result.timedOut) throw new Error('the download took more than 10 minutes');
  if (result.code !== 0) throw new Error(result.output.trim() || `it ended with code ${result.code}`);
  const [path] = downloadedShells(downloadDir(env)).filter(isExecutable);
  if (!path) throw new Error('it is not where it should be');
  // Most often libraries are missing; then this system's package, which brings them, is tried next.
  const { version, output } = await browserVersion(path);
  if (!version) throw new Error(`it does not run here:\n${output}`);
}

/** puppeteer's exports hide its package.json, so it is looked for above its entry file. */
function findManifest(entry) {
  for (let folder = dirname(entry); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name === 'puppeteer') return file;
    if (folder === dirname(folder)) throw new Problem('puppeteer is not installed.', 'Run: npm run build -- --force');
  }
}

/** Two names: Debian has both; where the small one is unknown, the whole Chromium has to do. */
async function installBrowserPackage(_env, tell) {
  const failed =
    (await aptInstall(['chromium-headless-shell'], { onLine: tell })) && (await aptInstall(['chromium'], { onLine: tell }));
  if (failed) throw new Error(failed);
}

function noBrowser(tried) {
  const how = {
    darwin: 'Install Chromium or Chrome (brew install --cask google-chrome)',
    win32: 'Install Google Chrome',
    linux: findOnPath('apt-get')
      ? 'Run: sudo apt-get update && sudo apt-get install -y chromium-headless-shell (or chromium)'
      : "Install Chromium with this system's package manager (Fedora: dnf install chromium-headless; Alpine: apk add chromium)",
  };
  return new Problem(
    `No browser was found, and none could be fetched.\n${tried.join('\n')}`,
    `${how[process.platform] ?? 'Install Chromium'}, or name one with BROWSER_PATH in .env; then run the same command again.`,
  );
}
