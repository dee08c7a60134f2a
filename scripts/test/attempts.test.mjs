import { expect, test } from '@jest/globals';
import { filesToRepeat, mergeAttempts } from '../lib/attempts.mjs';

const file = (name, status, ...tests) => ({
  name,
  status,
  message: `${name} as a whole`,
  assertionResults: tests.map(([fullName, state]) => ({ fullName, status: state, failureMessages: [`${fullName} waited`] })),
});
const report = (...testResults) => ({ testResults });
const many = (count) => report(...Array.from({ length: count }, (_, n) => file(`${n}.test.ts`, 'failed', ['a', 'failed'])));

test('files that failed are run again, each once', () => {
  const first = report(file('a.test.ts', 'failed', ['a', 'failed']), file('b.test.ts', 'passed', ['b', 'passed']));
  expect(filesToRepeat([first, report(file('c.test.ts', 'failed'))])).toEqual(['a.test.ts', 'c.test.ts']);
});

test.each([
  ['too many files', [many(7)]],
  ['too many files in two runs', [many(3), report(...many(7).testResults.slice(3))]],
  ['a run without a report', [many(1), null]],
  ['nothing failed', [report(file('a.test.ts', 'passed', ['a', 'passed']))]],
])('nothing is run again: %s', (_title, reports) => expect(filesToRepeat(reports)).toEqual([]));

test('a test that fails only once is named with its reason, and its file counts as the second time', () => {
  const first = report(
    file('a.test.ts', 'failed', ['a', 'failed'], ['b', 'passed']),
    file('c.test.ts', 'passed', ['c', 'passed']),
  );
  const second = report(file('a.test.ts', 'passed', ['a', 'passed'], ['b', 'passed']));
  const { report: merged, unstable } = mergeAttempts(first, second);
  expect(merged.testResults).toEqual([second.testResults[0], first.testResults[1]]);
  expect(unstable).toEqual([{ name: 'a', reason: 'a waited' }]);
});

test('a test that fails twice stays failed, and so does one that fails only the second time', () => {
  const first = report(file('a.test.ts', 'failed', ['a', 'failed'], ['b', 'passed']));
  const second = report(file('a.test.ts', 'failed', ['a', 'passed'], ['b', 'failed']));
  expect(mergeAttempts(first, second)).toEqual({ report: second, unstable: [] });
});

test('a file that the second run lacks stays failed', () => {
  const first = report(file('a.test.ts', 'failed', ['a', 'failed']));
  expect(mergeAttempts(first, null)).toEqual({ report: first, unstable: [] });
  expect(mergeAttempts(first, report())).toEqual({ report: first, unstable: [] });
});

test('a file that failed outside its tests is named itself', () => {
  const { unstable } = mergeAttempts(
    report(file('a.test.ts', 'failed', ['a', 'passed'])),
    report(file('a.test.ts', 'passed', ['a', 'passed'])),
  );
  expect(unstable).toEqual([{ name: 'a.test.ts', reason: 'a.test.ts as a whole' }]);
});
