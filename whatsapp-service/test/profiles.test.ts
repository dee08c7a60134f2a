import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
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

describe('copies', () => {
  const profile = (): string => join(dir, 'profiles', 's1');
  const soon = new AbortController().signal;
  beforeEach(async () => {
    const claimed = await profiles.claim('s1');
    mkdirSync(join(profile(), 'Default', 'IndexedDB'), { recursive: true });
    mkdirSync(join(profile(), 'Default', 'Code Cache'), { recursive: true });
    writeFileSync(join(profile(), 'Default', 'IndexedDB', '1.log'), 'a login');
    writeFileSync(join(profile(), 'Default', 'Code Cache', 'x'), 'not needed');
    await claimed.release();
  });

  test('return the login as it was, without caches', async () => {
    expect([await profiles.copiedAt('s1'), await profiles.restoreCopy('s1')]).toEqual([null, false]);
    expect(await profiles.saveCopy('s1', soon)).toBe(true);
    writeFileSync(join(profile(), 'Default', 'IndexedDB', '1.log'), 'damaged');
    writeFileSync(join(profile(), 'Default', 'IndexedDB', '2.log'), 'damaged');
    expect(await profiles.restoreCopy('s1')).toBe(true);
    expect(readFileSync(join(profile(), 'Default', 'IndexedDB', '1.log'), 'utf8')).toBe('a login');
    expect(existsSync(join(profile(), 'Default', 'IndexedDB', '2.log'))).toBe(false);
    expect(existsSync(join(profile(), 'Default', 'Code Cache'))).toBe(false);
    expect(statSync(join(profile(), 'Default')).mode & 0o77).toBe(0);
  });

  test('are known with their size and time, also to the next process, until they are removed', async () => {
    expect(profiles.lastCopy('s1')).toBeNull();
    await profiles.saveCopy('s1', soon);
    const known = { bytes: 'a login'.length, savedAt: await profiles.copiedAt('s1') };
    expect(profiles.lastCopy('s1')).toEqual(known);
    const next = createProfiles({ dir, clock: systemClock, log: createTestLog() });
    expect(next.lastCopy('s1')).toBeUndefined();
    await (await next.claim('s1')).release();
    expect(next.lastCopy('s1')).toEqual(known);
    await next.removeCopy('s1');
    expect(next.lastCopy('s1')).toBeNull();
  });

  test('keep the earlier one when the time is over', async () => {
    await profiles.saveCopy('s1', soon);
    writeFileSync(join(profile(), 'Default', 'IndexedDB', '1.log'), 'later');
    expect(await profiles.saveCopy('s1', AbortSignal.abort())).toBe(false);
    await profiles.restoreCopy('s1');
    expect(readFileSync(join(profile(), 'Default', 'IndexedDB', '1.log'), 'utf8')).toBe('a login');
  });

  test('survive a crash at every step of the exchange', async () => {
    await profiles.saveCopy('s1', soon);
    renameSync(join(dir, 'copies', 's1'), join(dir, 'copies', 's1.old'));
    mkdirSync(join(dir, 'copies', 's1.new'));
    expect(await profiles.copiedAt('s1')).not.toBeNull();
    expect(await profiles.saveCopy('s1', soon)).toBe(true);
    expect(readdirSync(join(dir, 'copies'))).toEqual(['s1']);
  });

  test('are not made while a browser writes', async () => {
    let isWriting = true;
    const writing = (async () => {
      for (let n = 0; isWriting; n += 1) {
        writeFileSync(join(profile(), 'Default', 'IndexedDB', '1.log'), 'x'.repeat(n));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    expect(await profiles.saveCopy('s1', soon)).toBe(false);
    isWriting = false;
    await writing;
    expect(await profiles.copiedAt('s1')).toBeNull();
  });

  test('are deleted with the login', async () => {
    await profiles.saveCopy('s1', soon);
    await profiles.wipe('s1');
    expect([await profiles.copiedAt('s1'), readdirSync(join(dir, 'copies'))]).toEqual([null, []]);
  });
});
