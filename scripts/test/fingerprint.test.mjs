import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fingerprint, listFiles, stamp } from '../lib/fingerprint.mjs';
import { installFingerprint, nodeHeadersPrefix } from '../lib/install.mjs';

let folder;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'chasqui-stamp-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name, text) => {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
};
const now = (more) => fingerprint(folder, listFiles(folder), more);

test('the same tree has the same fingerprint; a changed, new, renamed or removed file changes it', () => {
  write('src/a.ts', 'one');
  write('src/b/c.ts', 'two');
  const before = now();
  expect(now()).toBe(before);
  write('src/a.ts', 'other');
  expect(now()).not.toBe(before);
  write('src/a.ts', 'one');
  expect(now()).toBe(before);
  write('src/new.ts', '');
  expect(now()).not.toBe(before);
  rmSync(join(folder, 'src/new.ts'));
  rmSync(join(folder, 'src/a.ts'));
  write('src/z.ts', 'one');
  expect(now()).not.toBe(before);
});

test('another version of a dependency of the result changes the fingerprint', () => {
  write('a', '');
  expect(now('115')).not.toBe(now('127'));
});

test('text cannot move from one file to the next unnoticed', () => {
  write('a', 'xy');
  write('b', '');
  const before = now();
  write('a', 'x');
  write('b', 'y');
  expect(now()).not.toBe(before);
});

test('a stamp matches only files that were written after the work', () => {
  const done = stamp(join(folder, '.cache/stamps/build'));
  expect(done.matches('abc')).toBe(false);
  done.write('abc');
  expect([done.matches('abc'), done.matches('abd')]).toEqual([true, false]);
  done.forget();
  expect(done.matches('abc')).toBe(false);
});

test('the install is repeated for another lockfile, another package.json and another Node', () => {
  write('pnpm-lock.yaml', 'a: 1');
  write('backend/package.json', '{}');
  const before = installFingerprint(folder, '115');
  expect(installFingerprint(folder, '115')).toBe(before);
  expect(installFingerprint(folder, '127')).not.toBe(before);
  write('backend/package.json', '{ }');
  expect(installFingerprint(folder, '115')).not.toBe(before);
  write('backend/package.json', '{}');
  write('pnpm-lock.yaml', 'a: 2');
  expect(installFingerprint(folder, '115')).not.toBe(before);
});

test("Node's headers beside it are used only when they are this Node's", () => {
  const header = (patch) => `#define NODE_MAJOR_VERSION 20\n#define NODE_MINOR_VERSION 19\n#define NODE_PATCH_VERSION ${patch}\n`;
  const node = join(folder, 'bin/node');
  expect(nodeHeadersPrefix(node, '20.19.1')).toBeNull();
  write('include/node/node_version.h', header(1));
  expect(nodeHeadersPrefix(node, '20.19.1')).toBe(folder);
  expect(nodeHeadersPrefix(node, '20.19.2')).toBeNull();
});
