import './lib/node-version.mjs';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { programs } from './lib/paths.mjs';
import { statusOf } from './lib/readiness.mjs';
import { ensureSecrets, makeMountedFolder, readSecrets } from './lib/secrets.mjs';
import { Problem, showProblem } from './lib/terminal.mjs';

/**
 * The first program of both images: `container.mjs backend`, `container.mjs worker`, `container.mjs health <url>`, and
 * `container.mjs reset-admin [e-mail]` beside a running backend, for a new one-time password. The service key is in a volume that both containers
 * mount and only the backend may write. `container.mjs backup …` and `container.mjs restore …` take what `npm run backup` and `npm run restore` take. The other secrets are beside the backend's data and never reach the container that has the browser.
 */
const [role, url] = process.argv.slice(2);
const dataDir = process.env.DATA_DIR || '/data';
const keyDir = process.env.SERVICE_KEY_DIR || '/service-key';

/** An empty variable counts as not set: compose hands over empty ones. */
function setMissing(secrets) {
  for (const [name, value] of Object.entries(secrets)) process.env[name] ||= value;
}

function backupArguments(role) {
  const [option, ...more] = process.argv.slice(3);
  if (role === 'restore') return ['restore', ...process.argv.slice(3)];
  if (option === '--new-key') return ['new-key'];
  return option === '--verify' ? ['verify', ...more] : ['create', ...process.argv.slice(3)];
}

try {
  if (role === 'health') {
    const status = await statusOf(url, 4000);
    process.exit(status >= 200 && status < 300 ? 0 : 1);
  }
  if (role === 'restore' || (role === 'backup' && process.argv[3]?.startsWith('--new-key'))) {
    // Before there are any secrets: a restore brings those of the backup.
    makeMountedFolder(dataDir);
  } else if (role === 'backend' || role === 'reset-admin' || role === 'backup') {
    makeMountedFolder(dataDir);
    makeMountedFolder(keyDir);
    // The output of a container is kept in logs, where no permanent key may be.
    process.env.SHOW_FIRST_API_KEY = 'false';
    setMissing(ensureSecrets(keyDir, ['SERVICE_API_KEY']).secrets);
    // The backend reads this file by itself as well, and wants it whole; the service key in it is not used.
    setMissing(ensureSecrets(dataDir).secrets);
  } else if (role === 'worker') {
    makeMountedFolder(dataDir);
    if (existsSync(keyDir)) setMissing(readSecrets(keyDir) ?? {});
    if (!process.env.SERVICE_API_KEY) {
      throw new Problem(
        `There is no service key: SERVICE_API_KEY is not set, and the backend has written none to ${keyDir}.`,
        'Give this container the volume of the backend’s service key, or set the same SERVICE_API_KEY for both.',
      );
    }
  } else {
    throw new Problem(
      `container.mjs does not know the role ${role}.`,
      'Use backend, worker, backup, restore, reset-admin or health.',
    );
  }
  if (role === 'reset-admin') process.argv.splice(2, 1);
  if (role === 'backup' || role === 'restore') process.argv.splice(2, process.argv.length, ...backupArguments(role));
  await import(pathToFileURL(programs[role === 'restore' ? 'backup' : role]).href);
} catch (error) {
  showProblem(error);
  process.exit(1);
}
