import './lib/node-version.mjs';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { rows } from './lib/checkup.mjs';
import { loadSettings, readEnvironment } from './lib/environment.mjs';
import { root } from './lib/paths.mjs';
import { demandKnownNames } from './lib/prepare.mjs';
import { bold, green, red, say, showProblem, yellow } from './lib/terminal.mjs';

/** `npm run doctor`: checks whether this machine is ready and says what to fix. Exit code 1 when an essential check fails. */
try {
  const env = readEnvironment();
  const context = { env, settingsProblem: await settingsProblem(env) };
  let failures = 0;
  for (const { name, look } of rows) {
    const result = await lookSafely(look, context);
    if (!result.ok && result.essential) failures += 1;
    const mark = result.ok ? green('✓') : result.essential ? red('✗') : yellow('!');
    say(`${mark} ${bold(name.padEnd(20))} ${result.found}`);
    if (!result.ok) say(`  ${' '.repeat(20)} → ${result.fix}`);
  }
  say();
  say(failures === 0 ? 'Ready: npm start' : `Fix ${failures} before npm start.`);
  process.exitCode = failures === 0 ? 0 : 1;
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}

/** An unexpected error of one check must not hide the checks after it. */
async function lookSafely(look, context) {
  try {
    return await look(context);
  } catch (error) {
    return {
      ok: false,
      essential: true,
      found: `could not be checked: ${error.message}`,
      fix: 'Fix what the message says, and run npm run doctor again.',
    };
  }
}

/** The sentence of the first start's own check. Before the first build there is no table to check with. */
async function settingsProblem(env) {
  if (!existsSync(join(root, 'shared/dist/index.js'))) return null;
  try {
    const { readSettings, unknownSettings } = await loadSettings();
    demandKnownNames(unknownSettings);
    readSettings(env);
    return null;
  } catch (error) {
    if (error.name === 'SettingsError') return error.problems.map(({ name, message }) => `${name} ${message}`).join('; ');
    if (error.name === 'Problem') return error.message;
    if (error.code === 'ERR_MODULE_NOT_FOUND') return null;
    throw error;
  }
}
