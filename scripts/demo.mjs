import './lib/node-version.mjs';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { qrCommands, sayFirstAdmin, sayRows } from './lib/banner.mjs';
import { dataDirOf, readEnvironment } from './lib/environment.mjs';
import { launch } from './lib/launch.mjs';
import { readLines } from './lib/lines.mjs';
import { parseJson } from './lib/log-file.mjs';
import { isOpenWanted, openBrowser } from './lib/open-browser.mjs';
import { programs, root } from './lib/paths.mjs';
import { environmentsFor, prepare, prepareDataDir } from './lib/prepare.mjs';
import { addressesOf } from './lib/readiness.mjs';
import { claimDataDir } from './lib/run-record.mjs';
import { makePrivateFolder } from './lib/secrets.mjs';
import { Problem, bold, dim, green, say, seconds, showProblem } from './lib/terminal.mjs';

/**
 * `npm run demo`: the whole product without WhatsApp. The simulator forgets its phones when it ends, so the demo begins with an
 * empty folder each time: `DATA_DIR/demo`. Nothing else of DATA_DIR is touched, and no database but the demo's own.
 */
const startedAt = performance.now();
const marker = '.chasqui-demo';
const phones = { shop: { phone: '5511988887777', name: 'Your shop' }, ana: { phone: '5511999990001', name: 'Ana' } };

/** Settings that a demo must not share with an installation on the same machine. */
function demoEnvironment() {
  const env = readEnvironment();
  const dataDir = join(dataDirOf(env), 'demo');
  for (const name of [
    'DATABASE_URL',
    'REDIS_URL',
    'ADMIN_PASSWORD',
    'WORKER_URLS',
    'NODE_SERVICE_URL',
    'BACKEND_URL',
    'PUBLIC_URL',
    'WORKER_URL',
  ]) {
    delete env[name];
  }
  return { env: { ...env, DATA_DIR: dataDir, BROWSER_ARGS: '' }, dataDir };
}

/** A folder with files that is not marked as a demo's is left alone. */
function demandDemo(dataDir) {
  if (existsSync(dataDir) && readdirSync(dataDir).length > 0 && !existsSync(join(dataDir, marker))) {
    throw new Problem(
      `${dataDir} holds files that are not the demo's.`,
      'Move them away, or choose another DATA_DIR for the demo.',
    );
  }
}

/** Empties the demo's folder except for our lock and for the marker, without which nothing is deleted. */
function emptyDemo(dataDir) {
  const names = readdirSync(dataDir).filter((name) => name !== marker && !name.startsWith('run.lock'));
  for (const name of names) rmSync(join(dataDir, name), { recursive: true, force: true, maxRetries: 3 });
}

/** Starts the simulator; resolves to what it prints: `{controlUrl, phoneUrl, browserArgs}`. */
function startSimulator(onEnd) {
  const child = spawn(process.execPath, [programs.simulator], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    detached: process.platform !== 'win32',
  });
  return new Promise((resolve, reject) => {
    readLines(child.stdout, (line) => {
      const addresses = parseJson(line);
      if (addresses?.browserArgs) resolve({ child, addresses });
    });
    child.once('error', (error) =>
      reject(new Problem(`The simulator cannot be started: ${error.message}`, 'Run the same command again.')),
    );
    child.once('exit', (code) => {
      reject(new Problem(`The simulator ended with code ${code}.`, 'Its output is above. Run the same command again.'));
      onEnd();
    });
  });
}

let simulator = null;
try {
  const { env, dataDir } = demoEnvironment();
  const prepared = await prepare({ env });
  demandDemo(dataDir);
  makePrivateFolder(dataDir);
  writeFileSync(join(dataDir, marker), 'npm run demo empties this folder each time it starts.\n', { mode: 0o600 });
  const claim = await claimDataDir(dataDir);
  emptyDemo(dataDir);
  const { secrets } = prepareDataDir(env, { dataDir, isQuiet: true });

  simulator = await startSimulator(() => process.emit('SIGTERM', 'the simulator ended'));
  const { addresses } = simulator;
  const { simulatorClient } = await import(pathToFileURL(join(root, 'simulator/dist/client.js')).href);
  for (const phone of Object.values(phones)) await simulatorClient(addresses.controlUrl).createAccount(phone);
  const settings = prepared.settings;
  const environments = environmentsFor({ ...prepared, dataDir, secrets });
  for (const name of ['backend', 'worker']) environments[name].BROWSER_ARGS = JSON.stringify(addresses.browserArgs);
  const { firstAdmin, stopped, wasStopped } = await launch({ settings, environments, dataDir, claim });
  if (!wasStopped()) {
    sayDemo({ settings, addresses, firstAdmin });
    if (isOpenWanted()) openBrowser(firstAdmin?.link ?? `${addressesOf(settings).backend}/admin`);
  }
  const code = await stopped;
  simulator.child.removeAllListeners('exit');
  simulator.child.kill('SIGTERM');
  process.exit(code);
} catch (error) {
  simulator?.child.kill('SIGTERM');
  showProblem(error);
  process.exit(1);
}

function sayDemo({ settings, addresses, firstAdmin }) {
  const base = addressesOf(settings).backend;
  say();
  say(
    `${green(bold('The demo is running,'))} without WhatsApp: a simulated phone stands in. ${dim(`Ready after ${seconds(performance.now() - startedAt)}.`)}`,
  );
  const key = firstAdmin?.apiKey ?? 'YOUR_KEY';
  say();
  say(`  ${bold('Open this first:')} ${firstAdmin?.link ?? `${base}/admin`}`);
  say('  1. Choose a password. Press "New session": it shows a QR code.');
  say(`  2. Open the phone, ${addresses.phoneUrl}, choose "${phones.shop.name}" (+${phones.shop.phone}) and press "Scan".`);
  say(
    `  3. Send a message to ${phones.ana.name}, +${phones.ana.phone}, from the page of the session. The phone shows it; answer there.`,
  );
  say();
  sayRows([
    ['Panel', `${base}/admin`],
    ['API', `${base}/api/docs   (every example can be sent as it is)`],
    ['Simulator', `${addresses.controlUrl}/api   (for tests of your own: docs/testing-your-program.md)`],
  ]);
  if (firstAdmin) sayFirstAdmin({ ...firstAdmin, link: null, password: firstAdmin.link ? null : firstAdmin.password });
  say();
  say('  The same with curl, in any shell:');
  for (const line of qrCommands(base, key)) say(`     ${line}`);
  say(
    `     curl -s ${base}/api/v1/messages/send-text -H "X-API-Key: ${key}" -H "Content-Type: application/json" -d "{\\"recipient\\":\\"+${phones.ana.phone}\\",\\"message\\":\\"Hello ${phones.ana.name}\\"}"`,
  );
  say(`     curl -s ${base}/api/v1/messages/list -H "X-API-Key: ${key}"`);
  say(`  ${dim('Stop with Ctrl-C. The next demo begins empty.')}`);
}
