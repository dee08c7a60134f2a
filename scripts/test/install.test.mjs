import { afterAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../lib/paths.mjs';

const folder = mkdtempSync(join(tmpdir(), 'chasqui-install-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the package manager is fetched with the settings that the machine has for npm, those for all users included', async () => {
  const asked = [];
  const registry = createServer((req, res) => {
    asked.push(req.url);
    res.writeHead(404, { 'content-type': 'application/json' }).end('{}');
  }).listen(0, '127.0.0.1');
  await once(registry, 'listening');
  // A copy of the scripts, so that the fetched package manager of this working copy stays as it is.
  const copy = join(folder, 'copy');
  for (const name of ['scripts', 'package.json']) cpSync(join(root, name), join(copy, name), { recursive: true });
  const prefix = join(folder, 'prefix');
  mkdirSync(join(prefix, 'etc'), { recursive: true });
  writeFileSync(join(prefix, 'etc/npmrc'), `registry=http://127.0.0.1:${registry.address().port}/\nfetch-retries=0\n`);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
  const child = spawn(process.execPath, [join(copy, 'scripts/build.mjs')], {
    cwd: copy,
    // PREFIX is how npm is told where its machine-wide settings are, other than by its own place.
    env: { ...env, PREFIX: prefix, HOME: folder, npm_config_userconfig: join(folder, 'none') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => (output += piece));
  const [code] = await once(child, 'close');
  registry.close();
  expect(asked).toContain('/pnpm');
  expect(output).toContain('could not be fetched with npm');
  expect(code).toBe(1);
});

/** A package manager that writes lines with some time between them, and then fails. */
const slowManager = (lines) => `
const lines = ${JSON.stringify(lines)};
const next = () => {
  if (lines.length === 0) process.exit(1);
  console.log(lines.shift());
  setTimeout(next, 1_200);
};
next();
`;

test('the install tells what it does, and says that SQLite is compiled, and for how long', async () => {
  const copy = join(folder, 'progress');
  for (const name of ['scripts', 'package.json']) cpSync(join(root, name), join(copy, name), { recursive: true });
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const home = join(copy, '.cache/tools/node_modules/pnpm');
  mkdirSync(join(home, 'bin'), { recursive: true });
  writeFileSync(join(home, 'package.json'), JSON.stringify({ version: /^pnpm@([^+]+)/.exec(packageManager)[1] }));
  const compiling = '.../node_modules/better-sqlite3 install:   CC(target) Release/obj.target/sqlite3/gen/sqlite3/sqlite3.o';
  const lines = ['Progress: resolved 900, reused 880, downloaded 20, added 600', compiling, 'Done in 2m 3s'];
  writeFileSync(join(home, 'bin/pnpm.cjs'), slowManager(lines));
  const env = { ...process.env };
  delete env.CI;
  // The count of seconds is shown on a terminal only.
  const asTerminal = 'data:text/javascript,process.stdout.isTTY=true;process.stdout.columns=200';
  const child = spawn(process.execPath, ['--import', asTerminal, join(copy, 'scripts/build.mjs')], {
    cwd: copy,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const [code] = await once(child, 'close');
  expect(code).toBe(1);
  const shown = output.split('\r\u001b[2K').filter((line) => line.startsWith('…'));
  const details = shown.map((line) => /^… Installing packages from the lockfile \d+\.\d s(?: {2}(.*))?$/.exec(line)?.[1]);
  expect([...new Set(details)]).toEqual([undefined, lines[0], 'compiling SQLite, once: about two minutes', lines[2]]);
  expect(output).toContain('The packages could not be installed');
});
