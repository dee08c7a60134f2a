import { stripVTControlCharacters } from 'node:util';

/**
 * Adds up what checks and tests gave. The rule is that nothing that went wrong may be counted as passed: a test file that cannot be
 * loaded has no tests to fail, so it counts as one failure itself; a run that ends badly without naming a failure counts as one.
 */
export function createTally() {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const skippedNames = [];
  const failedNames = [];
  const reasons = new Map();
  return {
    /** `reason` is what to read first of a failure, possibly with colours and a stack. */
    check(name, isOk, reason = '') {
      if (isOk) total.passed += 1;
      else {
        total.failed += 1;
        failedNames.push(name);
        reasons.set(name, shorten(reason));
      }
    },
    /** A check that could not be made here, because a server that it needs is not there. */
    skip(name) {
      total.skipped += 1;
      skippedNames.push(name);
    },
    /** `report` is what `jest --json` wrote, or null when it wrote nothing. */
    jest(name, report, exitCode) {
      if (!report) return this.check(`${name}: ended with code ${exitCode} before it could report`, false);
      const failedBefore = total.failed;
      for (const file of report.testResults) {
        if (file.assertionResults.length === 0 && file.status === 'failed')
          this.check(`${file.name}: cannot be run`, false, file.message);
        for (const test of file.assertionResults) {
          if (test.status === 'passed') total.passed += 1;
          else if (test.status === 'failed') this.check(test.fullName, false, test.failureMessages?.[0]);
          else {
            total.skipped += 1;
            skippedNames.push(test.fullName);
          }
        }
        // A file whose own hooks failed after its tests had passed.
        const hasFailed = file.assertionResults.some((test) => test.status === 'failed');
        if (file.status === 'failed' && file.assertionResults.length > 0 && !hasFailed)
          this.check(`${file.name}: failed outside its tests`, false, file.message);
      }
      if (exitCode !== 0 && total.failed === failedBefore) this.check(`${name}: ended with code ${exitCode}`, false);
      return report.testResults.reduce((sum, file) => sum + file.assertionResults.length, 0);
    },
    total,
    skippedNames,
    failedNames,
    /** The first lines of why this one failed: of a long log often only the end is kept. */
    reasonOf: (name) => reasons.get(name) ?? [],
    /** The one line that machines read. */
    line: () => `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`,
  };
}

const maxLines = 14;
const maxLineLength = 200;

/** Returns the first lines of a message and the first line of its stack in our own code, without colours. */
export function shorten(message) {
  const lines = stripVTControlCharacters(message)
    .split('\n')
    .map((line) => line.trimEnd().slice(0, maxLineLength))
    .filter((line) => line.trim() !== '');
  const stack = lines.filter((line) => /^\s+at /.test(line));
  const ours = stack.find((line) => !line.includes('node_modules') && !line.includes('node:')) ?? stack[0];
  return [...lines.filter((line) => !stack.includes(line)).slice(0, maxLines), ...(ours ? [ours] : [])];
}
