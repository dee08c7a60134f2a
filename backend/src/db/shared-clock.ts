import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Database } from './database.js';
import { sharedNow } from './shared-time.js';
import { runStatement } from './statement.js';

const readEveryMs = 5_000;
/** Differences above this between this machine's clock and the database's are logged. */
const reportAboveMs = 5_000;

/** A clock that follows another one, which is read periodically. */
export interface SharedClock extends Clock {
  /** Reads the other clock once. Rejects without an answer; this clock then continues by itself. */
  read(): Promise<void>;
  stop(): void;
}

/**
 * The wall clock of the database, for times that several backends store and compare: leases, retry plans, grace periods. Between two readings
 * it follows the monotonic clock, so that setting the clock of a backend's machine changes nothing.
 *
 * Because the answer takes some time, a reading only gives bounds of the difference. An offset within them stays unchanged, so that a slow
 * answer does not move the time; an offset outside moves to the nearer bound.
 */
export function createSharedClock({ base, database, log }: { base: Clock; database: Database; log: Log }): SharedClock {
  /** Time of the database minus the monotonic clock. Before the first answer: the time of this machine. */
  let offset = base.now().getTime() - base.monotonic();
  let isReported = false;
  let isReading = false;

  async function read(): Promise<void> {
    const time = sharedNow(database.reader, 0);
    const asked = base.monotonic();
    const { rows } = await runStatement(database.reader, `SELECT ${time.sql} AS now`, time.parameters);
    const answered = base.monotonic();
    const now = Number((rows as { now: string | number }[])[0]!.now);
    // The server truncates to milliseconds.
    offset = Math.min(Math.max(offset, now - answered), now + 1 - asked);
    const differenceMs = Math.round(base.now().getTime() - (answered + offset));
    const isFar = Math.abs(differenceMs) > reportAboveMs;
    if (isFar && !isReported) log.warn('The clock of this machine differs from the database’s, which is used.', { differenceMs });
    isReported = isFar;
  }

  const timer = setInterval(() => {
    if (isReading) return;
    isReading = true;
    read()
      .catch((error: unknown) => log.debug('The database’s clock could not be read.', errorFields(error)))
      .finally(() => (isReading = false));
  }, readEveryMs);
  timer.unref();

  return {
    now: () => new Date(Math.round(base.monotonic() + offset)),
    monotonic: () => base.monotonic(),
    read,
    stop: () => clearInterval(timer),
  };
}
