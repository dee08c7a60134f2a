import { basename } from 'node:path';
import { readdir, readFile } from 'node:fs/promises';
import type { Browser, LaunchOptions, Page } from 'puppeteer';
import { sleep, within } from './deadline.js';

export interface BrowserConfig {
  path: string | null;
  profile: 'lean' | 'standard' | 'hardened';
  args: readonly string[];
}

/**
 * As few processes as possible: one for the page, one for everything else. A session needs 37 MB instead of 157, but has no sandbox, which
 * `--no-zygote` does not allow.
 */
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

/** Used by every profile: no requests to Google, no sound or windows, and no slower timers for a page in the background. */
const common = [
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

/** Chromium refuses to run as root with its sandbox. As root, `standard` runs without it and `hardened` does not start. */
const asRoot = (): boolean => process.getuid?.() === 0;

/**
 * The environment variables that a browser receives. All others are withheld, the service key in particular: every process of the browser
 * has the environment in its memory, including the one that runs the page.
 */
const allowedVariables =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TMP|TEMP|XDG_\w+|FONTCONFIG_\w+|LD_LIBRARY_PATH|DISPLAY|WAYLAND_DISPLAY|SSL_CERT_FILE|SSL_CERT_DIR|NSS_\w+|SystemRoot|windir|APPDATA|LOCALAPPDATA|ProgramFiles|ProgramData|USERPROFILE)$/i;

export const browserEnvironment = (env: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value !== undefined && allowedVariables.test(name) ? [[name, value]] : [])),
  );

export const usesSandbox = ({ profile, args }: BrowserConfig): boolean =>
  profile !== 'lean' && !(profile === 'standard' && asRoot()) && !args.includes('--no-sandbox');

/**
 * Every connection of the browser goes to the proxy on this port of loopback, or fails. Nothing is ever made directly:
 *
 * | argument | effect |
 * | --- | --- |
 * | proxy-server | the only proxy, without `direct://` behind it: if it cannot be reached, the connection fails. It covers web sockets and service workers |
 * | proxy-bypass-list | Chromium would connect to loopback and link-local addresses directly; this removes that rule |
 * | host-resolver-rules | the browser resolves no name by itself, not even to prefetch it; a direct connection finds no address |
 * | the two of WebRTC | no UDP, which an HTTP proxy does not carry. Chrome reads the second name, its headless shell the first |
 *
 * They stand behind BROWSER_ARGS, because Chromium uses the last of two equal arguments.
 */
const throughProxy = (port: number): string[] => [
  `--proxy-server=http://127.0.0.1:${port}`,
  '--proxy-bypass-list=<-loopback>',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
  '--force-webrtc-ip-handling-policy=disable_non_proxied_udp',
  '--webrtc-ip-handling-policy=disable_non_proxied_udp',
];

/** Arguments that would let a browser with a proxy connect past it. */
const pastProxy = /^--(no-proxy-server|proxy-auto-detect|proxy-pac-url|host-rules)\b/;

/** `proxyPort`: see `LaunchOptions.proxyPort` of engine.ts. */
export function launchOptions({ path, profile, args }: BrowserConfig, proxyPort?: number): LaunchOptions {
  const own = profile === 'lean' ? lean : profile === 'standard' && asRoot() ? ['--no-sandbox'] : [];
  const isShell = path !== null && /headless[-_]shell/.test(basename(path));
  return {
    ...(path ? { executablePath: path } : {}),
    headless: isShell ? 'shell' : true,
    // With a pipe the browser ends with this process, and there is no port that another program could use.
    pipe: true,
    protocolTimeout: 60_000,
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    env: browserEnvironment(process.env),
    args:
      proxyPort === undefined
        ? [...common, ...own, ...args]
        : [...common, ...own, ...args.filter((arg) => !pastProxy.test(arg)), ...throughProxy(proxyPort)],
  };
}

/** The user agent and client hints of a normal browser of this version. Headless browsers identify themselves as headless. */
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

/** The browser and all its descendants. Without /proc: only the browser. */
export async function processTree(browser: Browser): Promise<number[]> {
  const root = browser.process()?.pid;
  if (root === undefined) return [];
  const children = new Map<number, number[]>();
  for (const name of await readdir('/proc').catch((): string[] => [])) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => null); // The process may have ended meanwhile.
    const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const below = (pid: number): number[] => [pid, ...(children.get(pid) ?? []).flatMap(below)];
  return below(root);
}

/** Asks the browser to close. Processes that still run three seconds later are killed by pid. Never rejects. */
export async function closeBrowser(browser: Browser): Promise<void> {
  const pids = await processTree(browser);
  try {
    await within(browser.close(), 3000, 'Closing the browser');
  } catch {
    // It hangs or has already ended; the signal below ends the remaining processes.
  }
  for (const pid of pids.filter(alive)) signal(pid, 'SIGKILL');
  for (let waited = 0; waited < 2000 && pids.some(alive); waited += 20) await sleep(20);
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false; // The process has ended already.
  }
}
const alive = (pid: number): boolean => signal(pid, 0);
