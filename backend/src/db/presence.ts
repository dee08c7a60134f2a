import { createHash } from 'node:crypto';
import { errorFields, type Log } from '../lib/log.js';
import { openConnection, type BoundedClient } from './connections.js';
import type { Database, DatabaseLocation } from './database.js';
import { presenceLockClass } from './locks.js';
import { select } from './sql.js';

/** This backend's name on what it claims, and the way to learn that another one is gone. */
export interface Presence {
  readonly owner: string;
  /** Those of the owners that are certainly not running any more. One that merely lost its database may be among them. */
  gone(owners: readonly string[]): Promise<string[]>;
  close(): Promise<void>;
}

const againAfterMs = 1_000;
const probeMs = 5_000;

/**
 * SQLite: this is the only backend, so every other owner is gone. PostgreSQL: each backend holds an advisory lock of its own on a
 * connection of its own, and the server releases it the moment that the process dies. A machine that is cut off without a word keeps it until
 * the server's keepalive gives up (connections.ts, `peerMs`).
 *
 * A backend that lost this connection counts as gone while it still works. That costs nothing but a second call: the worker
 * answers it from its send record, and what the first one hears is written only under its own name. It asks the connection every
 * few seconds whether it is there, and opens another one when it is not.
 */
export async function openPresence(parts: {
  location: DatabaseLocation;
  database: Database;
  owner: string;
  log: Log;
}): Promise<Presence> {
  const { location, database, owner, log } = parts;
  if ('file' in location)
    return { owner, gone: async (owners) => owners.filter((other) => other !== owner), close: async () => undefined };
  const announced = announce({ url: location.url, owner, log });
  await announced.opened;
  return {
    owner,
    async gone(owners) {
      const held = await select<{ objid: string | number }>(
        database.reader,
        `SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = ? AND objsubid = 2
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        [presenceLockClass],
      );
      const here = new Set(held.map(({ objid }) => Number(objid)));
      return owners.filter((other) => other !== owner && !here.has(lockOf(other)));
    },
    close: announced.close,
  };
}

/** Holds this backend's lock until it is closed, on one connection after the other. `opened` rejects when the first one fails. */
function announce({ url, owner, log }: { url: string; owner: string; log: Log }): {
  opened: Promise<void>;
  close: () => Promise<void>;
} {
  let closed = false;
  let client: BoundedClient | null = null;
  let timer: NodeJS.Timeout | undefined;

  async function open(): Promise<void> {
    const next = await openConnection({ url, name: 'chasqui presence', onError: (error) => lost(next, error) });
    try {
      await next.query('SELECT pg_advisory_lock($1, $2)', [presenceLockClass, lockOf(owner)]);
    } catch (error) {
      void next.end();
      throw error;
    }
    if (closed) return void (await next.end());
    next.once('end', () => lost(next));
    client = next;
    later(probeMs, probe);
  }

  function lost(broken: BoundedClient, error?: Error): void {
    if (client !== broken) return;
    client = null;
    if (closed) return;
    log.warn('The connection that announces this backend broke. It is opened again.', error ? errorFields(error) : {});
    later(againAfterMs, openAgain);
  }

  async function openAgain(): Promise<void> {
    await open().catch((error: unknown) => {
      log.warn('This backend cannot be announced to the others. It is tried again.', errorFields(error));
      later(againAfterMs, openAgain);
    });
  }

  /** A connection that was forgotten on its way is silent. The question closes it after a time, and `lost` hears of that. */
  async function probe(): Promise<void> {
    const asked = client;
    await asked?.query('SELECT 1').catch((error: unknown) => lost(asked, error as Error));
    if (client) later(probeMs, probe);
  }

  function later(ms: number, work: () => Promise<void>): void {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(() => void work(), ms).unref();
  }

  return {
    opened: open(),
    async close() {
      closed = true;
      clearTimeout(timer);
      await client?.end();
    },
  };
}

/** Of 31 bits: two of a handful of backends do not meet, and if they did, a lease would have to run out. */
const lockOf = (owner: string): number => createHash('sha256').update(owner).digest().readUInt32BE(0) & 0x7fffffff;
