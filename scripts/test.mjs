import './lib/node-version.mjs';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { filesToRepeat, mergeAttempts } from './lib/attempts.mjs';
import { getBrowser } from './lib/browser.mjs';
import { runCommand } from './lib/command.mjs';
import { loadSettings, readEnvironment } from './lib/environment.mjs';
import { install } from './lib/install.mjs';
import { build } from './lib/packages.mjs';
import { cacheDir, root } from './lib/paths.mjs';
import { createTally, shorten } from './lib/tally.mjs';
import { startTestDatabase } from './lib/test-database.mjs';
import { createTestFolder } from './lib/test-folder.mjs';
import { readSeed } from './lib/test-seed.mjs';
import { toolPath } from './lib/tool-path.mjs';
import { Problem, bold, green, red, say, seconds, showProblem, yellow } from './lib/terminal.mjs';

/**
 * `npm test`: the same set-up as `npm start`, then every check and every test. Its last line is `N passed, N failed`.
 * `npm test -- <jest arguments>`: only the tests that fit, and no checks.
 *
 * Units and HTTP scenarios run first, beside the checks: three files for each core, since they mostly wait. Then, four at a time, the tests with real
 * browsers, those of all operations, in two halves those with real processes, and the short kill matrix on each database (every fail point once). Each
 * of the first four runs its files itself, one at a time, and therefore does not end when one of them leaves a timer, process or listener behind. The
 * mutations that the kill matrix must find follow alone. A few files that failed are run again at the very end, alone (docs/decisions/109).
 */
const filter = process.argv.slice(2);
const tally = createTally();
let seed = null;
process.env.TMPDIR = await createTestFolder();
/** The server of this run; null before it starts, and where PostgreSQL is not installed. */
let database = null;

const tool = (name) => [process.execPath, toolPath(name)];
const checks = [
  ['format (prettier)', [...tool('prettier'), '--check', '--cache', '--cache-location', '.cache/prettier', '.']],
  [
    'import rules (dependency-cruiser)',
    [...tool('depcruise'), '--config', '.dependency-cruiser.cjs', 'shared', 'backend', 'whatsapp-service', 'simulator', 'bench'],
  ],
  ['types of server code (tsc)', [...tool('tsc'), '-p', 'tsconfig.json']],
  ['types of code beside a browser (tsc)', [...tool('tsc'), '-p', 'tsconfig.browser.json']],
  ['lint (eslint)', [...tool('eslint'), '.', '--max-warnings=-1']],
  ['.env.example drift', [process.execPath, 'scripts/env-example.mjs', '--check']],
  ['docs/reference drift', [process.execPath, 'scripts/docs.mjs', '--check']],
  ['language (docs/glossary.md)', [process.execPath, 'scripts/language.mjs']],
];

const lastLines = (output) => output.trimEnd().split('\n').slice(-8).join('\n');

/** Only for a check that hangs. Beside the tests, on a machine that is ten times as slow as usual, one takes more than ten minutes. */
const checkLimitMs = 30 * 60_000;

/** Two at a time: more would not be faster on the two cores that are promised. */
async function runChecks(env) {
  const waiting = [...checks];
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [name, [command, ...args]] = next;
      const started = performance.now();
      const { code, output, timedOut } = await runCommand(command, args, { cwd: root, env, timeoutMs: checkLimitMs });
      tally.check(name, code === 0, timedOut ? `It was ended after ${seconds(checkLimitMs)}.` : lastLines(output));
      say(`${code === 0 ? green('✓') : red('✗')} ${name} ${seconds(performance.now() - started)}`);
      if (code !== 0 || /warning/.test(output))
        say(
          output
            .trimEnd()
            .split('\n')
            .map((line) => `    ${line}`)
            .join('\n'),
        );
    }
  };
  await Promise.all([lane(), lane()]);
}

/** Tests that failed at first and passed alone. They do not fail the run, and are listed. */
const unstable = [];

/** A jest that has written its report and does not end has a test that left a timer, a process or a listener behind. */
const lingeringMs = 20_000;

/** Runs the tests of a project; returns what is needed to count them: `{ name, project, report, code }`, without a report when jest wrote none. */
async function runJest(project, args, env, name = project) {
  const reportFile = join(cacheDir, `jest-${name}.json`);
  mkdirSync(cacheDir, { recursive: true });
  rmSync(reportFile, { force: true });
  say(`\n${bold(`Tests: ${name}`)}`);
  const [node, jest] = tool('jest');
  const child = spawn(node, [jest, '--selectProjects', project, '--json', `--outputFile=${reportFile}`, ...args], {
    cwd: root,
    // The JSON goes to stdout as well; what people read goes to stderr.
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...env, NODE_OPTIONS: `${env.NODE_OPTIONS ?? ''} --experimental-vm-modules --no-warnings=ExperimentalWarning`.trim() },
  });
  let lingers = false;
  let reportedAt = null;
  const watch = setInterval(() => {
    if (!existsSync(reportFile)) return;
    reportedAt ??= Date.now();
    if (Date.now() - reportedAt < lingeringMs || lingers) return;
    lingers = true;
    child.kill('SIGKILL');
  }, 500);
  const code = await new Promise((resolve) => child.on('close', (exitCode) => resolve(exitCode ?? -1)));
  clearInterval(watch);
  const report = existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, 'utf8')) : null;
  if (lingers) tally.check(`${name}: jest did not end; a test left a timer, process or listener behind`, false);
  return { name, project, report, code: lingers ? 0 : code };
}

