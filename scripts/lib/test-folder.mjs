import { chmodSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from './processes.mjs';

const prefix = 'chasqui-test-';
/** A file system in memory, which Linux has. */
const memoryFolder = '/dev/shm';
const minFreeBytes = 4 * 1024 ** 3;

/**
 * Creates the folder for the temporary files of one test run and deletes it when this process exits. Also deletes the folders of runs that were
 * killed.
 *
 * The folder is in memory where there is room for it. Tests kill processes and never the machine, so no commit of theirs has to wait for a
 * disk; waiting took more than half of the time of the tests with SQLite.
 */
export async function createTestFolder() {
  const parent = hasRoom(memoryFolder) ? memoryFolder : tmpdir();
  for (const name of readdirSync(parent)) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('-')[0]) : NaN;
    if (Number.isInteger(pid) && !(await isAlive({ pid }, /test\.mjs/)))
      rmSync(join(parent, name), { recursive: true, force: true });
  }
  const folder = mkdtempSync(join(parent, `${prefix}${process.pid}-`));
  // A database server that a test starts as root runs as another user, who has to reach its folder in here.
  chmodSync(folder, 0o711);
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function hasRoom(folder) {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return Math.min(bavail * bsize, freemem()) > minFreeBytes;
  } catch {
    return false;
  }
}
