import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { findBrowser } from './browser.mjs';
import { isRoot, npmCommand, runCommand } from './command.mjs';
import { dataDirOf } from './environment.mjs';
import { missingBuildTools } from './install.mjs';
import { root } from './paths.mjs';
import { answers, portTrouble } from './ports.mjs';
import { commandOf } from './processes.mjs';
import { runRecord } from './run-record.mjs';
import { readSecrets, secretNames, secretsFile } from './secrets.mjs';
import { tail } from './terminal.mjs';

/**
 * The checks of `npm run doctor`, one row each: `look` resolves to `{ok, found, fix?, essential?}`. Nothing is changed, installed or
 * fetched. An essential row that is not ok means that `npm start` would fail.
 */
const gigabyte = 1024 ** 3;
const ok = (found) => ({ ok: true, found });
const bad = (found, fix) => ({ ok: false, essential: true, found, fix });
const poor = (found, fix) => ({ ok: false, essential: false, found, fix });

export const rows = [
  { name: 'Node.js', look: async () => ok(`${process.versions.node} (${process.execPath})`) },
  {
    name: 'npm',
    async look() {
      const [command, ...args] = npmCommand();
      const { code, output } = await runCommand(command, [...args, '--version'], { timeoutMs: 20_000 });
      return code === 0 ? ok(output.trim().split('\n').at(-1)) : bad('does not answer', 'Install npm; it comes with Node.js.');
    },
  },
  {
    name: 'Packages',
    async look() {
      if (!existsSync(join(root, 'node_modules/.modules.yaml'))) return poor('not installed yet', 'npm start installs them.');
      const load = "new (require('better-sqlite3'))(':memory:')";
      const { code, output } = await runCommand(process.execPath, ['-e', load], {
        cwd: join(root, 'backend'),
        timeoutMs: 20_000,
      });
      if (code === 0) return ok('installed; SQLite loads');
      return bad(
        `better-sqlite3 does not load: ${
          tail(output, 30)
            .split('\n')
            .find((line) => /Error/.test(line)) ?? ''
        }`,
        'Delete .cache/stamps and run npm start; it installs again.',
      );
    },
  },
  {
    name: 'Compiler',
    async look() {
      const missing = process.platform === 'win32' ? [] : missingBuildTools();
      return missing.length === 0
        ? ok('python3, make, g++')
        : poor(
            `${missing.join(', ')} missing`,
            'Only needed when better-sqlite3 has no ready-made binary here: install python3, make and g++.',
          );
    },
  },
  {
    name: 'Settings',
    look: ({ settingsProblem }) =>
      settingsProblem ? bad(settingsProblem, 'Correct them in .env or the environment.') : ok('all valid'),
  },
  { name: 'Browser', look: ({ env }) => lookAtBrowser(env) },
  { name: 'Data folder', look: ({ env }) => lookAtDataDir(dataDirOf(env)) },
  { name: 'Secrets', look: ({ env }) => lookAtSecrets(env) },
  { name: 'Database', look: ({ env }) => lookAtDatabase(env) },
  { name: 'Redis', look: ({ env }) => (env.REDIS_URL ? lookAtAddress(env.REDIS_URL, 6379, 'REDIS_URL') : ok('not used')) },
  { name: 'Port of the backend', look: ({ env }) => lookAtPort(env, 'PORT', 8000, env.HOST) },
  { name: 'Port of the worker', look: ({ env }) => lookAtPort(env, 'WORKER_PORT', 3000, env.WORKER_HOST) },
  {
    name: 'Disk',
    async look({ env }) {
      const folder = nearestFolder(dataDirOf(env));
      const { bavail, bsize } = statfsSync(folder);
      const free = (bavail * bsize) / gigabyte;
      const found = `${free.toFixed(1)} GB free at ${folder}`;
      if (free < 0.5) return bad(found, 'Free at least 2 GB: a full disk means that no message is accepted.');
      return free < 2 ? poor(found, 'Packages, browser and logins need about 2 GB; free some.') : ok(found);
    },
  },
  {
    name: 'Memory',
    async look() {
      const limit = process.constrainedMemory?.() ?? 0;
      const bytes = limit > 0 && limit < totalmem() ? limit : totalmem();
      const found = `${(bytes / gigabyte).toFixed(1)} GB`;
      return bytes < 1.5 * gigabyte
        ? poor(
            found,
            'A linked WhatsApp page takes 150–400 MB beside about 500 MB for the two processes; one or two sessions fit.',
          )
        : ok(found);
    },
  },
];

