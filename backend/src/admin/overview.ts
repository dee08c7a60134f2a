import type { DataSource } from 'typeorm';
import { runStatement } from '../db/statement.js';
import type { Clock } from '../lib/clock.js';
import { dayStart, idFrom, knownZone, offsetMs } from './time.js';

const hour = 3_600_000;
const day = 24 * hour;

export interface OverviewSession {
  id: string;
  name: string;
  account: string | null;
  status: string;
  reason: string | null;
  phoneNumber: string | null;
}

/** The dashboard's figures. Times are milliseconds since 1970, memory in MB. */
export interface Overview {
  at: number;
  sessions: { total: number; connected: number; byStatus: Record<string, number>; list: OverviewSession[] };
  today: { sent: number; received: number; failed: number };
  queue: { queued: number; sending: number; uncertain: number; oldestQueuedAt: number | null };
  workers: {
    id: string;
    sessions: number;
    capacity: number;
    memoryMb: number | null;
    memoryLimitMb: number | null;
    cpuPercent: number | null;
    draining: boolean;
    heartbeatAt: number;
  }[];
  errors: { kind: 'message' | 'session'; id: string; title: string; detail: string | null; at: number }[];
}

export interface Chart {
  range: '24h' | '14d';
  /** The time zone of the buckets. */
  timezone: string;
  /** Start of each bucket. */
  buckets: { at: number; sent: number; received: number; failed: number }[];
}

/** An outbound message with one of these states was sent. */
const sentStatuses = `'sent','delivered','read','played'`;

/** How long figures are cached for all people: twenty open dashboards cost the database no more than one. */
const overviewTtlMs = 1000;
const chartTtlMs = 15_000;

/**
 * Reads the dashboard's figures. It uses only the database reader, so that it works while every worker is down. "Today" is a range of message
 * ids, which begin with their time: it reads the primary key, whatever the size of the table.
 */
export interface OverviewReader {
  overview(timezone: string): Promise<Overview>;
  chart(range: Chart['range'], timezone: string): Promise<Chart>;
}

export function createOverview({ reader, clock }: { reader: DataSource; clock: Clock }): OverviewReader {
  const cache = new Map<string, { until: number; value: Promise<unknown> }>();
  const cached = <T>(key: string, ttlMs: number, read: () => Promise<T>): Promise<T> => {
    const now = clock.monotonic();
    const entry = cache.get(key);
    if (entry && entry.until > now) return entry.value as Promise<T>;
    const value = read();
    cache.set(key, { until: now + ttlMs, value });
    value.catch(() => cache.delete(key));
    return value;
  };

  return {
    overview: (timezone: string): Promise<Overview> =>
      cached(`overview ${timezone}`, overviewTtlMs, () => readOverview(reader, clock.now(), timezone)),
    chart: (range: Chart['range'], timezone: string): Promise<Chart> =>
      cached(`${range} ${timezone}`, chartTtlMs, () => readChart(reader, clock.now(), range, timezone)),
  };
}

async function readOverview(reader: DataSource, now: Date, timezone: string): Promise<Overview> {
  const [sessions, today, queue, workers, errors] = await Promise.all([
    readSessions(reader),
    readToday(reader, dayStart(now, timezone)),
    readQueue(reader),
    readWorkers(reader),
    readErrors(reader, now),
  ]);
  return { at: now.getTime(), sessions, today, queue, workers, errors };
}

/** Orders sessions so that those that need a person come first. */
const urgency = `CASE s.status WHEN 'error' THEN 0 WHEN 'passkey_required' THEN 1 WHEN 'qr_pending' THEN 2 WHEN 'suspended' THEN 3
  WHEN 'connecting' THEN 4 WHEN 'initializing' THEN 5 WHEN 'disconnected' THEN 6 ELSE 7 END`;

async function readSessions(reader: DataSource): Promise<Overview['sessions']> {
  const { rows: counts } = await runStatement<{ status: string; n: number | string }>(
    reader,
    'SELECT status, COUNT(*) AS n FROM sessions WHERE "deletedAt" IS NULL GROUP BY status',
    [],
    { prepare: false },
  );
  const { rows: list } = await runStatement<OverviewSession>(
    reader,
    `SELECT s.id, s.name, a.username AS account, s.status, s."reasonText" AS reason, s."phoneNumber"
     FROM sessions s LEFT JOIN accounts a ON a.id = s."accountId"
     WHERE s."deletedAt" IS NULL ORDER BY ${urgency}, s.name LIMIT 12`,
    [],
    { prepare: false },
  );
  const byStatus = Object.fromEntries(counts.map((row) => [row.status, Number(row.n)]));
  const total = counts.reduce((sum, row) => sum + Number(row.n), 0);
  return { total, connected: byStatus['connected'] ?? 0, byStatus, list };
}

