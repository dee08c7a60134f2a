import { spawnSync } from 'node:child_process';
import { install } from './install.mjs';
import { build } from './packages.mjs';
import { programs } from './paths.mjs';

/** Runs the program of backups, after the same set-up as `npm start`. Returns its exit code. Files are named from the folder of the caller. */
export async function runBackupProgram(args, env) {
  await install();
  await build({ only: ['shared', 'backend'] });
  // npm changes into the repository and says where it was started.
  const cwd = env.INIT_CWD || process.cwd();
  const { status } = spawnSync(process.execPath, [programs.backup, ...args], { cwd, env, stdio: 'inherit' });
  return status ?? 1;
}
