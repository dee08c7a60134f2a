import { expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv, readEnvironment } from '../lib/environment.mjs';

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

test('what the environment sets wins over .env, an empty value too', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chasqui-env-'));
  const file = join(folder, '.env');
  writeFileSync(file, 'PORT=1\nHOST=a\nREDIS_URL=redis://there\n');
  expect(readEnvironment({ PORT: '2', REDIS_URL: '' }, file)).toEqual({ PORT: '2', HOST: 'a', REDIS_URL: '' });
  expect(readEnvironment({ PORT: '2' }, join(folder, 'absent'))).toEqual({ PORT: '2' });
  rmSync(folder, { recursive: true });
});
