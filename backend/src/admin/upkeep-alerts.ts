import type { Alert } from './alert.js';
import type { FailingJob, Upkeep } from './upkeep.js';

/** The alerts about jobs and backups. */

/** So many failures in a row are no accident any more. */
const manyFailures = 3;
const jobsPage = { to: '/pages/jobs', label: 'Jobs' };
const backupsPage = { to: '/pages/backups', label: 'Backups' };

/** `upMs`: how long this process has run; `lostMs`: within this time a backend becomes the leader. */
export function upkeepAlerts(upkeep: Upkeep, { now, upMs, lostMs }: { now: number; upMs: number; lostMs: number }): Alert[] {
  const backup = backupAlert(upkeep.backup);
  // A backup that fails has an alert of its own.
  const failing = upkeep.failing.filter(({ name }) => name !== 'backup' || backup.length === 0);
  return [...leaderAlert(upkeep, upMs, lostMs), ...backup, ...failing.map((job) => jobAlert(job, now))];
}

/** A backend that has just started may still become the leader. */
function leaderAlert({ jobs: { hasLeader } }: Upkeep, upMs: number, lostMs: number): Alert[] {
  if (hasLeader || upMs < lostMs) return [];
  return [
    {
      kind: 'jobs_unattended',
      severity: 'bad',
      since: null,
      what: 'No backend runs the jobs.',
      next: 'Nothing is retried, cleaned up or backed up by schedule. If this does not end within a minute, look at the log of the backends.',
      nextAt: null,
      code: null,
      link: jobsPage,
    },
  ];
}

function jobAlert({ title, failures, since, code, nextAt }: FailingJob, now: number): Alert {
  const times = failures === 1 ? 'Its last run' : `Its last ${failures} runs`;
  const isPlanned = nextAt !== null && nextAt > now;
  return {
    kind: 'job_failing',
    severity: failures < manyFailures ? 'warn' : 'bad',
    since,
    what: `The job “${title}” fails. ${times} did not succeed.`,
    next: `${isPlanned ? 'It runs again by itself.' : 'It does not run again by itself.'} The page of jobs says what failed and runs it now.`,
    nextAt,
    code,
    link: jobsPage,
  };
}

function backupAlert({ schedule, problem, lastReadyAt }: Upkeep['backup']): Alert[] {
  if (problem === null) return [];
  const shared = { kind: 'backup_failing' as const, since: null, nextAt: null, code: null, link: backupsPage };
  const last = lastReadyAt === null ? 'There is no good backup.' : `The last good backup is of ${dayText(lastReadyAt)}.`;
  if (problem === 'failed')
    return [
      { ...shared, severity: 'bad', what: `The last scheduled backup failed. ${last}`, next: 'The list of backups says why.' },
    ];
  // An installation that has just got its schedule has made none yet.
  if (lastReadyAt === null)
    return [
      {
        ...shared,
        severity: 'warn',
        what: 'No backup was made yet.',
        next: `The schedule ${schedule} makes the first one. You can also make one now.`,
      },
    ];
  return [
    {
      ...shared,
      severity: 'bad',
      what: `Backups are overdue. ${last}`,
      next: 'Make one now, and look at the runs of the job “Back up”.',
    },
  ];
}

const dayText = (time: Date): string => time.toISOString().slice(0, 16).replace('T', ' ') + ' UTC';
