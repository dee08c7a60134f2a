import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { getBrowser } from './browser.mjs';
import { runCommand } from './command.mjs';
import { readEnvironment } from './environment.mjs';
import { install } from './install.mjs';
import { build } from './packages.mjs';
import { root } from './paths.mjs';
import { Problem, showProblem } from './terminal.mjs';

/** The same set-up as `npm start`, then one built program with this script's own arguments; its exit code is ours. */
export async function runProgram(path) {
  try {
    await install();
    await build();
    const env = readEnvironment();
    const browser = await getBrowser(env);
    const program = join(root, path);
    if (!existsSync(program))
      throw new Problem(`${path} is missing.`, 'Get the whole repository and run the same command again.');
    const { code } = await runCommand(process.execPath, [program, ...process.argv.slice(2)], {
      cwd: root,
      env: { ...env, BROWSER_PATH: browser.path },
      inherit: true,
    });
    process.exitCode = code;
  } catch (error) {
    showProblem(error);
    process.exitCode = 1;
  }
}
