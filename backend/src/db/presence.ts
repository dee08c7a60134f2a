import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { errorFields, type Log } from '../lib/log.js';
import type { Database, DatabaseLocation } from './database.js';
import { select } from './sql.js';

/** This backend's name on what it claims, and the way to learn that another one is gone. */
export interface Presence {
  readonly owner: string;
  /** Those of the owners that are certainly not running any more. One that merely lost its database may be among them. */
  gone(owners: readonly string[]): Promise<string[]>;
  close(): Promise<void>;
}

/** The first half of our advisory locks on PostgreSQL, so that they meet nobody else's: "chqb" as a number. */
const lockClass = 0x63687162;
const againAfterMs = 1_000;

/**
 * SQLite: this is the only backend, so every other owner is gone. PostgreSQL: each backend holds an advisory lock of its own on a
 * connection of its own, and the server lets go of it the moment that the process dies. A machine that is cut off without a word keeps
 * it until TCP notices; then the leases of its claims run out first, as they always did.
 *
 * A backend that lost this connection counts as gone while it still works. That costs nothing but a second call: the worker
 * answers it from its send record, and what the first one hears is written only under its own name.
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

  const { url } = location;
  let closed = false;
  let client: Client | null = null;

  async function hold(): Promise<void> {
    const next = new Client({ connectionString: url, keepAlive: true, application_name: 'chasqui presence' });
    next.on('error', (error: Error) => log.warn('The connection that says who is here broke.', errorFields(error)));
    await next.connect();
    await next.query('SELECT pg_advisory_lock($1, $2)', [lockClass, lockOf(owner)]);
    next.once('end', () => void holdAgain());
    client = next;
  }

  async function holdAgain(): Promise<void> {
    while (!closed) {
      await sleep(againAfterMs, undefined, { ref: false });
      if (closed) return;
      try {
        return await hold();
      } catch (error) {
        log.warn('Who is here cannot be said yet; it is tried again.', errorFields(error));
      }
    }
  }

  await hold();
  return {
    owner,
    async gone(owners) {
      const held = await select<{ objid: string | number }>(
        database.reader,
        `SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = ? AND objsubid = 2
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        [lockClass],
      );
      const here = new Set(held.map(({ objid }) => Number(objid)));
      return owners.filter((other) => other !== owner && !here.has(lockOf(other)));
    },
    async close() {
      closed = true;
      await client?.end();
    },
  };
}

/** Of 31 bits: two of a handful of backends do not meet, and if they did, a lease would have to run out. */
const lockOf = (owner: string): number => createHash('sha256').update(owner).digest().readUInt32BE(0) & 0x7fffffff;
