import type { Heartbeat, HeartbeatReply, WorkerSettings } from '@chasqui/shared';
import { IsNull } from 'typeorm';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { among, lockRows, updateRows } from '../db/rows.js';
import { behindSavepoint } from '../db/savepoint.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { errorFields } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import { patchSession, type SessionState } from '../sessions/state.js';
import {
  expireLeases,
  grantLeases,
  inactiveAccounts,
  isRunning,
  loseSession,
  reportSession,
  type LeaseContext,
  type ReportedSession,
} from './leases.js';
import { caughtUpOf, workerSettingsOf, type WorkerSettingParts } from './worker-settings.js';
import { Worker } from './worker.entity.js';

/**
 * Reconciles the desired and the observed state of sessions. A worker reports the sessions that it runs, and the reply says which it should run.
 *
 * | found | then |
 * | --- | --- |
 * | a session of this worker | its lease is renewed |
 * | desired `running`, not running there | the reply names the session to start |
 * | desired `stopped`, suspended, or of a deactivated account, running there | the reply names the session to stop |
 * | the session has a proxy, and the worker is too old to use one | as if stopped were desired |
 * | desired `running`, not leased | leased to this worker under the next epoch |
 * | the same, the lease of another worker has expired, and no phone is linked | likewise: no login would be left behind |
 * | the same, with a phone linked | waits for its worker, which has the login on its disk; `connect` moves it by hand |
 * | running there, leased to another worker or deleted | revoked |
 * | a lease that expired | `disconnected` with `WORKER_LOST` |
 * | `autoReconnect` off, and the lease expired or the worker has another process | `disconnected` with `RECONNECT_OFF`, desired `stopped` |
 *
 * A reply names only changes, so that a heartbeat that was on its way while a user started or stopped a session does not undo that.
 */
export interface Heartbeats {
  /** Records a heartbeat and returns which sessions the worker should run. One session that fails does not fail the others. */
  receive(beat: Heartbeat): Promise<HeartbeatReply>;
  /** Disconnects sessions whose lease has expired. Returns their number. */
  expireLeases(): Promise<number>;
  /** Starts to check for expired leases, four times within a lease. */
  start(): void;
  stop(): void;
}

export interface HeartbeatParts extends WorkerSettingParts {
  state: SessionState;
  leaseMs: number;
  /** Deletes what a worker still has on its disk of deleted sessions. */
  wipePending: (workerId: string) => Promise<void>;
}

interface Context extends LeaseContext, HeartbeatParts {
  /** Sessions whose last heartbeats reported another status than their row. */
  mismatches: Map<string, Mismatch>;
}

/** A difference between heartbeats and a row: the reported status, the row's time of change, and the number of heartbeats in a row. */
interface Mismatch {
  status: string;
  updatedAt: number;
  beats: number;
}

/** After this many heartbeats with the same mismatch its event counts as lost, and the status is recorded from the heartbeat. */
const mismatchesToRecord = 3;
/** The number of problems that are recorded from one heartbeat. */
const maxProblems = 100;

export function createHeartbeats(core: Core, parts: HeartbeatParts): Heartbeats {
  const context: Context = { ...core, ...parts, startedAt: core.clock.monotonic(), mismatches: new Map() };
  let timer: NodeJS.Timeout | undefined;
  let checking: Promise<unknown> | null = null;
  /** One pass at a time: on a slow database a second one would only wait for the first. */
  const checkLeases = (): void => {
    checking ??= expireLeases(context)
      .catch((error: unknown) => core.log.error('Expired leases could not be checked; it is retried.', errorFields(error)))
      .finally(() => (checking = null));
  };
  return {
    receive: (beat) => receive(context, beat),
    expireLeases: () => expireLeases(context),
    start(): void {
      timer = setInterval(checkLeases, Math.max(500, parts.leaseMs / 4));
      timer.unref();
    },
    stop: () => clearInterval(timer),
  };
}

async function receive(context: Context, beat: Heartbeat): Promise<HeartbeatReply> {
  reportProblems(context, beat);
  await grantLeases(context, beat);
  const reply = await reconcile(context, beat);
  context
    .wipePending(beat.workerId)
    .catch((error: unknown) =>
      context.log.error('A login could not be deleted; the next heartbeat tries again.', errorFields(error)),
    );
  return reply;
}

/** Records the problems that the worker reports, at most `maxProblems` of one heartbeat. */
function reportProblems({ report }: Context, { workerId, problems = [] }: Heartbeat): void {
  for (const { code, sessionId, detail, at, count, report: reportId } of problems.slice(0, maxProblems))
    report({
      kind: 'worker',
      subject: [workerId, sessionId ?? ''].join(' ').trim(),
      sessionId,
      code,
      detail,
      at: new Date(at),
      count,
      reportId,
    });
}

