import { sessionStatuses } from '@chasqui/shared';
import type { Meter, SetGauge } from '@chasqui/shared/metrics';
import type { Disk } from './disk.js';
import type { Outlet } from './events/outlet.js';
import type { Problems } from './problems.js';
import type { FinalOutcome } from './sends/record.js';
import type { Registry } from './sessions/registry.js';

/** The metrics of the worker. Gauges show what is in memory now; the browsers are measured by their sessions (sessions/health.ts). */
export interface GaugeParts {
  registry: Pick<Registry, 'all' | 'isDraining'>;
  outlet: Pick<Outlet, 'pending'>;
  disk: Pick<Disk, 'freeMb' | 'check'>;
  isHealthy: () => boolean;
  capacity: number;
}

export function registerGauges(meter: Meter, { registry, outlet, disk, isHealthy, capacity }: GaugeParts): void {
  meter.collect(
    'worker',
    [
      'chasqui_worker_capacity',
      'chasqui_worker_degraded',
      'chasqui_worker_draining',
      'chasqui_outlet_events',
      'chasqui_disk_free_bytes',
    ],
    (set) => {
      set('chasqui_worker_capacity', {}, capacity);
      set('chasqui_worker_degraded', {}, isHealthy() ? 0 : 1);
      set('chasqui_worker_draining', {}, registry.isDraining() ? 1 : 0);
      set('chasqui_outlet_events', {}, outlet.pending());
      const freeMb = disk.freeMb();
      if (freeMb !== null) set('chasqui_disk_free_bytes', {}, freeMb * 1_048_576);
    },
  );
  meter.collect(
    'sessions',
    [
      'chasqui_worker_sessions',
      'chasqui_browser_memory_bytes',
      'chasqui_browser_cpu_ratio',
      'chasqui_browser_processes',
      'chasqui_session_round_trip_seconds',
    ],
    (set) => measureSessions(registry, set),
  );
}

/** Sessions without a browser have a status and no measurements. */
function measureSessions(registry: GaugeParts['registry'], set: SetGauge): void {
  const all = registry.all().map((session) => ({ isRunning: session.isRunning(), ...session.observe() }));
  for (const status of sessionStatuses)
    set('chasqui_worker_sessions', { status }, all.filter((session) => session.status === status).length);
  for (const { sessionId, isRunning, metrics } of all) {
    if (!isRunning) continue;
    const session = { session_id: sessionId };
    if (metrics.memoryMb !== null) set('chasqui_browser_memory_bytes', session, Math.round(metrics.memoryMb * 1_048_576));
    if (metrics.cpuPercent !== null) set('chasqui_browser_cpu_ratio', session, metrics.cpuPercent / 100);
    set('chasqui_browser_processes', session, metrics.processes);
    if (metrics.roundTripMs !== null) set('chasqui_session_round_trip_seconds', session, metrics.roundTripMs / 1000);
  }
}

/** Returns the function that counts a send. */
export function countSends(meter: Meter): (outcome: FinalOutcome['outcome'], ms: number) => void {
  for (const outcome of ['sent', 'failed', 'uncertain']) meter.count('chasqui_sends_total', { outcome }, 0);
  return (outcome, ms) => {
    meter.count('chasqui_sends_total', { outcome });
    meter.observe('chasqui_send_duration_seconds', {}, ms / 1000);
  };
}

/** Returns the function that counts a request to a phone for a message that could not be decrypted. */
export function countPhoneRequests(meter: Meter): () => void {
  meter.count('chasqui_phone_requests_total', {}, 0);
  return () => meter.count('chasqui_phone_requests_total', {});
}

/** Returns `problems` so that each one is counted by its code. */
export const countProblems = (problems: Problems, meter: Meter): Problems => ({
  ...problems,
  note(code, options) {
    meter.count('chasqui_worker_problems_total', { code });
    problems.note(code, options);
  },
});
