import type { Database } from '../db/database.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
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
const together = 500;

/** The smallest id that is made at this time or later: ids begin with the time that they were made at (UUIDv7). */
const firstIdOf = (time: number): string => {
  const hex = Math.max(0, Math.floor(time)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

const oldMessages = `SELECT id FROM messages WHERE id < ? AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain') ORDER BY id LIMIT ${together}`;
const oldFiles = `SELECT id FROM media_files WHERE id < ? AND state = 'stored' AND NOT "isSealed" AND "deletedAt" IS NULL ORDER BY id LIMIT ${together}`;
const oldestEvents = `SELECT cursor, "accountId", "occurredAt" FROM events ORDER BY cursor LIMIT ${together}`;

export type Retention = ReturnType<typeof createRetention>;

/**
 * Deletes what is past its age: messages that are final, with their files; files before them; events, oldest first. Counters are
 * figures of their own and stay as they are. Killed anywhere, the next run goes on: each commit is whole, and files that no row names
 * are removed by the sweep.
 */
export function createRetention({
  database,
  media,
  clock,
  days,
}: {
  database: Database;
  media: Media;
  clock: Clock;
  days: RetentionDays;
}) {
  const before = (age: number): number => clock.now().getTime() - age * dayMs;
  const idsOf = async (tx: Transaction, sql: string, parameters: unknown[]): Promise<string[]> =>
    ((await runStatement(tx.manager, sql, parameters)).rows as { id: string }[]).map(({ id }) => id);

  /** Repeats a step, each in a commit of its own, until one finds less than a whole batch. */
  async function inBatches(step: (tx: Transaction) => Promise<number>): Promise<number> {
    let total = 0;
    for (;;) {
      const done = await database.write.run(step);
      total += done;
      if (done < together) return total;
    }
  }

  async function messagesOf(tx: Transaction): Promise<number> {
    const ids = await idsOf(tx, oldMessages, [firstIdOf(before(days.messages))]);
    if (ids.length === 0) return 0;
    const files = among(tx.manager, 'messageId', ids);
    await media.remove(tx, await idsOf(tx, `SELECT id FROM media_files WHERE ${files.condition}`, [files.parameter]));
    const rows = among(tx.manager, 'id', ids);
    await runStatement(tx.manager, `DELETE FROM messages WHERE ${rows.condition}`, [rows.parameter]);
    return ids.length;
  }

  async function filesOf(tx: Transaction): Promise<number> {
    const ids = await idsOf(tx, oldFiles, [firstIdOf(before(days.media))]);
    if (ids.length > 0) await media.expire(tx, ids);
    return ids.length;
  }

  /** Only from the old end of the log, so that whoever reads on behind it can be told that something is missing. */
  async function eventsOf(tx: Transaction): Promise<number> {
    const rows = (await runStatement(tx.manager, oldestEvents, [])).rows as {
      cursor: number | string;
      accountId: string;
      occurredAt: number | string;
    }[];
    const limit = before(days.events);
    const end = rows.findIndex(({ occurredAt }) => Number(occurredAt) >= limit);
    const old = end === -1 ? rows : rows.slice(0, end);
    if (old.length === 0) return 0;
    const last = new Map(old.map(({ accountId, cursor }) => [accountId, Number(cursor)]));
    for (const [accountId, cursor] of last)
      await runStatement(tx.manager, 'UPDATE accounts SET "eventsKeptFrom" = ? WHERE id = ?', [cursor + 1, accountId]);
    await runStatement(tx.manager, 'DELETE FROM events WHERE cursor <= ?', [Number(old.at(-1)!.cursor)]);
    return old.length;
  }

  return {
    /** Gives how many of each went. */
    async run(): Promise<{ messages: number; files: number; events: number }> {
      return {
        messages: days.messages > 0 ? await inBatches(messagesOf) : 0,
        files: days.media > 0 ? await inBatches(filesOf) : 0,
        events: await inBatches(eventsOf),
      };
    },
    /** One more than the highest cursor of the account that was deleted; 0 while none was. */
    async oldestKept(accountId: string): Promise<number> {
      const { rows } = await runStatement(database.reader, 'SELECT "eventsKeptFrom" AS kept FROM accounts WHERE id = ?', [
        accountId,
      ]);
      return Number((rows[0] as { kept: number | string } | undefined)?.kept ?? 0);
    },
  };
}
