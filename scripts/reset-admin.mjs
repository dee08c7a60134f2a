import './lib/node-version.mjs';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dataDirOf, readEnvironment } from './lib/environment.mjs';
import { programs, root } from './lib/paths.mjs';
import { readSecrets } from './lib/secrets.mjs';
import { Problem, showProblem } from './lib/terminal.mjs';

/** `npm run reset-admin [-- e-mail]`: a new one-time password for an admin. Works while Chasqui runs, and while it does not. */
try {
  const env = readEnvironment();
  const dataDir = dataDirOf(env);
  const secrets = readSecrets(dataDir);
  if (!existsSync(programs['reset-admin']) || !secrets)
    throw new Problem('Chasqui was never started here.', 'Run npm start: the first start prints a one-time password.');
  const missing = Object.fromEntries(Object.entries(secrets).filter(([name]) => !env[name]));
  const { status } = spawnSync(process.execPath, [programs['reset-admin'], ...process.argv.slice(2)], {
    cwd: root,
    env: { ...env, ...missing, DATA_DIR: dataDir },
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
