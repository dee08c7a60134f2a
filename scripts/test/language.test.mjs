import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { checkRepository, checkSubject, checkText } from '../lib/language.mjs';

const copies = [];
afterEach(() => copies.splice(0).forEach((path) => rmSync(path, { recursive: true, force: true })));

test.each([
  'A gap that nobody saw.',
  'nobody’s business',
  'Whoever asks first.',
  'const together = 500;',
  'let its = routers.get(first);',
  'const mostKeys = 5;',
  'function heed(settings) {',
  'The message is in doubt.',
])('a clean folder refuses: %s', (line) => {
  expect(checkText('shared/src/a.ts', `ok\n${line}`, true)).toEqual([
    expect.stringMatching(/^shared\/src\/a\.ts:2: ".+" \(.+\)$/),
  ]);
  expect(checkText('backend/src/a.ts', line, false)).toEqual([]);
});

/** Written in two parts, so that this file names no requirement itself. */
const requirement = (document, number) => `${document}-${number}`;

test.each([
  `The strictest mode counts (${requirement('HIS', 10)}).`,
  `See ${requirement('D', 46)}.`,
  'as of issue 11',
  'nought',
  'Starts the browser anew.',
])('every folder refuses: %s', (line) => {
  expect(checkText('backend/src/a.ts', line, false)).toHaveLength(1);
});

test.each([
  'UTF-16, SHA-256, AES-128, ISO-8601 and SHA-1',
  'All its rows are read together, and most of them are told apart.',
  'const recommended = its.length;',
  'whatsapp-web.js#5817',
])('plain text passes: %s', (line) => expect(checkText('shared/src/a.ts', line, true)).toEqual([]));

test.each([
  ['What was measured, and a line that stood twice', 1],
  [`bench: ${'record '.repeat(12)}`, 1],
  [`bench: keep the limit of ${requirement('LIM', '09')}`, 1],
  ['worker: start anew', 1],
  ['bench: record results of five runs', 0],
  ['shared, backend: rename a type', 0],
])('a commit subject: %s', (subject, count) => expect(checkSubject('abc1234', subject)).toHaveLength(count));

test('a repository is read with its files and its subjects since the given commit', () => {
  const root = mkdtempSync(join(tmpdir(), 'chasqui-language-'));
  copies.push(root);
  const git = (...args) => {
    const { status, stdout, stderr } = spawnSync(
      'git',
      ['-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'commit.gpgsign=false', ...args],
      { cwd: root, encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  git('init', '-q');
  git('commit', '-q', '--allow-empty', '-m', 'An old subject without an area');
  const after = git('rev-parse', 'HEAD');
  expect(checkRepository(root, { after })).toEqual({ faults: [], files: 0, subjects: 0, isRepository: true, hasHistory: true });

  writeFileSync(join(root, 'a.md'), `One.\nAs ${requirement('MSG', 12)} demands.\n`);
  writeFileSync(join(root, 'picture.png'), requirement('MSG', 12));
  git('add', '.');
  git('commit', '-q', '-m', 'No area here');
  const { faults, files, subjects } = checkRepository(root, { after });
  expect({ files, subjects }).toEqual({ files: 1, subjects: 1 });
  expect(faults).toEqual([expect.stringMatching(/^a\.md:2: "MSG.12"/), expect.stringMatching(/^commit \w+: "No area here"/)]);
  expect(checkRepository(root, { after: 'ffffffff' }).hasHistory).toBe(false);
});
