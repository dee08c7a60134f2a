import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { root } from '../lib/paths.mjs';

/**
 * Real processes around `runProcess`, which both services start with: their main.ts adds nothing that could change what is seen here.
 * Each program says in a file how far it got, since its output is what is taken away.
 */
const entry = pathToFileURL(join(root, 'shared/dist/process.js')).href;
const log = pathToFileURL(join(root, 'backend/dist/lib/log.js')).href;

let folder;
let children;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chasqui-process-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a program; `close`, `start` and `more` are source text. */
function run({
  close = 'async () => []',
  start = '',
  more = '',
  stopWithinMs = 10_000,
  stdio = ['ignore', 'pipe', 'pipe', 'ipc'],
} = {}) {
  const file = join(folder, 'program.mjs');
  writeFileSync(
    file,
    `import { appendFileSync } from 'node:fs';
     import { runProcess } from ${JSON.stringify(entry)};
     import { createLog, errorFields } from ${JSON.stringify(log)};
     const note = (text) => appendFileSync(${JSON.stringify(join(folder, 'notes'))}, text + '\\n');
     const log = createLog('info');
     await runProcess({
       name: 'program', explain: (error) => error.sentence ?? null, errorFields, stopWithinMs: ${stopWithinMs},
       start: async () => { note('starting'); ${start}; return { log, close: ${close} }; },
     });
     note('started');
     setInterval(() => log.info('A line of the log.'), 5);
     let beats = 0;
     setInterval(() => note('beat ' + (beats += 1)), 50);
     ${more}`,
  );
  const child = spawn(process.execPath, [file], { cwd: folder, stdio });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => (output += text));
  // Not 'close': Node does not emit it after `disconnect`.
  const ended = once(child, 'exit').then(async ([code, signal]) => {
    for (const stream of [child.stdout, child.stderr]) if (stream && !stream.closed) await once(stream, 'close');
    return { code, signal };
  });
  // Without the lines that only fill the log: they would bury what a failure shows.
  return { child, ended, output: () => output.replace(/^.*"A line of the log\.".*\n/gm, '') };
}

const notes = () => (existsSync(join(folder, 'notes')) ? readFileSync(join(folder, 'notes'), 'utf8') : '');
const beats = () => Number(/beat (\d+)\n$/.exec(notes())?.[1] ?? 0);
async function until(condition, what) {
  for (const end = performance.now() + 60_000; performance.now() < end; await sleep(10)) if (condition()) return;
  throw new Error(`Waited in vain for ${what}. Notes: ${notes().slice(-500)}`);
}
const started = () => until(() => notes().includes('started\n'), 'the start');
/** The program goes on after something was taken from it: its timers run, twenty more times. */
async function goesOn() {
  const before = beats();
  await until(() => beats() >= before + 20, 'a program that goes on');
}

test.each([
  ['SIGTERM', 0],
  ['SIGINT', 0],
  ['SIGHUP', 0],
])('%s is an orderly stop with exit code %i', async (signal, code) => {
  const { child, ended, output } = run();
  await started();
  child.kill(signal);
  expect(await ended).toEqual({ code, signal: null });
  expect(output()).toContain('"why":"' + signal);
});

test('a reader of stdout and stderr that exits has no effect', async () => {
  const { child, ended } = run({ more: `setInterval(() => process.stderr.write('A line of Node itself.\\n'), 5);` });
  await started();
  child.stdout.destroy();
  child.stderr.destroy();
  await goesOn();
  child.kill('SIGTERM');
  expect(await ended).toEqual({ code: 0, signal: null });
});

test('a disk that is full behind stdout and stderr does not matter', async () => {
  const full = openSync('/dev/full', 'w');
  const { child, ended } = run({
    stdio: ['ignore', full, full],
    more: `setInterval(() => process.stderr.write('A line of Node itself.\\n'), 5);`,
  });
  await started();
  await goesOn();
  child.kill('SIGTERM');
  expect(await ended).toEqual({ code: 0, signal: null });
});

