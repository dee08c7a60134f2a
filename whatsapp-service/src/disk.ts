import { statfs } from 'node:fs/promises';
import { errorFields, type Log } from './log.js';

/** Room on the worker's disk, where logins, send record and outlet lie. */
export interface Disk {
  /** False while there is less room than the mark: health says `degraded`, before anything fails. */
  hasRoom(): boolean;
  freeMb(): number | null;
  look(): Promise<void>;
}

/**
 * While the backend is away the outlet grows with every message, about 0.9 KB each (measured with texts of 80 characters), and nothing in it may be dropped. So the
 * person is told while there is still time: once when the room falls below the mark, and again each time that it has halved.
 */
export function createDisk(options: { dir: string; warnBelowMb: number; pending: () => number; log: Log }): Disk {
  const { dir, warnBelowMb, log } = options;
  let free: number | null = null;
  let toldAt = Infinity;

  async function look(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(dir);
      free = Math.floor((bavail * bsize) / 1_048_576);
    } catch (error) {
      return log.warn('How much room there is on the disk could not be read.', errorFields(error));
    }
    if (free >= warnBelowMb) toldAt = Infinity;
    else if (free <= toldAt / 2) {
      toldAt = free;
      log.warn('The disk is filling up. Make room, or events and logins can soon not be written any more.', {
        freeMb: free,
        waitingEvents: options.pending(),
      });
    }
  }

  return { hasRoom: () => free === null || free >= warnBelowMb, freeMb: () => free, look };
}
