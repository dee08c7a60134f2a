import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { systemClock } from '../src/clock.js';
import { acquireLock } from '../src/sessions/profile-lock.js';
import { createProfiles, type Profiles } from '../src/sessions/profiles.js';
import { createTestLog } from './memory-engine.js';

let dir: string;
let profiles: Profiles;
let child: ChildProcess | null = null;
const file = (): string => join(dir, 'locks', 's1.lock');
const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-profiles-'));
  profiles = createProfiles({ dir, clock: systemClock, log: createTestLog() });
});
afterEach(async () => {
  if (child?.pid && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  child = null;
  rmSync(dir, { recursive: true, force: true });
});

/**
 * A process that asks for the lock, says what it got and runs until it is killed. On Linux it may get a host name of its own, as a container has.
 */
async function another(hostName: string | null = null): Promise<ChildProcess & { says: () => Promise<string> }> {
  const built = pathToFileURL(join(root, 'whatsapp-service/dist/sessions/profile-lock.js')).href;
  const program = `import { acquireLock as acquire } from ${JSON.stringify(built)};
    const lines = (text) => process.stdout.write(text + '\\n');
    setInterval(() => {}, 1000);
    await acquire(${JSON.stringify(file())}).then(() => lines('held'), (error) => lines(error.name));`;
  const node = [process.execPath, '--input-type=module', '-e', program];
  const argv = hostName ? ['unshare', '-u', 'sh', '-c', `hostname ${hostName} && exec "$@"`, 'sh', ...node] : node;
  const started = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const read = createInterface({ input: started.stdout })[Symbol.asyncIterator]();
  return Object.assign(started, { says: async () => String((await read.next()).value) });
}
const killed = async (process: ChildProcess): Promise<void> => {
  const ended = once(process, 'exit');
  process.kill('SIGKILL');
  await ended;
};

describe('the lock', () => {
  test('a living owner keeps it, and a release frees it', async () => {
    const held = await profiles.claim('s1');
    await expect(profiles.claim('s1')).rejects.toMatchObject({ reason: 'PROFILE_LOCKED' });
    await held.release();
    await held.release();
    await (await profiles.claim('s1')).release();
  });

  test('of ten attempts at once, one gets it', async () => {
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => acquireLock(file())));
    const got = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(got).toHaveLength(1);
    await got[0]!.release();
    expect(existsSync(file())).toBe(false);
  });

  test('of five processes that want it at once, one gets it, and the next one the moment that one is killed', async () => {
    let waiting = await Promise.all(Array.from({ length: 5 }, () => another()));
    try {
      const said = await Promise.all(waiting.map((one) => one.says()));
      expect(said.filter((line) => line === 'held')).toHaveLength(1);
      expect(said.filter((line) => line === 'LockHeldError')).toHaveLength(4);
      await killed(waiting[said.indexOf('held')]!);
      waiting = waiting.filter((one) => one.signalCode === null);
      await (await acquireLock(file())).release();
    } finally {
      await Promise.all(waiting.map(killed));
    }
  });

  test('an owner with another host name, as in another container, is refused and named; its end frees the lock at once', async () => {
    if (spawnSync('unshare', ['-u', 'true']).status !== 0) {
      process.stderr.write('SKIPPED: the lock between host names, because `unshare -u` is not allowed here.\n');
      return;
    }
    const container = await another('another-container');
    try {
      expect(await container.says()).toBe('held');
      await expect(acquireLock(file())).rejects.toMatchObject({ holder: { pid: container.pid, host: 'another-container' } });
      // A stopped process has not given up its lock, however long it stands still.
      container.kill('SIGSTOP');
      const past = new Date(Date.now() - 3_600_000);
      utimesSync(file(), past, past);
      await expect(profiles.claim('s1')).rejects.toMatchObject({ reason: 'PROFILE_LOCKED' });
    } finally {
      await killed(container);
    }
    await (await profiles.claim('s1')).release();
  });

  test.each([
    ['that an earlier version left', '{"pid":1,"startTime":null,"host":"there","bootId":null,"token":"t"}'],
    ['that is damaged', '{"pid":'],
    ['that is empty', ''],
  ])('a name file %s does not matter', async (_, text) => {
    mkdirSync(join(dir, 'locks'), { recursive: true });
    writeFileSync(file(), text);
    const held = await acquireLock(file());
    expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual({ pid: process.pid, host: hostname() });
    await held.release();
  });

  test('a folder that cannot be locked is named with the next step', async () => {
    mkdirSync(`${file()}.sqlite`, { recursive: true });
    await expect(acquireLock(file())).rejects.toThrow(/cannot be locked .* Put DATA_DIR on a local disk/);
    await expect(profiles.claim('s1')).rejects.toMatchObject({ reason: 'PROFILE_CORRUPT' });
  });
});

describe('the folder', () => {
  test('is closed to others, and a wipe removes it', async () => {
    const held = await profiles.claim('s1');
    expect(held.dir).toBe(join(dir, 'profiles', 's1'));
    expect(statSync(held.dir).mode & 0o777).toBe(0o700);
    await expect(profiles.wipe('s1')).rejects.toMatchObject({ reason: 'PROFILE_LOCKED' });
    await held.release();
    await profiles.wipe('s1');
    expect(existsSync(held.dir)).toBe(false);
  });

  test.each(['..', '.', '', 'a/b', '../profiles', 'a\0b', 'a'.repeat(65)])(
    'an id that is not a valid folder name is refused: %j',
    async (id) => {
      await expect(profiles.wipe(id)).rejects.toThrow('not a valid folder name');
      await expect(profiles.claim(id)).rejects.toThrow('not a valid folder name');
      expect(existsSync(dir)).toBe(true);
    },
  );

  test('a wipe does not follow a link out of it', async () => {
    const outside = join(dir, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'keep'), '');
    mkdirSync(join(dir, 'profiles'));
    symlinkSync(outside, join(dir, 'profiles', 's1'));
    await profiles.wipe('s1');
    expect([existsSync(join(outside, 'keep')), existsSync(join(dir, 'profiles', 's1'))]).toEqual([true, false]);
  });

  test('browser locks of another host, of a dead process and of a process that is no browser are removed', async () => {
    const folder = join(dir, 'profiles', 's1', 'session-s1');
    mkdirSync(folder, { recursive: true });
    const lock = join(folder, 'SingletonLock');
    // The last one is what a restarted container finds: its host name, and a pid that is another process now.
    for (const target of ['another-host-17', `${hostname()}-4194303`, `${hostname()}-${process.pid}`]) {
      symlinkSync(target, lock);
      await (await profiles.claim('s1')).release();
      expect(() => readlinkSync(lock)).toThrow('ENOENT');
    }
  });

  test('a browser that a killed worker left on it is ended, another profile’s is not', async () => {
    const run = (folder: string): ChildProcess =>
      spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', '--', `--user-data-dir=${folder}`], { stdio: 'ignore' });
    const orphan = run(join(dir, 'profiles', 's1', 'session-s1'));
    child = run(join(dir, 'profiles', 's12', 'session-s12'));
    await Promise.all([once(orphan, 'spawn'), once(child, 'spawn')]);
    const ended = once(orphan, 'exit');
    await (await profiles.claim('s1')).release();
    await ended;
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
  });
});
