import { createHash } from 'node:crypto';
import { errorFields, type Log } from '../lib/log.js';
import { openConnection, type BoundedClient } from './connections.js';
import type { Database, DatabaseLocation } from './database.js';
import { presenceLockClass } from './locks.js';
import { runStatement } from './statement.js';

/** The name under which this backend claims rows, and the check whether other backends are gone. */
export interface Presence {
  readonly owner: string;
  /** Returns the owners that no longer run. A backend that merely lost its database connection may be among them. */
  gone(owners: readonly string[]): Promise<string[]>;
  close(): Promise<void>;
}

const reconnectMs = 1_000;
const probeMs = 5_000;

/**
 * SQLite: this is the only backend, so every other owner is gone. PostgreSQL: each backend holds an advisory lock of its own on a
 * connection of its own, and the server releases it when the process dies. A machine that vanishes from the network keeps it until
 * the server's keepalive expires (connections.ts, `peerMs`).
 *
 * A backend that lost this connection counts as gone while it still works. That costs only a second call: the worker
 * answers it from its send record, and the first backend writes results only under its own name. It checks the connection every few
 * seconds and opens another one when it is gone.
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
      const { rows: locked } = await runStatement<{ objid: string | number }>(
        database.reader,
        `SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = ? AND objsubid = 2
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        [presenceLockClass],
        { prepare: false },
      );
      const present = new Set(locked.map(({ objid }) => Number(objid)));
      return owners.filter((other) => other !== owner && !present.has(lockOf(other)));
    },
    close: announced.close,
  };
}

/** Owns this backend's lock until it is closed, on one connection after the other. `opened` rejects when the first one fails. */
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
    log.warn('The presence connection of this backend was lost; reconnecting.', error ? errorFields(error) : {});
    later(reconnectMs, reopen);
  }

  async function reopen(): Promise<void> {
    await open().catch((error: unknown) => {
      log.warn('The presence connection cannot be opened; it is retried.', errorFields(error));
      later(reconnectMs, reopen);
    });
  }

  /** Queries the connection, because one that the network dropped stays silent. The time limit closes it and calls `lost`. */
  async function probe(): Promise<void> {
    const probed = client;
    await probed?.query('SELECT 1').catch((error: unknown) => lost(probed, error as Error));
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

/** 31 bits: a collision among a handful of backends is unlikely, and would only mean that a lease has to expire. */
const lockOf = (owner: string): number => createHash('sha256').update(owner).digest().readUInt32BE(0) & 0x7fffffff;
