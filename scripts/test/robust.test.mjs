/* eslint-disable max-lines -- one rig of processes, and one block for each way of ending them */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { runCommand } from '../lib/command.mjs';
import { watchHealth } from '../lib/health-watch.mjs';
import { readLines } from '../lib/lines.mjs';
import { readOwner, takeLock } from '../lib/lock-file.mjs';
import { openLogFile } from '../lib/log-file.mjs';
import { root } from '../lib/paths.mjs';
import { commandOf, killAndWait, startOf } from '../lib/processes.mjs';
import { claimDataDir, runRecord } from '../lib/run-record.mjs';
import { createSupervisor } from '../lib/supervisor.mjs';

/** What the start scripts must survive: full disks, endless lines, commands that hang, others that start at the same time. */

let folder;
let children;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chasqui-robust-'));
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

const lib = (name) => JSON.stringify(pathToFileURL(join(root, 'scripts/lib', name)).href);
/** A script below `scripts/`, as the locks know their owners by. */
function script(name, code) {
  mkdirSync(join(folder, 'scripts'), { recursive: true });
  const file = join(folder, 'scripts', `${name}.mjs`);
  writeFileSync(file, code);
  return file;
}
function start(file) {
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  return { child, output: () => output };
}
async function until(condition, what, withinMs = 60_000) {
  for (const end = performance.now() + withinMs; performance.now() < end; await sleep(10)) if (await condition()) return;
  throw new Error(`Waited in vain for ${what}.`);
}
const lives = (pid) => startOf(pid) !== null;
const contentOf = (name) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '');

test('a log file on a full disk never throws, reports it once, and continues with the number of missing lines', () => {
  const file = join(folder, 'worker.log');
  const troubles = [];
  symlinkSync('/dev/full', file);
  const log = openLogFile(file, { onTrouble: (error) => troubles.push(error.code) });
  for (const line of ['lost 1', 'lost 2', 'lost 3']) log.write(line);
  unlinkSync(file);
  log.write('kept');
  log.close();
  expect(troubles).toEqual(['ENOSPC']);
  const [note, kept] = readFileSync(file, 'utf8').trim().split('\n');
  expect(JSON.parse(note)).toMatchObject({ level: 'warn', dropped: 3 });
  expect(kept).toBe('kept');
});

test('a log file whose folder is deleted, or that cannot be rotated, never throws', () => {
  const file = join(folder, 'logs/worker.log');
  const log = openLogFile(file, { maxBytes: 20, onTrouble: () => undefined });
  log.write('the first line');
  // What is to become `.1` has a folder with a file in its place: renaming fails.
  mkdirSync(`${file}.1/inside`, { recursive: true });
  for (let line = 0; line < 5; line += 1) log.write('a line that is too long');
  rmSync(join(folder, 'logs'), { recursive: true });
  log.write('again');
  log.write('again');
  expect(readFileSync(file, 'utf8')).toContain('again');
  rmSync(join(folder, 'logs'), { recursive: true });
  writeFileSync(join(folder, 'logs'), 'a file in the place of the folder');
  for (let line = 0; line < 5; line += 1) log.write('a line that is too long');
  log.close();
  log.close();
});

test('a run record on a disk that refuses it never throws, and never leaves half a record', () => {
  const record = runRecord(join(folder, 'absent'));
  record.note('backend', process.pid);
  record.noteStopping();
  record.remove();
  expect(record.read()).toBeNull();
  const good = runRecord(folder);
  good.note('backend', process.pid);
  expect(good.read()).toMatchObject({ pid: process.pid, parts: [{ name: 'backend', pid: process.pid }] });
});

test('lines are the same however their bytes are split, and one that never ends is buffered up to its limit', () => {
  const text = fc.array(fc.stringMatching(/^[a-zé✓]{0,12}$/), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(text, fc.array(fc.nat(40), { maxLength: 8 }), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
      const seen = [];
      const stream = new PassThrough();
      readLines(stream, (line) => seen.push(line), 8);
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      for (let index = 1; index < at.length; index += 1) stream.emit('data', bytes.subarray(at[index - 1], at[index]));
      expect(seen).toEqual(lines.map((line) => line.slice(0, 8)));
    }),
  );
});

