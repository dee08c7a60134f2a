import { stat, statfs } from 'node:fs/promises';
import type { Meter, SetGauge } from '@chasqui/shared/metrics';
import { sessionStatuses } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Database, DatabaseLocation } from '../db/database.js';
import { runStatement } from '../db/statement.js';
import type { Clock } from '../lib/clock.js';

/**
 * The gauges of the backend. Each group is read from the database at a scrape, so a restart changes none of them; the meter shares one read between
 * callers. Every statement reads an index with the status in front, or a table with one row for each session, endpoint or worker.
 */
export interface CollectorParts {
  database: Database;
  location: DatabaseLocation;
  dataDir: string;
  clock: Clock;
  /** The number of items that were isolated recently. */
  recentFailures: () => Promise<number>;
  workers: () => Promise<readonly WorkerState[]>;
}

export interface WorkerState {
  id: string;
  state: 'ok' | 'degraded' | 'lost';
  lastHeartbeatAt: Date;
}

export function registerCollectors(meter: Meter, parts: CollectorParts): void {
  const { database, clock, recentFailures, workers } = parts;
  meter.collect('queues', ['chasqui_queue_messages', 'chasqui_queue_due_messages', 'chasqui_queue_oldest_age_seconds'], (set) =>
    measureQueues(database.reader, clock.now().getTime(), set),
  );
  meter.collect('messages', ['chasqui_messages_open'], (set) => measureOpenMessages(database.reader, set));
  meter.collect('sessions', ['chasqui_sessions'], (set) => measureSessions(database.reader, set));
  meter.collect('workers', ['chasqui_workers', 'chasqui_worker_heartbeat_age_seconds'], async (set) =>
    measureWorkers(await workers(), clock.now().getTime(), set),
  );
  meter.collect('failures', ['chasqui_failures_recent'], async (set) =>
    set('chasqui_failures_recent', {}, await recentFailures()),
  );
  meter.collect(
    'webhooks',
    ['chasqui_webhook_deliveries_open', 'chasqui_webhook_oldest_age_seconds', 'chasqui_webhook_circuits_open'],
    (set) => measureWebhooks(database.reader, clock.now().getTime(), set),
  );
  meter.collect(
    'database',
    ['chasqui_database_read_seconds', 'chasqui_database_size_bytes', 'chasqui_database_connections'],
    (set) => measureDatabase(parts, set),
  );
  meter.collect('disk', ['chasqui_disk_free_bytes'], async (set) => {
    const { bavail, bsize } = await statfs(parts.dataDir);
    set('chasqui_disk_free_bytes', {}, bavail * bsize);
  });
}

interface QueueRow {
  sessionId: string;
  queued: number | string;
  due: number | string;
  firstId: string | null;
  firstAt: number | string | null;
}

/** All columns are in the index `messages_due`. Ids contain the time at which a message was accepted. */
const queueSql = `SELECT "sessionId", COUNT(*) AS queued,
    SUM(CASE WHEN "nextAttemptAt" IS NULL OR "nextAttemptAt" <= ? THEN 1 ELSE 0 END) AS due,
    MIN(CASE WHEN "nextAttemptAt" IS NULL THEN id END) AS "firstId", MIN("nextAttemptAt") AS "firstAt"
  FROM messages WHERE status = 'queued' GROUP BY "sessionId"`;

async function measureQueues(reader: DataSource, now: number, set: SetGauge): Promise<void> {
  const { rows } = await runStatement<QueueRow>(reader, queueSql, [now]);
  for (const { sessionId, queued, due, firstId, firstAt } of rows) {
    const session = { session_id: sessionId };
    set('chasqui_queue_messages', session, Number(queued));
    set('chasqui_queue_due_messages', session, Number(due));
    const since = Math.min(firstId === null ? now : timeOfId(firstId), firstAt === null ? now : Number(firstAt), now);
    set('chasqui_queue_oldest_age_seconds', session, (now - since) / 1000);
  }
}

/** The time in a UUIDv7, in milliseconds. */
const timeOfId = (id: string): number => Number.parseInt(id.replace('-', '').slice(0, 12), 16);

