import { expect, test } from '@jest/globals';
import { envExample } from '../lib/settings-file.mjs';
import { createTally } from '../lib/tally.mjs';

const file = (status, ...tests) => ({
  name: 'a.test.ts',
  status,
  assertionResults: tests.map((state) => ({ status: state, fullName: `title ${state}` })),
});
const counted = (report, exitCode) => {
  const tally = createTally();
  tally.jest('fast', report, exitCode);
  return tally.line();
};

test.each([
  ['all pass', { testResults: [file('passed', 'passed', 'passed')] }, 0, '2 passed, 0 failed'],
  ['one fails', { testResults: [file('failed', 'passed', 'failed')] }, 1, '1 passed, 1 failed'],
  ['a file cannot be loaded', { testResults: [file('passed', 'passed'), file('failed')] }, 1, '1 passed, 1 failed'],
  ['a file fails outside its tests', { testResults: [file('failed', 'passed')] }, 1, '1 passed, 1 failed'],
  ['skipped and todo', { testResults: [file('passed', 'passed', 'pending', 'todo')] }, 0, '1 passed, 0 failed, 2 skipped'],
  ['bad end without a failure', { testResults: [file('passed', 'passed')] }, 1, '1 passed, 1 failed'],
  ['no tests at all', { testResults: [] }, 1, '0 passed, 1 failed'],
  ['no report', null, 137, '0 passed, 1 failed'],
])('%s', (_title, report, exitCode, line) => expect(counted(report, exitCode)).toBe(line));

test('a check that could not be made is neither passed nor failed, and is named', () => {
  const tally = createTally();
  tally.skip('kill matrix on postgres');
  expect([tally.line(), tally.skippedNames]).toEqual(['0 passed, 0 failed, 1 skipped', ['kill matrix on postgres']]);
});

test('an earlier failure does not hide that a later run ended badly', () => {
  const tally = createTally();
  tally.check('lint', false);
  tally.jest('browser', { testResults: [] }, 1);
  expect(tally.line()).toBe('0 passed, 2 failed');
  expect(tally.failedNames).toEqual(['lint', 'browser: ended with code 1']);
});

test('a failure is told with its first lines and where it happened, without colours', () => {
  const tally = createTally();
  const long = Array.from({ length: 50 }, (_, n) => `line ${n}`).join('\n');
  const at = '    at eventually (backend/test/support/eventually.ts:9:1)';
  const message = `\u001B[31mError: waited ${'x'.repeat(500)}\u001B[39m\n\n${long}\n    at run (node_modules/jest/x.js:1:1)\n${at}`;
  const test = { status: 'failed', fullName: 'a title', failureMessages: [message] };
  tally.jest('fast', { testResults: [{ name: 'a.test.ts', status: 'failed', assertionResults: [test] }] }, 1);
  const shown = tally.reasonOf('a title');
  expect(shown).toHaveLength(15);
  expect(shown[0]).toMatch(/^Error: waited x{186}$/);
  expect(shown.slice(1, 3)).toEqual(['line 0', 'line 1']);
  expect(shown.at(-1)).toBe(at);
  expect(tally.reasonOf('another')).toEqual([]);
});

/** A schema as far as it matters here: what it makes of a setting that is not set. */
const givenNothing = (data) => ({ safeParse: () => ({ success: true, data }) });

test('.env.example has every setting with its default, commented out, and no secret value', () => {
  const text = envExample({
    PORT: { group: 'One', schema: givenNothing(8000), doc: 'The port.' },
    LIST: { group: 'One', schema: givenNothing(['a', 'b']), doc: 'A list.', aliases: ['OLD'] },
    KEY: { group: 'Two', schema: givenNothing(undefined), doc: 'A key.', secret: true },
  });
  expect(text).toContain('# The port.\n#PORT=8000\n');
  expect(text).toContain('# A list.\n# Also read: OLD.\n#LIST=a,b\n');
  expect(text).toContain('# A key.\n# Secret.\n#KEY=\n');
  expect(text.indexOf('── One')).toBeLessThan(text.indexOf('── Two'));
});
