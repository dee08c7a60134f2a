import './lib/node-version.mjs';
import { sayRunning } from './lib/banner.mjs';
import { launch } from './lib/launch.mjs';
import { isOpenWanted, openBrowser } from './lib/open-browser.mjs';
import { environmentsFor, prepare, prepareDataDir, sayBrowser } from './lib/prepare.mjs';
import { addressesOf } from './lib/readiness.mjs';
import { isQrWanted, showQr } from './lib/terminal-qr.mjs';
import { showProblem } from './lib/terminal.mjs';

/** `npm start`: sets up what is missing, starts backend and worker, and keeps both running until Ctrl-C. */
const startedAt = performance.now();
try {
  const prepared = await prepare();
  const { dataDir, secrets } = prepareDataDir(prepared.env);
  sayBrowser(prepared);
  const environments = environmentsFor({ ...prepared, dataDir, secrets });
  const { settings } = prepared;
  const { firstAdmin, stopped, wasStopped } = await launch({ settings, environments, dataDir });
  if (!wasStopped()) {
    const panel = sayRunning({ settings, dataDir, firstAdmin, startedAt });
    if (isOpenWanted()) openBrowser(panel);
    const url = addressesOf(settings).backend;
    const parts = { url, apiKey: firstAdmin?.apiKey, panel: `${settings.PUBLIC_URL ?? url}/admin`, isOver: wasStopped };
    if (isQrWanted()) void showQr(parts);
  }
  process.exit(await stopped);
} catch (error) {
  showProblem(error);
  process.exit(1);
}
