import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

/** Every file below the folders, sorted, so that the same tree always gives the same list. `skip` gets a file's name. */
export function listFiles(folder, skip = () => false) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      if (skip(entry.name)) return [];
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return listFiles(path, skip);
      return entry.isFile() ? [path] : [];
    });
}

/** One digest over the names and contents of files and over anything else that decides the result (versions, options). */
export function fingerprint(base, files, more = []) {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(`${relative(base, file).split(sep).join('/')}\0`);
    hash.update(existsSync(file) ? readFileSync(file) : 'absent');
    hash.update('\0');
  }
  return hash.update(JSON.stringify(more)).digest('hex');
}

/**
 * Remembers that work was done on exactly this input. It is written after the work, so a run that dies halfway is repeated;
 * `forget` first, so that a partial result is never mistaken for the earlier whole one.
 */
export function stamp(file) {
  return {
    matches: (value) => existsSync(file) && readFileSync(file, 'utf8') === value,
    forget: () => rmSync(file, { force: true }),
    write: (value) => {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, value);
    },
  };
}
