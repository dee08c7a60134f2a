import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import { errorFields } from '../lib/log.js';
import { addToWindow, pruneWindow, refundFromWindow, totalOf, type WindowState } from '../lib/window-state.js';
import { countedOf, type Counted, type Windows } from '../lib/windows.js';
import type { Database } from './database.js';
import { sharedNow } from './shared-time.js';
import { runStatement } from './statement.js';
import type { Transaction } from './unit-of-work.js';

/** Expired rows are deleted once per this number of requests. */
const cleanUpEvery = 100;
/** For how long a refusal is answered from memory. A reset by another backend is seen after that. Milliseconds. */
const refusalTtlMs = 1_000;
/** The number of refusals in memory. Above it the oldest is dropped. */
const maxRefusals = 10_000;

/**
 * Creates the window, or locks it, and returns its state. The time is read after the lock was granted: earlier owners may have counted
 * after our statement began.
 */
const lockSql = `INSERT INTO rate_windows (name, buckets, "expiresAt") VALUES (?, '[]', 0)
  ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING buckets`;
const writeSql = 'UPDATE rate_windows SET buckets = ?, "expiresAt" = ? WHERE name = ?';
const refundSql = 'UPDATE rate_windows SET buckets = ? WHERE name = ?';

/**
 * Windows that several backends share through PostgreSQL, by the server's clock. One transaction with a row lock for each request: for
 * rarely used limits, such as failed logins, not for those of every request. Names must not lock personal data.
 *
 * A flood of requests for one window costs the database little: this process has at most one transaction for each window, since further ones would
 * wait for its row with a connection each, and a full window is looked at once a second.
 */
export function createStoredWindows({ database, log, clock }: { database: Database; log: Log; clock: MonotonicClock }): Windows {
  let requests = 0;
  const inTurn = createTurns();
  const refusals = createRefusals(clock);

  /** Locks the window and returns its state, so that concurrent requests see each other's counts. */
  async function lock(tx: Transaction, name: string): Promise<{ state: WindowState; now: number }> {
    const { rows } = await runStatement(tx.manager, lockSql, [name]);
    const time = sharedNow(tx.manager, 0);
    const [clock] = (await runStatement(tx.manager, `SELECT ${time.sql} AS now`, time.parameters)).rows as { now: string }[];
    const [row] = rows as { buckets: string }[];
    return { state: parse(row?.buckets ?? '[]'), now: Number(clock!.now) };
  }

  const write = (tx: Transaction, name: string, state: WindowState, expiresAt: number) =>
    runStatement(tx.manager, writeSql, [stored(state), expiresAt, name]);

  function look(name: string, limit: number, windowMs: number, counts: boolean): Promise<Counted> {
    return database.write.run(async (tx) => {
      const { state: before, now } = await lock(tx, name);
      const state = pruneWindow(before, windowMs, now);
      const isAllowed = totalOf(state) < limit;
      if (counts && isAllowed) addToWindow(state, windowMs, now);
      await write(tx, name, state, now + windowMs);
      return countedOf(state, isAllowed, limit, windowMs, now);
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
        log.warn('Expired rate windows could not be deleted; the deletion is retried later.', errorFields(error)),
      );
  }

  return {
    count: (name, limit, windowMs) =>
      inTurn(name, async () => {
        const refused = refusals.find(name, limit, windowMs);
        if (refused) return refused;
        const counted = await look(name, limit, windowMs, true);
        if (!counted.isAllowed) refusals.add(name, windowMs, counted);
        cleanUp();
        return counted;
      }),
    peek: (name, limit, windowMs) => look(name, limit, windowMs, false),
    refund: (name) =>
      inTurn(name, async () => {
        refusals.remove(name);
        await database.write.run(async (tx) => {
          const { state } = await lock(tx, name);
          refundFromWindow(state);
          // The expiry is unchanged: an empty row must not stay.
          await runStatement(tx.manager, refundSql, [stored(state), name]);
        });
      }),
    forget: (name) =>
      inTurn(name, async () => {
        refusals.remove(name);
        await database.write.run((tx) => runStatement(tx.manager, 'DELETE FROM rate_windows WHERE name = ?', [name]));
      }),
    isShared: () => true,
    close: () => Promise.resolve(),
  };
}

type MonotonicClock = Pick<Clock, 'monotonic'>;

/** Returns a function that runs tasks of the same name one after the other. */
function createTurns(): <T>(name: string, task: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return (name, task) => {
    const done = (last.get(name) ?? Promise.resolve()).then(task, task);
    last.set(name, done);
    const end = (): void => {
      if (last.get(name) === done) last.delete(name);
    };
    done.then(end, end);
    return done;
  };
}

/** The windows that were full within the last second. */
function createRefusals(clock: MonotonicClock) {
  const known = new Map<string, { at: number; windowMs: number; counted: Counted }>();
  return {
    find(name: string, limit: number, windowMs: number): Counted | null {
      const found = known.get(name);
      const age = clock.monotonic() - (found?.at ?? 0);
      if (!found || found.counted.limit !== limit || found.windowMs !== windowMs || age >= refusalTtlMs) return null;
      const resetMs = Math.ceil(found.counted.resetMs - age);
      return resetMs > 0 ? { ...found.counted, resetMs } : null;
    },
    add(name: string, windowMs: number, counted: Counted): void {
      known.delete(name);
      known.set(name, { at: clock.monotonic(), windowMs, counted });
      const [oldest] = known.keys();
      if (known.size > maxRefusals) known.delete(oldest!);
    },
    remove: (name: string): void => void known.delete(name),
  };
}

const stored = (state: WindowState): string => JSON.stringify(state.map(({ at, count }) => [at, count]));
const parse = (stored: string): WindowState => (JSON.parse(stored) as [number, number][]).map(([at, count]) => ({ at, count }));
