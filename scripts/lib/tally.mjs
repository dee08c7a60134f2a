/**
 * Adds up what checks and tests gave. The rule is that nothing that went wrong may be counted as passed: a test file that cannot be
 * loaded has no tests to fail, so it counts as one failure itself; a run that ends badly without naming a failure counts as one.
 */
export function createTally() {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const skippedNames = [];
  const failedNames = [];
  return {
    check(name, isOk) {
      if (isOk) total.passed += 1;
      else {
        total.failed += 1;
        failedNames.push(name);
      }
    },
    /** `report` is what `jest --json` wrote, or null when it wrote nothing. */
    jest(name, report, exitCode) {
      if (!report) return this.check(`${name}: ended with code ${exitCode} before it could report`, false);
      const failedBefore = total.failed;
      for (const file of report.testResults) {
        if (file.assertionResults.length === 0 && file.status === 'failed') this.check(`${file.name}: cannot be run`, false);
        for (const test of file.assertionResults) {
          if (test.status === 'passed') total.passed += 1;
          else if (test.status === 'failed') this.check(test.fullName, false);
          else {
            total.skipped += 1;
            skippedNames.push(test.fullName);
          }
        }
        // A file whose own hooks failed after its tests had passed.
        const hasFailed = file.assertionResults.some((test) => test.status === 'failed');
        if (file.status === 'failed' && file.assertionResults.length > 0 && !hasFailed)
          this.check(`${file.name}: failed outside its tests`, false);
      }
      if (exitCode !== 0 && total.failed === failedBefore) this.check(`${name}: ended with code ${exitCode}`, false);
      return report.testResults.reduce((sum, file) => sum + file.assertionResults.length, 0);
    },
    total,
    skippedNames,
    failedNames,
    /** The one line that machines read. */
    line: () => `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`,
  };
}
