import { MoreThanOrEqual } from 'typeorm';
import type { Answered } from '@chasqui/shared/express';
import type { Database } from '../db/database.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Clock } from '../lib/clock.js';
import { ErrorCount, type ErrorSample } from './error-count.entity.js';

/**
 * Counts error replies by code, for staff. Counts are written in batches behind the replies: a crash loses up to `flushMs` of them. There is one row for
 * each code and quarter of an hour, whatever callers do.
 */
export interface ErrorCounts {
  /** Counts an answered request. One without an error code is ignored. */
  note(request: Answered): void;
  /** The errors since a time, which is rounded down to a quarter of an hour, the latest first. Includes what this process has not written yet. */
  since(time: Date): Promise<{ since: Date; errors: CountedError[] }>;
  /** Writes what was counted. Rejects if the database is unavailable; these counts are lost then. */
  flush(): Promise<void>;
  /** Deletes rows that are older than the retention period. Returns how many. */
  prune(): Promise<number>;
}

export interface CountedError {
  code: string;
  count: number;
  lastAt: Date;
  sample: ErrorSample | null;
}

const quarterMs = 15 * 60_000;
const flushMs = 2_000;
const retentionMs = 30 * 86_400_000;

interface Context {
  database: Database;
  clock: Clock;
  /** What was not written yet. */
  counts: Map<string, ErrorCount>;
  timer: NodeJS.Timeout | undefined;
}

export function createErrorCounts({ database, clock }: { database: Database; clock: Clock }): ErrorCounts {
  const context: Context = { database, clock, counts: new Map(), timer: undefined };
  return {
    note: (request) => note(context, request),
    since: (time) => since(context, time),
    flush: () => flush(context),
    prune: () => prune(context),
  };
}

const quarterOf = (time: Date): number => Math.floor(time.getTime() / quarterMs) * quarterMs;

function note(context: Context, { code, requestId, method, route, status, accountId }: Answered): void {
  if (code === null) return;
  const lastAt = context.clock.now();
  const at = quarterOf(lastAt);
  const key = `${code} ${at}`;
  const count = (context.counts.get(key)?.count ?? 0) + 1;
  context.counts.set(key, { code, at, count, lastAt, sample: { requestId, method, route, status, accountId } });
  context.timer ??= setTimeout(() => void flush(context).catch(() => undefined), flushMs).unref();
}

async function since({ database, counts }: Context, time: Date): Promise<{ since: Date; errors: CountedError[] }> {
  const from = quarterOf(time);
  const waiting = [...counts.values()].filter(({ at }) => at >= from);
  const rows = await readErrorCounts(database.reader, from);
  return { since: new Date(from), errors: summed([...rows, ...waiting]) };
}

/** The rows since a time: at most one for each code and quarter of an hour. */
export const readErrorCounts = (reader: Database['reader'], from: number): Promise<ErrorCount[]> =>
  reader.getRepository(ErrorCount).findBy({ at: MoreThanOrEqual(from) });

/** One entry for each code, the latest first. */
export function summed(rows: readonly ErrorCount[]): CountedError[] {
  const found = new Map<string, CountedError>();
  for (const { code, count, lastAt, sample } of [...rows].sort((a, b) => a.lastAt.getTime() - b.lastAt.getTime()))
    found.set(code, { code, count: count + (found.get(code)?.count ?? 0), lastAt, sample: readable(sample, null) });
  return [...found.values()].reverse().sort((a, b) => b.lastAt.getTime() - a.lastAt.getTime());
}

const addSql = `INSERT INTO error_counts (code, at, count, "lastAt", sample) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (code, at) DO UPDATE SET count = error_counts.count + excluded.count,
    sample = CASE WHEN excluded."lastAt" >= error_counts."lastAt" THEN excluded.sample ELSE error_counts.sample END,
    "lastAt" = CASE WHEN excluded."lastAt" >= error_counts."lastAt" THEN excluded."lastAt" ELSE error_counts."lastAt" END`;

async function flush(context: Context): Promise<void> {
  clearTimeout(context.timer);
  context.timer = undefined;
  // In one order, so that two backends never wait for each other's rows in a circle.
  const batch = [...context.counts].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, count]) => count);
  if (batch.length === 0) return;
  context.counts = new Map();
  await context.database.write.run(async (tx) => {
    for (const { code, at, count, lastAt, sample } of batch)
      await runStatement(tx.manager, addSql, [code, at, count, lastAt, JSON.stringify(sample)]);
  });
}

async function prune({ database, clock }: Context): Promise<number> {
  const before = clock.now().getTime() - retentionMs;
  const { affected } = await database.write.run((tx) =>
    runStatement(tx.manager, 'DELETE FROM error_counts WHERE at < ?', [before]),
  );
  return affected;
}