/** Gives the files that failed their second attempt, and returns the runs with what came of it. */
async function repeatFailures(runs, env) {
  const files = filesToRepeat(runs.map((run) => run.report));
  const repeated = [];
  for (const run of runs) {
    const own = files.filter((file) => run.report?.testResults.some(({ name, status }) => name === file && status === 'failed'));
    if (own.length === 0) {
      repeated.push(run);
      continue;
    }
    const again = await runJest(run.project, ['--runInBand', '--runTestsByPath', ...own], env, `${run.name}-again`);
    const merged = mergeAttempts(run.report, again.report);
    unstable.push(...merged.unstable);
    repeated.push({ ...run, report: merged.report, code: again.code });
  }
  return repeated;
}

/** Kills at every step of a message (bench/src/crash); ten seeds of all of it: `npm run test:crash -- --seeds 10`. */
const crashSides = ['sqlite', 'postgres'].map((name) => [
  `kill matrix on ${name}: lost 0, doubled 0, stuck 0`,
  ['--short', '--databases', name],
]);

/** Run one after the other, alone: on a busy machine a kill comes too late for the fault of a mutation to show. */
const crashMutations = [
  ['kill matrix finds a mutation: no reserved id', ['--mutant', 'reservation', '--databases', 'sqlite', '--seeds', '6']],
  ['kill matrix finds a mutation: ack 0 counts as sent', ['--mutant', 'ack0', '--databases', 'sqlite', '--seeds', '2']],
  ['kill matrix finds a mutation: events forgotten too soon', ['--mutant', 'outlet', '--databases', 'sqlite', '--seeds', '12']],
];

/** Runs the jobs in this order, at most `width` at a time. Returns their results in the same order. */
async function runLanes(width, jobs) {
  const results = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < jobs.length; index = next++) results[index] = await jobs[index]();
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}

async function runCrash(name, args, env) {
  const started = performance.now();
  const program = join(root, 'bench/dist/crash/main.js');
  const { code, output } = await runCommand(process.execPath, [program, ...args], { cwd: root, env, timeoutMs: 25 * 60_000 });
  if (code === 0 && /^SKIPPED/m.test(output)) return tally.skip(name);
  tally.check(name, code === 0, code === 0 ? '' : lastLines(output));
  say(`${code === 0 ? green('✓') : red('✗')} ${name} ${seconds(performance.now() - started)}`);
  const lines = output.trimEnd().split('\n');
  say((code === 0 ? lines.slice(-3) : lines).map((line) => `    ${line}`).join('\n'));
}

/** The person's own settings must not reach the tests: a DATABASE_URL among them would hand the tests a real database. */
async function testEnvironment() {
  const env = readEnvironment();
  const browser = await getBrowser(env);
  const { settings } = await loadSettings();
  const names = new Set(Object.entries(settings).flatMap(([name, row]) => [name, ...(row.aliases ?? [])]));
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !names.has(name)));
  return {
    ...clean,
    BROWSER_PATH: browser.path,
    PROPERTY_SEED: String(readSeed(process.env)),
    ...(database ? { TEST_POSTGRES_URL: database.url } : {}),
  };
}

try {
  await install();
  await build();
  database = await startTestDatabase();
  const env = await testEnvironment();
  seed = env.PROPERTY_SEED;
  say(`Random choices in tests follow PROPERTY_SEED=${seed}.`);
  const workers = 3 * Math.max(2, availableParallelism());
  const more = filter.length > 0 ? ['--passWithNoTests', ...filter] : [];
  const whole = filter.length === 0;
  const [fast] = await Promise.all([runJest('fast', [`--maxWorkers=${workers}`, ...more], env), whole ? runChecks(env) : null]);
  const alone = ['--runInBand', ...more];
  const others = await runLanes(4, [
    () => runJest('operations', alone, env),
    () => runJest('browser', alone, env),
    () => runJest('e2e', ['--shard=1/2', ...alone], env, 'e2e-1'),
    () => runJest('e2e', ['--shard=2/2', ...alone], env, 'e2e-2'),
    ...(whole ? crashSides.map((side) => () => runCrash(...side, env)) : []),
  ]);
  let runs = [fast, ...others.filter((run) => run !== undefined)];
  if (whole) {
    for (const mutation of crashMutations) await runCrash(...mutation, env);
    runs = await repeatFailures(runs, env);
  }
  let seen = 0;
  for (const { name, report, code } of runs) seen += tally.jest(name, report, code) ?? 0;
  if (seen === 0)
    throw new Problem(
      `No test fits ${filter.join(' ')}.`,
      'A file name or a part of one fits: npm test -- messages. Titles: npm test -- -t "a part of the title".',
    );
} catch (error) {
  showProblem(error);
  tally.check(error.message.split('\n')[0], false);
}

await database?.close();
say();
if (tally.total.skipped > 0) {
  say(yellow(bold(`${tally.total.skipped} SKIPPED, and therefore not shown to work:`)));
  for (const name of tally.skippedNames) say(yellow(`  - ${name}`));
}
if (unstable.length > 0) {
  say(
    yellow(
      bold(
        `${unstable.length} UNSTABLE, failed beside others and passed alone. Each has found a race, in the product or in the test:`,
      ),
    ),
  );
  for (const { name, reason } of unstable) {
    say(yellow(`  - ${name}`));
    for (const line of shorten(reason)) say(`      ${line}`);
  }
}
if (tally.failedNames.length > 0) {
  say(red(bold('FAILED:')));
  for (const name of tally.failedNames) {
    say(red(`  - ${name}`));
    for (const line of tally.reasonOf(name)) say(`      ${line}`);
  }
  if (seed) say(`PROPERTY_SEED=${seed} npm test -- <file> repeats the random choices of this run.`);
}
if (filter.length > 0) say('Only tests that fit the filter ran, and no checks.');
say(tally.line());
process.exit(tally.total.failed > 0 ? 1 : 0);
