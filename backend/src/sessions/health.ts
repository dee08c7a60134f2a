import { AppError, type ObservedSession, type SessionHealth, type SessionMetricsResource } from '@chasqui/shared';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Caller } from '../accounts/caller.js';
import { auditSession, type SessionContext } from './context.js';
import { restrictionsOf } from './restrictions.js';
import type { Session } from './session.entity.js';
import { lockSession } from './state.js';
import { liftThrottle, presentThrottle } from './throttle.js';

/** See `Sessions.health`. */
export async function healthOf(context: SessionContext, session: Session): Promise<SessionHealth> {
  const live = await ask(context, session);
  const check = readable(session.selfCheck, null);
  const nowMs = context.clock.now().getTime();
  return {
    stale: live === null,
    lastRoundTripAt: live?.lastRoundTripAt ?? null,
    roundTripMs: live ? live.metrics.roundTripMs : session.roundTripMs,
    canaryAt: live?.canaryAt ?? null,
    recoveryStep: live?.recoveryStep ?? null,
    restrictions: restrictionsOf(session, nowMs),
    throttle: presentThrottle(session, nowMs),
    linkedDevices: readable(session.accountLimits, null)?.linkedDevices ?? null,
    loginCopy: live?.loginCopy === undefined ? readable(session.loginCopy, null) : live.loginCopy,
    selfCheck: check,
  };
}

/** See `Sessions.metrics`. */
export async function metricsOf(context: SessionContext, session: Session): Promise<SessionMetricsResource> {
  const live = await ask(context, session);
  const since = context.clock.now().getTime() - 60_000;
  const sql = `SELECT COUNT(*) AS sent FROM messages WHERE "sessionId" = ? AND direction = 'outbound' AND "sentAt" > ?`;
  const { rows } = await runStatement(context.database.reader.manager, sql, [session.id, since]);
  const [counted] = rows as { sent: number | string }[];
  return {
    stale: live === null,
    memoryMb: live ? live.metrics.memoryMb : session.memoryMb,
    cpuPercent: live?.metrics.cpuPercent ?? null,
    processes: live?.metrics.processes ?? 0,
    browserUptimeSeconds: live?.metrics.browserUptimeSeconds ?? null,
    recycleAboveMb: live?.metrics.recycleAboveMb ?? null,
    recycles: session.recycles,
    queueDepth: live?.metrics.queueDepth ?? 0,
    sendsPerMinute: Number(counted?.sent ?? 0),
    roundTripMs: live ? live.metrics.roundTripMs : session.roundTripMs,
  };
}

/** See `Sessions.unthrottle`. */
export async function unthrottleSession(context: SessionContext, caller: Caller, session: Session): Promise<SessionHealth> {
  const row = await context.database.write.run(async (tx) => {
    const locked = await lockSession(tx, session.id);
    await liftThrottle(context, tx, locked);
    await auditSession(context, tx, caller, 'session.unthrottle', locked);
    return locked;
  });
  return healthOf(context, row);
}

/** Asks the worker for the current state of the session. Null: the session has no worker, or its worker does not answer. */
async function ask({ gateway }: SessionContext, session: Session): Promise<ObservedSession | null> {
  if (session.workerId === null) return null;
  try {
    return await gateway.status(session);
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}
