import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Database } from './database.js';
import { sharedNow } from './shared-time.js';
import { runStatement } from './statement.js';

const readEveryMs = 5_000;
/** A difference above this between this machine's clock and the database's is logged. */
const tellAboveMs = 5_000;

/** A clock that follows another one, which is asked now and then. */
export interface SharedClock extends Clock {
  /** Asks once. Rejects when there is no answer; the clock goes on by itself then. */
  read(): Promise<void>;
  stop(): void;
}

/**
 * The wall clock of the database, for all that several backends store and compare: leases, plans of retries, grace times. Each goes on by its
 * own monotonic clock between two readings, so that setting the clock of a backend's machine changes nothing.
 *
 * A reading tells between which bounds the difference lies, because the answer took some time. Within them nothing is changed, so that a slow
 * answer moves no time; outside, the nearer bound is taken.
 */
export function createSharedClock({ base, database, log }: { base: Clock; database: Database; log: Log }): SharedClock {
  /** Time of the database minus the monotonic clock. Before the first answer: the machine's. */
  let offset = base.now().getTime() - base.monotonic();
  let isTold = false;
  let isReading = false;

  async function read(): Promise<void> {
    const time = sharedNow(database.reader, 0);
    const asked = base.monotonic();
    const { rows } = await runStatement(database.reader, `SELECT ${time.sql} AS now`, time.parameters);
    const answered = base.monotonic();
    const now = Number((rows as { now: string | number }[])[0]!.now);
    // The server cuts off parts of milliseconds.
    offset = Math.min(Math.max(offset, now - answered), now + 1 - asked);
    const differenceMs = Math.round(base.now().getTime() - (answered + offset));
    const isFar = Math.abs(differenceMs) > tellAboveMs;
    if (isFar && !isTold) log.warn('The clock of this machine differs from the database’s, which is used.', { differenceMs });
    isTold = isFar;
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
