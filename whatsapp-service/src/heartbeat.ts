import { availableParallelism } from 'node:os';
import { backendInternalRoutes, heartbeat as heartbeatSchema, observedSession, type Heartbeat } from '@chasqui/shared';
import type { BackendCall } from './backend.js';
import type { Clock } from './clock.js';
import { errorFields, type Log } from './log.js';
import type { Problems } from './problems.js';
import { instant } from './sessions/lease.js';
import type { Registry } from './sessions/registry.js';
import type { Session } from './sessions/session.js';
import { emptyMetrics } from './sessions/session-state.js';

/**
 * Reports the sessions of this worker to the backend and applies its reply. This loop restores the desired state after a restart of any
 * process. Without a reply the sessions continue to run (docs/decisions/020): only an explicit command stops them.
 */
export interface HeartbeatLoop {
  /** Sends the first heartbeat at once, later ones at the interval, and sooner after one without a reply. */
  start(): void;
  /** Sends no further heartbeat. A reply that arrives later is not applied. */
  stop(): void;
}

export interface HeartbeatOptions {
  call: BackendCall;
  registry: Registry;
  worker: { workerId: string; bootId: string; url: string; version: string; capacity: number; memoryLimitMb: number | null };
  everyMs: number;
  isHealthy: () => boolean;
  problems: Problems;
  clock: Clock;
  log: Log;
}

interface Context extends HeartbeatOptions {
  isStopped: boolean;
  cancelNext: () => void;
  isBackendSilent: boolean;
  /** The processor time of this process at the last heartbeat. */
  usedBefore: { at: number; usage: NodeJS.CpuUsage };
}

const callTimeoutMs = 5_000;
/** The maximum interval while the backend does not answer. It is short, because a backend that has just started must learn which sessions run. */
const retryMs = 1_000;

export function createHeartbeat(options: HeartbeatOptions): HeartbeatLoop {
  const context: Context = {
    ...options,
    isStopped: false,
    cancelNext: () => undefined,
    isBackendSilent: false,
    usedBefore: { at: options.clock.monotonic(), usage: process.cpuUsage() },
  };
  return {
    start: () => void beat(context),
    stop() {
      context.isStopped = true;
      context.cancelNext();
    },
  };
}

async function beat(context: Context): Promise<void> {
  const { call, registry, everyMs, problems, clock, log } = context;
  try {
    const requestedAt = instant(clock);
    const body = bodyOf(context);
    const { data } = await call(backendInternalRoutes.heartbeat, { body }, { timeoutMs: callTimeoutMs });
    problems.reported(body.problems);
    if (context.isBackendSilent) log.info('The backend answers again.');
    context.isBackendSilent = false;
    // Not awaited: if one session takes long to stop, the others must not lose their lease.
    if (!context.isStopped)
      void registry
        .reconcile(data, requestedAt)
        .catch((error: unknown) => problems.note('TASK_FAILED', { detail: 'heartbeat', error }));
  } catch (error) {
    if (!context.isBackendSilent) log.warn('The backend does not answer; sessions continue to run.', errorFields(error));
    context.isBackendSilent = true;
  }
  const delayMs = context.isBackendSilent ? Math.min(retryMs, everyMs) : everyMs;
  if (!context.isStopped) context.cancelNext = clock.after(delayMs, () => void beat(context));
}

function bodyOf(context: Context) {
  const { registry, worker, problems } = context;
  const sessions = registry.all().flatMap((session) => entryOf(session, problems));
  return {
    ...worker,
    draining: registry.isDraining(),
    memoryMb: registry.memoryMb(),
    cpuPercent: loadPercent(context, sessions),
    proxies: true,
    status: context.isHealthy() ? ('ok' as const) : ('degraded' as const),
    // After the sessions, because reading them may add one.
    problems: problems.unreported(),
    sessions,
  };
}

const heartbeatSession = heartbeatSchema.shape.sessions.element;

/**
 * The heartbeat's entry of one session. One invalid value would make the backend refuse the whole heartbeat, and all sessions would lose
 * their lease. So if the entry does not match the contract, the values that come from the page are left out.
 */
function entryOf(session: Session, problems: Problems): Heartbeat['sessions'] {
  const sessionId = session.id;
  try {
    const full = session.observe();
    if (observedSession.safeParse(full).success) return [full];
    problems.note('TASK_FAILED', { sessionId, detail: 'heartbeat: the session does not match the contract' });
    const bare = { ...full, compat: [], selfCheck: null, whatsappWebVersion: null, lastRoundTripAt: null, metrics: emptyMetrics };
    return heartbeatSession.safeParse(bare).success ? [bare] : [];
  } catch (error) {
    problems.note('TASK_FAILED', { sessionId, detail: 'heartbeat: the session cannot be observed', error });
    return [];
  }
}

/** Processor use of this process and the browsers since the last heartbeat, in percent of all processors of the machine. */
function loadPercent(context: Context, sessions: Heartbeat['sessions']): number {
  const { usedBefore, clock } = context;
  const now = { at: clock.monotonic(), usage: process.cpuUsage() };
  const usedMs = (now.usage.user + now.usage.system - usedBefore.usage.user - usedBefore.usage.system) / 1000;
  const own = (usedMs / Math.max(1, now.at - usedBefore.at)) * 100;
  context.usedBefore = now;
  const browsers = sessions.reduce((sum, { metrics }) => sum + (metrics.cpuPercent ?? 0), 0);
  return Math.round(((own + browsers) / availableParallelism()) * 10) / 10;
}
