/**
 * The second attempt of test files that failed, and what is told about it (docs/decisions/109). A test that fails beside others and passes by itself has
 * found a race, in the product or in the test. It does not stop a run, but it is listed by name with the reason of its failure.
 */

/** More failed files than this are no coincidence, and are not run again. */
const maxFiles = 6;

/** Returns the paths of the failed files of jest's reports that deserve a second attempt; none if too many failed, or a run wrote no report. */
export function filesToRepeat(reports) {
  if (reports.some((report) => !report)) return [];
  const files = reports.flatMap((report) =>
    report.testResults.filter((file) => file.status === 'failed').map((file) => file.name),
  );
  return files.length > maxFiles ? [] : [...new Set(files)];
}

/**
 * Returns the first report with the failed files replaced by those of the second, and the tests that failed only once:
 * `{ report, unstable: [{ name, reason }] }`. A file that the second report lacks stays as it was.
 */
export function mergeAttempts(first, second) {
  const repeated = new Map((second?.testResults ?? []).map((file) => [file.name, file]));
  const unstable = [];
  const testResults = first.testResults.map((file) => {
    const again = file.status === 'failed' ? repeated.get(file.name) : undefined;
    if (!again) return file;
    if (again.status === 'passed') unstable.push(...failures(file));
    return again;
  });
  return { report: { ...first, testResults }, unstable };
}

/** The failed tests of a file; the file itself if it failed outside its tests. */
function failures(file) {
  const tests = file.assertionResults.filter((test) => test.status === 'failed');
  if (tests.length === 0) return [{ name: file.name, reason: file.message ?? '' }];
  return tests.map((test) => ({ name: test.fullName, reason: test.failureMessages?.[0] ?? '' }));
}
