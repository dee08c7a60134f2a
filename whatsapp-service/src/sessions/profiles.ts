import { chmod, mkdir, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { existsSync, statfsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { failPoint } from '@chasqui/shared/fail-point';
import { sleep, type Clock } from '../clock.js';
import { EngineError } from '../engine/engine.js';
import { errorFields, type Log } from '../log.js';
import { createProfileCopies, type LoginCopy, type ProfileCopies } from './profile-copies.js';
import { acquireLock, codeOf, exists, LockHeldError, LockUnavailableError, type Lock } from './profile-lock.js';

/** A session's login folder, locked by this worker. */
export interface Profile {
  dir: string;
  release(): Promise<void>;
}

export interface Profiles {
  /** Locks the folder, ends orphaned browsers that use it and removes their lock files. Throws `EngineError`. */
  claim(sessionId: string): Promise<Profile>;
  /** Copies a proven login; see profile-copies.ts. The caller has claimed it. Returns whether there is a new copy. Never throws. */
  saveCopy(sessionId: string, signal: AbortSignal): Promise<boolean>;
  /** When the copy of the login was made, in milliseconds since 1970. Null: there is none. */
  copiedAt(sessionId: string): Promise<number | null>;
  /** The copy of a login as it was last seen on the disk. Null: there is none. Undefined: this process has not looked yet. */
  lastCopy(sessionId: string): LoginCopy | null | undefined;
  /** Replaces the login by its copy. The caller has closed the browser. Returns false if there is no copy. Throws `EngineError` PROFILE_LOCKED. */
  restoreCopy(sessionId: string): Promise<boolean>;
  /** Deletes only the copy, because WhatsApp does not accept it either. */
  removeCopy(sessionId: string): Promise<void>;
  /** The sessions that have a copy of their login. */
  copied(): Promise<string[]>;
  /** Links the files of a copy into a folder; see profile-copies.ts. */
  linkCopy(sessionId: string, target: string): Promise<number | null>;
  /** Deletes the login and its copy. The caller has closed the browser. Throws `EngineError` PROFILE_LOCKED. */
  wipe(sessionId: string): Promise<void>;
  /** Whether the disk is too full for a login. Chromium does not report that: it starts, and its page never loads. Never throws. */
  isFull(): boolean;
}

/** Below 1 MB of free space no page loads; a login needs more. */
const minRoomBytes = 8 * 1_048_576;

export const isSessionId = (id: string): boolean => /^[-_A-Za-z0-9]{1,64}$/.test(id);

interface Context {
  /** The folder whose disk `isFull` measures. */
  readonly dir: string;
  readonly profiles: string;
  readonly locks: string;
  readonly copies: ProfileCopies;
  /** For `lastCopy`. */
  readonly known: Map<string, LoginCopy | null>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps the logins in `<dir>/profiles/<sessionId>`, their copies in `<dir>/copies` and their locks in `<dir>/locks`. */
export function createProfiles({ dir, clock, log }: { dir: string; clock: Clock; log: Log }): Profiles {
  const context: Context = {
    dir,
    profiles: path.resolve(dir, 'profiles'),
    locks: path.resolve(dir, 'locks'),
    copies: createProfileCopies(path.resolve(dir, 'copies')),
    known: new Map(),
    clock,
    log,
  };
  return {
    claim: (sessionId) => claim(context, sessionId),
    saveCopy: (sessionId, signal) => saveCopy(context, sessionId, signal),
    copiedAt: (sessionId) => context.copies.savedAt(sessionId),
    lastCopy: (sessionId) => context.known.get(sessionId),
    restoreCopy: (sessionId) => restoreCopy(context, sessionId),
    removeCopy: (sessionId) => removeCopy(context, sessionId),
    copied: async () => (await context.copies.list()).filter(isSessionId),
    linkCopy: (sessionId, target) => context.copies.link(sessionId, target),
    wipe: (sessionId) => wipe(context, sessionId),
    isFull: () => isFull(dir),
  };
}

async function claim(context: Context, sessionId: string): Promise<Profile> {
  const { clock, log } = context;
  const dir = dirOf(context, sessionId);
  const lock = await lockProfile(context, sessionId);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700);
    const ended = await endOrphans(dir, clock);
    if (ended > 0) log.warn('Orphaned browsers of a profile were ended.', { sessionId, processes: ended });
    await removeStaleSingletons(dir, await browsersOn(dir));
    await lookAtCopy(context, sessionId);
    return { dir, release: () => lock.release() };
  } catch (error) {
    await lock.release();
    throw asEngineError(error);
  }
}

async function saveCopy(context: Context, sessionId: string, signal: AbortSignal): Promise<boolean> {
  if (isFull(context.dir)) return false;
  try {
    const isSaved = await context.copies.save(sessionId, dirOf(context, sessionId), signal);
    if (isSaved) await lookAtCopy(context, sessionId);
    return isSaved;
  } catch (error) {
    context.log.warn('A login could not be copied.', { sessionId, ...errorFields(error) });
    return false;
  }
}

/** Remembers what copy there is. Only a report depends on it, so a failure changes nothing. */
async function lookAtCopy({ copies, known, log }: Context, sessionId: string): Promise<void> {
  try {
    known.set(sessionId, await copies.describe(sessionId));
  } catch (error) {
    log.warn('The copy of a login could not be measured.', { sessionId, ...errorFields(error) });
  }
}

async function removeCopy({ copies, known }: Context, sessionId: string): Promise<void> {
  await copies.remove(sessionId);
  known.set(sessionId, null);
}

async function restoreCopy(context: Context, sessionId: string): Promise<boolean> {
  const lock = await lockProfile(context, sessionId);
  try {
    return await context.copies.restore(sessionId, dirOf(context, sessionId));
  } finally {
    await lock.release();
  }
}

async function wipe(context: Context, sessionId: string): Promise<void> {
  const dir = dirOf(context, sessionId);
  const lock = await lockProfile(context, sessionId);
  try {
    failPoint('profile.deleting');
    // If the folder is a symbolic link, the link is removed, not its target.
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    await removeCopy(context, sessionId);
  } finally {
    await lock.release();
  }
}

function isFull(dir: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize < minRoomBytes;
  } catch {
    return false; // Unknown on this system.
  }
}

