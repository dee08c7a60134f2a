import { statfs } from 'node:fs/promises';
import { errorFields, type Log } from './log.js';

/** Watches the free space on the worker's disk, which has the profiles, the send record and the outlet. */
export interface Disk {
  /** False below `warnBelowMb`: health reports `degraded` before anything fails. */
  hasRoom(): boolean;
  /** Megabytes, as of the last check. Null: unknown. */
  freeMb(): number | null;
  /** Measures the free space. Never rejects. */
  check(): Promise<void>;
}

/**
 * While the backend is unreachable the outlet grows with every message, by about 0.9 KB each (measured with texts of 80 characters), and no event
 * may be dropped. So the log warns early: once when the free space falls below `warnBelowMb`, and again each time that it has halved.
 */
export function createDisk(options: { dir: string; warnBelowMb: number; pending: () => number; log: Log }): Disk {
  const { dir, warnBelowMb, log } = options;
  let free: number | null = null;
  let reportedAt = Infinity;

  async function check(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(dir);
      free = Math.floor((bavail * bsize) / 1_048_576);
    } catch (error) {
      return log.warn('Free disk space could not be read.', errorFields(error));
    }
    if (free >= warnBelowMb) reportedAt = Infinity;
    else if (free <= reportedAt / 2) {
      reportedAt = free;
      log.warn('The disk is almost full. Free some space; otherwise events and logins can no longer be written.', {
        freeMb: free,
        waitingEvents: options.pending(),
      });
    }
  }

  return { hasRoom: () => free === null || free >= warnBelowMb, freeMb: () => free, check };
}
