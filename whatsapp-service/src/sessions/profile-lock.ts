import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import type { Clock } from '../clock.js';
import { sleep } from '../clock.js';

/**
 * A lock file that tells a living owner from a dead one. The browser's own locks do not serve: headless shell has none, and full
 * Chromium's names a host that may have been renamed with its container.
 *
 * The owner is a process (pid and its start time, so that a reused pid is somebody else) on a host since a boot. An owner on this
 * host is looked at in /proc. One on another host name (a recreated container, a shared disk) cannot be looked at: it is living when it
 * touches its file while we watch. Its clock is never compared with ours, which may be hours apart or be set back.
 */
const owner = z.object({
  pid: z.number().int(),
  startTime: z.string().nullable(),
  host: z.string(),
  bootId: z.string().nullable(),
  token: z.string(),
});
type Owner = z.infer<typeof owner>;

const touchMs = 3_000;
/** An owner on another host that has not touched its file for so long, measured by our own monotonic clock, is dead. */
const foreignDeadAfterMs = 10_000;
/** The same for a file that also looks old, so that a container that was recreated does not wait long. */
const defaultOldDeadAfterMs = 4_000;

export class LockHeldError extends Error {
  constructor(readonly holder: { pid: number; host: string }) {
    super('Another living process holds the lock.');
    this.name = 'LockHeldError';
  }
}

export interface Lock {
  release(): Promise<void>;
}

/** Takes the lock or throws `LockHeldError`. Waits only for an owner on another host, until it is clear whether it lives. */
export async function acquireLock(
  file: string,
  clock: Clock,
  signal?: AbortSignal,
  /** 0 where another lock already excludes owners on other hosts. */
  oldDeadAfterMs = defaultOldDeadAfterMs,
): Promise<Lock> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const me: Owner = {
    pid: process.pid,
    startTime: await startTimeOf(process.pid),
    host: os.hostname(),
    bootId: await bootId(),
    token: randomUUID(),
  };
  const watch = createWatch(clock, oldDeadAfterMs);
  while (!(await tryCreate(file, me))) {
    const holder = await readOwner(file);
    if (holder === 'gone') continue;
    if (holder === 'unreadable') {
      await removeDead(file, null);
      continue;
    }
    const life = holder.host === me.host ? await lifeHere(holder, me) : await watch(file, holder.token);
    if (life === 'dead') await removeDead(file, holder.token);
    else if (life === 'living' || signal?.aborted) throw new LockHeldError({ pid: holder.pid, host: holder.host });
    else await sleep(clock, 500, signal);
  }
  return heldLock(file, me, clock);
}

function heldLock(file: string, me: Owner, clock: Clock): Lock {
  let cancel = (): void => undefined;
  const touch = (): void => {
    const now = new Date();
    // A failed touch only makes the lock look older to other hosts, and the next one comes soon.
    void utimes(file, now, now).catch(() => undefined);
    cancel = clock.after(touchMs, touch);
  };
  touch();
  return {
    async release() {
      cancel();
      const present = await readOwner(file);
      if (typeof present === 'object' && present.token === me.token) await rm(file, { force: true });
    },
  };
}

/** `link` makes the file appear with its content or not at all: nobody can read a lock that is half written. */
async function tryCreate(file: string, me: Owner): Promise<boolean> {
  const draft = `${file}.${me.token}`;
  await writeFile(draft, JSON.stringify(me), { mode: 0o600 });
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

async function readOwner(file: string): Promise<Owner | 'gone' | 'unreadable'> {
  try {
    const parsed = owner.safeParse(JSON.parse(await readFile(file, 'utf8')));
    return parsed.success ? parsed.data : 'unreadable';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'gone';
    if (error instanceof SyntaxError) return 'unreadable';
    throw error;
  }
}

/** Watches the file of an owner on another host, over several looks. */
function createWatch(
  clock: Clock,
  oldDeadAfterMs: number,
): (file: string, token: string) => Promise<'living' | 'dead' | 'unknown'> {
  let seen: { token: string; touchedAt: number; since: number } | null = null;
  return async (file, token) => {
    const touchedAt = await stat(file).then(
      (found) => found.mtimeMs,
      () => 0,
    );
    const before = seen;
    if (before?.token !== token) seen = { token, touchedAt, since: clock.monotonic() };
    else if (before.touchedAt !== touchedAt) return 'living';
    const watchedMs = clock.monotonic() - (seen ?? before!).since;
    const looksOld = clock.now() - touchedAt > foreignDeadAfterMs;
    return watchedMs >= (looksOld ? oldDeadAfterMs : foreignDeadAfterMs) ? 'dead' : 'unknown';
  };
}

async function lifeHere(holder: Owner, me: Owner): Promise<'living' | 'dead'> {
  if (holder.bootId !== me.bootId) return 'dead';
  if (!exists(holder.pid)) return 'dead';
  return holder.startTime === (await startTimeOf(holder.pid)) ? 'living' : 'dead';
}

/**
 * Two processes may find the same dead owner: A renames the dead lock away and makes its own; B, late, renames A's living one.
 * B sees by the token that it took the wrong file and puts it back.
 */
async function removeDead(file: string, deadToken: string | null): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const taken = await readOwner(aside);
  const wrong = typeof taken === 'object' && taken.token !== deadToken;
  if (wrong) {
    await link(aside, file).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
  }
  await rm(aside, { force: true });
}

/** By shape, not by class: an error of Node's own need not be an `Error` of the realm that asks. */
export const codeOf = (error: unknown): string | null =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : null;

export function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

const readOrNull = (file: string): Promise<string | null> => readFile(file, 'utf8').catch(() => null);

/** Field 22 of /proc/<pid>/stat, clock ticks since boot; null where there is no /proc. The second field may hold blanks and brackets. */
async function startTimeOf(pid: number): Promise<string | null> {
  const text = await readOrNull(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

const bootId = async (): Promise<string | null> => (await readOrNull('/proc/sys/kernel/random/boot_id'))?.trim() ?? null;
