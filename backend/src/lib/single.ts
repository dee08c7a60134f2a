import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** SQLite means exactly one backend: a second one would be a second dispatcher. Throws a sentence that says what to do. */
export function holdAlone(file: string): () => void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  for (let tries = 0; tries < 3; tries += 1) {
    try {
      const handle = openSync(file, 'wx', 0o600);
      writeSync(handle, JSON.stringify({ pid: process.pid, host: hostname() }));
      closeSync(handle);
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (isHeld(file))
        throw new Error(
          `Another backend uses this database (see ${file}). Stop it first, or use PostgreSQL (DATABASE_URL) to run several.`,
        );
      rmSync(file, { force: true });
    }
  }
  throw new Error(`The lock ${file} cannot be taken. Look which process keeps making it.`);
}

function isHeld(file: string): boolean {
  try {
    const { pid, host } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; host: string };
    if (host !== hostname() || pid === process.pid) return false;
    process.kill(pid, 0);
    // The number may be somebody else's by now; only a Node process can be a backend.
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('node');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
