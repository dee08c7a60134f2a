import { expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSettings, parseEnv, readEnvironment } from '../lib/environment.mjs';
import { demandKnownNames } from '../lib/prepare.mjs';

test.each([
  ['a plain value', 'PORT=8000', { PORT: '8000' }],
  ['white space around name and value', '  PORT =  8000  ', { PORT: '8000' }],
  ['export before the name', 'export PORT=8000', { PORT: '8000' }],
  ['a comment after white space', 'PORT=8000 # the usual one', { PORT: '8000' }],
  ['a # inside a value', 'KEY=abc#def', { KEY: 'abc#def' }],
  ['nothing after the sign', 'KEY=\nPORT=1', { KEY: '', PORT: '1' }],
  ['nothing but a comment after the sign', 'KEY= # none', { KEY: '' }],
  ['a value with = in it', 'KEY=k1:abc==', { KEY: 'k1:abc==' }],
  ['a $ that is not expanded', 'PASSWORD=pa$HOME', { PASSWORD: 'pa$HOME' }],
  ['single quotes keep everything', `KEY='a "b" # c \\n'`, { KEY: 'a "b" # c \\n' }],
  ['double quotes know escapes', String.raw`KEY="a \"b\" # c\nd \\ \z"`, { KEY: 'a "b" # c\nd \\ \\z' }],
  ['a quoted value over several lines', 'KEY="first\nsecond" # end\nPORT=1', { KEY: 'first\nsecond', PORT: '1' }],
  ['quotes inside a bare value', `ARGS=["--a","--b"]`, { ARGS: '["--a","--b"]' }],
  ['Windows line ends and a byte order mark', '\uFEFFPORT=1\r\nHOST=a\r\n', { PORT: '1', HOST: 'a' }],
  ['comments and empty lines', '# one\n\n   # two\nPORT=1\n', { PORT: '1' }],
  ['the last of two', 'PORT=1\nPORT=2', { PORT: '2' }],
])('.env: %s', (_title, text, values) => {
  expect(parseEnv(text)).toEqual(values);
});

test.each([
  ['no sign', 'PORT=1\n\nHOST', 3],
  ['a quote that is not closed', 'A=1\nKEY="abc\nB=2', 2],
  ['words after a closing quote', 'KEY="abc" def', 1],
])('.env: %s is an error that names the line', (_title, text, line) => {
  expect(() => parseEnv(text)).toThrow(`.env, line ${line}:`);
});

test('the environment takes precedence over .env, also with an empty value', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chasqui-env-'));
  const file = join(folder, '.env');
  writeFileSync(file, 'PORT=1\nHOST=a\nREDIS_URL=redis://there\n');
  expect(readEnvironment({ PORT: '2', REDIS_URL: '' }, file)).toEqual({ PORT: '2', HOST: 'a', REDIS_URL: '' });
  expect(readEnvironment({ PORT: '2' }, join(folder, 'absent'))).toEqual({ PORT: '2' });
  rmSync(folder, { recursive: true });
});

test('an .env that is a folder, or no UTF-8 text, is an error that says so', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chasqui-env-'));
  const file = join(folder, '.env');
  mkdirSync(file);
  expect(() => readEnvironment({}, file)).toThrow(/\.env cannot be read: EISDIR/);
  rmSync(file, { recursive: true });
  for (const bytes of [
    Buffer.from('\uFEFFPORT=8001\r\n', 'utf16le'),
    Buffer.from('ADMIN_PASSWORD="a\0b"'),
    Buffer.from('ADMIN_PASSWORD=Pa\xDFword-of-mine', 'latin1'),
  ]) {
    writeFileSync(file, bytes);
    expect(() => readEnvironment({}, file)).toThrow(/\.env is not UTF-8 text/);
  }
  rmSync(folder, { recursive: true });
});

test('a misspelled setting in .env stops the start and is named; settings of other programs do not', async () => {
  const { settings, unknownSettings } = await loadSettings();
  const demand = (...names) => demandKnownNames(unknownSettings, names);
  expect(() => demand('PORT', 'SEND_RATE_PER_MINUT', 'loglevel')).toThrow(
    /SEND_RATE_PER_MINUT: did you mean SEND_RATE_PER_MINUTE\?\n {2}loglevel: did you mean LOG_LEVEL\?/,
  );
  demand(...Object.entries(settings).flatMap(([name, { aliases = [] }]) => [name, ...aliases]));
  demand('POSTGRES_PASSWORD', 'BACKEND_MEMORY', 'HTTPS_BIND', 'NODE_OPTIONS', 'TZ', 'HTTPS_PROXY', 'MY_OTHER_TOOL');
});