type CountRow = { status: string; n: number | string };

async function measureOpenMessages(reader: DataSource, set: SetGauge): Promise<void> {
  for (const status of ['scheduled', 'queued', 'sending', 'uncertain']) {
    const { rows } = await runStatement<{ n: number | string }>(reader, 'SELECT COUNT(*) AS n FROM messages WHERE status = ?', [
      status,
    ]);
    set('chasqui_messages_open', { status }, Number(rows[0]!.n));
  }
}

async function measureSessions(reader: DataSource, set: SetGauge): Promise<void> {
  const sql = 'SELECT status, COUNT(*) AS n FROM sessions WHERE "deletedAt" IS NULL GROUP BY status';
  const counts = new Map((await runStatement<CountRow>(reader, sql)).rows.map(({ status, n }) => [status, Number(n)]));
  for (const status of sessionStatuses) set('chasqui_sessions', { status }, counts.get(status) ?? 0);
}

function measureWorkers(workers: readonly WorkerState[], now: number, set: SetGauge): void {
  for (const state of ['ok', 'degraded', 'lost'] as const)
    set('chasqui_workers', { state }, workers.filter((worker) => worker.state === state).length);
  for (const { id, lastHeartbeatAt } of workers)
    set('chasqui_worker_heartbeat_age_seconds', { worker_id: id }, Math.max(0, now - lastHeartbeatAt.getTime()) / 1000);
}

const oldestSql = `SELECT "createdAt" AS at FROM webhook_deliveries WHERE "eventCursor" =
  (SELECT MIN("eventCursor") FROM webhook_deliveries WHERE status = 'pending') ORDER BY "createdAt" LIMIT 1`;

async function measureWebhooks(reader: DataSource, now: number, set: SetGauge): Promise<void> {
  const count = async (sql: string, values: readonly unknown[]): Promise<number> =>
    Number((await runStatement<{ n: number | string }>(reader, sql, values)).rows[0]!.n);
  for (const status of ['pending', 'sending', 'held'])
    set(
      'chasqui_webhook_deliveries_open',
      { status },
      await count('SELECT COUNT(*) AS n FROM webhook_deliveries WHERE status = ?', [status]),
    );
  const [oldest] = (await runStatement<{ at: number | string }>(reader, oldestSql)).rows;
  set('chasqui_webhook_oldest_age_seconds', {}, oldest ? Math.max(0, now - Number(oldest.at)) / 1000 : 0);
  set(
    'chasqui_webhook_circuits_open',
    {},
    await count('SELECT COUNT(*) AS n FROM webhooks WHERE "openUntil" IS NOT NULL AND "deletedAt" IS NULL', []),
  );
}

async function measureDatabase({ database, location }: CollectorParts, set: SetGauge): Promise<void> {
  const { reader } = database;
  const began = performance.now();
  await runStatement(reader, 'SELECT 1 AS one');
  set('chasqui_database_read_seconds', {}, (performance.now() - began) / 1000);
  if ('file' in location) return set('chasqui_database_size_bytes', {}, await sizeOf(location.file));
  const { rows } = await runStatement<{ n: number | string }>(reader, 'SELECT pg_database_size(current_database()) AS n');
  set('chasqui_database_size_bytes', {}, Number(rows[0]!.n));
  const { totalCount, idleCount, waitingCount } = poolOf(reader);
  set('chasqui_database_connections', { state: 'busy' }, totalCount - idleCount);
  set('chasqui_database_connections', { state: 'idle' }, idleCount);
  set('chasqui_database_connections', { state: 'waiting' }, waitingCount);
}

/** The file and its journal, which does not exist while it is empty. */
async function sizeOf(file: string): Promise<number> {
  const journal = await stat(`${file}-wal`).then(
    ({ size }) => size,
    () => 0,
  );
  return (await stat(file)).size + journal;
}

/** TypeORM keeps the pool in a property that its types do not declare. */
const poolOf = (source: DataSource): { totalCount: number; idleCount: number; waitingCount: number } =>
  (source.driver as unknown as { master: { totalCount: number; idleCount: number; waitingCount: number } }).master;
