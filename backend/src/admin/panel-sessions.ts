import { createHash, randomBytes } from 'node:crypto';
import { LessThan } from 'typeorm';
import type { Database } from '../db/database.js';
import { deleteRows, insertRow, readRows, updateRows } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import { PanelSession } from './panel.entity.js';

const hour = 3_600_000;
/** A session ends this long after its last use, and in any case this long after login. Milliseconds. */
const idleMs = 8 * hour;
const maxAgeMs = 7 * 24 * hour;
/** A use is stored at most this often, so that a page that polls every few seconds does not write every few seconds. */
const touchMs = 10 * 60_000;

export interface OpenPanelSession {
  id: string;
  accountId: string;
  /** The fingerprint of the password at login (guard.ts). With another password the session is void. */
  fingerprint: string;
}

/** The column `data`. */
interface SessionData {
  openedAt: number;
  fingerprint: string;
}

/**
 * The panel's cookie sessions. Each login opens a new one. The cookie has 256 random bits and the table only their SHA-256, so that a person who
 * reads the table cannot sign in with it.
 */
export interface PanelSessions {
  /** Opens a session and returns the value of its cookie. Deletes expired sessions, which is all the cleanup that this table needs. */
  open(accountId: string, fingerprint: string): Promise<string>;
  /** Returns the session of a cookie and extends it. Null when it does not exist or has expired. */
  find(token: string): Promise<OpenPanelSession | null>;
  close(id: string): Promise<void>;
  closeAll(accountId: string): Promise<void>;
}

export function createPanelSessions({ database, clock }: { database: Database; clock: Clock }): PanelSessions {
  const idOf = (token: string): string => createHash('sha256').update(token).digest('hex');

  return {
    async open(accountId: string, fingerprint: string): Promise<string> {
      const token = randomBytes(32).toString('base64url');
      const now = clock.now();
      const stored: SessionData = { openedAt: now.getTime(), fingerprint };
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
      const { openedAt, fingerprint } = JSON.parse(row.data) as SessionData;
      const until = Math.min(now.getTime() + idleMs, openedAt + maxAgeMs);
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
