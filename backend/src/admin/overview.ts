import type { DataSource } from 'typeorm';
import { runStatement } from '../db/statement.js';
import type { Clock } from '../lib/clock.js';
import { adviceForMessage, adviceForSession, type Advice } from './advice.js';
import { readAlerts, type Alert, type Alerts, type AlertTimes } from './alerts.js';
import { dayStart, idFrom, knownZone, offsetMs } from './time.js';
import { quotaLeaders, type QuotaLeader } from './views/quota-leaders.js';

const hour = 3_600_000;
const day = 24 * hour;

export interface OverviewSession {
  id: string;
  name: string;
  account: string | null;
  status: string;
  workerId: string | null;
  reason: { code: string; what: string; next: string } | null;
  phoneNumber: string | null;
}

interface Queue {
  queued: number;
  sending: number;
  uncertain: number;
  oldestQueuedAt: number | null;
  oldestUncertainAt: number | null;
}

/** What every page of the panel shows besides its own data. */
export interface Status {
  /** When it was computed. Milliseconds. */
  at: number;
  offline: number;
  silentWorkers: Alerts['silentWorkers'];
  alerts: Alert[];
}

/** The dashboard's figures. Times are milliseconds since 1970, memory in MB. */
export interface Overview {
  at: number;
  /** The time zone of "today". */
  timezone: string;
  sessions: { total: number; connected: number; byStatus: Record<string, number>; list: OverviewSession[] };
  today: { sent: number; received: number; failed: number };
  queue: Queue;
  /** Webhooks, those whose deliveries fail, and deliveries that wait. */
  deliveries: { webhooks: number; failing: number; waiting: number };
  leaders: { accounts: QuotaLeader[]; sessions: QuotaLeader[] };
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
const maxCached = 200;

/**
 * Reads the dashboard's figures. It uses only the database reader, so that it works while every worker is down. "Today" is a range of message
 * ids, which begin with their time: it reads the primary key, whatever the size of the table.
 */
export interface OverviewReader {
  overview(timezone: string): Promise<Overview>;
  status(): Promise<Status>;
  chart(range: Chart['range'], timezone: string): Promise<Chart>;
}

export interface OverviewParts {
  reader: DataSource;
  clock: Clock;
  /** When a silent worker is late, and when it is lost. */
  times: AlertTimes;
}

export function createOverview({ reader, clock, times }: OverviewParts): OverviewReader {
  const cache = new Map<string, { until: number; value: Promise<unknown> }>();
  const cached = <T>(key: string, ttlMs: number, read: () => Promise<T>): Promise<T> => {
    const now = clock.monotonic();
    const entry = cache.get(key);
    if (entry && entry.until > now) return entry.value as Promise<T>;
    // Zones come from browsers: without a bound, each of them would stay.
    if (cache.size > maxCached) cache.clear();
    const value = read();
    cache.set(key, { until: now + ttlMs, value });
    value.catch(() => cache.delete(key));
    return value;
  };
  const startedAt = clock.monotonic();
  const alerts = (): Promise<Alerts & { at: number }> =>
    cached('alerts', overviewTtlMs, () => readStatus(reader, { now: clock.now(), upMs: clock.monotonic() - startedAt, times }));

  return {
    status: async () => {
      const { at, offline, silentWorkers, list } = await alerts();
      return { at, offline, silentWorkers, alerts: list };
    },
    overview: (timezone: string): Promise<Overview> =>
      cached(`overview ${timezone}`, overviewTtlMs, async () => readOverview(reader, clock.now(), timezone, await alerts())),
    chart: (range: Chart['range'], timezone: string): Promise<Chart> =>
      cached(`${range} ${timezone}`, chartTtlMs, () => readChart(reader, clock.now(), range, timezone)),
  };
}

async function readStatus(
  reader: DataSource,
  { now, upMs, times }: { now: Date; upMs: number; times: AlertTimes },
): Promise<Alerts & { at: number }> {
  const [workers, queue, leaders] = await Promise.all([readWorkers(reader), readQueue(reader), quotaLeaders(reader, now)]);
  const exhaustedOf = (kind: 'account' | 'session', owners: readonly QuotaLeader[]) =>
    owners.flatMap(({ id, name, used, limit }) => (limit !== null && used >= limit ? [{ id, name, kind, used, limit }] : []));
  const facts = {
    now: now.getTime(),
    upMs,
    workers,
    uncertain: { count: queue.uncertain, oldestAt: queue.oldestUncertainAt },
    exhausted: [...exhaustedOf('account', leaders.accounts), ...exhaustedOf('session', leaders.sessions)],
  };
  return { at: now.getTime(), ...(await readAlerts(reader, facts, times)) };
}

async function readOverview(reader: DataSource, now: Date, timezone: string, { failingWebhooks }: Alerts): Promise<Overview> {
  const [sessions, today, queue, workers, errors, deliveries, leaders] = await Promise.all([
    readSessions(reader),
    readToday(reader, dayStart(now, timezone)),
    readQueue(reader),
    readWorkers(reader),
    readErrors(reader, now),
    readDeliveries(reader),
    quotaLeaders(reader, now),
  ]);
  return {
    at: now.getTime(),
    timezone: knownZone(timezone),
    sessions,
    today,
    queue,
    deliveries: { ...deliveries, failing: failingWebhooks },
    leaders,
    workers,
    errors,
  };
}

async function readDeliveries(reader: DataSource): Promise<{ webhooks: number; waiting: number }> {
  const countOf = async (sql: string): Promise<number> => {
    const { rows } = await runStatement<{ n: number | string }>(reader, sql, [], { prepare: false });
    return Number(rows[0]?.n ?? 0);
  };
  return {
    webhooks: await countOf('SELECT COUNT(*) AS n FROM webhooks WHERE "deletedAt" IS NULL'),
    waiting: await countOf(`SELECT COUNT(*) AS n FROM webhook_deliveries WHERE status IN ('pending', 'sending')`),
  };
}

/** Orders sessions so that those that were linked and are offline come first, and then those that need a person. */
const urgency = `CASE WHEN (s."linkedAccount" IS NOT NULL OR s."phoneNumber" IS NOT NULL) AND s.desired = 'running' AND s.status <> 'connected' THEN -1 ELSE 0 END,
  CASE s.status WHEN 'error' THEN 0 WHEN 'passkey_required' THEN 1 WHEN 'qr_pending' THEN 2 WHEN 'suspended' THEN 3
  WHEN 'connecting' THEN 4 WHEN 'initializing' THEN 5 WHEN 'disconnected' THEN 6 ELSE 7 END`;

async function readSessions(reader: DataSource): Promise<Overview['sessions']> {
  const { rows: counts } = await runStatement<{ status: string; n: number | string }>(
    reader,
    'SELECT status, COUNT(*) AS n FROM sessions WHERE "deletedAt" IS NULL GROUP BY status',
    [],
    { prepare: false },
  );
  type Found = Omit<OverviewSession, 'reason'> & { code: string | null; text: string | null };
  const { rows: list } = await runStatement<Found>(
    reader,
    `SELECT s.id, s.name, a.username AS account, s.status, s."workerId", s."reasonCode" AS code, s."reasonText" AS text, s."phoneNumber"
     FROM sessions s LEFT JOIN accounts a ON a.id = s."accountId"
     WHERE s."deletedAt" IS NULL ORDER BY ${urgency}, s.name LIMIT 12`,
    [],
    { prepare: false },
  );
  const byStatus = Object.fromEntries(counts.map((row) => [row.status, Number(row.n)]));
  const total = counts.reduce((sum, row) => sum + Number(row.n), 0);
  const withAdvice = list.map(({ code, text, ...session }) => {
    if (code === null) return { ...session, reason: null };
    const { what, next } = adviceForSession(code, text);
    return { ...session, reason: { code, what, next } };
  });
  return { total, connected: byStatus['connected'] ?? 0, byStatus, list: withAdvice };
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

async function readQueue(reader: DataSource): Promise<Queue> {
  const { rows } = await runStatement<{ status: string; n: number | string; oldest: number | string | null }>(
    reader,
    `SELECT status, COUNT(*) AS n, MIN("createdAt") AS oldest FROM messages
     WHERE status IN ('queued', 'sending', 'uncertain') GROUP BY status`,
    [],
    { prepare: false },
  );
  const countOf = (status: string): number => Number(rows.find((row) => row.status === status)?.n ?? 0);
  const oldestOf = (status: string): number | null => {
    const oldest = rows.find((row) => row.status === status)?.oldest;
    return oldest ? Number(oldest) : null;
  };
  return {
    queued: countOf('queued'),
    sending: countOf('sending'),
    uncertain: countOf('uncertain'),
    oldestQueuedAt: oldestOf('queued'),
    oldestUncertainAt: oldestOf('uncertain'),
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
  type Found = { id: string; title: string | null; code: string | null; text: string | null; at: number | string };
  // Without statistics, SQLite would take `messages_due` and read all messages that ever failed.
  const table = reader.options.type === 'postgres' ? 'messages m' : 'messages m INDEXED BY messages_failed';
  const { rows: messages } = await runStatement<Found>(
    reader,
    `SELECT m.id, COALESCE(m."chatName", m."chatId") AS title, m."reasonCode" AS code, m."reasonText" AS text,
            COALESCE(m."failedAt", m."createdAt") AS at
     FROM ${table} WHERE m.status IN ('failed', 'uncertain') AND m.id >= ? ORDER BY m.id DESC LIMIT 6`,
    [idFrom(now.getTime() - day)],
    { prepare: false },
  );
  const { rows: sessions } = await runStatement<Found>(
    reader,
    `SELECT id, name AS title, "reasonCode" AS code, COALESCE("reasonText", "lastError") AS text, "updatedAt" AS at FROM sessions
     WHERE "deletedAt" IS NULL AND (status = 'error' OR (status = 'disconnected' AND desired = 'running'))
     ORDER BY "updatedAt" DESC LIMIT 6`,
    [],
    { prepare: false },
  );
  const toError =
    (kind: 'message' | 'session', adviceFor: (code: string, text: string | null) => Advice) =>
    ({ id, title, code, text, at }: Found) => ({
      kind,
      id,
      title: title ?? id,
      detail: code === null ? text : adviceFor(code, text).what,
      at: Number(at),
    });
  return [...messages.map(toError('message', adviceForMessage)), ...sessions.map(toError('session', adviceForSession))]
    .sort((a, b) => b.at - a.at)
    .slice(0, 6);
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