/** A version proves only that the program starts; a page that ran proves that it works. */
async function lookAtBrowser(env) {
  let browser;
  try {
    browser = await findBrowser(env);
  } catch (error) {
    return bad(error.message, error.nextStep);
  }
  if (!browser) return poor('none found', 'npm start downloads one; or install Chromium, or name one with BROWSER_PATH.');
  const profile = mkdtempSync(join(tmpdir(), 'chasqui-doctor-'));
  const mark = randomBytes(6).toString('hex');
  const isSandboxed = env.BROWSER_PROFILE === 'hardened' || (env.BROWSER_PROFILE === 'standard' && !isRoot());
  const args = [
    '--headless',
    ...(isSandboxed ? [] : ['--no-sandbox']),
    '--disable-gpu',
    '--no-first-run',
    `--user-data-dir=${profile}`,
    '--dump-dom',
    `data:text/html,<script>document.write('ran-'+'${mark}')</script>`,
  ];
  try {
    const { output, timedOut } = await runCommand(browser.path, args, { timeoutMs: 30_000 });
    if (output.includes(`ran-${mark}`))
      return ok(`${browser.version}, shows a page ${isSandboxed ? 'in its sandbox' : 'without its sandbox'} (${browser.path})`);
    const why = timedOut ? 'it shows no page within 30 s' : `it shows no page: ${tail(output, 3)}`;
    const isSandboxTrouble = /sandbox|namespace/i.test(output);
    return bad(
      `${browser.path}: ${why}`,
      isSandboxTrouble
        ? 'The sandbox cannot be had here (root, or user namespaces are off). Run as another user, allow user namespaces, or set BROWSER_PROFILE=lean knowing that it has no sandbox.'
        : 'Install another Chromium, or name one with BROWSER_PATH. On Linux a missing library is named above.',
    );
  } finally {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const nearestFolder = (path) => (existsSync(path) ? path : nearestFolder(dirname(path)));

function lookAtDataDir(dataDir) {
  const folder = nearestFolder(dataDir);
  try {
    accessSync(folder, constants.W_OK);
    const probe = join(folder, `.doctor-${randomBytes(4).toString('hex')}`);
    writeFileSync(probe, 'can be written');
    rmSync(probe);
  } catch (error) {
    return bad(
      `${folder} cannot be written: ${error.code}`,
      'Give this user the folder (chown), or name another one with DATA_DIR.',
    );
  }
  if (folder !== dataDir) return ok(`${dataDir} (does not exist yet; can be created)`);
  const isOpen = process.platform !== 'win32' && (statSync(dataDir).mode & 0o077) !== 0;
  return isOpen && readdirSync(dataDir).length > 0
    ? poor(`${dataDir} may be entered by other users`, `chmod 700 ${dataDir}`)
    : ok(dataDir);
}

function lookAtSecrets(env) {
  const dataDir = dataDirOf(env);
  let stored;
  try {
    stored = readSecrets(dataDir);
  } catch (error) {
    return bad(error.message, error.nextStep);
  }
  const values = Object.fromEntries(secretNames.map((name) => [name, env[name] || stored?.[name]]));
  const weak = secretNames.filter((name) => values[name] && isWeak(values[name]));
  if (weak.length > 0)
    return bad(
      `weak: ${weak.join(', ')}`,
      'Remove them from .env (good ones are made), or set 32 random bytes each: openssl rand -hex 32',
    );
  const isOpen = stored && process.platform !== 'win32' && (statSync(secretsFile(dataDir)).mode & 0o077) !== 0;
  if (isOpen) return bad('other users may read the file', `chmod 600 ${secretsFile(dataDir)}`);
  const missing = secretNames.filter((name) => !values[name]);
  return ok(missing.length === 0 ? 'all there and strong' : `${missing.join(', ')}: created at the next start`);
}

/** Too short, too uniform, or copied from a document. */
export const isWeak = (secret) =>
  secret.length < 32 || new Set(secret).size < 10 || /change.?me|example|sample|password|your.?(secret|key)/i.test(secret);

async function lookAtDatabase(env) {
  if (env.DATABASE_URL) return lookAtAddress(env.DATABASE_URL, 5432, 'DATABASE_URL');
  const dataDir = dataDirOf(env);
  // Not the lock files: a running Chasqui holds them, and opening them could block one that starts.
  const isDatabase = (name) => /\.(sqlite3?|db)$/.test(name) && !name.endsWith('.lock.sqlite');
  const files = existsSync(dataDir) ? readdirSync(dataDir).filter(isDatabase) : [];
  if (files.length === 0) return ok('SQLite; the file is created at the first start');
  let Database;
  try {
    Database = createRequire(join(root, 'backend/package.json'))('better-sqlite3');
  } catch (error) {
    return bad(`SQLite cannot be loaded: ${error.message.split('\n')[0]}`, 'Run npm start once; it installs what is missing.');
  }
  for (const name of files) {
    try {
      const database = new Database(join(dataDir, name), { readonly: true, timeout: 2000 });
      const [first] = database.pragma('quick_check(1)', { simple: false });
      database.close();
      if (Object.values(first)[0] !== 'ok')
        return bad(`${name} is damaged: ${Object.values(first)[0]}`, 'Stop Chasqui and put the file back from a backup.');
    } catch (error) {
      return bad(`${name} cannot be opened: ${error.message}`, 'Check the rights of the file and of its folder.');
    }
  }
  return ok(`SQLite, ${files.join(', ')}: whole`);
}

/** Checks only that something listens; the backend tries the password. Never prints the address: it contains a password. */
async function lookAtAddress(address, usualPort, name) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return bad(`${name} is no address`, `Correct ${name}; .env.example shows the form.`);
  }
  const [host, port] = [url.hostname.replace(/^\[|\]$/g, ''), Number(url.port || usualPort)];
  return (await answers(port, host))
    ? ok(`${host}:${port} answers`)
    : bad(`${host}:${port} does not answer`, `Start it, or correct ${name}. A firewall may block the connection.`);
}

async function lookAtPort(env, name, usual, host = '127.0.0.1') {
  const port = Number(env[name] || usual);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    return bad(`${env[name]} is no port`, `Set ${name} to a number from 1 to 65535.`);
  const trouble = await portTrouble(port, host || '127.0.0.1');
  if (!trouble) return ok(`${port} is free`);
  const running = runRecord(dataDirOf(env)).read();
  if (trouble === 'EADDRINUSE' && running && commandOf(running.pid)?.includes('scripts/'))
    return ok(`${port} is in use by Chasqui itself (pid ${running.pid})`);
  return bad(
    `${port}: ${trouble === 'EADDRINUSE' ? 'in use' : trouble}`,
    `End the program that holds it, or set ${name} to another port.`,
  );
}
