import { AppError, type Heartbeat } from '@chasqui/shared';
import { IsNull, LessThan, MoreThan, Not, In, type DataSource, type EntityManager } from 'typeorm';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { among, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import { lockSession, reasonFor, type SessionState } from '../sessions/state.js';
import { Worker } from './worker.entity.js';

/** Grants the leases of sessions to workers, and ends leases that no worker renews. */

export interface LeaseContext extends Core {
  state: SessionState;
  leaseMs: number;
  /** When this process started, on the monotonic clock. */
  startedAt: number;
}

/** A session as a heartbeat reports it. */
export type ReportedSession = Heartbeat['sessions'][number];

/** The maximum difference between the clocks of two backends. A stored time that differs more counts as wrong. */
const clockSkewMs = 5_000;

const endedStatuses = ['disconnected', 'error', 'suspended'] as const;

/** Whether a worker runs the session, as it reports it. */
export const isRunning = (session: ReportedSession | undefined): boolean =>
  session !== undefined && session.status !== 'disconnected' && session.status !== 'error';

/** Records that one session failed by itself. */
export function reportSession({ log, report }: Core, sessionId: string, error: unknown): void {
  log.error('A session could not be updated by its heartbeat; the other sessions were.', { sessionId, ...errorFields(error) });
  report({ kind: 'heartbeat', subject: sessionId, sessionId, ...describeError(error) });
}

/**
 * Grants the worker leases of sessions that should run and that no worker runs, up to its capacity. Each update requires that the row is as it was
 * read, so of two workers only one gets the session.
 */
export async function grantLeases(context: LeaseContext, beat: Heartbeat): Promise<void> {
  const { database, clock, log, leaseMs } = context;
  const free = beat.draining ? 0 : beat.capacity - beat.sessions.filter(isRunning).length;
  if (free <= 0 || (await isDrained(context, beat.workerId))) return;
  const now = clock.now();
  const waiting = await database.reader.getRepository(Session).find({
    where: { desired: 'running', deletedAt: IsNull(), status: Not('suspended') },
    select: { id: true, accountId: true, workerId: true, phoneNumber: true, leaseEpoch: true, leaseExpiresAt: true },
    order: { createdAt: 'ASC' },
  });
  // A session without a linked phone has no login that would be left behind on its former worker.
  const isLeftBehind = ({ workerId, phoneNumber, leaseExpiresAt }: Session): boolean =>
    workerId !== beat.workerId && phoneNumber === null && leaseExpiresAt !== null && leaseExpiresAt <= now;
  const candidates = waiting.filter((session) => session.workerId === null || isLeftBehind(session));
  const inactive = await inactiveAccounts(database.reader, candidates);
  const orphans = candidates.filter(({ accountId }) => !inactive.has(accountId));
  for (const { id, workerId, leaseEpoch } of orphans.slice(0, free)) {
    const asRead = { id, leaseEpoch, workerId: workerId ?? IsNull() };
    const lease = { workerId: beat.workerId, leaseEpoch: leaseEpoch + 1, leaseExpiresAt: new Date(now.getTime() + leaseMs) };
    try {
      const granted = await database.write.run((tx) => updateRows(tx, Session, asRead, lease));
      if (granted === 1)
        log.info('A session was leased to a worker.', { sessionId: id, workerId: beat.workerId, from: workerId });
    } catch (error) {
      if (isSystemError(error)) throw error;
      reportSession(context, id, error);
    }
  }
}

/** Whether staff have asked that this worker gets no new sessions. */
const isDrained = ({ database }: Core, id: string): Promise<boolean> =>
  database.reader.getRepository(Worker).existsBy({ id, drainRequested: true });

/** Returns the deactivated accounts among those of the sessions. Their sessions do not run, but their desired state does not change. */
export async function inactiveAccounts(
  source: DataSource | EntityManager,
  sessions: readonly { accountId: string }[],
): Promise<Set<string>> {
  const ids = [...new Set(sessions.map(({ accountId }) => accountId))];
  if (ids.length === 0) return new Set();
  const { condition, parameter } = among(source, 'id', ids);
  const { rows } = await runStatement(source, `SELECT id FROM accounts WHERE ${condition} AND NOT "isActive"`, [parameter]);
  return new Set((rows as { id: string }[]).map(({ id }) => id));
}

/**
 * Sets sessions whose lease has expired to `disconnected` with `WORKER_LOST`. Does nothing within one lease of this process's start: until then
 * the missing heartbeats may be this process's fault. Returns the number of such sessions.
 */
export async function expireLeases(context: LeaseContext): Promise<number> {
  const { database, clock, leaseMs, startedAt } = context;
  if (clock.monotonic() < startedAt + leaseMs) return 0;
  await shortenLeases(context);
  const now = clock.now();
  const expired = await database.reader.getRepository(Session).find({
    where: { leaseExpiresAt: LessThan(now), status: Not(In(endedStatuses)), deletedAt: IsNull() },
    select: { id: true },
  });
  let lost = 0;
  for (const { id } of expired)
    try {
      if (await expireLease(context, id, now)) lost += 1;
    } catch (error) {
      // Deleted since it was looked up: it no longer has a lease.
      if (error instanceof AppError && error.code === 'SESSION_NOT_FOUND') continue;
      if (isSystemError(error)) throw error;
      reportSession(context, id, error);
    }
  return lost;
}

/** Returns whether the session was lost: another backend may have been first. */
const expireLease = ({ database, state }: LeaseContext, id: string, now: Date): Promise<boolean> =>
  database.write.run(async (tx) => {
    const session = await lockSession(tx, id);
    const isExpired = session.leaseExpiresAt !== null && session.leaseExpiresAt < now;
    const hasEnded = endedStatuses.some((status) => status === session.status);
    if (!isExpired || hasEnded) return false;
    await loseSession(state, tx, session);
    return true;
  });

/**
 * The worker that ran the session is gone. It starts again with its worker, or on another one; with `autoReconnect` off only when a person starts
 * it.
 */
export async function loseSession(state: SessionState, tx: Transaction, session: Session): Promise<void> {
  const returns = readable(session.settings, null)?.autoReconnect !== false;
  if (returns) await state.move(tx, session, 'disconnected', reasonFor('WORKER_LOST'));
  else await state.move(tx, session, 'disconnected', reasonFor('RECONNECT_OFF'), { desired: 'stopped' });
}

/** A lease that ends later than a new one would was written before the clock was set back. It would keep its session for as long. */
async function shortenLeases({ database, clock, leaseMs }: LeaseContext): Promise<void> {
  const latest = new Date(clock.now().getTime() + leaseMs + clockSkewMs);
  const tooLong = { leaseExpiresAt: MoreThan(latest), deletedAt: IsNull() };
  const found = await database.reader.getRepository(Session).find({ where: tooLong, select: { id: true } });
  for (const { id } of found) {
    const leaseExpiresAt = new Date(clock.now().getTime() + leaseMs);
    await database.write.run((tx) => updateRows(tx, Session, { id, leaseExpiresAt: MoreThan(latest) }, { leaseExpiresAt }));
  }
}
