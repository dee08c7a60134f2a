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
import type { FeedContext, FeedParts } from './context.js';
import { feedNext, isDelay, type Fed } from './feed.js';
import { checkNext } from './numbers.js';
import { planOf, type Plan, type Situation } from './plan.js';

/**
 * Hands the messages of jobs to the outbox, one at a time for each session: the next one when the gap has passed and no other message of the session
 * is due. So single sends overtake jobs, several jobs of a session take turns, and the outbox never holds more than one message of them.
 *
 * | two compete | what decides |
 * | --- | --- |
 * | two backends feed one session | both lock the row of the session; the second finds the gap, or the recipient, used |
 * | a feed and a pause, a cancel or an erasure | the same lock: the second sees what the first has written |
 */
export interface Feeder {
  /** Starts to look for jobs that are due. `step` works without it. */
  start(): void;
  stop(): Promise<void>;
  /** Does one step for a session: changes what must change, and hands over at most one message. Returns when to look again, in milliseconds; null: when something happens. */
  step(sessionId: string): Promise<number | null>;
}

/** How often jobs are looked for, and how long a session without a known time is left alone unless something happens. Milliseconds. */
const pollMs = 500;
const idleMs = 2_000;
/** A time that is further ahead is looked at again in between: somebody may have changed a setting. */
const maxWaitMs = 30_000;
const tryQuotaEveryMs = 60_000;
/** A job whose next message could not be written so many times is paused. */
const maxFaults = 3;
/** A message that is due for longer does not delay jobs any more: it may be one that cannot be sent. */
const busyForMs = 600_000;

const activeSql = `SELECT DISTINCT "sessionId" AS id FROM bulk_jobs WHERE status IN ('scheduled', 'running', 'waiting')`;
const nextAtSql = 'SELECT MAX("nextAt") AS at FROM bulk_jobs WHERE "sessionId" = ?';
const busySql = `SELECT 1 AS busy FROM messages WHERE "sessionId" = ? AND "queuedAt" > ?
  AND (status = 'sending' OR (status = 'queued' AND ("nextAttemptAt" IS NULL OR "nextAttemptAt" <= ?))) LIMIT 1`;

interface Running {
  context: FeedContext;
  lanes: Lanes;
  /** When to look at a session again. Monotonic milliseconds. */
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

/** Events after which a session may hand over the next message, or must not any more. */
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
  const { database, clock, log } = context;
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

/** Returns what a step found: 0 when there may be more to do now. */
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
    if (done.job) faults.delete(done.job.id);
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

/** What was done under the lock of a session. `job`: the one whose recipient was to get its message. */
interface Done {
  fed: Fed | null;
  job: BulkJob | null;
  plan: Plan;
}

/** Does under the lock of the session what its situation demands then. */
async function carryOut(context: FeedContext, tx: Transaction, sessionId: string): Promise<Done> {
  await lockRows(tx, Session, [sessionId]);
  const situation = await situationOf(context, tx.manager, sessionId, true);
  if (!situation) return { fed: null, job: null, plan: { changes: [], feed: null, againAt: null } };
  const plan = planOf(situation);
  for (const { job, change } of plan.changes) {
    if (change.status === 'cancelled') await context.state.moveAll(tx, job, 'pending', 'cancelled');
    await context.state.change(tx, job, change);
  }
  if (plan.changes.length > 0) return { fed: 'again', job: null, plan };
  const job = plan.feed;
  return { fed: job ? await feedNext(context, tx, situation.session, job) : null, job, plan };
}

/**
 * Reports a job whose next message cannot be written although the database works. After a few times the job is paused, so that the other jobs of
 * the session go on.
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

async function situationOf(
  { clock, quietUntil, locales, localeOf, triedAt }: FeedContext,
  where: DataSource | EntityManager,
  sessionId: string,
  isInside: boolean,
): Promise<Situation | null> {
  const [session] = await readRows(where, Session, 'id = ?', [sessionId]);
  if (!session) return null;
  const jobs = await readRows(where, BulkJob, `"sessionId" = ? AND status IN ('scheduled', 'running', 'waiting')`, [sessionId]);
  if (jobs.length === 0) return null;
  const now = clock.now();
  // Inside a transaction it was read right before.
  if (!isInside) locales.set(session.accountId, await localeOf(session.accountId));
  const { rows: planned } = await runStatement<{ at: number | string | null }>(where, nextAtSql, [sessionId]);
  const { rows: busy } = await runStatement(where, busySql, [sessionId, now.getTime() - busyForMs, now.getTime()]);
  const at = planned[0]?.at ?? null;
  return {
    session,
    jobs,
    now,
    quietUntil: quietUntil(session, locales.get(session.accountId)?.timezone ?? 'UTC', now),
    nextAt: at === null ? null : new Date(Number(at)),
    isBusy: busy.length > 0,
    mayTry: ({ id }) => clock.monotonic() - (triedAt.get(id) ?? -Infinity) >= tryQuotaEveryMs,
  };
}

const waitOf = ({ againAt }: Plan, now: Date): number | null => (againAt ? Math.max(1, againAt.getTime() - now.getTime()) : null);

/** Lets a job wait because its message was not accepted. */
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
