import { chmodSync, closeSync, lstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Only the owner may read files below DATA_DIR, even when the folder was created by another user with wider rights. */

/**
 * Makes a file of this user readable by this user only, and creates it empty when it does not exist. SQLite gives its journal files the rights
 * of the database file, so that they need no separate step.
 */
export function ensurePrivateFile(file: string): void {
  closeSync(openSync(file, 'a', 0o600));
  restrict(file, 0o600);
}

/** What a backend, a worker or the start script creates directly in DATA_DIR. Other files are not touched: DATA_DIR may be `/tmp`. */
const own = /^(chasqui\.sqlite.*|backend\.lock.*|secrets\.json|media|exports|backups|worker|logs)$/;

/** Restricts files that an earlier version created with wider rights. A restricted folder protects everything below it. */
export function restrictDataFolder(dataDir: string): void {
  for (const entry of readdirSync(dataDir, { withFileTypes: true })) {
    if (own.test(entry.name) && (entry.isFile() || entry.isDirectory()))
      restrict(join(dataDir, entry.name), entry.isDirectory() ? 0o700 : 0o600);
  }
}

function restrict(path: string, mode: number): void {
  // Closes: another process (`reset-admin`) ends between the listing and here, and SQLite deletes its journal files.
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (process.platform === 'win32' || (found.mode & 0o077) === 0) return;
  // Only the owner may change the rights; a volume with a group of its own (fsGroup) belongs to another user.
  if (process.getuid?.() === found.uid || process.getuid?.() === 0) chmodSync(path, mode);
}
