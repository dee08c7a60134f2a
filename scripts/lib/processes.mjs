import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from './command.mjs';

/**
 * Reads and kills processes of this machine. A process id alone is not enough: it may belong to another program by now, so a process
 * is identified by its number and the time at which it started.
 */

/** The command line of a living process, shortened; null when it does not live, is a zombie, or cannot be known. */
export async function commandLine(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return null;
  }
  if (process.platform === 'linux') return commandOf(pid);
  if (process.platform === 'win32') return null;
  const text = (await runCommand('ps', ['-p', String(pid), '-o', 'command='], { timeoutMs: 5000 })).output.trim();
  return text === '' || text === '<defunct>' ? null : text;
}

/** The same, read synchronously from /proc. */
export function commandOf(pid) {
  const text = readOr(`/proc/${pid}/cmdline`, '');
  return text ? text.split('\0').filter(Boolean).join(' ').slice(0, 400) : null;
}

/** When the process started, as this system counts it; null where that cannot be known. Field 22 of /proc/<pid>/stat, which has no zombie's. */
export function startOf(pid) {
  const text = readOr(`/proc/${pid}/stat`, '');
  if (text === '') return null;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? null : (fields[19] ?? null);
}

/** Whether a signal has stopped the process (SIGSTOP, a debugger). False where that cannot be known. */
export function isSuspended(pid) {
  const text = readOr(`/proc/${pid}/stat`, '');
  return /^[Tt] /.test(text.slice(text.lastIndexOf(')') + 2));
}

/**
 * Whether `pid` runs and is the noted process: its command line matches `pattern`, and its start time is the noted one, if one was noted.
 * A process that is being ended has lost its command line and still has its ports; with a start time it is known all the same.
 */
export async function isAlive({ pid, start = null }, pattern) {
  if (start !== null && startOf(pid) !== start) return false;
  const command = await commandLine(pid);
  if (command === null) return start !== null;
  return pattern.test(command.replaceAll('\\', '/'));
}

/** Kills processes and waits until they are gone, with their ports; true when they are within `withinMs`. */
export async function killAndWait(named, pattern, withinMs = 10_000) {
  const processes = named.map(({ pid, start }) => ({ pid, start: start ?? startOf(pid) }));
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended, or belongs to another user: checked below.
    }
  }
  for (const until = performance.now() + withinMs; performance.now() < until; await sleep(50)) {
    const living = await Promise.all(processes.map((one) => isAlive(one, pattern)));
    if (!living.includes(true)) return true;
  }
  return false;
}

/** Other users' processes, and those that ended meanwhile, cannot be read; they are skipped. */
function readOr(file, otherwise) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return otherwise;
  }
}
