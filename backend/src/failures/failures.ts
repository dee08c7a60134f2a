import { AsyncResource } from 'node:async_hooks';
import { newId } from '@chasqui/shared';
import { attemptInHalves } from '../db/isolate.js';
import type { Database } from '../db/database.js';
import { codeOf } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { type Failure, type FailureKind } from './failure.entity.js';

export interface FailureReport {
  kind: FailureKind;
  /** What failed: an id, or the name of a task. At most 120 characters are stored. */
  subject: string;
  accountId?: string | null;
  sessionId?: string | null;
  /** A code of ours, of a driver, or the name of the error's class. */
  code: string;
  /** One line. Must not quote content: text of messages, names, phone numbers. */
  detail: string;
  at?: Date;
  /** How often it failed since the last report. */
  count?: number;
  /** Set by a sender that repeats a report when it got no answer: the same report counts once. */
  reportId?: string | undefined;
}

/** Reports an isolated item. Returns at once and never throws. */
export type ReportFailure = (report: FailureReport) => void;

/**
 * The durable record of items that failed by themselves while those behind them were processed. Staff read it in the panel and at
 * `GET /admin/failures`, and `/health` is degraded while one of them is recent.
 *
 * | the process dies | then |
 * | --- | --- |
 * | after an item was isolated, before its row is written | the row is missing; the log has the line, and an item that fails again is reported again |
 * | while the row is written | it is there or not; nothing else depends on it |
 */
export interface Failures {
  /**
   * Reports an isolated item. Returns at once and never throws: the row is written later, in a transaction of its own. Reports that
   * cannot be written because the database is down are kept in memory, up to a limit, and written when it is back.
   */
  report: ReportFailure;
  /** Resolves when all reports so far are written, or cannot be. For tests and for an orderly stop. */
  flush(): Promise<void>;
  /** Returns how many items failed within the last quarter of an hour. */
  recent(): Promise<number>;
  /** Deletes the rows that are older than the retention, and the oldest ones above the maximum. Returns their number. */
  prune(): Promise<number>;
  /** Stops writing. Reports that are still in memory are lost; they were logged. */
  stop(): Promise<void>;
}

interface FailureParts {
  database: Database;
  clock: Clock;
  log: Log;
}

interface Context extends FailureParts {
  pending: Row[];
  /** How many reports were dropped since the last log line about it. */
  dropped: number;
  writing: Promise<void> | null;
  /** Set while the next attempt waits for the database. */
  timer: NodeJS.Timeout | undefined;
  isStopped: boolean;
  /** Writes run in this context, not in that of a report, which may be inside a transaction. */
  scope: AsyncResource;
}

/** The maximum number of rows. The items are events that cannot be stored, so their senders choose the number. */
const maxRows = 2_000;
/** The maximum number of rows of one account, or of one session if the account is not known. */
const maxRowsOfOwner = 200;
/** Reports kept in memory while the database does not answer. */
const maxPending = 1_000;
/** The same, for one owner: the others need room as well. */
const maxPendingOfOwner = 250;
/** Rows written in one transaction: on SQLite all other writers wait for it. */
const batchSize = 100;
const retentionMs = 30 * 86_400_000;
const recentMs = 15 * 60_000;
const retryMs = 5_000;
const maxCount = 1_000_000_000;

const upsertSql = `INSERT INTO failures (id, kind, subject, "accountId", "sessionId", code, detail, "firstAt", "lastAt", count, report)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (kind, subject, code) DO UPDATE SET detail = excluded.detail,
    "lastAt" = CASE WHEN excluded."lastAt" > failures."lastAt" THEN excluded."lastAt" ELSE failures."lastAt" END,
    count = CASE WHEN failures.count >= ${maxCount} OR failures.report = excluded.report THEN failures.count ELSE failures.count + excluded.count END,
    report = COALESCE(excluded.report, failures.report)`;

/** The owner of the item. One tenant whose every item fails must not push out the rows of the others. */
const ownerSql = `COALESCE("accountId", "sessionId", '')`;
const trimSql = `DELETE FROM failures WHERE id NOT IN (SELECT id FROM failures ORDER BY "lastAt" DESC, id DESC LIMIT ${maxRows})`;
const trimOwnerSql = `DELETE FROM failures WHERE ${ownerSql} = ? AND id NOT IN
  (SELECT id FROM failures WHERE ${ownerSql} = ? ORDER BY "lastAt" DESC, id DESC LIMIT ${maxRowsOfOwner})`;

export function createFailures({ database, clock, log }: FailureParts): Failures {
  const context: Context = {
    database,
    clock,
    log,
    pending: [],
    dropped: 0,
    writing: null,
    timer: undefined,
    isStopped: false,
    scope: new AsyncResource('failures'),
  };
  return {
    report: (report) => addReport(context, report),
    async flush() {
      if (context.pending.length > 0) wake(context);
      while (context.writing) await context.writing;
    },
    recent: () => countRecent(context),
    prune: () => prune(context),
    async stop() {
      context.isStopped = true;
      clearTimeout(context.timer);
      await context.writing;
    },
  };
}

function addReport(context: Context, report: FailureReport): void {
  const { pending } = context;
  if (context.isStopped) return;
  const row = rowOf(report, context.clock.now());
  const owner = ownerOf(row);
  const isFull =
    pending.length >= maxPending || (owner !== '' && pending.filter((one) => ownerOf(one) === owner).length >= maxPendingOfOwner);
  if (isFull) {
    context.dropped += 1;
    return;
  }
  pending.push(row);
  // While the database is unavailable, the timer starts the next attempt; a report must not start it earlier.
  if (context.timer === undefined) wake(context);
}