async function reconcile(context: Context, beat: Heartbeat): Promise<HeartbeatReply> {
  const { mismatches } = context;
  const before = new Map(mismatches);
  try {
    return await reconcileOnce(context, beat, null);
  } catch (error) {
    if (isSystemError(error)) throw error;
  }
  // One session failed and rolled back the whole transaction. The second attempt isolates each session, at the cost of two more statements for each.
  mismatches.clear();
  for (const [id, mismatch] of before) mismatches.set(id, mismatch);
  const failed = new Map<string, unknown>();
  const reply = await reconcileOnce(context, beat, failed);
  for (const [sessionId, error] of failed) reportSession(context, sessionId, error);
  return reply;
}

/**
 * Updates the worker and its sessions and returns what the worker should run. With `failed` null the first session that fails rolls back all.
 * Otherwise each session is behind a savepoint of its own, and those that fail are added to `failed`.
 */
function reconcileOnce(context: Context, beat: Heartbeat, failed: Map<string, unknown> | null): Promise<HeartbeatReply> {
  const { database, clock, leaseMs } = context;
  return database.write.run(async (tx) => {
    failed?.clear();
    const now = clock.now();
    const isNewProcess = await recordWorker(tx, beat, now);
    const { workerId } = beat;
    const ids = await tx.manager.find(Session, {
      where: { workerId, deletedAt: IsNull() },
      select: { id: true, leaseEpoch: true },
    });
    await lockRows(
      tx,
      Session,
      ids.map(({ id }) => id),
    );
    const read = failed
      ? await readEach(tx, ids, failed)
      : await tx.manager.find(Session, { where: { workerId, deletedAt: IsNull() } });
    const sessions = await byImportance(tx, read);
    const inactive = await inactiveAccounts(tx.manager, read);
    const expiresAt = new Date(now.getTime() + leaseMs);
    await updateRows(tx, Session, { workerId, deletedAt: IsNull() }, { leaseExpiresAt: expiresAt });
    const reported = new Map(beat.sessions.map((session) => [session.sessionId, session]));
    const reply: HeartbeatReply = { leaseMs, leases: [], desired: [], revoke: [] };
    const reconcileInto = (own: Transaction, session: Session): Promise<void> =>
      reconcileSession(context, own, session, {
        reported: reported.get(session.id),
        isNewProcess,
        canUseProxies: beat.proxies ?? false,
        inactive,
        now,
        expiresAt,
        reply,
      });
    for (const session of sessions)
      if (failed) await behindSavepoint(tx, 'session', (own) => reconcileInto(own, session)).catch(recordIn(failed, session.id));
      else await reconcileInto(tx, session);
    // The lease of a failed session was renewed as well: the worker keeps it, under the settings that it has.
    for (const { id: sessionId, leaseEpoch: epoch } of ids)
      if (failed?.has(sessionId)) reply.leases.push({ sessionId, epoch, expiresAt: expiresAt.toISOString() });
    const known = new Set(ids.map(({ id }) => id));
    for (const { sessionId, epoch } of beat.sessions) if (!known.has(sessionId)) reply.revoke.push({ sessionId, epoch });
    return reply;
  });
}

/** Records the error of one session. Throws errors of the whole database, after which nothing else would succeed. */
const recordIn =
  (failed: Map<string, unknown>, sessionId: string) =>
  (error: unknown): void => {
    if (isSystemError(error)) throw error;
    failed.set(sessionId, error);
  };

/** Returns whether the worker's process is another one than with its last heartbeat. */
async function recordWorker(tx: Transaction, beat: Heartbeat, now: Date): Promise<boolean> {
  const { workerId: id, url, bootId, version, draining, capacity } = beat;
  const memory = {
    memoryMb: Math.round(beat.memoryMb),
    memoryLimitMb: beat.memoryLimitMb,
    cpuPercent: beat.cpuPercent === null ? null : Math.round(beat.cpuPercent),
  };
  const sessions = beat.sessions.filter(isRunning).length;
  const degraded = beat.status === 'degraded';
  const row = { id, url, bootId, version, draining, degraded, capacity, ...memory, sessions, lastHeartbeatAt: now };
  const known = await tx.manager.findOneBy(Worker, { id });
  await tx.manager.upsert(Worker, row, ['id']);
  return known !== null && known.bootId !== bootId;
}

/** Reads sessions one by one, so that a row that cannot be read excludes only itself. */
async function readEach(tx: Transaction, ids: readonly { id: string }[], failed: Map<string, unknown>): Promise<Session[]> {
  const sessions: Session[] = [];
  for (const { id } of ids)
    try {
      sessions.push(await tx.manager.findOneByOrFail(Session, { id }));
    } catch (error) {
      recordIn(failed, id)(error);
    }
  return sessions;
}

/**
 * Sorts sessions by the order in which the worker should start them when many wait: those that have messages to send first, then those
 * connected most recently.
 */
async function byImportance(tx: Transaction, sessions: Session[]): Promise<Session[]> {
  if (sessions.length < 2) return sessions;
  const { condition, parameter } = among(
    tx.manager,
    'id',
    sessions.map(({ id }) => id),
  );
  const { rows: busy } = await runStatement(
    tx.manager,
    `SELECT id FROM sessions WHERE ${condition} AND EXISTS
      (SELECT 1 FROM messages m WHERE m.status IN ('queued', 'sending', 'uncertain') AND m."sessionId" = sessions.id)`,
    [parameter],
  );
  const hasWork = new Set((busy as { id: string }[]).map(({ id }) => id));
  const seenAt = (session: Session): number => session.lastSeen?.getTime() ?? 0;
  return sessions.sort((a, b) => Number(hasWork.has(b.id)) - Number(hasWork.has(a.id)) || seenAt(b) - seenAt(a));
}

