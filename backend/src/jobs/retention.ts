import { Account } from '../accounts/account.entity.js';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { attemptInHalves } from '../db/isolate.js';
import { among, deleteBefore, lockRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError } from '../failures/failures.js';
import { lockLog } from '../events/events.js';
import type { Media } from '../media/media.js';
import type { Thumbnails } from '../media/thumbnails.js';
import { removeFromChats, type Removed } from '../messages/conversations/track.js';
import { Message } from '../messages/message.entity.js';
import { ChatUsage } from '../messages/usage/usage.entity.js';

/**
 * Deletes what is older than its retention. Counters are separate figures and do not change. May die halfway, and the next run continues: each commit
 * is complete, and files that no row names are deleted by the media sweep. A row that cannot be deleted is reported and left; the rows after it are
 * deleted. Each verb returns the number of rows that it deleted.
 */
export interface Retention {
  /** Deletes final messages together with their files and thumbnails. */
  ofMessages(): Promise<number>;
  /** Deletes the content of files; their messages stay. */
  ofFiles(): Promise<number>;
  /** Deletes thumbnails at the age at which files are deleted; their messages stay. */
  ofThumbnails(): Promise<number>;
  /** Deletes events, oldest first. */
  ofEvents(): Promise<number>;
  /** Runs all four, one after the other. */
  run(): Promise<{ messages: number; files: number; thumbnails: number; events: number }>;
  /** Returns one more than the highest cursor of the account that was deleted; 0 if none was. */
  oldestAvailable(accountId: string): Promise<number>;
}

/** The retention in days. 0: messages are not deleted, and files are deleted with their messages. */
export interface RetentionDays {
  messages: number;
  media: number;
  events: number;
}

type RetentionCore = Pick<Core, 'database' | 'clock' | 'report'>;

interface Context extends RetentionCore {
  media: Pick<Media, 'remove' | 'expire'>;
  thumbnails: Pick<Thumbnails, 'remove'>;
  days: RetentionDays;
}

const dayMs = 86_400_000;
/** The number of rows that one commit deletes. A send waits for at most one such commit. */
const batchSize = 500;

