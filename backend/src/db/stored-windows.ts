import type { Log } from '../lib/log.js';
import { errorFields } from '../lib/log.js';
import { addToWindow, pruneWindow, takeBackFromWindow, totalOf, type WindowState } from '../lib/window-state.js';
import { takenOf, type Taken, type Windows } from '../lib/windows.js';
import type { Database } from './database.js';
import { sharedNow } from './shared-time.js';
import { runStatement } from './statement.js';
import type { Transaction } from './unit-of-work.js';

/** Expired rows are deleted with every so many requests. */
const cleanUpEvery = 100;

/**
 * Creates the window, or locks it, and returns its state. The time is read after the lock was granted: those that held it before may have
 * counted later than our statement began.
 */
const holdSql = `INSERT INTO rate_windows (name, buckets, "expiresAt") VALUES (?, '[]', 0)
  ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING buckets`;
const writeSql = 'UPDATE rate_windows SET buckets = ?, "expiresAt" = ? WHERE name = ?';
const takeBackSql = 'UPDATE rate_windows SET buckets = ? WHERE name = ?';

/**
 * Windows that several backends share through PostgreSQL, by the server's clock. One transaction with a row lock for each request: for
 * limits that are asked rarely, such as failed logins, not for those of every request. Names must not hold personal data.
 */
export function createStoredWindows({ database, log }: { database: Database; log: Log }): Windows {
  let requests = 0;

  /** The window's state under a lock, so that of many at once each sees what the others counted. */
  async function hold(tx: Transaction, name: string): Promise<{ state: WindowState; now: number }> {
    const { rows } = await runStatement(tx.manager, holdSql, [name]);
    const time = sharedNow(tx.manager, 0);
    const [clock] = (await runStatement(tx.manager, `SELECT ${time.sql} AS now`, time.parameters)).rows as { now: string }[];
    const [row] = rows as { buckets: string }[];
    return { state: parse(row?.buckets ?? '[]'), now: Number(clock!.now) };
  }

  const write = (tx: Transaction, name: string, state: WindowState, expiresAt: number) =>
    runStatement(tx.manager, writeSql, [stored(state), expiresAt, name]);

  function look(name: string, limit: number, windowMs: number, counts: boolean): Promise<Taken> {
    return database.write.run(async (tx) => {
      const { state: before, now } = await hold(tx, name);
      const state = pruneWindow(before, windowMs, now);
      const isAllowed = totalOf(state) < limit;
      if (counts && isAllowed) addToWindow(state, windowMs, now);
      await write(tx, name, state, now + windowMs);
      return takenOf(state, isAllowed, limit, windowMs, now);
    });
  }

  function cleanUp(): void {
    requests += 1;
    if (requests % cleanUpEvery !== 1) return;
    database.write
      .run(async (tx) => {
        const time = sharedNow(tx.manager, 0);
        await runStatement(tx.manager, `DELETE FROM rate_windows WHERE "expiresAt" < ${time.sql}`, time.parameters);
      })
      .catch((error: unknown) =>
        log.warn('Expired rate windows could not be deleted; it is tried again later.', errorFields(error)),
      );
  }

  return {
    async take(name, limit, windowMs) {
      const taken = await look(name, limit, windowMs, true);
      cleanUp();
      return taken;
    },
    peek: (name, limit, windowMs) => look(name, limit, windowMs, false),
    giveBack: (name) =>
      database.write.run(async (tx) => {
        const { state } = await hold(tx, name);
        takeBackFromWindow(state);
        // It expires when it would have expired: a row that nothing is counted in must not stay.
        await runStatement(tx.manager, takeBackSql, [stored(state), name]);
      }),
    forget: (name) =>
      database.write.run(async (tx) => void (await runStatement(tx.manager, 'DELETE FROM rate_windows WHERE name = ?', [name]))),
    isShared: () => true,
    close: () => Promise.resolve(),
  };
}

const stored = (state: WindowState): string => JSON.stringify(state.map(({ at, count }) => [at, count]));
const parse = (stored: string): WindowState => (JSON.parse(stored) as [number, number][]).map(([at, count]) => ({ at, count }));
