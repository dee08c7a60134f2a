import { parseUrl } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { runStatement } from '../db/statement.js';
import { adviceForSession, type SessionAdvice } from './advice.js';
import type { Alert, AlertTimes } from './alert.js';
import { upkeepAlerts } from './upkeep-alerts.js';
import type { Upkeep } from './upkeep.js';

/**
 * Everything that is not as it should be, computed in one place: each page of the panel shows these alerts, and `GET /admin/overview` returns
 * them. An alert says what is the case, since when, what happens next, and where to act.
 */

export interface Alerts {
  list: Alert[];
  /** Workers that are silent, and since when. What they reported is not believed. */
  silentWorkers: { id: string; since: number }[];
  /** The number of linked sessions that should run and are not proven to be connected. */
  offline: number;
  /** The number of webhooks whose deliveries fail. */
  failingWebhooks: number;
}

interface SessionRow {
  id: string;
  name: string;
  status: string;
  reasonCode: string | null;
  reasonText: string | null;
  workerId: string | null;
  since: number | string | null;
}
interface WorkerRow {
  id: string;
  heartbeatAt: number;
}
interface WebhookRow {
  id: string;
  url: string;
  description: string | null;
  isActive: boolean | number;
  failures: number | string;
  failingSince: number | string | null;
  openUntil: number | string | null;
  disabledReason: string | null;
  disabledAt: number | string | null;
}

/** The facts that alerts are made of. */
export interface AlertFacts {
  now: number;
  /** How long this process has run. Until a heartbeat is due, missing ones may be its own fault. */
  upMs: number;
  workers: readonly WorkerRow[];
  uncertain: { count: number; oldestAt: number | null };
  /** Owners that have used their daily quota. */
  exhausted: readonly { id: string; name: string; kind: 'account' | 'session'; used: number; limit: number }[];
  upkeep: Upkeep;
}

/** Reads what the facts lack, and returns the alerts, the worst first. */
export async function readAlerts(reader: DataSource, facts: AlertFacts, times: AlertTimes): Promise<Alerts> {
  const { rows: sessions } = await runStatement<SessionRow>(reader, sessionsSql, [], { prepare: false });
  const { rows: webhooks } = await runStatement<WebhookRow>(reader, webhooksSql, [], { prepare: false });
  const silent = silentWorkers(facts, times);
  const offline = sessions.filter((session) => isOffline(session, silent));
  const failing = webhooks.map((row) => webhookAlert(row));
  const list = [
    ...workerAlerts(facts, silent, offline, times),
    ...sessionAlerts(offline.filter(({ workerId, status, reasonCode }) => !isOfWorker({ workerId, status, reasonCode }, silent))),
    ...failing,
    ...uncertainAlert(facts),
    ...upkeepAlerts(facts.upkeep, { now: facts.now, upMs: facts.upMs, lostMs: times.lostMs }),
    ...facts.exhausted.map(quotaAlert),
  ];
  list.sort((one, other) => rank(one) - rank(other));
  const silentNow = [...silent.values()].map(({ id, heartbeatAt }) => ({ id, since: heartbeatAt }));
  return { list, silentWorkers: silentNow, offline: offline.length, failingWebhooks: failing.length };
}

const rank = ({ severity }: Alert): number => (severity === 'bad' ? 0 : 1);

/** A linked session that should be connected. One that a person stopped, or that never had a phone, is not offline. */
const sessionsSql = `SELECT id, name, status, "reasonCode", "reasonText", "workerId",
    CASE WHEN status = 'connected' THEN NULL ELSE COALESCE("disconnectedAt", "updatedAt") END AS since
  FROM sessions WHERE "deletedAt" IS NULL AND status <> 'suspended'
    AND ("linkedAccount" IS NOT NULL OR "phoneNumber" IS NOT NULL) ORDER BY name`;
const webhooksSql = `SELECT id, url, description, "isActive", failures, "failingSince", "openUntil", "disabledReason", "disabledAt"
  FROM webhooks WHERE "deletedAt" IS NULL AND (("isActive" AND failures > 0) OR "disabledReason" IN ('FAILING', 'GONE')) ORDER BY id`;

const adviceOf = ({ reasonCode, reasonText }: SessionRow): SessionAdvice =>
  reasonCode
    ? adviceForSession(reasonCode, reasonText)
    : { what: 'It is not connected.', next: 'Open the session to see why.', by: 'person' };

function isOffline(session: SessionRow, silent: ReadonlyMap<string, WorkerRow>): boolean {
  if (session.status === 'connected') return session.workerId !== null && silent.has(session.workerId);
  return !adviceOf(session).isWanted;
}

/** The session is offline because of its worker, which has an alert of its own. */
const isOfWorker = (
  { workerId, status, reasonCode }: Pick<SessionRow, 'workerId' | 'status' | 'reasonCode'>,
  silent: ReadonlyMap<string, WorkerRow>,
): boolean => workerId !== null && silent.has(workerId) && (status === 'connected' || reasonCode === 'WORKER_LOST');

function silentWorkers({ workers, now, upMs }: AlertFacts, { lateMs }: AlertTimes): ReadonlyMap<string, WorkerRow> {
  if (upMs < lateMs) return new Map();
  return new Map(workers.filter(({ heartbeatAt }) => now - heartbeatAt > lateMs).map((worker) => [worker.id, worker]));
}

const phones = (count: number): string => (count === 1 ? '1 phone is offline' : `${count} phones are offline`);
const workersPage = { to: '/pages/workers', label: 'Workers' };
const restart = 'If it stays silent, start the program whatsapp-service again.';