/** Returns the smallest id that can be created at this time or later: ids begin with the time of their creation (UUIDv7). */
const firstIdOf = (time: number): string => {
  const hex = Math.max(0, Math.floor(time)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

const isFinal = `status NOT IN ('scheduled', 'queued', 'sending', 'uncertain')`;
const oldMessages = `SELECT id FROM messages WHERE id < ? AND id > ? AND ${isFinal} ORDER BY id LIMIT ${batchSize}`;
/** A file is not deleted as long as its message, its schedule or its bulk job needs it. */
const isNeeded = `(EXISTS (SELECT 1 FROM messages m WHERE m.id = media_files."messageId" AND m.status IN ('scheduled', 'queued', 'sending', 'uncertain'))
  OR EXISTS (SELECT 1 FROM schedules d WHERE d."mediaId" = media_files.id)
  OR EXISTS (SELECT 1 FROM bulk_jobs j WHERE j."mediaId" = media_files.id AND j."finishedAt" IS NULL))`;
const isOver = `state = 'stored' AND NOT "isSealed" AND "usedAt" IS NULL AND "templateId" IS NULL AND "deletedAt" IS NULL AND NOT ${isNeeded}`;
const oldFiles = `SELECT id FROM media_files WHERE id < ? AND id > ? AND ${isOver} ORDER BY id LIMIT ${batchSize}`;
const oldThumbnails = `SELECT "messageId" AS id FROM message_thumbnails WHERE "messageId" < ? AND "messageId" > ? ORDER BY "messageId" LIMIT ${batchSize}`;
const oldestEvents = `SELECT cursor, "accountId", "occurredAt" FROM events WHERE cursor > ? ORDER BY cursor LIMIT ${batchSize}`;
/** Never lowers the value: a row that could not be deleted in an earlier run has a smaller cursor. */
const raiseOldest = 'UPDATE accounts SET "eventsKeptFrom" = ? WHERE id = ? AND "eventsKeptFrom" < ?';

const raiseKeptFrom = 'UPDATE accounts SET "messagesKeptFrom" = ? WHERE id = ? AND "messagesKeptFrom" < ?';

interface DeletedMessage extends Removed {
  deletedAt: number | string | null;
  accountId: string;
  createdAt: number | string;
}

interface OldEvent {
  cursor: number;
  accountId: string;
}

export function createRetention(
  { database, clock, report }: RetentionCore,
  { media, thumbnails, days }: Pick<Context, 'media' | 'thumbnails' | 'days'>,
): Retention {
  const context: Context = { database, clock, report, media, thumbnails, days };
  return {
    ofMessages: () => deleteMessages(context),
    ofFiles: () => expireFiles(context),
    ofThumbnails: () => deleteThumbnails(context),
    ofEvents: () => deleteEvents(context),
    async run() {
      return {
        messages: await deleteMessages(context),
        files: await expireFiles(context),
        thumbnails: await deleteThumbnails(context),
        events: await deleteEvents(context),
      };
    },
    oldestAvailable: (accountId) => oldestAvailable(context, accountId),
  };
}

async function deleteMessages(context: Context): Promise<number> {
  const { days } = context;
  if (days.messages === 0) return 0;
  const page = (after = ''): Promise<string[]> =>
    readIds(context, oldMessages, [firstIdOf(before(context, days.messages)), after]);
  const deleted = await inBatches(context, page, (tx, ids) => deleteMessageRows(context, tx, ids), String);
  // The count of a chat on one day is deleted when all messages of that day are older than the retention.
  const lastDay = new Date(before(context, days.messages) - dayMs);
  await deleteBefore(context.database, ChatUsage, { time: 'at', key: 'chatId', before: lastDay });
  return deleted;
}

/** Checks the condition again: a failed message may have been queued again since it was read. */
async function deleteMessageRows({ media, thumbnails }: Context, tx: Transaction, ids: readonly string[]): Promise<number> {
  const old = among(tx.manager, 'id', ids);
  // Closes: another transaction waits for one of these rows and has locked another one. All lock accounts, messages, the log and conversations in this order.
  const owners = `SELECT DISTINCT "accountId" AS id FROM messages WHERE ${old.condition}`;
  await lockRows(tx, Account, idsIn(await runStatement(tx.manager, owners, [old.parameter])));
  await lockRows(tx, Message, ids);
  await lockLog(tx);
  const sql = `DELETE FROM messages WHERE ${old.condition} AND ${isFinal} RETURNING id, "accountId", "createdAt",
    "sessionId", "chatId", direction, status, type, "deletedAt"`;
  const { rows } = await runStatement<DeletedMessage>(tx.manager, sql, [old.parameter]);
  const keptFrom = new Map<string, number>();
  for (const { accountId, createdAt } of rows)
    keptFrom.set(accountId, Math.max(keptFrom.get(accountId) ?? 0, Number(createdAt) + 1));
  // The statistics keep counting the deleted messages: jobs/reconcile-usage.ts compares only what is after this time.
  for (const [accountId, time] of keptFrom) await runStatement(tx.manager, raiseKeptFrom, [time, accountId, time]);
  await removeFromChats(
    tx,
    rows.filter(({ deletedAt }) => deletedAt === null),
  );
  const deleted = rows.map(({ id }) => id);
  const files = among(tx.manager, 'messageId', deleted);
  const found = await runStatement(tx.manager, `SELECT id FROM media_files WHERE ${files.condition}`, [files.parameter]);
  await media.remove(tx, idsIn(found));
  await thumbnails.remove(tx, deleted);
  return deleted.length;
}

async function expireFiles(context: Context): Promise<number> {
  const { days, media } = context;
  if (days.media === 0) return 0;
  const page = (after = ''): Promise<string[]> => readIds(context, oldFiles, [firstIdOf(before(context, days.media)), after]);
  const expire = async (tx: Transaction, ids: readonly string[]): Promise<number> => {
    await media.expire(tx, ids);
    return ids.length;
  };
  return inBatches(context, page, expire, String);
}

/** Unlike a file, a thumbnail is never needed to send a message. */
async function deleteThumbnails(context: Context): Promise<number> {
  const { days, thumbnails } = context;
  if (days.media === 0) return 0;
  const page = (after = ''): Promise<string[]> =>
    readIds(context, oldThumbnails, [firstIdOf(before(context, days.media)), after]);
  const remove = async (tx: Transaction, ids: readonly string[]): Promise<number> => {
    await thumbnails.remove(tx, ids);
    return ids.length;
  };
  return inBatches(context, page, remove, String);
}

const deleteEvents = (context: Context): Promise<number> =>
  inBatches(
    context,
    (after) => readOldEvents(context, after),
    deleteEventRows,
    ({ cursor }) => `event ${cursor}`,
  );

async function readOldEvents(context: Context, after: OldEvent | undefined): Promise<OldEvent[]> {
  const { rows } = await runStatement(context.database.reader, oldestEvents, [after?.cursor ?? -1]);
  const limit = before(context, context.days.events);
  const events = rows as { cursor: number | string; accountId: string; occurredAt: number | string }[];
  const end = events.findIndex(({ occurredAt }) => Number(occurredAt) >= limit);
  return (end === -1 ? events : events.slice(0, end)).map(({ cursor, accountId }) => ({ cursor: Number(cursor), accountId }));
}

/** Deletes events only from the old end of the log, so that a reader that continues after a deleted one is informed that events are missing. */
async function deleteEventRows(tx: Transaction, events: readonly OldEvent[]): Promise<number> {
  const oldest = new Map(events.map(({ accountId, cursor }) => [accountId, cursor + 1]));
  // Closes: another transaction raises marks of the same accounts in a different order.
  await lockRows(tx, Account, [...oldest.keys()]);
  for (const [accountId, cursor] of oldest) await runStatement(tx.manager, raiseOldest, [cursor, accountId, cursor]);
  const range = [events[0]!.cursor, events.at(-1)!.cursor];
  return (await runStatement(tx.manager, 'DELETE FROM events WHERE cursor >= ? AND cursor <= ?', range)).affected;
}

async function oldestAvailable({ database }: Context, accountId: string): Promise<number> {
  const sql = 'SELECT "eventsKeptFrom" AS kept FROM accounts WHERE id = ?';
  const { rows } = await runStatement(database.reader, sql, [accountId]);
  return Number((rows[0] as { kept: number | string } | undefined)?.kept ?? 0);
}

/** Reads pages from the oldest row on, and deletes each page in a commit of its own. Returns the number of rows deleted. */
async function inBatches<T>(
  { database, report }: Context,
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

const before = ({ clock }: Context, days: number): number => clock.now().getTime() - days * dayMs;

const idsIn = ({ rows }: { rows: unknown[] }): string[] => (rows as { id: string }[]).map(({ id }) => id);
const readIds = async ({ database }: Context, sql: string, parameters: unknown[]): Promise<string[]> =>
  idsIn(await runStatement(database.reader, sql, parameters));
