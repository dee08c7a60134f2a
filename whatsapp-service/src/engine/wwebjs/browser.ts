import { basename } from 'node:path';
import { readdir, readFile } from 'node:fs/promises';
import type { Browser, LaunchOptions, Page } from 'puppeteer';
import { sleep, within } from './deadline.js';

export interface BrowserConfig {
  path: string | null;
  profile: 'lean' | 'standard' | 'hardened';
  args: readonly string[];
}

/** Fewest processes: one for the page, one for all the rest. It costs the sandbox (`--no-zygote` wants that), 37 MB a session instead of 157. */
const lean = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-software-rasterizer',
  '--in-process-gpu',
  '--no-zygote',
  '--disable-site-isolation-trials',
  '--renderer-process-limit=1',
  '--disable-features=site-per-process,IsolateOrigins,AudioServiceOutOfProcess,BackForwardCache',
  '--enable-features=NetworkServiceInProcess2',
  '--js-flags=--max-semi-space-size=1',
];

/** Quiet in every profile: nothing of Google's is asked for, nothing is shown, and timers of a page that nobody looks at run on. */
const quiet = [
  '--no-first-run',
  '--mute-audio',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** Chromium refuses to run as root with its sandbox: `standard` then goes without it, `hardened` does not start at all. */
const asRoot = (): boolean => process.getuid?.() === 0;

/**
 * What a browser needs of our environment. Everything else stays out of it, the service key above all: the environment lies in the memory
 * of every process of the browser, the one that runs the page included.
 */
const passedOn =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TMP|TEMP|XDG_\w+|FONTCONFIG_\w+|LD_LIBRARY_PATH|DISPLAY|WAYLAND_DISPLAY|SSL_CERT_FILE|SSL_CERT_DIR|NSS_\w+|SystemRoot|windir|APPDATA|LOCALAPPDATA|ProgramFiles|ProgramData|USERPROFILE)$/i;

export const browserEnvironment = (env: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value !== undefined && passedOn.test(name) ? [[name, value]] : [])),
  );

export const usesSandbox = ({ profile, args }: BrowserConfig): boolean =>
  profile !== 'lean' && !(profile === 'standard' && asRoot()) && !args.includes('--no-sandbox');

export function launchOptions({ path, profile, args }: BrowserConfig): LaunchOptions {
  const own = profile === 'lean' ? lean : profile === 'standard' && asRoot() ? ['--no-sandbox'] : [];
  const isShell = path !== null && /headless[-_]shell/.test(basename(path));
  return {
    ...(path ? { executablePath: path } : {}),
    headless: isShell ? 'shell' : true,
    // With a pipe the browser dies with us, and there is no port that somebody else could use.
    pipe: true,
    protocolTimeout: 60_000,
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    env: browserEnvironment(process.env),
    args: [...quiet, ...own, ...args],
  };
}

/** What a normal browser of this version says of itself; headless ones say that they are. Also in the client hints. */
export function currentUserAgent(own: string): Parameters<Page['setUserAgent']>[0] & object {
  const major = /Chrome\/(\d+)/.exec(own)?.[1] ?? '140';
  const [platform, platformVersion] =
    process.platform === 'darwin' ? ['macOS', '15.0.0'] : process.platform === 'win32' ? ['Windows', '15.0.0'] : ['Linux', ''];
  const brands = [
    { brand: 'Not:A-Brand', version: '8' },
    { brand: 'Chromium', version: major },
    { brand: 'Google Chrome', version: major },
  ];
  return {
    userAgent: own.replace(/(Headless)?Chrome\/[\d.]+/, `Chrome/${major}.0.0.0`),
    userAgentMetadata: { brands, platform, platformVersion, architecture: 'x86', model: '', mobile: false },
  };
}

/** The browser and everything below it. Without /proc: the browser alone. */
export async function processTree(browser: Browser): Promise<number[]> {
  const root = browser.process()?.pid;
  if (root === undefined) return [];
  const children = new Map<number, number[]>();
  for (const name of await readdir('/proc').catch((): string[] => [])) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => null); // It may have ended while we looked.
    const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const below = (pid: number): number[] => [pid, ...(children.get(pid) ?? []).flatMap(below)];
  return below(root);
}

/** Gently, then by signal: what is still there three seconds later is killed, by its pid. Never rejects. */
export async function closeBrowser(browser: Browser): Promise<void> {
  const pids = await processTree(browser);
  try {
    await within(browser.close(), 3000, 'Closing the browser');
  } catch {
    // It hangs or is gone already; the signal below ends what is left either way.
  }
  for (const pid of pids.filter(alive)) signal(pid, 'SIGKILL');
  for (let waited = 0; waited < 2000 && pids.some(alive); waited += 20) await sleep(20);
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false; // No such process: that is what was wanted.
  }
}
const alive = (pid: number): boolean => signal(pid, 0);
