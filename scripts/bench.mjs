import './lib/node-version.mjs';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { getBrowser } from './lib/browser.mjs';
import { runCommand } from './lib/command.mjs';
import { readEnvironment } from './lib/environment.mjs';
import { install } from './lib/install.mjs';
import { build } from './lib/packages.mjs';
import { root } from './lib/paths.mjs';
import { Problem, showProblem } from './lib/terminal.mjs';

/** `npm run bench [-- arguments]`: the same set-up as `npm start`, then the benchmarks; their exit code is ours. */
try {
  await install();
  await build();
  const env = readEnvironment();
  const browser = await getBrowser(env);
  const program = join(root, 'bench/dist/main.js');
  if (!existsSync(program))
    throw new Problem('bench/src/main.ts is missing.', 'Get the whole repository and run the same command again.');
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
