import './lib/node-version.mjs';
import { existsSync } from 'node:fs';
import { runBackupProgram } from './lib/backup-program.mjs';
import { resolve } from 'node:path';
import { dataDirOf, readEnvironment } from './lib/environment.mjs';
import { root } from './lib/paths.mjs';
import { readSecrets } from './lib/secrets.mjs';
import { Problem, showProblem } from './lib/terminal.mjs';

/**
 * `npm run backup [-- --to FILE] [--parts database,profiles,media]` makes a backup, while Chasqui runs and while it does not;
 * `npm run backup -- --verify FILE` checks one; `npm run backup -- --new-key` makes a key.
 */
try {
  const args = process.argv.slice(2);
  if (args[0] === '--new-key') process.exitCode = await runBackupProgram(['new-key'], readEnvironment());
  else if (args[0] === '--verify') process.exitCode = await runBackupProgram(['verify', ...args.slice(1)], readEnvironment());
  else {
    const env = readEnvironment();
    const dataDir = dataDirOf(env);
    const secrets = existsSync(dataDir) ? readSecrets(dataDir) : null;
    if (!secrets)
      throw new Problem(`There is no installation in ${dataDir}.`, 'Name its folder with DATA_DIR, or run npm start first.');
    // Relative settings count from the repository, as in npm start.
    const backupDir = env.BACKUP_DIR ? { BACKUP_DIR: resolve(root, env.BACKUP_DIR) } : {};
    const missing = Object.fromEntries(Object.entries(secrets).filter(([name]) => !env[name]));
    process.exitCode = await runBackupProgram(['create', ...args], { ...env, ...missing, DATA_DIR: dataDir, ...backupDir });
  }
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
