import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
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
import { join } from 'node:path';
import { systemClock } from '../src/clock.js';
import { acquireLock } from '../src/sessions/profile-lock.js';
import { createProfiles, type Profiles } from '../src/sessions/profiles.js';
import { createTestLog } from './memory-engine.js';

let dir: string;
let profiles: Profiles;
let child: ChildProcess | null = null;
const file = (): string => join(dir, 'locks', 's1.lock');
const owner = (more: object): void => {
  mkdirSync(join(dir, 'locks'), { recursive: true });
  writeFileSync(file(), JSON.stringify({ pid: 1, startTime: null, host: hostname(), bootId: bootId(), token: 't', ...more }));
};
const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const startTime = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19]!;

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

describe('the lock', () => {
  test('a living owner keeps it, and a release gives it free', async () => {
    const held = await profiles.claim('s1');
    await expect(profiles.claim('s1')).rejects.toMatchObject({ reason: 'PROFILE_LOCKED' });
    await held.release();
    await (await profiles.claim('s1')).release();
  });

  test('of ten that want it at once, one gets it', async () => {
    owner({ pid: 4_194_303, startTime: '1' });
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => acquireLock(file(), systemClock)));
    const got = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(got).toHaveLength(1);
    await got[0]!.release();
    expect(existsSync(file())).toBe(false);
  });

  test.each([
    ['a pid that is gone', () => ({ pid: 4_194_303, startTime: '1' })],
    ['a pid that belongs to somebody else now', () => ({ pid: process.pid, startTime: '1' })],
    ['a boot before this one', () => ({ pid: process.pid, startTime: startTime(process.pid), bootId: 'former' })],
  ])('%s is a dead owner', async (_, more) => {
    owner(more());
    await (await profiles.claim('s1')).release();
  });

  test('a file that nobody can read is taken over', async () => {
    mkdirSync(join(dir, 'locks'));
    writeFileSync(file(), '{"pid":');
    await (await profiles.claim('s1')).release();
  });

  test('another host that has stopped touching its lock is dead; one that touches it is asked again', async () => {
    owner({ host: 'another' });
    const aborted = AbortSignal.timeout(700);
    await expect(profiles.claim('s1', aborted)).rejects.toMatchObject({ reason: 'PROFILE_LOCKED' });
    const past = new Date(Date.now() - 60_000);
    utimesSync(file(), past, past);
    await (await profiles.claim('s1')).release();
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
    'an id that is no name of a folder is refused: %j',
    async (id) => {
      await expect(profiles.wipe(id)).rejects.toThrow('no name of a folder');
      await expect(profiles.claim(id)).rejects.toThrow('no name of a folder');
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

  test('browser locks of another host or a dead process are removed, a living one is not', async () => {
    const folder = join(dir, 'profiles', 's1', 'session-s1');
    mkdirSync(folder, { recursive: true });
    const lock = join(folder, 'SingletonLock');
    for (const target of ['another-host-17', `${hostname()}-4194303`]) {
      symlinkSync(target, lock);
      await (await profiles.claim('s1')).release();
      expect(() => readlinkSync(lock)).toThrow('ENOENT');
    }
    symlinkSync(`${hostname()}-${process.pid}`, lock);
    await expect(profiles.claim('s1')).rejects.toMatchObject({ reason: 'PROFILE_LOCKED' });
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