function workerAlerts(
  { workers, now, upMs }: AlertFacts,
  silent: ReadonlyMap<string, WorkerRow>,
  offline: readonly SessionRow[],
  { lateMs, lostMs }: AlertTimes,
): Alert[] {
  if (upMs < lateMs) return [];
  const shared = { nextAt: null, link: workersPage };
  if (workers.length === silent.size && workers.length !== 1) {
    const since = workers.length === 0 ? null : Math.max(...workers.map(({ heartbeatAt }) => heartbeatAt));
    const what = offline.length > 0 ? `No worker answers: ${phones(offline.length)}.` : 'No worker answers.';
    return [
      {
        ...shared,
        kind: 'no_worker',
        severity: 'bad',
        since,
        what,
        next: `Nothing is sent or received. ${restart}`,
        code: 'WORKER_LOST',
      },
    ];
  }
  return [...silent.values()].flatMap(({ id, heartbeatAt }): Alert[] => {
    const count = offline.filter((session) => isOfWorker({ ...session }, silent) && session.workerId === id).length;
    // A worker that has no sessions and is not the only one has been taken out of service.
    if (count === 0 && workers.length > 1) return [];
    const severity = now - heartbeatAt > lostMs || count > 0 ? 'bad' : 'warn';
    const what = count > 0 ? `Worker ${id} is silent: ${phones(count)}.` : `Worker ${id} is silent.`;
    const next = `${count > 0 ? 'They come back by themselves when it answers; messages wait meanwhile. ' : ''}${restart}`;
    return [{ ...shared, kind: 'worker_silent', severity, since: heartbeatAt, what, next, code: 'WORKER_LOST' }];
  });
}

/** More sessions than this with one reason become one alert. */
const maxSingle = 3;

function sessionAlerts(offline: readonly SessionRow[]): Alert[] {
  const byReason = new Map<string, SessionRow[]>();
  for (const session of offline) {
    const key = session.reasonCode ?? session.status;
    byReason.set(key, [...(byReason.get(key) ?? []), session]);
  }
  return [...byReason.values()].flatMap((sessions) =>
    sessions.length <= maxSingle ? sessions.map((session) => sessionAlert([session])) : [sessionAlert(sessions)],
  );
}

function sessionAlert(sessions: readonly SessionRow[]): Alert {
  const [first] = sessions as [SessionRow];
  const { what, next, by } = adviceOf(first);
  const isOne = sessions.length === 1;
  const times = sessions.flatMap(({ since }) => (since === null ? [] : [Number(since)]));
  return {
    kind: 'session_offline',
    severity: by === 'itself' ? 'warn' : 'bad',
    since: times.length > 0 ? Math.min(...times) : null,
    what: isOne ? `${first.name} is offline. ${what}` : `${phones(sessions.length)}. ${what}`,
    next,
    nextAt: null,
    code: first.reasonCode,
    link: isOne
      ? { to: `/resources/sessions/records/${first.id}/show`, label: 'Open the session' }
      : { to: '/resources/sessions', label: 'Sessions' },
  };
}

const numberOf = (value: number | string | null): number | null => (value === null ? null : Number(value));

/** What a webhook is called: its description, or its address without the secrets that a query may hold. */
export function webhookTitle({ url, description }: { url: string; description: string | null }): string {
  if (description) return description;
  const parsed = parseUrl(url);
  return parsed ? `${parsed.host}${parsed.pathname === '/' ? '' : parsed.pathname}` : url;
}

function webhookAlert(row: WebhookRow): Alert {
  const link = { to: `/resources/webhooks/records/${row.id}/show`, label: 'Open the webhook' };
  const name = webhookTitle(row);
  if (!row.isActive)
    return {
      kind: 'webhook_disabled',
      severity: 'bad',
      since: numberOf(row.disabledAt),
      what: `The webhook ${name} was switched off: ${row.disabledReason === 'GONE' ? 'its receiver no longer exists' : 'every attempt failed for days'}.`,
      next: 'Its deliveries are kept. Repair the receiver, then switch it on.',
      nextAt: null,
      code: row.disabledReason,
      link,
    };
  const openUntil = numberOf(row.openUntil);
  return {
    kind: 'webhook_failing',
    severity: openUntil === null ? 'warn' : 'bad',
    since: numberOf(row.failingSince),
    what: `The webhook ${name} fails: ${Number(row.failures) === 1 ? 'the last attempt' : `the last ${row.failures} attempts`} failed.`,
    next: 'Its deliveries wait and are tried again by themselves. Check the receiver.',
    nextAt: openUntil,
    code: openUntil === null ? null : 'CIRCUIT_OPEN',
    link,
  };
}

function uncertainAlert({ uncertain: { count, oldestAt } }: AlertFacts): Alert[] {
  if (count === 0) return [];
  return [
    {
      kind: 'messages_uncertain',
      severity: 'warn',
      since: oldestAt,
      what: `It is unknown whether ${count === 1 ? '1 message was' : `${count} messages were`} sent.`,
      next: 'They are looked up while their session is connected. You can also decide yourself.',
      nextAt: null,
      code: 'uncertain',
      link: { to: '/resources/messages?filters.status=uncertain', label: 'Show them' },
    },
  ];
}

const quotaAlert = ({ id, name, kind, used, limit }: AlertFacts['exhausted'][number]): Alert => ({
  kind: 'quota_exhausted',
  severity: 'warn',
  since: null,
  what: `The ${kind} ${name} has used its daily quota: ${used} of ${limit}.`,
  next: 'New messages are refused until the next day of the account.',
  nextAt: null,
  code: 'QUOTA_EXCEEDED',
  link: { to: `/resources/${kind}s/records/${id}/show`, label: `Open the ${kind}` },
});
