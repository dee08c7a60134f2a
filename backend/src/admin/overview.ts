import type { DataSource } from 'typeorm';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Clock } from '../lib/clock.js';
import { adviceForMessage, adviceForSession, type Advice, type SessionAdvice } from './advice.js';
import type { Alert, AlertTimes } from './alert.js';
import { readAlerts, type Alerts } from './alerts.js';
import { readChart, sentStatuses, type Chart } from './chart.js';
import { dayStart, idFrom, knownZone } from './time.js';
import { readUpkeep, type Upkeep, type UpkeepParts } from './upkeep.js';
import { quotaLeaders, type QuotaLeader } from './views/quota-leaders.js';

const day = 86_400_000;

export interface OverviewSession {
  id: string;
  name: string;
  account: string | null;
  status: string;
  workerId: string | null;
  reason: ({ code: string } & SessionAdvice) | null;
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
  sessions: {
    total: number;
    /** Sessions that are proven to be connected. */
    connected: number;
    /** Sessions that were last reported as connected, by a worker that is silent now. */
    unconfirmed: number;
    /** As last reported. */
    byStatus: Record<string, number>;
    list: OverviewSession[];
  };
  today: { sent: number; received: number; failed: number };
  queue: Queue;
  /** Webhooks, those whose deliveries fail, and deliveries that wait. */
  deliveries: { webhooks: number; failing: number; waiting: number };
  leaders: { accounts: QuotaLeader[]; sessions: QuotaLeader[] };
  jobs: Upkeep['jobs'];
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

/** How long figures are cached for all people: twenty open dashboards cost the database no more than one. */
const overviewTtlMs = 1000;
const chartTtlMs = 15_000;
const upkeepTtlMs = 3_000;
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

export interface OverviewParts extends UpkeepParts {
  clock: Clock;
  /** When a silent worker is late, and when it is lost. */
  times: AlertTimes;
}

export function createOverview({ reader, clock, times, ...upkeepParts }: OverviewParts): OverviewReader {
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
  const upkeep = (): Promise<Upkeep> => cached('upkeep', upkeepTtlMs, () => readUpkeep({ reader, ...upkeepParts }));
  const alerts = (): Promise<Alerts & { at: number }> =>
    cached('alerts', overviewTtlMs, async () =>
      readStatus(reader, { now: clock.now(), upMs: clock.monotonic() - startedAt, times, upkeep: await upkeep() }),
    );

  return {
    status: async () => {
      const { at, offline, silentWorkers, list } = await alerts();
      return { at, offline, silentWorkers, alerts: list };
    },
    overview: (timezone: string): Promise<Overview> =>
      cached(`overview ${timezone}`, overviewTtlMs, async () => ({
        ...(await readOverview(reader, clock.now(), timezone, await alerts())),
        jobs: (await upkeep()).jobs,
      })),
    chart: (range: Chart['range'], timezone: string): Promise<Chart> =>
      cached(`${range} ${timezone}`, chartTtlMs, () => readChart(reader, clock.now(), range, timezone)),
  };
}

async function readStatus(
  reader: DataSource,
  { now, upMs, times, upkeep }: { now: Date; upMs: number; times: AlertTimes; upkeep: Upkeep },
): Promise<Alerts & { at: number }> {
  const [workers, queue, leaders] = await Promise.all([readWorkers(reader), readQueue(reader), quotaLeaders(reader, now)]);
  const exhaustedOf = (kind: 'account' | 'session', owners: readonly QuotaLeader[]) =>
    owners.flatMap(({ id, name, used, limit }) => (limit !== null && used >= limit ? [{ id, name, kind, used, limit }] : []));
  const facts = {
    now: now.getTime(),
    upMs,
    upkeep,
    workers,
    uncertain: { count: queue.uncertain, oldestAt: queue.oldestUncertainAt },
    exhausted: [...exhaustedOf('account', leaders.accounts), ...exhaustedOf('session', leaders.sessions)],
  };
  return { at: now.getTime(), ...(await readAlerts(reader, facts, times)) };
}

async function readOverview(reader: DataSource, now: Date, timezone: string, alerts: Alerts): Promise<Omit<Overview, 'jobs'>> {
  const [sessions, today, queue, workers, errors, deliveries, leaders] = await Promise.all([
    readSessions(
      reader,
      alerts.silentWorkers.map(({ id }) => id),
    ),
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
    deliveries: { ...deliveries, failing: alerts.failingWebhooks },
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

async function readSessions(reader: DataSource, silentWorkers: readonly string[]): Promise<Overview['sessions']> {
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
  const unconfirmed = await countConnected(reader, silentWorkers);
  const byStatus = Object.fromEntries(counts.map((row) => [row.status, Number(row.n)]));
  const total = counts.reduce((sum, row) => sum + Number(row.n), 0);
  const withAdvice = list.map(({ code, text, ...session }) => {
    if (code === null) return { ...session, reason: null };
    return { ...session, reason: { code, ...adviceForSession(code, text) } };
  });
  return { total, connected: Math.max(0, (byStatus['connected'] ?? 0) - unconfirmed), unconfirmed, byStatus, list: withAdvice };
}

/** Returns how many sessions of these workers were last reported as connected. */
async function countConnected(reader: DataSource, workers: readonly string[]): Promise<number> {
  if (workers.length === 0) return 0;
  const { condition, parameter } = among(reader, 'workerId', workers);
  const sql = `SELECT COUNT(*) AS n FROM sessions WHERE "deletedAt" IS NULL AND status = 'connected' AND ${condition}`;
  const { rows } = await runStatement<{ n: number | string }>(reader, sql, [parameter], { prepare: false });
  return Number(rows[0]?.n ?? 0);
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
