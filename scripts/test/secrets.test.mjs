import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../lib/paths.mjs';
import { ensureSecrets, makePrivateFolder, readSecrets, secretNames } from '../lib/secrets.mjs';

let folder;
const file = () => join(folder, 'secrets.json');
const mode = (path) => (statSync(path).mode & 0o777).toString(8);
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'chasqui-secrets-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('the first call makes strong secrets in a file that only its owner may read', () => {
  const { secrets, made } = ensureSecrets(folder);
  expect(made).toEqual(secretNames);
  expect(mode(file())).toBe('600');
  expect(secrets.SERVICE_API_KEY).toMatch(/^[\w-]{43}$/);
  expect(secrets.ENCRYPTION_KEYS).toMatch(/^k1:[A-Za-z0-9+/]{43}=$/);
  expect(new Set(Object.values(secrets)).size).toBe(secretNames.length);
  expect(readdirSync(folder)).toEqual(['secrets.json']);
});

test('every later call returns the same secrets and writes nothing', () => {
  const first = ensureSecrets(folder).secrets;
  const written = statSync(file()).mtimeMs;
  expect(ensureSecrets(folder)).toEqual({ secrets: first, made: [] });
  expect(statSync(file()).mtimeMs).toBe(written);
});

test('a secret that a later version asks for is added; the others stay', () => {
  const before = ensureSecrets(folder, ['SERVICE_API_KEY']).secrets;
  const { secrets, made } = ensureSecrets(folder);
  expect(made).toEqual(['JWT_SECRET', 'COOKIE_SECRET', 'ENCRYPTION_KEYS']);
  expect(secrets.SERVICE_API_KEY).toBe(before.SERVICE_API_KEY);
  expect(readSecrets(folder)).toEqual(secrets);
  expect(mode(file())).toBe('600');
});

test('many first starts at once end with the same secrets', async () => {
  const script = `import { ensureSecrets } from ${JSON.stringify(pathToFileURL(join(root, 'scripts/lib/secrets.mjs')).href)};
    console.log(JSON.stringify(ensureSecrets(${JSON.stringify(folder)}).secrets));`;
  const results = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.on('data', (chunk) => (output += chunk));
      await once(child, 'close');
      return output;
    }),
  );
  expect(results[0]).toContain('SERVICE_API_KEY');
  expect(new Set(results).size).toBe(1);
  expect(readdirSync(folder)).toEqual(['secrets.json']);
});

test('a draft that a crash left behind harms nothing', () => {
  writeFileSync(`${file()}.99.abc.new`, '{"SERVICE_API');
  expect(ensureSecrets(folder).made).toEqual(secretNames);
});

test.each(['', '{"SERVICE_API_KEY":', '{"SERVICE_API_KEY":5}', 'null'])('a damaged file (%j) is refused and kept', (text) => {
  writeFileSync(file(), text);
  expect(() => ensureSecrets(folder)).toThrow('is damaged');
  expect(readFileSync(file(), 'utf8')).toBe(text);
});

test('the data folder is made for its owner alone, and closed when it is ours and open', () => {
  const fresh = join(folder, 'a', 'b');
  makePrivateFolder(fresh);
  expect([mode(fresh), mode(join(folder, 'a'))]).toEqual(['700', '700']);
  const open = join(folder, 'open');
  mkdirSync(open);
  chmodSync(open, 0o755);
  makePrivateFolder(open);
  expect(mode(open)).toBe('700');
});

test('an open folder with foreign files is refused and its rights are left alone', () => {
  writeFileSync(join(folder, 'letter.txt'), '');
  chmodSync(folder, 0o755);
  expect(() => makePrivateFolder(folder)).toThrow('not Chasqui');
  expect(mode(folder)).toBe('755');
});
