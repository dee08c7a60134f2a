import { chmodSync, closeSync, lstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Everything below DATA_DIR is for its own user only, also where the folder was made by someone else with wider rights. */

/**
 * Makes a file of this user readable by this user only, and creates it empty when it does not exist. SQLite gives its journal files the rights
 * of the database file, so that they need no step of their own.
 */
export function ensurePrivateFile(file: string): void {
  closeSync(openSync(file, 'a', 0o600));
  close(file, 0o600);
}

/** What a backend, a worker or the start script puts directly into DATA_DIR. Foreign files are left alone: DATA_DIR may be `/tmp`. */
const own = /^(chasqui\.sqlite.*|backend\.lock.*|secrets\.json|media|exports|worker|logs)$/;

/** Closes what an earlier version created with wider rights. A closed folder closes everything below it. */
export function closeDataFolder(dataDir: string): void {
  for (const entry of readdirSync(dataDir, { withFileTypes: true })) {
    if (own.test(entry.name) && (entry.isFile() || entry.isDirectory()))
      close(join(dataDir, entry.name), entry.isDirectory() ? 0o700 : 0o600);
  }
}

function close(path: string, mode: number): void {
  // Closes: another process (`reset-admin`) ends between the listing and here, and SQLite deletes its journal files.
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (process.platform === 'win32' || (found.mode & 0o077) === 0) return;
  // Only the owner may change the rights; a volume with a group of its own (fsGroup) belongs to another user.
  if (process.getuid?.() === found.uid || process.getuid?.() === 0) chmodSync(path, mode);
}
