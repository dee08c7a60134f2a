import './lib/node-version.mjs';
import { existsSync, watch } from 'node:fs';
import { join } from 'node:path';
import { sayRunning } from './lib/banner.mjs';
import { readEnvironment } from './lib/environment.mjs';
import { launch } from './lib/launch.mjs';
import { buildPackage, bundlePanel } from './lib/packages.mjs';
import { root } from './lib/paths.mjs';
import { environmentsFor, prepare, prepareDataDir, sayBrowser } from './lib/prepare.mjs';
import { dim, say, seconds, showProblem, warn } from './lib/terminal.mjs';

/** `npm run dev`: as `npm start`, and each change of a source file is built at once and restarts its process. */
const startedAt = performance.now();
const processesOf = { shared: ['backend', 'worker'], backend: ['backend'], 'whatsapp-service': ['worker'] };
/** An editor writes several files for one save. */
const settleMs = 120;

try {
  const prepared = await prepare({ env: { NODE_ENV: 'development', LOG_LEVEL: 'debug', ...readEnvironment() } });
  const { dataDir, secrets } = prepareDataDir(prepared.env);
  sayBrowser(prepared);
  const environments = environmentsFor({ ...prepared, dataDir, secrets });
  const { settings } = prepared;
  const running = await launch({ settings, environments, dataDir, nodeArgs: ['--enable-source-maps'], isWatched: false });
  if (!running.wasStopped()) {
    sayRunning({ settings, dataDir, firstAdmin: running.firstAdmin, startedAt });
    watchSources(running);
  }
  process.exit(await running.stopped);
} catch (error) {
  showProblem(error);
  process.exit(1);
}

function watchSources({ supervisor, wasStopped }) {
  const changed = new Map();
  let timer = null;
  let working = Promise.resolve();
  const folders = Object.keys(processesOf).flatMap((name) => ['src', 'panel'].map((part) => ({ name, part })));
  for (const { name, part } of folders) {
    const folder = join(root, name, part);
    if (!existsSync(folder)) continue;
    const watcher = watch(folder, { recursive: true }, (_event, file) => {
      if (!file || /\.test\.ts$|~$|\.swp$/.test(file)) return;
      changed.set(name, [...(changed.get(name) ?? []), { part, file }]);
      clearTimeout(timer);
      timer = setTimeout(() => (working = working.then(react)), settleMs);
    });
    watcher.on('error', (error) => warn(`${folder} is no longer watched: ${error.message}`));
  }
  say(`  ${dim(`Watching ${Object.keys(processesOf).join(', ')}.`)}`);

  /** A file that does not compile leaves the running processes as they are. */
  async function react() {
    const batch = [...changed];
    changed.clear();
    const started = performance.now();
    const restarts = new Set();
    try {
      for (const [name, files] of batch) {
        const onlyPanel = files.every(({ part }) => part === 'panel');
        if (!onlyPanel) {
          await buildPackage(name);
          processesOf[name].forEach((part) => restarts.add(part));
        }
        if (name === 'backend') await bundlePanel();
      }
      if (wasStopped() || batch.length === 0) return;
      await Promise.all([...restarts].map((name) => supervisor.restart(name)));
      const what = restarts.size > 0 ? `${[...restarts].join(' and ')} restarted` : 'panel bundled, reload the page';
      say(
        `${dim(new Date().toTimeString().slice(0, 8))} ${batch.map(([name]) => name).join(', ')} built; ${what} ${dim(seconds(performance.now() - started))}`,
      );
    } catch (error) {
      showProblem(error);
    }
  }
}