/** The only function that builds a path from an id. Refuses a path outside the folder. */
function dirOf({ profiles }: Context, sessionId: string): string {
  const dir = path.resolve(profiles, sessionId);
  if (!isSessionId(sessionId) || path.dirname(dir) !== profiles) throw new Error('The session id is not a valid folder name.');
  return dir;
}

async function lockProfile({ locks }: Context, sessionId: string): Promise<Lock> {
  try {
    return await acquireLock(path.join(locks, `${sessionId}.lock`));
  } catch (error) {
    if (error instanceof LockHeldError) throw new EngineError('PROFILE_LOCKED', error.message);
    if (error instanceof LockUnavailableError) throw new EngineError('PROFILE_CORRUPT', error.message);
    throw asEngineError(error);
  }
}

function asEngineError(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'ENOSPC') return new EngineError('DISK_FULL', 'No disk space is left for the login folder.');
  if (code === 'EACCES' || code === 'EPERM') return new EngineError('PROFILE_CORRUPT', 'The login folder cannot be used.');
  return error;
}

/**
 * Ends orphaned browsers. A worker that was killed may leave its browser running on the profile. This worker owns the lock, so any process with
 * a `--user-data-dir` at or below this folder is orphaned. SIGTERM comes first, so that Chromium writes its databases.
 */
async function endOrphans(dir: string, clock: Clock): Promise<number> {
  const found = await browsersOn(dir);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const remaining = found.filter(exists);
    for (const pid of remaining) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if (codeOf(error) !== 'ESRCH') throw error;
      }
    }
    for (let waited = 0; waited < 3_000 && remaining.some(exists); waited += 50) await sleep(clock, 50);
  }
  return found.length;
}

/** Returns the ids of the processes that use this folder, or one below it, as their profile. Empty without /proc. */
export async function browsersOn(dir: string): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  const pids: number[] = [];
  for (const pid of names.filter((name) => /^\d+$/.test(name)).map(Number)) {
    if (pid === process.pid) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // Arguments are separated by NUL; Chromium's children may rewrite theirs into one text.
    const used = /(?:^|[\0 ])--user-data-dir=([^\0]*?)(?=\0| --|$)/.exec(line)?.[1];
    if (used !== undefined && (used === dir || used.startsWith(dir + path.sep))) pids.push(pid);
  }
  return pids;
}

/**
 * `SingletonLock` is a link to `<host>-<pid>`. A stale one stops full Chromium from starting. The pid alone is not enough: after a restart
 * of the machine or the container another process may have it. Only a browser that uses this folder counts; `remaining` are those that did not end.
 */
async function removeStaleSingletons(dir: string, remaining: readonly number[]): Promise<void> {
  const below = await readdir(dir, { withFileTypes: true });
  const folders = [dir, ...below.filter((entry) => entry.isDirectory()).map((entry) => path.join(dir, entry.name))];
  for (const folder of folders) {
    const target = await readlink(path.join(folder, 'SingletonLock')).catch(() => null);
    if (target === null) continue;
    const dash = target.lastIndexOf('-');
    const pid = Number(target.slice(dash + 1));
    const isBrowser = existsSync('/proc/self/cmdline') ? remaining.includes(pid) : exists(pid);
    const isRunning = target.slice(0, dash) === os.hostname() && isBrowser;
    if (isRunning) throw new EngineError('PROFILE_LOCKED', 'A running browser uses the login folder.');
    for (const name of ['SingletonLock', 'SingletonCookie', 'SingletonSocket']) {
      await rm(path.join(folder, name), { force: true });
    }
  }
}
