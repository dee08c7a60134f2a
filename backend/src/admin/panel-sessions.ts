import { createHash, randomBytes } from 'node:crypto';
import { LessThan } from 'typeorm';
import type { Database } from '../db/database.js';
import { deleteRows, insertRow, readRows, updateRows } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import { PanelSession } from './panel.entity.js';

const hour = 3_600_000;
/** A session ends this long after its last use, and in any case this long after login. Milliseconds. */
const idleMs = 8 * hour;
const longestMs = 7 * 24 * hour;
/** A use is written down at most this often, so that a page that asks every few seconds does not write every few seconds. */
const touchMs = 10 * 60_000;

export interface OpenPanelSession {
  id: string;
  accountId: string;
  /** Of the password at login: another password voids the session. */
  fingerprint: string;
}

interface Stored {
  openedAt: number;
  fingerprint: string;
}

/**
 * Cookie sessions, always made again at login. The cookie carries 256 random bits; the table only their SHA-256, so that a person who
 * reads the table cannot sit down at the panel.
 */
export function createPanelSessions({ database, clock }: { database: Database; clock: Clock }) {
  const idOf = (token: string): string => createHash('sha256').update(token).digest('hex');

  return {
    /** Gives the cookie's value. Sweeps what ran out, which is all the cleaning this table needs. */
    async open(accountId: string, fingerprint: string): Promise<string> {
      const token = randomBytes(32).toString('base64url');
      const now = clock.now();
      const stored: Stored = { openedAt: now.getTime(), fingerprint };
      await database.write.run(async (tx) => {
        await deleteRows(tx, PanelSession, { expiresAt: LessThan(now) });
        await insertRow(tx, PanelSession, {
          id: idOf(token),
          accountId,
          data: JSON.stringify(stored),
          expiresAt: new Date(now.getTime() + idleMs),
        });
      });
      return token;
    },

    async find(token: string): Promise<OpenPanelSession | null> {
      const now = clock.now();
      const id = idOf(token);
      const [row] = await readRows(database.reader, PanelSession, 'id = ? AND "expiresAt" > ?', [id, now], ['data']);
      if (!row?.accountId) return null;
      const { openedAt, fingerprint } = JSON.parse(row.data) as Stored;
      const until = Math.min(now.getTime() + idleMs, openedAt + longestMs);
      if (until <= now.getTime()) return null;
      if (until - row.expiresAt.getTime() > touchMs)
        await database.write.run((tx) => updateRows(tx, PanelSession, { id }, { expiresAt: new Date(until) }));
      return { id, accountId: row.accountId, fingerprint };
    },

    async close(id: string): Promise<void> {
      await database.write.run((tx) => tx.manager.delete(PanelSession, { id }));
    },

    async closeAll(accountId: string): Promise<void> {
      await database.write.run((tx) => tx.manager.delete(PanelSession, { accountId }));
    },
  };
}
export type PanelSessions = ReturnType<typeof createPanelSessions>;
