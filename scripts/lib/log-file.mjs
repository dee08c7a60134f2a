import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Appends lines to a file; past `maxBytes` the file becomes `.1`, `.1` becomes `.2` …, and the oldest of `keep` is replaced.
 * Written at once, not buffered: the last lines of a process matter most after a crash.
 *
 * Never throws: a full disk or a folder that went away must not end the process that keeps the others running. Lines that cannot be
 * written are dropped; `onTrouble` gets the first error of each series, and the file says how many are missing once it can be written again.
 */
export function openLogFile(file, { maxBytes = 20 * 1024 * 1024, keep = 5, onTrouble = () => {} } = {}) {
  let handle = null;
  let size = 0;
  let dropped = 0;
  const open = () => {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    handle = openSync(file, 'a', 0o600);
    size = fstatSync(handle).size;
  };
  const close = () => {
    if (handle !== null) closeSync(handle);
    handle = null;
  };
  const rotate = () => {
    close();
    for (let number = keep - 1; number >= 1; number--) {
      if (existsSync(`${file}.${number}`)) renameSync(`${file}.${number}`, `${file}.${number + 1}`);
    }
    renameSync(file, `${file}.1`);
    open();
  };
  const append = (line) => {
    const bytes = Buffer.from(`${line}\n`);
    // A disk that is nearly full takes a part: the rest is tried, and fails with the reason.
    for (let at = 0; at < bytes.length;) {
      const written = writeSync(handle, bytes, at);
      at += written;
      size += written;
    }
  };
  const attempt = (work) => {
    try {
      if (handle === null) open();
      work();
      return true;
    } catch (error) {
      if (dropped === 0) quietly(() => onTrouble(error));
      return false;
    }
  };
  return {
    file,
    write(line) {
      const isWritten = attempt(() => {
        if (size > 0 && size + Buffer.byteLength(line) > maxBytes) rotate();
        if (dropped > 0)
          append(JSON.stringify({ level: 'warn', message: 'Log lines are missing: they could not be written.', dropped }));
        dropped = 0;
        append(line);
      });
      if (isWritten) return;
      dropped += 1;
      // The next line opens the file again: its folder may have been replaced.
      quietly(close);
      handle = null;
    },
    close: () => quietly(close),
  };
}

function quietly(work) {
  try {
    work();
  } catch {
    // The log file cannot be written, so there is no place to report this.
  }
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
