import './lib/node-version.mjs';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSettings } from './lib/environment.mjs';
import { install } from './lib/install.mjs';
import { build } from './lib/packages.mjs';
import { root } from './lib/paths.mjs';
import { envExample } from './lib/settings-file.mjs';
import { say, showProblem } from './lib/terminal.mjs';

/** Writes `.env.example`; with `--check`, only checks that it is up to date (exit code 1 if not). */
const file = join(root, '.env.example');
try {
  await install();
  await build({ only: ['shared'] });
  const wanted = envExample((await loadSettings()).settings);
  if (!process.argv.includes('--check')) {
    writeFileSync(file, wanted);
    say('.env.example is written.');
  } else if (!existsSync(file) || readFileSync(file, 'utf8') !== wanted) {
    say('.env.example differs from shared/src/settings.ts. Run: node scripts/env-example.mjs');
    process.exitCode = 1;
  } else {
    say('.env.example is up to date.');
  }
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
