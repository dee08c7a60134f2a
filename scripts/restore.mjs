import './lib/node-version.mjs';
import { runBackupProgram } from './lib/backup-program.mjs';
import { dataDirOf, readEnvironment } from './lib/environment.mjs';
import { Problem, showProblem } from './lib/terminal.mjs';

/** `npm run restore -- FILE [--moved] [--stopped-sessions] [--worker ID]`: restores a backup into an empty DATA_DIR. */
try {
  const args = process.argv.slice(2);
  if (!args.some((arg) => !arg.startsWith('--'))) throw new Problem('Which backup?', 'Run: npm run restore -- FILE');
  const env = readEnvironment();
  process.exitCode = await runBackupProgram(['restore', ...args], { ...env, DATA_DIR: dataDirOf(env) });
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