/** Records what the worker reports of a session, and adds its lease and a changed order to the reply. */
async function reconcileSession(
  context: Context,
  tx: Transaction,
  session: Session,
  round: {
    reported: ReportedSession | undefined;
    isNewProcess: boolean;
    canUseProxies: boolean;
    inactive: ReadonlySet<string>;
    now: Date;
    expiresAt: Date;
    reply: HeartbeatReply;
  },
): Promise<void> {
  const { reported, isNewProcess, canUseProxies, inactive, now, expiresAt, reply } = round;
  if (reported) await recordReport(context, tx, session, reported, now);
  else if (isNewProcess && staysLost(session)) await loseSession(context.state, tx, session);
  const settings = await workerSettingsOf(context, session, tx.manager);
  reply.leases.push({ sessionId: session.id, epoch: session.leaseEpoch, expiresAt: expiresAt.toISOString(), settings });
  // An older worker would ignore the proxy and connect without it.
  const isUsable = canUseProxies || !settings.proxy;
  const shouldRun =
    session.desired === 'running' && session.status !== 'suspended' && !inactive.has(session.accountId) && isUsable;
  if (shouldRun === (isRunning(reported) && reported?.epoch === session.leaseEpoch)) return;
  if (!shouldRun && !isRunning(reported)) return;
  reply.desired.push(desiredOf(session, shouldRun, settings));
}

/**
 * Whether a session that a new process of its worker does not know waits for a person. One that is `initializing` was started since; the order is on
 * its way.
 */
const staysLost = ({ desired, status, reasonCode, settings }: Session): boolean =>
  desired === 'running' &&
  readable(settings, null)?.autoReconnect === false &&
  (['qr_pending', 'passkey_required', 'connecting', 'connected'].includes(status) ||
    (status === 'disconnected' && reasonCode === 'WORKER_LOST'));

const desiredOf = (session: Session, shouldRun: boolean, settings: WorkerSettings): HeartbeatReply['desired'][number] => ({
  sessionId: session.id,
  state: shouldRun ? 'running' : 'stopped',
  epoch: session.leaseEpoch,
  settings,
  deviceName: session.deviceName,
  caughtUp: caughtUpOf(session),
});

/** Writes what the worker measured, and its status if the events about it are lost. */
async function recordReport(
  { state, mismatches }: Context,
  tx: Transaction,
  session: Session,
  reported: ReportedSession,
  now: Date,
): Promise<void> {
  const { memoryMb, roundTripMs } = reported.metrics;
  // After a restore from a backup the database has an older epoch than the worker, which would refuse every command under it.
  const leaseEpoch = Math.max(session.leaseEpoch, reported.epoch);
  await patchSession(tx, session, {
    leaseEpoch,
    memoryMb: memoryMb === null ? null : Math.round(memoryMb),
    roundTripMs: roundTripMs === null ? null : Math.round(roundTripMs),
    ...(reported.compat.length > 0 ? { compat: reported.compat } : {}),
    ...newCheckOf(session, reported),
    ...newCopyOf(session, reported),
    ...(reported.status === 'connected' ? { lastSeen: now } : {}),
  });
  if (reported.epoch === leaseEpoch && isEventLost(mismatches, session, reported)) await state.observe(tx, session, reported);
}

/** A heartbeat repeats the last check; it is written once. */
const newCheckOf = (session: Session, { selfCheck }: ReportedSession): Partial<Session> =>
  selfCheck && readable(session.selfCheck, null)?.checkedAt !== selfCheck.checkedAt ? { selfCheck } : {};

/** The copy of the login, where it is another one than is stored. */
const newCopyOf = (session: Session, { loginCopy }: ReportedSession): Partial<Session> =>
  loginCopy !== undefined && readable(session.loginCopy, null)?.copiedAt !== loginCopy?.copiedAt ? { loginCopy } : {};

/**
 * Whether to record the reported status. Normally the worker's events do that, because they describe each step in order. But a session that was set
 * to `WORKER_LOST` while its worker continued is back with the first heartbeat, and one that differs in several heartbeats has lost an event.
 */
function isEventLost(mismatches: Map<string, Mismatch>, session: Session, { status }: ReportedSession): boolean {
  if (status === session.status || session.status === 'suspended') {
    mismatches.delete(session.id);
    return false;
  }
  if (session.reasonCode === 'WORKER_LOST' && session.status === 'disconnected') return true;
  const before = mismatches.get(session.id);
  const updatedAt = session.updatedAt.getTime();
  const isSame = before?.status === status && before.updatedAt === updatedAt;
  const beats = isSame ? before.beats + 1 : 1;
  mismatches.set(session.id, { status, updatedAt, beats });
  return beats >= mismatchesToRecord;
}
