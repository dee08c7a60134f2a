import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import Sqlite from 'better-sqlite3';
import { ensurePrivateFile } from './private-files.js';
import { fileProblem, StartProblem } from './start-problem.js';

/**
 * Makes this process the only backend of a data folder, because SQLite allows exactly one: a second backend would be a second dispatcher.
 * Returns the function that releases the lock. Throws a `StartProblem` that names the owner and the next step.
 *
 * The operating system owns the lock: an SQLite file (`<file>.sqlite`) with an exclusive transaction that stays open. It belongs to the
 * inode, so that it also works between containers that share a volume, whatever their host names, process ids and clocks are, and the
 * system releases it when the process ends, however it ends. The file is empty and is never deleted: a process that waits for the
 * deleted file and one that creates it again would both own a lock. Nothing else in this process may open it: closing any descriptor of a
 * file releases all POSIX locks that the process has on it.
 *
 * `file` itself only names the owner, for the message and for older versions, which lock by it. It decides nothing. `whenHeld` returns what is thrown
 * while another process has the lock.
 */
export function acquireExclusive(file: string, whenHeld: (owner: string) => StartProblem = otherBackend(file)): () => void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const lockFile = `${file}.sqlite`;
  const lock = openLocked(lockFile, file, whenHeld);
  ownedLocks.add(lock);
  nameOwner(file);
  return () => {
    rmSync(file, { force: true });
    ownedLocks.delete(lock);
    lock.close();
  };
}

/** Closes: the caller drops the release function, the garbage collector closes the connection, and the lock is gone. */
const ownedLocks = new Set<unknown>();

const otherBackend =
  (file: string) =>
  (owner: string): StartProblem =>
    new StartProblem(
      `Another backend${owner} uses this database (see ${file}). Stop it first, or use PostgreSQL (DATABASE_URL) to run several.`,
    );

function openLocked(lockFile: string, file: string, whenHeld: (owner: string) => StartProblem): Sqlite.Database {
  let lock: Sqlite.Database | null = null;
  try {
    // Opening it a second time in this process would release a lock that this process already owns.
    if (!existsSync(lockFile)) ensurePrivateFile(lockFile);
    lock = new Sqlite(lockFile, { timeout: 0 });
    // In memory: a journal file would need room on the disk.
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    throw fileProblem(problemOf(error, file, whenHeld), 'The lock', lockFile);
  }
}

function nameOwner(file: string): void {
  try {
    rmSync(file, { force: true });
    writeFileSync(file, JSON.stringify({ pid: process.pid, host: hostname() }), { mode: 0o600 });
  } catch {
    // A full disk, for example. The lock works all the same; a second backend just cannot name its owner.
  }
}

function problemOf(error: unknown, file: string, whenHeld: (owner: string) => StartProblem): unknown {
  const code = (error as { code?: unknown }).code;
  if (code === 'SQLITE_BUSY') return whenHeld(ownerOf(file));
  if (typeof code === 'string' && /^SQLITE_(IOERR|CANTOPEN|READONLY|PROTOCOL|PERM)/.test(code)) {
    return new StartProblem(
      `${file}.sqlite cannot be locked (${code}). Put DATA_DIR on a local disk that this user may write; a network file system must support POSIX locks.`,
    );
  }
  return error;
}

/** ` (process 7 on a1b2c3)`, or nothing when the owner has not written it yet. */
function ownerOf(file: string): string {
  try {
    const { pid, host } = JSON.parse(readFileSync(file, 'utf8')) as { pid: unknown; host: unknown };
    return ` (process ${String(pid)} on ${String(host)})`;
  } catch {
    return ''; // The owner locks before it writes its name, and an older version may have written only a part of it.
  }
}
