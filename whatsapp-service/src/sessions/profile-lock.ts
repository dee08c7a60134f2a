import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Sqlite from 'better-sqlite3';

/**
 * Locks of the worker: one per login folder and one for its whole data folder. The browser's own locks are not enough: headless
 * shell has none, and the lock of full Chromium names a host, which may have been renamed with its container.
 *
 * The operating system holds the lock: an SQLite file (`<file>.sqlite`) with an exclusive transaction that stays open. It belongs to the
 * inode, so that it also works between containers that share a volume, whatever their host names, process ids and clocks are, and the
 * system releases it when the process ends, however it ends. The file is empty and is never deleted: a process that waits for the
 * deleted file and one that creates it again would both hold a lock. Nothing else in this process may open it: closing any descriptor of a
 * file releases all POSIX locks that the process has on it.
 *
 * `file` itself only names the owner of the lock, for messages and for older versions, which lock with it. It is not the lock.
 */
export interface Lock {
  release(): Promise<void>;
}

/** Another living process holds the lock. `holder` is null when it has not written its name yet. */
export class LockHeldError extends Error {
  constructor(readonly holder: { pid: number; host: string } | null) {
    super('Another living process holds the lock.');
    this.name = 'LockHeldError';
  }
}

/** The file system cannot lock files. Without a lock two processes could use the same login. */
export class LockUnavailableError extends Error {
  constructor(file: string, code: string) {
    super(
      `${file} cannot be locked (${code}). Put DATA_DIR on a local disk that this user may write; a network file system must support POSIX locks.`,
    );
    this.name = 'LockUnavailableError';
  }
}

/** Closes: the caller drops the lock object, the garbage collector closes the connection, and the lock is gone. */
const ownedLocks = new Set<unknown>();

/** Acquires the lock at once, or throws `LockHeldError` or `LockUnavailableError`. */
export async function acquireLock(file: string): Promise<Lock> {
  const connection = openLocked(`${file}.sqlite`, file);
  ownedLocks.add(connection);
  nameOwner(file);
  let isReleased = false;
  return {
    async release() {
      if (isReleased) return;
      isReleased = true;
      rmSync(file, { force: true });
      ownedLocks.delete(connection);
      connection.close();
    },
  };
}

function openLocked(lockFile: string, file: string): Sqlite.Database {
  let connection: Sqlite.Database | null = null;
  try {
    mkdirSync(path.dirname(lockFile), { recursive: true, mode: 0o700 });
    // SQLite would create the file with the permissions of the umask. An existing file is not opened here, because closing it would release a lock of this process.
    if (!existsSync(lockFile)) writeFileSync(lockFile, '', { flag: 'a', mode: 0o600 });
    connection = new Sqlite(lockFile, { timeout: 0 });
    // In memory: a journal file would need disk space.
    connection.pragma('journal_mode = MEMORY');
    connection.exec('BEGIN EXCLUSIVE');
    return connection;
  } catch (error) {
    connection?.close();
    const code = codeOf(error);
    if (code === 'SQLITE_BUSY') throw new LockHeldError(readOwner(file));
    if (code && /^(SQLITE_(IOERR|CANTOPEN|READONLY|PROTOCOL|PERM).*|EACCES|EPERM|EROFS|ENOTDIR|EEXIST)$/.test(code))
      throw new LockUnavailableError(lockFile, code);
    throw error;
  }
}

function nameOwner(file: string): void {
  try {
    rmSync(file, { force: true });
    writeFileSync(file, JSON.stringify({ pid: process.pid, host: os.hostname() }), { mode: 0o600 });
  } catch {
    // For example, the disk is full. The lock still works; another process just cannot name its owner.
  }
}

function readOwner(file: string): { pid: number; host: string } | null {
  try {
    const { pid, host } = JSON.parse(readFileSync(file, 'utf8')) as { pid: unknown; host: unknown };
    return typeof pid === 'number' && typeof host === 'string' ? { pid, host } : null;
  } catch {
    return null; // The owner holds the lock before it writes its name, and an older version may write it halfway.
  }
}

/** Checks the shape, not the class: an error of Node may be an `Error` of another realm. */
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
