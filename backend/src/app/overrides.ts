import type { FirstAdmin } from '../accounts/accounts.js';
import type { mountPanel } from '../admin/panel.js';
import type { RunProgram } from '../backups/backups.js';
import type { GuardMode } from '../db/transaction-guard.js';
import type { Clock } from '../lib/clock.js';
import type { LeaderTimes } from '../jobs/leader.js';
import type { JobSteps, SchedulerDelays } from '../jobs/scheduler.js';
import type { Log } from '../lib/log.js';
import type { defaultStreamTimes } from '../options.js';

/** Replacements for tests, and what main.ts passes: importing AdminJS takes seconds, and most tests run without it. */
export interface Overrides {
  clock?: Clock;
  /** The clock of this machine, from which the backend's own is derived. */
  machineClock?: Clock;
  log?: Log;
  port?: number;
  /** Receives, at the very first start, what is shown once. */
  showFirstAdminPassword?: (first: FirstAdmin) => void;
  mountPanel?: typeof mountPanel;
  streamTimes?: Partial<typeof defaultStreamTimes>;
  leaderTimes?: Partial<LeaderTimes>;
  jobDelays?: Partial<SchedulerDelays>;
  /** Replaces the program of backups. */
  runBackupProgram?: RunProgram;
  /** Replace the steps of jobs. */
  jobSteps?: Partial<JobSteps>;
  /** What reading through the pool inside a transaction does. */
  guard?: GuardMode;
}