test('exactly one of many scripts has a lock at any time, also after a dead owner', async () => {
  const places = join(folder, 'locks');
  mkdirSync(places);
  const lock = join(places, 'one.lock');
  const rounds = 25;
  const file = script(
    'taker',
    `import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
     import { setTimeout as sleep } from 'node:timers/promises';
     import { takeLock } from ${lib('lock-file.mjs')};
     const lock = ${JSON.stringify(lock)};
     const note = (text) => appendFileSync(${JSON.stringify(join(folder, 'order'))}, text + '\\n');
     for (let times = 0; times < ${rounds}; ) {
       const { release } = await takeLock(lock);
       if (!release) { await sleep(Math.random() * 2); continue; }
       times += 1;
       note('in');
       await sleep(Math.random() * 2);
       note('out');
       // Three times of four it is left behind as by a kill: with a process that is no more.
       if (times % 4 === 0) { release(); continue; }
       const draft = lock + process.pid;
       writeFileSync(draft, JSON.stringify({ pid: 2 ** 22 + 1, start: '1', token: 'dead' + Math.random() }));
       renameSync(draft, lock);
     }`,
  );
  const takers = Array.from({ length: 6 }, () => start(file));
  const codes = await Promise.all(takers.map(({ child }) => once(child, 'exit').then(([code]) => code)));
  expect([codes, takers.map(({ output }) => output()).join('')]).toEqual([Array(6).fill(0), '']);
  expect(contentOf('order').trim().split('\n')).toEqual(Array.from({ length: 6 * rounds }, () => ['in', 'out']).flat());
  expect(readdirSync(places)).toEqual(['one.lock']);
}, 120_000);

test('a lock whose owner and successors died, or whose files are damaged, is taken over, and nothing is left of them', async () => {
  const places = join(folder, 'chain');
  mkdirSync(places);
  const lock = join(places, 'one.lock');
  const dead = (token) => JSON.stringify({ pid: 2 ** 22 + 1, start: '1', token });
  for (const files of [
    { 'one.lock': dead('a') },
    { 'one.lock': dead('a'), 'one.lock.a.next': dead('b'), 'one.lock.b.next': dead('c') },
    { 'one.lock': '{' },
    { 'one.lock': '', 'one.lock.damaged.next': '{"pid":', 'one.lock.damaged.next.damaged.next': dead('b') },
  ]) {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(places, name), text);
    const { release } = await takeLock(lock);
    expect(readOwner(lock)).toMatchObject({ pid: process.pid });
    expect(readdirSync(places)).toEqual(['one.lock']);
    release();
    expect(readdirSync(places)).toEqual([]);
  }
  // A successor that lives has as good as taken it.
  const living = { pid: process.pid, start: startOf(process.pid), token: 'b' };
  writeFileSync(lock, dead('a'));
  writeFileSync(`${lock}.a.next`, JSON.stringify(living));
  expect(await takeLock(lock, /node/)).toEqual({ holder: living });
});

/** Starts a process that ignores SIGTERM and holds the output, and says its number once it does. */
const grandchild = `const { spawn } = require('child_process');
  const child = spawn(process.execPath, ['-e', \`process.on('SIGTERM', () => {}); setInterval(() => {}, 1000);
    const fs = require('fs'); fs.writeFileSync('grandchild.new', String(process.pid)); fs.renameSync('grandchild.new', 'grandchild');\`], { stdio: 'inherit' });`;

test('a command that never ends is ended with all that it started, and reported as timed out', async () => {
  const code = `${grandchild} setInterval(() => {}, 1000);`;
  const running = runCommand(process.execPath, ['-e', code], { cwd: folder, timeoutMs: 1500 });
  await until(() => contentOf('grandchild'), 'the grandchild');
  const pid = Number(contentOf('grandchild'));
  expect(await running).toMatchObject({ timedOut: true });
  await until(() => !lives(pid), 'the grandchild to end');
});

test('a command that has ended is not waited for because a process that it left behind still has its output open', async () => {
  const code = `${grandchild} console.log('done'); child.unref();
    setInterval(() => require('fs').existsSync('grandchild') && process.exit(3), 10);`;
  const result = await runCommand(process.execPath, ['-e', code], { cwd: folder });
  const pid = Number(contentOf('grandchild'));
  expect(result).toMatchObject({ code: 3, timedOut: false, output: 'done\n' });
  await killAndWait([{ pid }], /./);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
])(
  'a script that gets %s while a command runs ends the command with all that it started, and exits with %i',
  async (signal, code) => {
    const file = script(
      'start',
      `import { runCommand } from ${lib('command.mjs')};
     await runCommand(process.execPath, ['-e', ${JSON.stringify(`process.on('SIGINT', () => {}); ${grandchild} setInterval(() => {}, 1000);`)}], { cwd: ${JSON.stringify(folder)} });`,
    );
    const { child } = start(file);
    await until(() => contentOf('grandchild'), 'the grandchild');
    const pid = Number(contentOf('grandchild'));
    const ended = once(child, 'exit');
    child.kill(signal);
    expect((await ended)[0]).toBe(code);
    // It ignores SIGTERM, and its group is killed when that did not help.
    await until(() => !lives(pid), 'the grandchild to end');
  },
);

