import type { Database } from '../db/database.js';
import { attemptInHalves } from '../db/isolate.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import type { Media } from '../media/media.js';

/** After how many days each goes. 0: never, for a file: with its message. */
export interface RetentionDays {
  messages: number;
  media: number;
  events: number;
}

const dayMs = 86_400_000;
/** As many go in one commit: what is sent meanwhile waits no longer than for these. */
const batchSize = 500;

/** The smallest id that is made at this time or later: ids begin with the time that they were made at (UUIDv7). */
const firstIdOf = (time: number): string => {
  const hex = Math.max(0, Math.floor(time)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

const isFinal = `status NOT IN ('queued', 'sending', 'uncertain')`;
const oldMessages = `SELECT id FROM messages WHERE id < ? AND id > ? AND ${isFinal} ORDER BY id LIMIT ${batchSize}`;
const isOver = `state = 'stored' AND NOT "isSealed" AND "deletedAt" IS NULL`;
const oldFiles = `SELECT id FROM media_files WHERE id < ? AND id > ? AND ${isOver} ORDER BY id LIMIT ${batchSize}`;
const oldestEvents = `SELECT cursor, "accountId", "occurredAt" FROM events WHERE cursor > ? ORDER BY cursor LIMIT ${batchSize}`;
/** Never lowered: a row that could not be deleted in an earlier run lies below what is kept. */
const keepFrom = 'UPDATE accounts SET "eventsKeptFrom" = ? WHERE id = ? AND "eventsKeptFrom" < ?';

interface OldEvent {
  cursor: number;
  accountId: string;
}

export type Retention = ReturnType<typeof createRetention>;

/**
 * Deletes what is past its age: messages that are final, with their files; files before them; events, oldest first. Counters are
 * figures of their own and stay as they are. Killed anywhere, the next run goes on: each commit is whole, and files that no row names
 * are removed by the sweep. A row that cannot be deleted is reported and left; those behind it are deleted.
 */
export function createRetention({
  database,
  media,
  clock,
  days,
  report,
}: {
  database: Database;
  media: Media;
  clock: Clock;
  days: RetentionDays;
  report: ReportFailure;
}) {
  const { reader } = database;
  const before = (age: number): number => clock.now().getTime() - age * dayMs;

  /** Goes through pages from the oldest row on, and deletes each page in a commit of its own. Returns the number of rows deleted. */
  async function inBatches<T>(
    page: (after: T | undefined) => Promise<T[]>,
    remove: (tx: Transaction, rows: readonly T[]) => Promise<number>,
    subjectOf: (row: T) => string,
  ): Promise<number> {
    let total = 0;
    let last: T | undefined;
    for (;;) {
      const rows = await page(last);
      await attemptInHalves(
        rows,
        async (some) => {
          total += await database.write.run((tx) => remove(tx, some));
        },
        ([first], error) => {
          if (isSystemError(error)) throw error;
          report({ kind: 'retention', subject: subjectOf(first!), ...describeError(error) });
        },
      );
      if (rows.length < batchSize) return total;
      last = rows.at(-1);
    }
  }

  const idsOf = async (sql: string, parameters: unknown[]): Promise<string[]> =>
    ((await runStatement(reader, sql, parameters)).rows as { id: string }[]).map(({ id }) => id);

  /** The condition is asked again: one that failed may have been put back into the queue since it was read. */
  async function removeMessages(tx: Transaction, ids: readonly string[]): Promise<number> {
    const wanted = among(tx.manager, 'id', ids);
    const deleted = (
      await runStatement(tx.manager, `DELETE FROM messages WHERE ${wanted.condition} AND ${isFinal} RETURNING id`, [
        wanted.parameter,
      ])
    ).rows as { id: string }[];
    const files = among(
      tx.manager,
      'messageId',
      deleted.map(({ id }) => id),
    );
    const found = await runStatement(tx.manager, `SELECT id FROM media_files WHERE ${files.condition}`, [files.parameter]);
    await media.remove(
      tx,
      (found.rows as { id: string }[]).map(({ id }) => id),
    );
    return deleted.length;
  }

  async function expireFiles(tx: Transaction, ids: readonly string[]): Promise<number> {
    await media.expire(tx, ids);
    return ids.length;
  }

  async function oldEvents(after: OldEvent | undefined): Promise<OldEvent[]> {
    const { rows } = await runStatement(reader, oldestEvents, [after?.cursor ?? -1]);
    const limit = before(days.events);
    const events = rows as { cursor: number | string; accountId: string; occurredAt: number | string }[];
    const end = events.findIndex(({ occurredAt }) => Number(occurredAt) >= limit);
    return (end === -1 ? events : events.slice(0, end)).map(({ cursor, accountId }) => ({ cursor: Number(cursor), accountId }));
  }

  /** Only from the old end of the log, so that a reader that continues after it learns that events are missing. */
  async function removeEvents(tx: Transaction, events: readonly OldEvent[]): Promise<number> {
    const last = new Map(events.map(({ accountId, cursor }) => [accountId, cursor + 1]));
    for (const [accountId, from] of last) await runStatement(tx.manager, keepFrom, [from, accountId, from]);
    const range = [events[0]!.cursor, events.at(-1)!.cursor];
    return (await runStatement(tx.manager, 'DELETE FROM events WHERE cursor >= ? AND cursor <= ?', range)).affected;
  }

  const ofMessages = async (): Promise<number> =>
    days.messages > 0
      ? inBatches((after = '') => idsOf(oldMessages, [firstIdOf(before(days.messages)), after]), removeMessages, String)
      : 0;
  const ofFiles = async (): Promise<number> =>
    days.media > 0 ? inBatches((after = '') => idsOf(oldFiles, [firstIdOf(before(days.media)), after]), expireFiles, String) : 0;
  const ofEvents = (): Promise<number> => inBatches(oldEvents, removeEvents, ({ cursor }) => `event ${cursor}`);

  return {
    ofMessages,
    ofFiles,
    ofEvents,
    /** All three, one after the other. Returns how many of each were deleted. */
    async run(): Promise<{ messages: number; files: number; events: number }> {
      return { messages: await ofMessages(), files: await ofFiles(), events: await ofEvents() };
    },
    /** One more than the highest cursor of the account that was deleted; 0 while none was. */
    async oldestAvailable(accountId: string): Promise<number> {
      const { rows } = await runStatement(database.reader, 'SELECT "eventsKeptFrom" AS kept FROM accounts WHERE id = ?', [
        accountId,
      ]);
      return Number((rows[0] as { kept: number | string } | undefined)?.kept ?? 0);
    },
  };
}
