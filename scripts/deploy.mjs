import './lib/node-version.mjs';
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { installForProduction } from './lib/install.mjs';
import { root } from './lib/paths.mjs';
import { Problem, say, showProblem } from './lib/terminal.mjs';

/**
 * `node scripts/deploy.mjs <backend|whatsapp-service> <folder>`: what one service needs to run, and nothing else, in a folder of its own.
 * Used by the images. It removes the packages that only building and testing need from this working copy, so run it in one that is thrown away.
 */
const [service, target] = process.argv.slice(2);

/** Leaves out what no program reads: source maps and type declarations of packages, and the compiler that comes as a peer of some. */
const isNeeded = (path) =>
  !/node_modules.*\.(map|d\.[cm]?ts)$/.test(path) && !/node_modules[\\/]\.pnpm[\\/]typescript@/.test(path);

try {
  if (!['backend', 'whatsapp-service'].includes(service) || !target) {
    throw new Problem('Which service, and where to?', 'Example: node scripts/deploy.mjs backend /out');
  }
  if (!existsSync(join(root, service, 'dist/main.js'))) throw new Problem(`${service} is not built.`, 'Run: npm run build');
  await installForProduction(service);
  rmSync(resolve(target), { recursive: true, force: true });
  mkdirSync(resolve(target), { recursive: true });
  const parts = ['package.json', 'node_modules', 'scripts/container.mjs', 'scripts/lib'];
  for (const name of ['shared', service]) {
    parts.push(...['package.json', 'dist', 'static', 'node_modules'].map((part) => `${name}/${part}`));
  }
  // The guides that it serves at /docs.
  if (service === 'backend') parts.push('README.md', 'INTEGRATION_GUIDE.md', 'docs');
  for (const part of parts) {
    // Links stay as they are: pnpm's point from package to package inside the same tree.
    if (existsSync(join(root, part)))
      cpSync(join(root, part), join(resolve(target), part), { recursive: true, verbatimSymlinks: true, filter: isNeeded });
  }
  say(`${service} is in ${resolve(target)}.`);
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