test('two set-ups never run at once, and processes that a killed one left running are ended before the next begins', async () => {
  const file = (name, work) =>
    script(
      name,
      `import { runCommand } from ${lib('command.mjs')};
       import { withSetupLock } from ${lib('setup-lock.mjs')};
       await withSetupLock(async ({ note }) => { ${work} }, { folder: ${JSON.stringify(folder)} });`,
    );
  const first = start(
    file(
      'first',
      `await runCommand(process.execPath, ['-e', ${JSON.stringify(`${grandchild} setInterval(() => {}, 1000);`)}], { cwd: ${JSON.stringify(folder)}, onSpawn: note });`,
    ),
  );
  await until(() => contentOf('grandchild'), 'the command of the first');
  const { pid: left, start: since } = JSON.parse(contentOf('setup-command.json'));
  const second = start(
    file(
      'second',
      `const { startOf } = await import(${lib('processes.mjs')});
       console.log(startOf(${left}) === '${since}' ? 'both work' : 'one works');`,
    ),
  );
  await until(() => commandOf(second.child.pid)?.includes('second'), 'the second to run');
  first.child.kill('SIGKILL');
  await once(second.child, 'close');
  expect(second.output()).toContain('one works');
  await killAndWait([{ pid: Number(contentOf('grandchild')) }], /./);
}, 60_000);

test('a supervised process whose child still has its output open is started again all the same', async () => {
  const events = [];
  const file = script(
    'worker',
    `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url); ${grandchild} process.exit(1);`,
  );
  const supervisor = createSupervisor({ firstDelayMs: 20, attempts: 1, onGiveUp: (name) => events.push(name) });
  supervisor.start({ name: 'worker', program: file, env: process.env, cwd: folder });
  await until(() => events.length === 1, 'the end to be noticed');
  await supervisor.stop(500);
  await killAndWait([{ pid: Number(contentOf('grandchild')) }], /./);
});

test.each([
  ['cannot be started', { cwd: '/does/not/exist' }],
  ['cannot even be asked for', { env: { BAD: 'with a \0 in it' } }],
])('a process that %s counts as one that ended', async (_title, more) => {
  const events = [];
  const supervisor = createSupervisor({
    firstDelayMs: 5,
    onRestart: () => events.push('again'),
    onGiveUp: () => events.push('given up'),
  });
  supervisor.start({ name: 'worker', program: script('worker', ''), env: process.env, cwd: folder, ...more });
  await until(() => events.includes('given up'), 'the end of the attempts');
  expect(events).toEqual(['again', 'again', 'given up']);
  expect(await supervisor.stop(500)).toEqual([]);
});

test('an error of a process while it stops is named with its exit code; one that ends in order is not', async () => {
  const supervisor = createSupervisor();
  const code = (exit) => `process.on('SIGTERM', () => process.exit(${exit})); setInterval(() => {}, 1000); console.log('up');`;
  let up = 0;
  const watched = createSupervisor({ onLine: () => (up += 1) });
  watched.start({ name: 'backend', program: script('backend', code(0)), env: process.env, cwd: folder });
  watched.start({ name: 'worker', program: script('worker', code(1)), env: process.env, cwd: folder });
  await until(() => up === 2, 'both');
  expect(await watched.stop(5000)).toEqual([{ name: 'worker', how: 'ended with code 1' }]);
  expect(await supervisor.stop(100)).toEqual([]);
});

test('a process that stops replying, or is frozen before its first reply, is killed and started again; others are left alone', async () => {
  let up = 0;
  const supervisor = createSupervisor({ firstDelayMs: 20, onLine: () => (up += 1) });
  for (const name of ['frozen', 'well', 'starting', 'suspended'])
    supervisor.start({
      name,
      program: script(name, `setInterval(() => {}, 1000); console.log('up');`),
      env: process.env,
      cwd: folder,
    });
  await until(() => up === 4, 'all four');
  const pidOf = supervisor.pid;
  const before = { well: pidOf('well'), starting: pidOf('starting'), frozen: pidOf('frozen'), suspended: pidOf('suspended') };
  process.kill(before.suspended, 'SIGSTOP');
  const asked = { frozen: 0, well: 0, starting: 0, suspended: 0 };
  const frozen = [];
  const health = watchHealth({
    supervisor,
    urls: { frozen: 'frozen', well: 'well', starting: 'starting', suspended: 'suspended' },
    onFrozen: (name) => frozen.push(name),
    everyMs: 5,
    missesAllowed: 4,
    // It answers twice and then never again; the well one misses three in a row now and then.
    ask: async (name) => {
      asked[name] += 1;
      if (name === 'well') return asked[name] % 4 === 1 ? 503 : null;
      return name === 'frozen' && asked[name] <= 2 ? 200 : null;
    },
  });
  health.start();
  for (const name of ['frozen', 'suspended'])
    await until(() => pidOf(name) && pidOf(name) !== before[name], `another process for the one that is ${name}`);
  await until(() => asked.well > 12 && asked.starting > 12, 'the others to be asked often');
  health.stop();
  expect(frozen.toSorted()).toEqual(['frozen', 'suspended']);
  expect([pidOf('well'), pidOf('starting')]).toEqual([before.well, before.starting]);
  await supervisor.stop(500);
});

