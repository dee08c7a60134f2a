import { chmod, mkdir, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { existsSync, statfsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { failPoint } from '@chasqui/shared/fail-point';
import { sleep, type Clock } from '../clock.js';
import { EngineError } from '../engine/engine.js';
import type { Log } from '../log.js';
import { acquireLock, codeOf, exists, LockHeldError, LockUnavailableError, type Lock } from './profile-lock.js';

/** A session's login folder, locked for us. */
export interface Profile {
  dir: string;
  release(): Promise<void>;
}

export interface Profiles {
  /** Locks the folder, ends browsers that a killed worker left on it and removes their lock files. Throws `EngineError`. */
  claim(sessionId: string): Promise<Profile>;
  /** Deletes the login. The caller has closed the browser. Throws `EngineError` PROFILE_LOCKED. */
  wipe(sessionId: string): Promise<void>;
  /** Whether a browser could not write its login. Chromium does not say so: it starts, and its page never loads. Never throws. */
  isFull(): boolean;
}

/** Below 1 MB no page loads; a login takes some more. */
const minRoomBytes = 8 * 1_048_576;

export const isSessionId = (id: string): boolean => /^[-_A-Za-z0-9]{1,64}$/.test(id);

export function createProfiles(options: { dir: string; clock: Clock; log: Log }): Profiles {
  const { clock, log } = options;
  const root = path.resolve(options.dir, 'profiles');
  const locks = path.resolve(options.dir, 'locks');

  /** The only place that makes a path of an id; nothing outside the folder can come of it. */
  function dirOf(sessionId: string): string {
    const dir = path.resolve(root, sessionId);
    if (!isSessionId(sessionId) || path.dirname(dir) !== root) throw new Error('A session id is no name of a folder.');
    return dir;
  }

  async function lock(sessionId: string): Promise<Lock> {
    try {
      return await acquireLock(path.join(locks, `${sessionId}.lock`));
    } catch (error) {
      if (error instanceof LockHeldError) throw new EngineError('PROFILE_LOCKED', error.message);
      if (error instanceof LockUnavailableError) throw new EngineError('PROFILE_CORRUPT', error.message);
      throw asEngineError(error);
    }
  }

  return {
    isFull() {
      try {
        const { bavail, bsize } = statfsSync(options.dir);
        return bavail * bsize < minRoomBytes;
      } catch {
        return false; // It cannot be told here.
      }
    },

    async claim(sessionId) {
      const dir = dirOf(sessionId);
      const held = await lock(sessionId);
      try {
        await mkdir(dir, { recursive: true, mode: 0o700 });
        await chmod(dir, 0o700);
        const ended = await endOrphans(dir, clock);
        if (ended > 0) log.warn('Browsers left over on a login folder were ended.', { sessionId, processes: ended });
        await removeStaleSingletons(dir, await browsersOn(dir));
        return { dir, release: () => held.release() };
      } catch (error) {
        await held.release();
        throw asEngineError(error);
      }
    },

    async wipe(sessionId) {
      const dir = dirOf(sessionId);
      const held = await lock(sessionId);
      try {
        failPoint('profile.deleting');
        // A link in place of the folder is removed itself, not what it leads to.
        await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      } finally {
        await held.release();
      }
    },
  };
}

function asEngineError(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'ENOSPC') return new EngineError('DISK_FULL', 'No space left for the login folder.');
  if (code === 'EACCES' || code === 'EPERM') return new EngineError('PROFILE_CORRUPT', 'The login folder cannot be used.');
  return error;
}

/**
 * Node killed with -9 may leave its browser behind, which then holds the profile. With our lock in hand, any process that was
 * started with a `--user-data-dir` at or below this folder is such a one. Gently first: Chromium then writes its databases out.
 */
async function endOrphans(dir: string, clock: Clock): Promise<number> {
  const found = await browsersOn(dir);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const left = found.filter(exists);
    for (const pid of left) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if (codeOf(error) !== 'ESRCH') throw error;
      }
    }
    for (let waited = 0; waited < 3_000 && left.some(exists); waited += 50) await sleep(clock, 50);
  }
  return found.length;
}

export async function browsersOn(dir: string): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  const pids: number[] = [];
  for (const pid of names.filter((name) => /^\d+$/.test(name)).map(Number)) {
    if (pid === process.pid) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // Arguments are parted by NUL; Chromium's children may rewrite theirs into one text.
    const used = /(?:^|[\0 ])--user-data-dir=([^\0]*?)(?=\0| --|$)/.exec(line)?.[1];
    if (used !== undefined && (used === dir || used.startsWith(dir + path.sep))) pids.push(pid);
  }
  return pids;
}

/**
 * `SingletonLock` is a link to `<host>-<pid>`. A stale one stops full Chromium from starting. The pid alone says nothing: after a restart
 * of the machine or the container it may be anybody's. Only a browser that uses this folder counts, and `left` are those that did not end.
 */
async function removeStaleSingletons(dir: string, left: readonly number[]): Promise<void> {
  const below = await readdir(dir, { withFileTypes: true });
  const folders = [dir, ...below.filter((entry) => entry.isDirectory()).map((entry) => path.join(dir, entry.name))];
  for (const folder of folders) {
    const target = await readlink(path.join(folder, 'SingletonLock')).catch(() => null);
    if (target === null) continue;
    const dash = target.lastIndexOf('-');
    const pid = Number(target.slice(dash + 1));
    const isBrowser = existsSync('/proc/self/cmdline') ? left.includes(pid) : exists(pid);
    const living = target.slice(0, dash) === os.hostname() && isBrowser;
    if (living) throw new EngineError('PROFILE_LOCKED', 'A living browser holds the login folder.');
    for (const name of ['SingletonLock', 'SingletonCookie', 'SingletonSocket']) {
      await rm(path.join(folder, name), { force: true });
    }
  }
}
