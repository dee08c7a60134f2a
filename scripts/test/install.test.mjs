import { afterAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