test('a start script whose reader is gone, or stops reading, continues', async () => {
  const file = script(
    'start',
    `import { appendFileSync } from 'node:fs';
     import { say, warn, showProblem } from ${lib('terminal.mjs')};
     let rounds = 0;
     setInterval(() => { for (let line = 0; line < 100; line += 1) { say('x'.repeat(1000)); warn('x'); } showProblem(new Error('a problem'));
       appendFileSync(${JSON.stringify(join(folder, 'rounds'))}, (rounds += 1) + ' ' + process.stdout.writableLength + '\\n'); }, 5);`,
  );
  const still = start(file);
  still.child.stdout.pause();
  const roundsOf = () => contentOf('rounds').trim().split('\n').length;
  await until(() => roundsOf() > 40, 'a reader that stands still not to matter');
  still.child.stdout.destroy();
  still.child.stderr.destroy();
  const before = roundsOf();
  await until(() => roundsOf() > before + 20, 'a reader that is gone not to matter');
  const held = contentOf('rounds')
    .trim()
    .split('\n')
    .map((line) => Number(line.split(' ')[1]));
  expect(Math.max(...held)).toBeLessThan(2 * 1024 * 1024);
});

test('a file that the system refuses is reported in a sentence with a next step, and without a stack', async () => {
  const file = script(
    'start',
    `import { readFileSync, writeFileSync } from 'node:fs';
     import { showProblem } from ${lib('terminal.mjs')};
     for (const work of [() => writeFileSync('/dev/full', 'x'), () => readFileSync('/'), () => readFileSync('/dev/null/x'), () => null.x]) {
       try { work(); } catch (error) { showProblem(error); }
     }`,
  );
  const shown = start(file);
  await once(shown.child, 'close');
  const [full, folderInPlace, fileInPlace, bug] = shown.output().trim().split('\n\n');
  expect(full).toMatch(/The disk is full: ENOSPC.*\n.*Free some space, then run the same command again\./);
  expect(folderInPlace).toMatch(/A folder is in the place of a file/);
  expect(fileInPlace).toMatch(/A file is in the place of a folder/);
  expect(bug).toContain('\n    at ');
  expect([full, folderInPlace, fileInPlace].join()).not.toContain('\n    at ');
});

test('a full disk leaves no half lock and no half secrets behind', async () => {
  const file = script(
    'start',
    `import fs from 'node:fs';
     import { syncBuiltinESMExports } from 'node:module';
     const write = fs.writeFileSync;
     fs.writeFileSync = (target, text, options) => {
       if (typeof target === 'string') fs.closeSync(fs.openSync(target, options.flag ?? 'w'));
       throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
     };
     syncBuiltinESMExports();
     const { takeLock } = await import(${lib('lock-file.mjs')});
     const { ensureSecrets } = await import(${lib('secrets.mjs')});
     for (const work of [() => takeLock(${JSON.stringify(join(folder, 'data/run.lock'))}), async () => ensureSecrets(${JSON.stringify(join(folder, 'data'))})])
       await work().then(() => console.log('done'), (error) => console.log(error.code ?? error.message));`,
  );
  const run = start(file);
  await once(run.child, 'close');
  expect(run.output()).toBe('ENOSPC\nENOSPC\n');
  expect(readdirSync(join(folder, 'data'))).toEqual([]);
});

test('a start on a folder that a start in another container has locked is refused, whatever processes are named there', async () => {
  const file = script(
    'start',
    `import { takeSystemLock } from ${lib('system-lock.mjs')};
     takeSystemLock(${JSON.stringify(join(folder, 'run.lock.sqlite'))});
     console.log('held'); setInterval(() => {}, 1000);`,
  );
  // Its process id seen from here: unused, or another program's.
  for (const pid of [2 ** 22 + 1, process.pid]) {
    writeFileSync(join(folder, 'run.lock'), JSON.stringify({ pid, start: '1', token: 'theirs' }));
    const other = start(file);
    await until(() => other.output() === 'held\n', 'the lock');
    await expect(claimDataDir(folder)).rejects.toThrow(/already runs on .* \(in another container, or on another machine\)/);
    expect(readFileSync(join(folder, 'run.lock'), 'utf8')).toContain('theirs');
    other.child.kill('SIGKILL');
    await once(other.child, 'close');
    (await claimDataDir(folder)).release();
  }
  expect(statSync(join(folder, 'run.lock.sqlite')).mode & 0o777).toBe(0o600);
});
