import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { root } from '../lib/paths.mjs';
import { createSupervisor } from '../lib/supervisor.mjs';

let folder;
let supervisor;
let events;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chasqui-supervisor-'));
  events = [];
});
afterEach(async () => {
  await supervisor?.stop(500);
  supervisor = null;
  rmSync(folder, { recursive: true, force: true });
});

const program = (name, code) => {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, code);
  return file;
};
const orderly = `process.on('SIGTERM', () => { console.log('bye'); process.exit(0); }); process.on('disconnect', () => process.exit(0)); setInterval(() => {}, 1000); console.log('up');`;
const supervise = (options = {}) =>
  createSupervisor({
    firstDelayMs: 20,
    longestDelayMs: 100,
    onLine: (name, line) => events.push(`${name}: ${line}`),
    onRestart: (name, { delayMs }) => events.push(`${name} again in ${delayMs}`),
    onGiveUp: (name, { code, lastLines }) => events.push(`${name} given up, code ${code}, ${lastLines.at(-1)}`),
    ...options,
  });
const start = (name, code) => supervisor.start({ name, program: program(name, code), env: process.env, cwd: folder });
async function until(condition) {
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(10)) if (condition()) return;
  throw new Error(`Waited in vain. Seen: ${JSON.stringify(events)}`);
}
const lives = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('a process that was ready and dies is started again, later each time, up to the longest delay', async () => {
  supervisor = supervise();
  start('worker', 'process.exit(3)');
  supervisor.markReady('worker');
  await until(() => events.length >= 5);
  expect(events.slice(0, 5)).toEqual([20, 40, 80, 100, 100].map((delay) => `worker again in ${delay}`));
});

test('a process that ran for long enough begins at the shortest delay again', async () => {
  supervisor = supervise({ settledAfterMs: 0 });
  start('worker', 'setTimeout(() => process.exit(3), 20)');
  supervisor.markReady('worker');
  await until(() => events.length >= 3);
  expect(new Set(events)).toEqual(new Set(['worker again in 20']));
});

test('a process that was never ready is abandoned, and its last lines are printed', async () => {
  supervisor = supervise();
  start('backend', 'console.error("no database"); process.exit(1)');
  await until(() => events.some((event) => event.includes('given up')));
  expect(events.filter((event) => event.includes('again in'))).toHaveLength(2);
  expect(events.at(-1)).toBe('backend given up, code 1, no database');
});

test('the death of one leaves the other alone', async () => {
  supervisor = supervise();
  start('backend', orderly);
  start('worker', orderly);
  await until(() => events.length === 2);
  supervisor.markReady('worker');
  const backend = supervisor.pid('backend');
  process.kill(supervisor.pid('worker'), 'SIGKILL');
  await until(() => events.filter((event) => event === 'worker: up').length === 2);
  expect(supervisor.pid('backend')).toBe(backend);
});

test('one stop ends all, the last started first, and nothing is started again', async () => {
  supervisor = supervise();
  start('backend', orderly);
  start('worker', orderly);
  await until(() => events.length === 2);
  const pids = ['backend', 'worker'].map((name) => supervisor.pid(name));
  expect(await supervisor.stop(5000)).toEqual([]);
  expect(events.slice(2)).toEqual(['worker: bye', 'backend: bye']);
  expect(pids.map(lives)).toEqual([false, false]);
  expect(supervisor.running()).toEqual([]);
});

test('a stop while one waits for its restart starts nothing', async () => {
  supervisor = supervise({ firstDelayMs: 200 });
  start('worker', 'process.exit(1)');
  supervisor.markReady('worker');
  await until(() => events.length === 1);
  await supervisor.stop(5000);
  expect(supervisor.state('worker')).toBe('stopped');
  await sleep(300);
  expect(supervisor.pid('worker')).toBeUndefined();
});

test('a process that does not heed the stop is killed after the grace time, and named', async () => {
  supervisor = supervise();
  start('worker', `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('up');`);
  await until(() => events.length === 1);
  const pid = supervisor.pid('worker');
  expect(await supervisor.stop(100)).toEqual([{ name: 'worker', how: 'was killed' }]);
  expect(lives(pid)).toBe(false);
});

test('a restart on purpose ends the process in order and counts as no failure', async () => {
  supervisor = supervise();
  start('backend', orderly);
  await until(() => events.length === 1);
  await supervisor.restart('backend', 5000);
  await until(() => events.length === 3);
  expect(events).toEqual(['backend: up', 'backend: bye', 'backend: up']);
});

test('when the supervising process is killed, its processes notice and end', async () => {
  const child = program('worker', `${orderly} process.on('disconnect', () => {});`);
  const pidFile = join(folder, 'pid');
  const parent = program(
    'parent',
    `import { createSupervisor } from ${JSON.stringify(pathToFileURL(join(root, 'scripts/lib/supervisor.mjs')).href)};
     import { writeFileSync } from 'node:fs';
     const supervisor = createSupervisor({ onLine: () => writeFileSync(${JSON.stringify(pidFile)}, String(supervisor.pid('worker'))) });
     supervisor.start({ name: 'worker', program: ${JSON.stringify(child)}, env: process.env });`,
  );
  const process1 = spawn(process.execPath, [parent], { stdio: 'ignore' });
  await until(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8'));
  const pid = Number(readFileSync(pidFile, 'utf8'));
  expect(lives(pid)).toBe(true);
  process1.kill('SIGKILL');
  await once(process1, 'exit');
  await until(() => !lives(pid));
});