async function readToday(reader: DataSource, since: number): Promise<Overview['today']> {
  const {
    rows: [row],
  } = await runStatement<Record<'sent' | 'received' | 'failed', number | string | null>>(
    reader,
    `SELECT SUM(CASE WHEN direction = 'outbound' AND status IN (${sentStatuses}) THEN 1 ELSE 0 END) AS sent,
            SUM(CASE WHEN direction = 'inbound' THEN 1 ELSE 0 END) AS received,
            SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed
     FROM messages WHERE id >= ?`,
    [idFrom(since)],
    { prepare: false },
  );
  return { sent: Number(row?.sent ?? 0), received: Number(row?.received ?? 0), failed: Number(row?.failed ?? 0) };
}

async function readQueue(reader: DataSource): Promise<Overview['queue']> {
  const { rows } = await runStatement<{ status: string; n: number | string; oldest: number | string | null }>(
    reader,
    `SELECT status, COUNT(*) AS n, MIN("createdAt") AS oldest FROM messages
     WHERE status IN ('queued', 'sending', 'uncertain') GROUP BY status`,
    [],
    { prepare: false },
  );
  const countOf = (status: string): number => Number(rows.find((row) => row.status === status)?.n ?? 0);
  const oldest = rows.find((row) => row.status === 'queued')?.oldest;
  return {
    queued: countOf('queued'),
    sending: countOf('sending'),
    uncertain: countOf('uncertain'),
    oldestQueuedAt: oldest ? Number(oldest) : null,
  };
}

export async function readWorkers(reader: DataSource): Promise<Overview['workers']> {
  const { rows } = await runStatement<Record<string, unknown>>(
    reader,
    `SELECT id, sessions, capacity, "memoryMb", "memoryLimitMb", "cpuPercent", draining, "drainRequested", "lastHeartbeatAt" FROM workers ORDER BY id`,
    [],
    { prepare: false },
  );
  return rows.map((row) => ({
    id: String(row['id']),
    sessions: Number(row['sessions']),
    capacity: Number(row['capacity']),
    memoryMb: row['memoryMb'] === null ? null : Number(row['memoryMb']),
    memoryLimitMb: row['memoryLimitMb'] === null ? null : Number(row['memoryLimitMb']),
    cpuPercent: row['cpuPercent'] === null ? null : Number(row['cpuPercent']),
    draining: [row['draining'], row['drainRequested']].some((flag) => flag === true || flag === 1),
    heartbeatAt: Number(row['lastHeartbeatAt']),
  }));
}

async function readErrors(reader: DataSource, now: Date): Promise<Overview['errors']> {
  type Found = { id: string; title: string | null; detail: string | null; at: number | string };
  const { rows: messages } = await runStatement<Found>(
    reader,
    `SELECT m.id, COALESCE(m."chatName", m."chatId") AS title, COALESCE(m."reasonText", m."reasonCode") AS detail,
            COALESCE(m."failedAt", m."createdAt") AS at
     FROM messages m WHERE m.status IN ('failed', 'uncertain') AND m.id >= ? ORDER BY m.id DESC LIMIT 6`,
    [idFrom(now.getTime() - day)],
    { prepare: false },
  );
  const { rows: sessions } = await runStatement<Found>(
    reader,
    `SELECT id, name AS title, COALESCE("reasonText", "lastError") AS detail, "updatedAt" AS at FROM sessions
     WHERE "deletedAt" IS NULL AND status IN ('error', 'suspended') ORDER BY "updatedAt" DESC LIMIT 6`,
    [],
    { prepare: false },
  );
  const toError = (kind: 'message' | 'session') => (row: Found) => ({
    ...row,
    kind,
    title: row.title ?? row.id,
    at: Number(row.at),
  });
  return [...messages.map(toError('message')), ...sessions.map(toError('session'))].sort((a, b) => b.at - a.at).slice(0, 6);
}

async function readChart(reader: DataSource, now: Date, range: Chart['range'], timezone: string): Promise<Chart> {
  const width = range === '24h' ? hour : day;
  const offset = offsetMs(now, timezone);
  const last = Math.floor((now.getTime() + offset) / width);
  const first = last - (range === '24h' ? 23 : 13);
  const { rows } = await runStatement<Record<'bucket' | 'sent' | 'received' | 'failed', number | string>>(
    reader,
    `SELECT ("createdAt" + ${offset}) / ${width} AS bucket,
            SUM(CASE WHEN direction = 'outbound' AND status IN (${sentStatuses}) THEN 1 ELSE 0 END) AS sent,
            SUM(CASE WHEN direction = 'inbound' THEN 1 ELSE 0 END) AS received,
            SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed
     FROM messages WHERE id >= ? GROUP BY 1`,
    [idFrom(first * width - offset)],
    { prepare: false },
  );
  const byBucket = new Map(rows.map((row) => [Number(row.bucket), row]));
  const buckets = Array.from({ length: last - first + 1 }, (_, index) => {
    const row = byBucket.get(first + index);
    return {
      at: (first + index) * width - offset,
      sent: Number(row?.sent ?? 0),
      received: Number(row?.received ?? 0),
      failed: Number(row?.failed ?? 0),
    };
  });
  return { range, timezone: knownZone(timezone), buckets };
}