/** Starts to write what is pending, unless that runs already. */
function wake(context: Context): void {
  clearTimeout(context.timer);
  context.timer = undefined;
  if (context.isStopped || context.writing) return;
  // In a later event-loop turn, so that reports of one batch are written together, and in a context of its own: a report may come from inside
  // a transaction, and the guard would regard the write as a part of it.
  context.writing = context.scope
    .runInAsyncScope(() => new Promise((resolve) => setImmediate(resolve)).then(() => drain(context)))
    .finally(() => {
      context.writing = null;
      if (context.pending.length > 0 && context.timer === undefined) wake(context);
    });
  context.writing.catch((error: unknown) => context.log.error('Failures could not be recorded.', errorFields(error)));
}

/** Writes what is pending. A row that the database refuses is dropped alone. Never rejects. */
async function drain(context: Context): Promise<void> {
  const { log } = context;
  while (context.pending.length > 0) {
    const batch = merged(context.pending.splice(0, batchSize));
    let isDown = false;
    await attemptInHalves(
      batch,
      (rows) => writeRows(context, rows),
      (rows, error) => {
        if (isSystemError(error)) {
          isDown = true;
          context.pending = [...rows, ...context.pending].slice(0, maxPending);
        } else log.error('A failure could not be recorded.', { kind: rows[0]!.kind, ...errorFields(error) });
      },
    );
    if (isDown) {
      if (!context.isStopped) context.timer ??= setTimeout(() => wake(context), retryMs).unref();
      return;
    }
  }
  if (context.dropped > 0)
    log.error('Failures were not recorded because there were too many at once.', { dropped: context.dropped });
  context.dropped = 0;
}

function writeRows({ database }: Context, rows: readonly Row[]): Promise<void> {
  return database.write.run(async (tx) => {
    for (const row of rows) await upsert(tx, row);
    for (const owner of new Set(rows.map(ownerOf)))
      if (owner !== '') await runStatement(tx.manager, trimOwnerSql, [owner, owner]);
    await runStatement(tx.manager, trimSql, []);
  });
}

async function countRecent({ database, clock }: Context): Promise<number> {
  const since = clock.now().getTime() - recentMs;
  const { rows } = await runStatement(database.reader, 'SELECT COUNT(*) AS n FROM failures WHERE "lastAt" > ?', [since]);
  return Number((rows[0] as { n: number | string }).n);
}

async function prune({ database, clock }: Context): Promise<number> {
  return database.write.run(async (tx) => {
    const old = await runStatement(tx.manager, 'DELETE FROM failures WHERE "lastAt" < ?', [clock.now().getTime() - retentionMs]);
    return old.affected + (await runStatement(tx.manager, trimSql, [])).affected;
  });
}

type Row = Omit<Failure, 'id' | 'firstAt' | 'lastAt'> & { at: number };

const ownerOf = ({ accountId, sessionId }: Row): string => accountId ?? sessionId ?? '';

/** PostgreSQL refuses NUL and halves of surrogate pairs; a report must not fail because of what it reports. */
const oneLine = (text: string, length: number): string =>
  Buffer.from(text.slice(0, length).replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')).toString();
const idOrNull = (id: string | null | undefined): string | null => (id && /^[\w-]{1,36}$/.test(id) ? id : null);

const rowOf = (report: FailureReport, now: Date): Row => ({
  kind: report.kind,
  subject: oneLine(report.subject, 120),
  accountId: idOrNull(report.accountId),
  sessionId: idOrNull(report.sessionId),
  code: oneLine(report.code, 64),
  detail: oneLine(report.detail, 200),
  // A time in the future would outlive the retention and keep health degraded.
  at: Math.min((report.at ?? now).getTime() || 0, now.getTime()),
  count: Math.min(maxCount, Math.max(1, Math.trunc(report.count ?? 1) || 1)),
  report: idOrNull(report.reportId),
});

/**
 * Merges reports of one item into one row, except reports with an id, which are compared with the id in the row. Sorts the rows, so that two
 * backends write them in the same order and never deadlock.
 */
function merged(rows: readonly Row[]): Row[] {
  const byItem = new Map<string, Row>();
  for (const row of rows) {
    const key = JSON.stringify([row.kind, row.subject, row.code, row.report]);
    const known = byItem.get(key);
    if (known && row.report !== null) continue; // The same report again.
    byItem.set(key, known ? { ...row, at: Math.max(known.at, row.at), count: Math.min(maxCount, known.count + row.count) } : row);
  }
  return [...byItem].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, row]) => row);
}

async function upsert(
  tx: Transaction,
  { kind, subject, accountId, sessionId, code, detail, at, count, report }: Row,
): Promise<void> {
  await runStatement(tx.manager, upsertSql, [newId(), kind, subject, accountId, sessionId, code, detail, at, at, count, report]);
}

/**
 * Returns the code and the detail of an error for a report. The messages of drivers and handlers may quote values, so the detail names the kind
 * of error and omits its message. Never throws.
 */
export function describeError(error: unknown): { code: string; detail: string } {
  try {
    return described(error);
  } catch {
    return { code: 'UNKNOWN', detail: typeof error };
  }
}

function described(error: unknown): { code: string; detail: string } {
  const code = codeOf(error);
  const name = error instanceof Error ? error.name : typeof error;
  return { code: code ?? name, detail: code && code !== name ? `${name} (${code})` : name };
}
