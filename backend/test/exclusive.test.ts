import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { acquireExclusive } from '../src/lib/exclusive.js';

/** Only one backend may use an SQLite database: the lock that sees to it, between processes and between containers. */

const built = resolve(dirname(fileURLToPath(import.meta.url)), '../dist/lib/exclusive.js');
let dir: string;
let children: ChildProcess[] = [];
const file = (): string => join(dir, 'backend.lock');

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-single-'));
});
afterEach(async () => {
  await Promise.all(children.map(kill));
  children = [];
  rmSync(dir, { recursive: true, force: true });
});

/** A process that asks for the lock, says what it got and runs until it is killed. It may get a host name of its own, as a container has. */
async function another(hostName: string | null = null, lockFile = file()): Promise<{ child: ChildProcess; said: string }> {
  const program = `import { acquireExclusive } from ${JSON.stringify(pathToFileURL(built).href)};
    setInterval(() => {}, 1000);
    try {
      acquireExclusive(${JSON.stringify(lockFile)});
      globalThis.gc();
      globalThis.gc();
      process.stdout.write('held\\n');
    } catch (error) {
      process.stdout.write(error.name + ': ' + error.message + '\\n');
    }`;
  const node = [process.execPath, '--expose-gc', '--input-type=module', '-e', program];
  const argv = hostName ? ['unshare', '-u', 'sh', '-c', `hostname ${hostName} && exec "$@"`, 'sh', ...node] : node;
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return { child, said: String(line.value) };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

test('a second one in the same process is refused, and a release frees the lock', () => {
  const release = acquireExclusive(file());
  expect(() => acquireExclusive(file())).toThrow(
    `Another backend (process ${process.pid} on ${hostname()}) uses this database (see ${file()}). Stop it first, or use PostgreSQL`,
  );
  release();
  acquireExclusive(file())();
  expect(existsSync(file())).toBe(false);
});

test('of processes that start at once one has the lock; kill -9 frees it at once, whatever files are left', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 4 }),
      fc.constantFrom('', '{"pid":', `{"pid":${process.pid},"host":"${hostname()}"}`, '{"pid":1,"host":"gone"}'),
      async (starters, left) => {
        const place = mkdtempSync(join(dir, 'run-'));
        const lockFile = join(place, 'backend.lock');
        writeFileSync(lockFile, left);
        const all = await Promise.all(Array.from({ length: starters }, () => another(null, lockFile)));
        const holders = all.filter(({ said }) => said === 'held');
        expect(holders).toHaveLength(1);
        for (const { said } of all.filter((one) => one !== holders[0])) expect(said).toMatch(/^StartProblem: Another backend/);
        await kill(holders[0]!.child);
        expect((await another(null, lockFile)).said).toBe('held');
        await Promise.all(children.map(kill));
      },
    ),
    { numRuns: 3 },
  );
});

test('the lock excludes other host names, such as containers that share a volume, also while its owner is frozen', async () => {
  if (spawnSync('unshare', ['-u', 'true']).status !== 0) {
    process.stderr.write('SKIPPED: the lock between host names, because `unshare -u` is not allowed here.\n');
    return;
  }
  const first = await another('container-a');
  expect(first.said).toBe('held');
  first.child.kill('SIGSTOP');
  const second = await another('container-b');
  expect(second.said).toContain(`Another backend (process ${first.child.pid} on container-a) uses this database`);
  await kill(first.child);
  expect((await another('container-b')).said).toBe('held');
});

test('the lock is readable by its user only, and a folder that cannot be locked is named with the next step', () => {
  const release = acquireExclusive(file());
  expect([file(), `${file()}.sqlite`].map((path) => statSync(path).mode & 0o777)).toEqual([0o600, 0o600]);
  // Nothing is ever written: a full disk does not matter.
  expect(readdirSync(dir).sort()).toEqual(['backend.lock', 'backend.lock.sqlite']);
  expect(statSync(`${file()}.sqlite`).size).toBe(0);
  release();
  rmSync(`${file()}.sqlite`);
  mkdirSync(`${file()}.sqlite`);
  expect(() => acquireExclusive(file())).toThrow(/cannot be (locked|used).*(DATA_DIR)/);
});
