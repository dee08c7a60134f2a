import { afterAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isOpenWanted } from '../lib/open-browser.mjs';
import { root } from '../lib/paths.mjs';

const folder = mkdtempSync(join(tmpdir(), 'chasqui-open-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const opened = join(folder, 'opened');
const address = 'http://localhost:8000/admin/first?token=a&next=%2Fadmin;x=$(touch never)';

/** Opens an address as the start script does, with programs from `path` only. Returns what the terminal shows. */
async function open(path) {
  const module = pathToFileURL(join(root, 'scripts/lib/open-browser.mjs')).href;
  const script = `const { openBrowser } = await import(${JSON.stringify(module)}); openBrowser(process.argv[1]);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, address], {
    env: { PATH: path },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  expect((await once(child, 'close'))[0]).toBe(0);
  return output;
}

test('a browser is opened only with --open', () => {
  expect([isOpenWanted(['node', 'start.mjs', '--open']), isOpenWanted(['node', 'start.mjs', '--qr'])]).toEqual([true, false]);
});

const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('the program of the system for addresses gets the address as it is, in one piece', async () => {
  const opener = join(folder, 'xdg-open');
  writeFileSync(opener, `#!/bin/sh\nprintf '%s|' "$@" > '${opened}.part' && /bin/mv '${opened}.part' '${opened}'\n`);
  chmodSync(opener, 0o755);
  expect(await open(folder)).toBe('');
  // It outlives the script that started it.
  const until = Date.now() + 10_000;
  while (!existsSync(opened) && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(readFileSync(opened, 'utf8')).toBe(`${address}|`);
});

onLinux('without such a program, a line says what to do, and the start goes on', async () => {
  const output = await open(join(folder, 'empty'));
  expect(output).toContain(`No browser could be opened (xdg-open is missing). Open ${address} yourself.`);
});
