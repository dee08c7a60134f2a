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

const heartbeatSession = heartbeatSchema.shape.sessions.element;

/**
 * Reports the sessions of this worker to the backend and applies its reply. This loop restores the desired state after a restart of any
 * process. Without a reply the sessions continue to run (docs/decisions/020): only an explicit command stops them.
 */
export function createHeartbeat(options: {
  call: BackendCall;
  registry: Registry;
  worker: { workerId: string; bootId: string; url: string; version: string; capacity: number; memoryLimitMb: number | null };
  everyMs: number;
  isHealthy: () => boolean;
  problems: Problems;
  clock: Clock;
  log: Log;
}) {
  const { call, registry, worker, problems, clock, log } = options;
  let stopped = false;
  let cancel = (): void => undefined;
  let isBackendSilent = false;

  /**
   * The heartbeat's entry of one session. One invalid value would make the backend refuse the whole heartbeat, and all sessions would lose
   * their lease. So if the entry does not match the contract, the values that come from the page are left out.
   */
  function observed(session: Session): Heartbeat['sessions'] {
    try {
      const full = session.observe();
      if (observedSession.safeParse(full).success) return [full];
      problems.note('TASK_FAILED', { sessionId: session.id, detail: 'heartbeat: the session does not match the contract' });
      const bare = { ...full, compat: [], whatsappWebVersion: null, lastRoundTripAt: null, metrics: emptyMetrics };
      return heartbeatSession.safeParse(bare).success ? [bare] : [];
    } catch (error) {
      problems.note('TASK_FAILED', { sessionId: session.id, detail: 'heartbeat: the session cannot be observed', error });
      return [];
    }
  }

  let usedBefore = { at: clock.monotonic(), usage: process.cpuUsage() };

  /** Processor use of this process and the browsers, in percent of all processors of the machine. */
  function load(sessions: Heartbeat['sessions']): number {
    const now = { at: clock.monotonic(), usage: process.cpuUsage() };
    const usedMs = (now.usage.user + now.usage.system - usedBefore.usage.user - usedBefore.usage.system) / 1000;
    const own = (usedMs / Math.max(1, now.at - usedBefore.at)) * 100;
    usedBefore = now;
    const browsers = sessions.reduce((sum, { metrics }) => sum + (metrics.cpuPercent ?? 0), 0);
    return Math.round(((own + browsers) / availableParallelism()) * 10) / 10;
  }

  async function beat(): Promise<void> {
    try {
      const requestedAt = instant(clock);
      const sessions = registry.all().flatMap(observed);
      const unreported = problems.unreported();
      const body = {
        ...worker,
        draining: registry.isDraining(),
        memoryMb: registry.memoryMb(),
        cpuPercent: load(sessions),
        status: options.isHealthy() ? ('ok' as const) : ('degraded' as const),
        problems: unreported,
        sessions,
      };
      const { data } = await call(backendInternalRoutes.heartbeat, { body }, { timeoutMs: 5_000 });
      problems.reported(unreported);
      if (isBackendSilent) log.info('The backend answers again.');
      isBackendSilent = false;
      // Not awaited: if one session takes long to stop, the others must not lose their lease.
      if (!stopped)
        void registry
          .reconcile(data, requestedAt)
          .catch((error: unknown) => problems.note('TASK_FAILED', { detail: 'heartbeat', error }));
    } catch (error) {
      if (!isBackendSilent) log.warn('The backend does not answer; sessions continue to run.', errorFields(error));
      isBackendSilent = true;
    }
    // Sooner after a failure: a backend that has just started needs to know its sessions.
    if (!stopped) cancel = clock.after(isBackendSilent ? Math.min(1_000, options.everyMs) : options.everyMs, () => void beat());
  }

  return {
    start: (): void => void beat(),
    stop(): void {
      stopped = true;
      cancel();
    },
  };
}
