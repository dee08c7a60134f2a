import { failPoint } from '@chasqui/shared/fail-point';
import type { DataSource, EntityManager } from 'typeorm';
import type { Core } from '../../core.js';
import { isSystemError } from '../../db/database-errors.js';
import { lockRows, readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { PublishedEvent } from '../../events/events.js';
import { describeError } from '../../failures/failures.js';
import { errorFields } from '../../lib/log.js';
import { createLanes, type Lanes } from '../../messages/send/lanes.js';
import { Session } from '../../sessions/session.entity.js';
import { BulkJob } from '../bulk.entity.js';
import { stepOf } from '../present.js';
import type { FeedContext, FeedParts } from './context.js';
import { feedNext, isDelay, type Fed } from './feed.js';
import { checkNext } from './numbers.js';
import { planOf, type Plan, type Situation } from './plan.js';

/**
 * Puts the messages of jobs into the outbox, one at a time for each session: the next one when the gap has passed and no other message of the session
 * is due. So single sends overtake jobs, several jobs of a session take turns, and the outbox never holds more than one message of them.
 *
 * | two compete | what decides |
 * | --- | --- |
 * | two backends feed one session | both lock the row of the session; the second finds that the gap has not passed, or that the recipient has its message |
 * | a feed and a pause, a cancel or an erasure | the same lock: the second sees what the first has written |
 */
export interface Feeder {
  /** Starts to poll for due jobs and to react to events. `step` works without it. */
  start(): void;
  stop(): Promise<void>;
  /**
   * For the job that checks for missed messages: wakes connected sessions whose bulk job has been due for a minute without progress. Returns their
   * number.
   */
  check(): Promise<{ woken: number }>;
  /**
   * Does one step for a session: applies the due changes of its jobs, and queues at most one message. Returns the delay until the next step in
   * milliseconds; null if it depends on an event.
   */
  step(sessionId: string): Promise<number | null>;
}

/** `pollMs`: how often due jobs are read. `idleMs`: the delay of a session whose next time is unknown, unless an event wakes it. */
const pollMs = 500;
const idleMs = 2_000;
/** The maximum delay until the next step, because settings may change in the meantime. */
const maxWaitMs = 30_000;
/** How often a waiting job is tried before its waiting time ends. */
const tryQuotaEveryMs = 60_000;
/** A job is paused after this number of consecutive failures to write its next message. */
const maxFaults = 3;
/** A message that has been due for longer does not delay jobs any more, because it may be one that cannot be sent. */
const busyForMs = 600_000;

/** Paused jobs stay as they are until their session is deleted. */
const activeSql = `SELECT "sessionId" AS id FROM bulk_jobs WHERE status IN ('scheduled', 'running', 'waiting')
  UNION SELECT j."sessionId" AS id FROM bulk_jobs j JOIN sessions s ON s.id = j."sessionId" WHERE j.status = 'paused' AND s."deletedAt" IS NOT NULL`;
const jobsSql = `"sessionId" = ? AND status IN ('scheduled', 'running', 'waiting')`;
const jobsOfDeletedSql = `"sessionId" = ? AND status IN ('scheduled', 'running', 'waiting', 'paused')`;
const overdueMs = 60_000;
const overdueSql = `SELECT DISTINCT j."sessionId" AS id FROM bulk_jobs j JOIN sessions s ON s.id = j."sessionId" JOIN accounts a ON a.id = s."accountId"
  WHERE a."isActive" AND s.status = 'connected' AND j.pending > 0 AND CASE j.status WHEN 'scheduled' THEN j."scheduledAt"
    WHEN 'running' THEN COALESCE(j."nextAt", j."startedAt") WHEN 'waiting' THEN j."waitingUntil" END <= ?`;
const nextAtSql = 'SELECT MAX("nextAt") AS at FROM bulk_jobs WHERE "sessionId" = ?';
const activeAccountSql = 'SELECT 1 AS found FROM accounts WHERE id = ? AND "isActive"';
const busySql = `SELECT 1 AS busy FROM messages WHERE "sessionId" = ? AND "queuedAt" > ?
  AND (status = 'sending' OR (status = 'queued' AND ("nextAttemptAt" IS NULL OR "nextAttemptAt" <= ?))) LIMIT 1`;

interface Running {
  context: FeedContext;
  lanes: Lanes;
  /** When the next step of a session is due. Monotonic milliseconds. */
  dueAt: Map<string, number>;
  active: Set<string>;
  timer: NodeJS.Timeout | undefined;
  polling: Promise<void>;
  isStopped: boolean;
}

export function createFeeder(core: Core, parts: FeedParts): Feeder {
  const context = createContext(core, parts);
  const running: Running = {
    context,
    lanes: createLanes({ drain: (sessionId) => drain(running, sessionId), log: core.log }),
    dueAt: new Map(),
    active: new Set(),
    timer: undefined,
    polling: Promise.resolve(),
    isStopped: false,
  };
  const unsubscribe = core.events.subscribe((event) => onEvent(running, event));
  return {
    start: () => schedule(running),
    step: (sessionId) => step(context, sessionId),
    check: () => check(running),
    async stop() {
      running.isStopped = true;
      unsubscribe();
      clearTimeout(running.timer);
      await running.polling;
      await running.lanes.stop();
    },
  };
}

const createContext = (core: Core, parts: FeedParts): FeedContext => ({
  ...core,
  ...parts,
  locales: new Map(),
  triedAt: new Map(),
  faults: new Map(),
});

/** Events after which a session may queue the next message, or must not any more. */
const wakes: ReadonlySet<string> = new Set([
  'message.sent',
  'message.failed',
  'message.uncertain',
  'message.cancelled',
  'session.status',
  'session.throttled',
  'session.restriction',
  'bulk.status',
]);

function onEvent({ active, lanes, dueAt, isStopped }: Running, { type, sessionId }: PublishedEvent): void {
  if (isStopped || !sessionId || !wakes.has(type)) return;
  if (type === 'bulk.status') active.add(sessionId);
  if (!active.has(sessionId)) return;
  dueAt.delete(sessionId);
  lanes.wake(sessionId);
}

function schedule(running: Running): void {
  running.timer = setTimeout(() => {
    running.polling = poll(running).finally(() => {
      if (!running.isStopped) schedule(running);
    });
  }, pollMs);
}

async function poll({ context, lanes, dueAt, active }: Running): Promise<void> {
  const { database, clock, log, triedAt } = context;
  // An attempt that is so long ago decides nothing any more.
  for (const [id, at] of triedAt) if (clock.monotonic() - at >= tryQuotaEveryMs) triedAt.delete(id);
  try {
    const { rows } = await runStatement<{ id: string }>(database.reader, activeSql);
    active.clear();
    for (const { id } of rows) active.add(id);
    for (const id of [...dueAt.keys()]) if (!active.has(id)) dueAt.delete(id);
    for (const id of active) if ((dueAt.get(id) ?? 0) <= clock.monotonic()) lanes.wake(id);
  } catch (error) {
    log.error('Bulk jobs could not be scanned; the scan is retried.', errorFields(error));
  }
}

async function check({ context, dueAt, lanes, active }: Running): Promise<{ woken: number }> {
  const { database, clock } = context;
  const before = clock.now().getTime() - overdueMs;
  const { rows } = await runStatement<{ id: string }>(database.reader, overdueSql, [before]);
  for (const { id } of rows) {
    active.add(id);
    dueAt.delete(id);
    lanes.wake(id);
  }
  return { woken: rows.length };
}

async function drain(running: Running, sessionId: string): Promise<void> {
  const { context, lanes, dueAt } = running;
  const { clock } = context;
  // A step that throws is retried after this time.
  dueAt.set(sessionId, clock.monotonic() + idleMs);
  let inMs: number | null = 0;
  while (inMs === 0 && !running.isStopped) inMs = await step(context, sessionId);
  const waitMs = Math.min(inMs ?? idleMs, maxWaitMs);
  dueAt.set(sessionId, clock.monotonic() + waitMs);
  if (inMs !== null && waitMs < pollMs * 4) lanes.wakeIn(sessionId, waitMs);
}

/** See `Feeder.step`. Returns 0 if there may be more to do now. */
async function step(context: FeedContext, sessionId: string): Promise<number | null> {
  const { database, clock, triedAt, faults } = context;
  const before = await situationOf(context, database.reader, sessionId, false);
  if (!before) return null;
  const plan = planOf(before);
  if (plan.changes.length === 0 && !plan.feed) return waitOf(plan, clock.now());
  let tried = plan.feed;
  try {
    const done = await database.write.run(async (tx) => {
      const found = await carryOut(context, tx, sessionId);
      tried = found.job;
      return found;
    });
    // A check that is still to be made may fail, and counts as a fault then.
    if (done.job && done.fed !== 'check') faults.delete(done.job.id);
    if (done.fed === 'fed') failPoint('bulk.fed');
    if (done.fed === 'check') return await checkNext(context, before.session, done.job!);
    return done.fed ? 0 : waitOf(done.plan, clock.now());
  } catch (error) {
    if (!tried || isSystemError(error)) throw error;
    if (isDelay(error)) await delay(context, tried, error);
    else await isolate(context, tried, error);
    return null;
  } finally {
    if (tried) triedAt.set(tried.id, clock.monotonic());
  }
}

/** The result of a step under the lock of its session. `job`: the job whose recipient was to get a message. */
interface Done {
  fed: Fed | null;
  job: BulkJob | null;
  plan: Plan;
}

/** Locks the session, plans its step again and carries it out. */
async function carryOut(context: FeedContext, tx: Transaction, sessionId: string): Promise<Done> {
  await lockRows(tx, Session, [sessionId]);
  const situation = await situationOf(context, tx.manager, sessionId, true);
  if (!situation) return { fed: null, job: null, plan: { changes: [], feed: null, againAt: null } };
  const plan = planOf(situation);
  for (const { job, change } of plan.changes) {
    if (change.status === 'cancelled') await context.state.moveAll(tx, job, 'pending', 'cancelled');
    await context.state.change(tx, job, change);
    // All recipients of a scheduled job may have been erased: then nothing else would end it.
    await context.state.review(tx, job, stepOf(job));
  }
  if (plan.changes.length > 0) return { fed: 'again', job: null, plan };
  const job = plan.feed;
  return { fed: job ? await feedNext(context, tx, situation.session, job) : null, job, plan };
}

/**
 * Reports a job whose next message cannot be written although the database works. After `maxFaults` failures the job is paused, so that the other
 * jobs of the session continue.
 */
async function isolate(context: FeedContext, { id, sessionId, accountId }: BulkJob, error: unknown): Promise<void> {
  const { database, state, faults, report } = context;
  report({ kind: 'bulk', subject: id, accountId, sessionId, ...describeError(error) });
  const times = (faults.get(id) ?? 0) + 1;
  faults.set(id, times);
  if (times < maxFaults) return;
  faults.delete(id);
  await database.write.run(async (tx) => {
    const job = await state.lock(tx, { id, sessionId });
    if (job?.status !== 'running' && job?.status !== 'waiting') return;
    await state.change(tx, job, { status: 'paused', reason: 'CONTENT_UNREADABLE' });
  });
}

/**
 * Reads the situation of a session; null if it has no jobs to feed. `isInside`: the call is inside a transaction, which must not wait for `localeOf`.
 */
async function situationOf(
  { clock, quietUntil, locales, localeOf, triedAt }: FeedContext,
  where: DataSource | EntityManager,
  sessionId: string,
  isInside: boolean,
): Promise<Situation | null> {
  const [session] = await readRows(where, Session, 'id = ?', [sessionId]);
  if (!session) return null;
  const jobs = await readRows(where, BulkJob, session.deletedAt ? jobsOfDeletedSql : jobsSql, [sessionId]);
  if (jobs.length === 0) return null;
  const now = clock.now();
  // In the transaction, `locales` has the value that the call before it has read.
  if (!isInside) locales.set(session.accountId, await localeOf(session.accountId));
  const { rows: planned } = await runStatement<{ at: number | string | null }>(where, nextAtSql, [sessionId]);
  const { rows: busy } = await runStatement(where, busySql, [sessionId, now.getTime() - busyForMs, now.getTime()]);
  const { rows: accounts } = await runStatement(where, activeAccountSql, [session.accountId]);
  const at = planned[0]?.at ?? null;
  return {
    session,
    isAccountActive: accounts.length > 0,
    jobs,
    now,
    quietUntil: quietUntil(session, locales.get(session.accountId)?.timezone ?? 'UTC', now),
    nextAt: at === null ? null : new Date(Number(at)),
    isBusy: busy.length > 0,
    mayTry: ({ id }) => clock.monotonic() - (triedAt.get(id) ?? -Infinity) >= tryQuotaEveryMs,
  };
}

const waitOf = ({ againAt }: Plan, now: Date): number | null => (againAt ? Math.max(1, againAt.getTime() - now.getTime()) : null);

/** Moves a job to `waiting` because a quota or the limit of the queue refused its message. */
async function delay(
  { database, state }: FeedContext,
  { id, sessionId }: BulkJob,
  error: { code: string; details: object },
): Promise<void> {
  const { resetAt } = error.details as { resetAt?: string };
  await database.write.run(async (tx) => {
    const job = await state.lock(tx, { id, sessionId });
    if (!job || (job.status !== 'running' && job.status !== 'waiting')) return;
    const reason = error.code === 'QUOTA_EXCEEDED' ? 'QUOTA_EXCEEDED' : 'QUEUE_FULL';
    await state.change(tx, job, { status: 'waiting', reason, until: resetAt ? new Date(resetAt) : null });
  });
}
