import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Appends lines to a file; past `maxBytes` the file becomes `.1`, `.1` becomes `.2` …, and the oldest of `keep` is replaced.
 * Written at once, not buffered: what a process said last is what one wants to read after a crash.
 */
export function openLogFile(file, { maxBytes = 20 * 1024 * 1024, keep = 5 } = {}) {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  let handle = openSync(file, 'a', 0o600);
  let size = fstatSync(handle).size;
  const rotate = () => {
    closeSync(handle);
    for (let number = keep - 1; number >= 1; number--) {
      if (existsSync(`${file}.${number}`)) renameSync(`${file}.${number}`, `${file}.${number + 1}`);
    }
    renameSync(file, `${file}.1`);
    handle = openSync(file, 'a', 0o600);
    size = 0;
  };
  return {
    file,
    write(line) {
      if (size > 0 && size + line.length > maxBytes) rotate();
      size += writeSync(handle, `${line}\n`);
    },
    close: () => closeSync(handle),
  };
}

const shown = new Set(['error', 'warn']);
const notDetails = new Set(['level', 'message', 'timestamp', 'time', 'stack', 'service', 'process', 'pid', 'version']);

/**
 * The short form of a process's line for the terminal, or null when it is not worth a person's attention there.
 * Lines that are not JSON come from Node itself (a crash, a deprecation) and are shown as they are.
 */
export function forPeople(line) {
  const entry = parseJson(line);
  if (!entry) return line.trim() ? { level: 'plain', text: line } : null;
  if (!shown.has(entry.level)) return null;
  const details = Object.entries(entry)
    .filter(([name, value]) => !notDetails.has(name) && value !== null && ['string', 'number', 'boolean'].includes(typeof value))
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
  return { level: entry.level, text: `${entry.message}${details ? `  (${details.slice(0, 300)})` : ''}` };
}

export function parseJson(line) {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
