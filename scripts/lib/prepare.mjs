import { isRoot } from './command.mjs';
import { dataDirOf, loadSettings, readEnvironment } from './environment.mjs';
import { getBrowser } from './browser.mjs';
import { install } from './install.mjs';
import { build } from './packages.mjs';
import { dialled } from './readiness.mjs';
import { ensureSecrets, makePrivateFolder } from './secrets.mjs';
import { bold, say, warn } from './terminal.mjs';

/** Everything up to the point where processes can be started. Each part does nothing when it was done before. */
export async function prepare({ env = readEnvironment() } = {}) {
  await install();
  await build();
  const { settings: table, readSettings } = await loadSettings();
  const settings = readSettings(env);
  const browser = await getBrowser(env);
  return { env, table, settings, browser };
}

/** The folder of the data and the secrets in it; says what it made. */
export function prepareDataDir(env, { dataDir = dataDirOf(env), isQuiet = false } = {}) {
  makePrivateFolder(dataDir);
  const { secrets, made } = ensureSecrets(dataDir);
  if (made.length > 0 && !isQuiet) say(`  Secrets made in ${dataDir}: ${made.join(', ')}. Back that folder up.`);
  return { dataDir, secrets };
}

/**
 * The environments of the two processes. The worker opens foreign pages in its browser, and the browser inherits its environment:
 * it gets the service key and none of the other secrets.
 */
export function environmentsFor({ env, table, settings, browser, dataDir, secrets }) {
  const isSet = (name) => [name, ...(table[name]?.aliases ?? [])].some((candidate) => env[candidate]);
  const defaults = {
    ...secrets,
    NODE_ENV: settings.NODE_ENV,
    WORKER_URLS: `http://${dialled(settings.WORKER_HOST)}:${settings.WORKER_PORT}`,
    BACKEND_URL: `http://${dialled(settings.HOST)}:${settings.PORT}`,
    BROWSER_PROFILE: settings.BROWSER_PROFILE,
  };
  const fixed = {
    DATA_DIR: dataDir,
    PORT: String(settings.PORT),
    WORKER_PORT: String(settings.WORKER_PORT),
    BROWSER_PATH: browser.path,
  };
  const missing = Object.fromEntries(Object.entries(defaults).filter(([name]) => !isSet(name)));
  const backend = { ...env, ...missing, ...fixed };
  const hidden = Object.entries(table).filter(([name, row]) => row.secret && name !== 'SERVICE_API_KEY');
  const hiddenNames = new Set(hidden.flatMap(([name, row]) => [name, ...(row.aliases ?? [])]));
  const worker = Object.fromEntries(Object.entries(backend).filter(([name]) => !hiddenNames.has(name)));
  return { backend, worker };
}

/** What a person must know about how the browser runs before it opens foreign pages. */
export function sayBrowser({ browser, settings }) {
  say(`  Browser: ${browser.path} (${browser.version})${browser.source === 'found' ? '' : `, from ${browser.source}`}`);
  const { BROWSER_PROFILE: profile } = settings;
  if (profile === 'hardened') return;
  if (profile === 'lean') {
    warn(
      `${bold("Chromium's sandbox is OFF")} (BROWSER_PROFILE=lean, the profile with the least memory). ${
        isRoot()
          ? 'And this is root: a page that breaks out of Chromium owns the machine. Run Chasqui as a user of its own,'
          : 'A page that breaks out of Chromium gets what this user may do. Keep nothing else under this user,'
      }\n  or set BROWSER_PROFILE=hardened (needs a user other than root; about 30 MB more per session).`,
    );
  } else if (isRoot()) {
    warn(`${bold("Chromium's sandbox is OFF")}: Chromium has none for root. Run Chasqui as a user of its own.`);
  }
}