test('a reader that stops reading neither blocks the process nor fills its memory, and gets the number of missed lines', async () => {
  const flood = `import { createLogOutput } from ${JSON.stringify(entry)};
    let sent = 0;
    const output = createLogOutput(process.stdout, 256 * 1024);
    const timer = setInterval(() => {
      for (let line = 0; line < 100; line += 1) output.write('y'.repeat(1000) + '\\n');
      if ((sent += 1) === 100) { clearInterval(timer); note('flooded ' + process.stdout.writableLength); }
    }, 5);
    process.on('SIGUSR2', () => output.write('the last line\\n'));`;
  const { child, ended, output } = run({ more: flood });
  child.stdout.pause();
  await until(() => notes().includes('flooded'), 'ten megabytes of lines');
  expect(Number(/flooded (\d+)/.exec(notes())[1])).toBeLessThan(1024 * 1024);
  child.stdout.resume();
  await until(() => child.stdout.readableLength === 0 && output().includes('yyy'), 'lines again');
  // Again and again: what is written before the reader has caught up is dropped too.
  await until(() => child.kill('SIGUSR2') && output().includes('the last line'), 'a line after the flood');
  expect(output()).toMatch(/Log lines were dropped because the reader of the log did not keep up\.","dropped":\d{3,}/);
  child.kill('SIGTERM');
  expect((await ended).code).toBe(0);
});

/** The output's reader and the channel end in one moment, as they do when the start script is killed. */
async function loseParent(child) {
  child.stdout.destroy();
  child.stderr.destroy();
  child.disconnect();
}

test.each(['process', 'start script'])('a terminal that stops reading does not freeze a %s', async (kind) => {
  const terminal = pathToFileURL(join(root, 'scripts/lib/terminal.mjs')).href;
  const file = join(folder, 'talks.mjs');
  const line = `const line = 'x'.repeat(1000);`;
  writeFileSync(
    file,
    `import { appendFileSync } from 'node:fs';
     ${
       kind === 'process'
         ? `import { createLogOutput, runProcess } from ${JSON.stringify(entry)};
            await runProcess({ name: 'program', explain: () => null, errorFields: () => ({}), start: async () => ({ log: { info() {}, warn() {}, error() {} }, close: async () => [] }) });
            const output = createLogOutput(); const talk = (text) => output.write(text);`
         : `import { say as talk } from ${JSON.stringify(terminal)};`
     }
     ${line} let beats = 0;
     const note = (text) => appendFileSync(${JSON.stringify(join(folder, 'notes'))}, text + '\\n');
     note('pid ' + process.pid + ' ' + process.stdout.isTTY);
     setInterval(() => { talk(line); note('beat ' + (beats += 1)); }, 10);`,
  );
  // Gives the program a terminal, and reads nothing from it while it is stopped itself.
  const reader = spawn('script', ['-qc', `"${process.execPath}" "${file}"`, '/dev/null'], { stdio: 'ignore' });
  children.push(reader);
  await until(() => /^pid \d+ true$/m.test(notes()) && beats() > 5, 'the program in its terminal');
  const pid = Number(/^pid (\d+)/m.exec(notes())[1]);
  try {
    reader.kill('SIGSTOP');
    const before = beats();
    await until(() => beats() > before + 50, 'a program that goes on');
  } finally {
    process.kill(pid, 'SIGKILL');
    reader.kill('SIGCONT');
  }
});

test('a process whose parent is killed stops in order, although its output is not read', async () => {
  const { child, ended } = run({ close: `async () => { log.info('Closing.'); note('closing'); return []; }` });
  await started();
  await loseParent(child);
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(notes()).toContain('closing');
});

test('a process whose parent is killed, and whose stop hangs, ends by force', async () => {
  const { child, ended } = run({ close: '() => new Promise(() => {})', stopWithinMs: 300 });
  await started();
  await loseParent(child);
  expect(await ended).toEqual({ code: 1, signal: null });
});

test('a process whose parent dies while it is still starting ends too', async () => {
  const { child, ended } = run({ start: 'await new Promise(() => {})' });
  await until(() => notes().includes('starting\n'), 'the start');
  await loseParent(child);
  expect(await ended).toEqual({ code: 0, signal: null });
});

test('a process whose parent died before it could listen for that ends too', async () => {
  const { child, ended } = run();
  await loseParent(child);
  expect((await ended).signal).toBeNull();
});

test('a signal while the process is still starting ends it at once, with exit code 0', async () => {
  const { child, ended } = run({ start: 'await new Promise(() => {})' });
  await until(() => notes().includes('starting\n'), 'the start');
  child.kill('SIGTERM');
  expect(await ended).toEqual({ code: 0, signal: null });
});

test.each([
  ['hangs', '() => new Promise(() => {})', /did not stop within 0\.3 s; it ends by force/],
  ['rejects', `async () => { throw new Error('no disk'); }`, /did not stop in order.*no disk/],
  ['throws', `() => { throw new Error('no disk'); }`, /did not stop in order.*no disk/],
  ['leaves steps behind', `async () => ['database']`, /did not stop in order.*database/],
  [
    'keeps the event loop from its timers',
    `() => new Promise(() => { const spin = () => process.nextTick(() => setImmediate(spin)); spin(); })`,
    /ends by force/,
  ],
])('a stop that %s ends with exit code 1, and the log says so', async (_title, close, sentence) => {
  const { child, ended, output } = run({ close, stopWithinMs: 300 });
  await started();
  child.kill('SIGTERM');
  expect(await ended).toEqual({ code: 1, signal: null });
  expect(output()).toMatch(sentence);
});

test('a system call that never returns cannot keep a process from ending', async () => {
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  // Opening a pipe without a writer keeps a thread of Node's pool for ever, and `process.exit` waits for those threads.
  const { child, ended } = run({ more: `(await import('node:fs')).readFile('pipe', () => {});` });
  await started();
  await goesOn();
  child.kill('SIGTERM');
  expect(await ended).toEqual({ code: null, signal: 'SIGKILL' });
});

test.each([
  ['thrown once', `setTimeout(() => { throw new Error('a bug'); }, 10);`],
  ['thrown at every turn', `setInterval(() => { throw new Error('a bug'); }, 1);`],
  [
    'thrown by its own handling',
    `process.on('uncaughtException', () => { throw new Error('a bug'); }); setTimeout(() => { throw new Error('a bug'); }, 10);`,
  ],
  ['that is no error', `setTimeout(() => { throw null; }, 10);`],
  ['of an emitter without a listener', `setTimeout(() => process.stdin.emit('error', new Error('a bug')), 10);`],
])('an uncaught exception %s ends the process with a code that is not 0', async (_title, more) => {
  const { ended, output } = run({
    more,
    close: `() => new Promise((resolve) => setTimeout(resolve, 100, []))`,
    stopWithinMs: 3000,
  });
  const { code, signal } = await ended;
  expect(signal).toBeNull();
  expect(code).toBeGreaterThan(0);
  expect(output()).toContain('Uncaught exception; the process stops.');
});

test('an uncaught exception ends the process although its output is not read', async () => {
  const { child, ended } = run({ more: `process.on('SIGUSR2', () => { throw new Error('a bug'); });` });
  await started();
  child.stdout.destroy();
  child.stderr.destroy();
  child.kill('SIGUSR2');
  expect(await ended).toEqual({ code: 1, signal: null });
});

test('a rejection that nothing handles is logged and ends nothing', async () => {
  const { child, ended, output } = run({ more: `Promise.reject(new Error('a bug')); Promise.reject(null);` });
  await until(() => output().split('Unhandled promise rejection.').length === 3, 'two lines');
  child.kill('SIGTERM');
  expect(await ended).toEqual({ code: 0, signal: null });
});

test.each([
  ['in words when they are known', `throw Object.assign(new Error('x'), { sentence: 'Set PORT.' })`, /^Set PORT\.$/m],
  ['with its stack when it is a bug', `throw new Error('a bug')`, /The program cannot start: Error: a bug\n\s+at /],
])('a start that fails says why, %s, and ends with exit code 1', async (_title, start, words) => {
  const { ended, output } = run({ start });
  expect(await ended).toEqual({ code: 1, signal: null });
  expect(output()).toMatch(words);
});
