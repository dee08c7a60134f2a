import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRoot } from './command.mjs';
import { dataDirOf, loadSettings, readEnvFile, readEnvironment } from './environment.mjs';
import { getBrowser } from './browser.mjs';
import { install } from './install.mjs';
import { build } from './packages.mjs';
import { root } from './paths.mjs';
import { dialled } from './readiness.mjs';
import { ensureSecrets, makePrivateFolder } from './secrets.mjs';
import { Problem, bold, say, warn } from './terminal.mjs';

/** All steps before processes can be started. A step that was done before does nothing. */
export async function prepare({ env = readEnvironment() } = {}) {
  await install();
  await build();
  const { settings: table, readSettings, unknownSettings } = await loadSettings();
  demandKnownNames(unknownSettings);
  const settings = readSettings(env);
  const browser = await getBrowser(env);
  return { env, table, settings, browser };
}

/** A misspelled setting in `.env` would be accepted and have no effect, so it stops the start. Other programs may have settings there too. */
export function demandKnownNames(unknownSettings, names = Object.keys(readEnvFile()), foreign = foreignNames()) {
  const unknown = unknownSettings(names.filter((name) => !foreign.has(name) && !foreignName.test(name)));
  const misspelled = unknown.filter(({ meant }) => meant !== null);
  if (misspelled.length > 0)
    throw new Problem(
      `.env sets names that are no settings:\n${misspelled.map(({ name, meant }) => `  ${name}: did you mean ${meant}?`).join('\n')}`,
      'Correct or remove those lines of .env; .env.example has all names.',
    );
  if (unknown.length > 0)
    warn(
      `.env sets ${unknown.map(({ name }) => name).join(', ')}: no settings of Chasqui (see .env.example). They have no effect on it.`,
    );
}

/** Names that Node, npm and the operating system read. */
const foreignName =
  /^(NODE_|npm_|NPM_|PUPPETEER_|PG|COMPOSE_|DOCKER_|BUILDKIT_|LC_|UV_|SSL_|CHASQUI_)|^(TZ|LANG|PATH|HOME|TMPDIR|DEBUG|CI|NO_COLOR|FORCE_COLOR|(https?|no|all)_proxy)$/i;

/** Names that only the Compose files read. */
function foreignNames() {
  const files = ['docker-compose.yml', 'docker-compose.prod.yml']
    .map((name) => join(root, name))
    .filter((file) => existsSync(file));
  return new Set(files.flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/\$\{(\w+)/g)].map(([, name]) => name)));
}

/** Creates the data folder and its secrets; prints what it created. */
export function prepareDataDir(env, { dataDir = dataDirOf(env), isQuiet = false } = {}) {
  makePrivateFolder(dataDir);
  const { secrets, made } = ensureSecrets(dataDir);
  if (made.length > 0 && !isQuiet) say(`  Secrets created in ${dataDir}: ${made.join(', ')}. Back that folder up.`);
  return { dataDir, secrets };
}

/** The secrets that the worker, which opens foreign pages, needs. It deletes them from its environment before a browser starts. */
const workerSecrets = ['SERVICE_API_KEY', 'METRICS_TOKEN', 'OTEL_EXPORTER_OTLP_HEADERS'];

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
  const hidden = Object.entries(table).filter(([name, row]) => row.secret && !workerSecrets.includes(name));
  const hiddenNames = new Set(hidden.flatMap(([name, row]) => [name, ...(row.aliases ?? [])]));
  const worker = Object.fromEntries(Object.entries(backend).filter(([name]) => !hiddenNames.has(name)));
  return { backend, worker };
}

/** Prints which browser is used and warns if its sandbox is off. */
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
