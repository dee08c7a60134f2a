/** The kinds of alerts. */
export const alertKinds = {
  no_worker: 'No worker runs, so that every session is offline.',
  worker_silent: 'A worker with sessions does not send its heartbeat.',
  session_offline: 'Sessions that were linked and should run are not connected.',
  webhook_failing: 'Deliveries to a webhook fail and are tried again.',
  webhook_disabled: 'A webhook was switched off because its receiver kept failing or is gone.',
  messages_uncertain: 'It is unknown whether messages were sent.',
  quota_exhausted: 'An account or a session has used its daily quota.',
  jobs_unattended: 'No backend runs the jobs.',
  job_failing: 'The last run of a job did not succeed.',
  backup_failing: 'The last scheduled backup failed, or backups are overdue.',
} as const;
export type AlertKind = keyof typeof alertKinds;

export interface Alert {
  kind: AlertKind;
  /** `bad`: something does not work. `warn`: it ends by itself, or is no outage. */
  severity: 'warn' | 'bad';
  /** Milliseconds since 1970; null: unknown. */
  since: number | null;
  what: string;
  next: string;
  /** When it is tried again by itself. */
  nextAt: number | null;
  /** The API's word for it. */
  code: string | null;
  /** The page where a person acts: a path below the panel, and what it is called. */
  link: { to: string; label: string };
}

export interface AlertTimes {
  /** A worker that is silent for longer than this is late. */
  lateMs: number;
  /** A worker that is silent for longer than this is lost: its sessions are not believed any more. */
  lostMs: number;
}
