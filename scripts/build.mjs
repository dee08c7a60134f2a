import './lib/node-version.mjs';
import { install } from './lib/install.mjs';
import { build } from './lib/packages.mjs';
import { say, showProblem } from './lib/terminal.mjs';

/** `npm run build [-- --force]`: installs what is missing and builds what changed. */
try {
  await install();
  const built = await build({ force: process.argv.includes('--force') });
  if (built.length === 0) say('Everything is built.');
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
