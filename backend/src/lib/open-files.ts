import { readFileSync } from 'node:fs';

/** Used where the system does not report a limit. */
const defaultLimit = 4_096;

/** Returns how many descriptors this process may have open. Node raises the soft limit to the hard one when it starts. */
export function openFilesLimit(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return soft ? Number(soft) : defaultLimit;
  } catch {
    return defaultLimit; // Not Linux.
  }
}
