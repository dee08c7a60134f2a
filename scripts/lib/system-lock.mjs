import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from './paths.mjs';

/** Closes: the caller drops the lock object, the garbage collector closes the connection, and the lock is gone. */
const held = new Set();

/**
 * Takes a lock of the operating system: `{release}`, or null when another process has it. It holds between containers that share a volume, where a
 * process number means nothing, and ends with the process. Needs the installed packages, because Node itself locks no files
 * (docs/decisions/015-operating-system-locks.md). On a disk that knows no locks it locks nothing: backend and worker then refuse to start.
 */
export function takeSystemLock(file) {
  const Sqlite = createRequire(join(root, 'backend/package.json'))('better-sqlite3');
  // Opening one that exists would give up a lock that this process has on it.
  if (!existsSync(file)) writeFileSync(file, '', { flag: 'a', mode: 0o600 });
  let connection;
  try {
    connection = new Sqlite(file, { timeout: 0 });
    // In memory: a journal file would need room on the disk.
    connection.pragma('journal_mode = MEMORY');
    connection.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    connection?.close();
    if (error.code === 'SQLITE_BUSY') return null;
    return { release: () => undefined };
  }
  held.add(connection);
  return {
    release() {
      held.delete(connection);
      connection.close();
    },
  };
}
