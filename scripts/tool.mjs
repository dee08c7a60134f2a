import './lib/node-version.mjs';
import { runCommand } from './lib/command.mjs';
import { install } from './lib/install.mjs';
import { root } from './lib/paths.mjs';
import { showProblem } from './lib/terminal.mjs';
import { toolPath } from './lib/tool-path.mjs';

/**
 * Runs tools of the packages one after the other, after installing what is missing: `node scripts/tool.mjs "eslint ." "prettier --check ."`. The first
 * one that fails ends it.
 */
try {
  await install();
  for (const line of process.argv.slice(2)) {
    const [name, ...args] = line.split(' ');
    const { code } = await runCommand(process.execPath, [toolPath(name), ...args], { cwd: root, inherit: true });
    process.exitCode = code;
    if (code !== 0) break;
  }
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
