/**
 * The jobs of the backend, one row each. The scheduler, the REST routes, the panel, the check of `JOB_SCHEDULES` and `docs/reference/jobs.md` loop over
 * this table. What a job does is a list of steps in `backend/src/app/jobs.ts`, where a row without steps does not compile.
 */
export interface Job {
  /** What a person calls it. */
  readonly title: string;
  /** What it does, in a sentence. */
  readonly doc: string;
  /** Five fields of cron in the time zone `JOB_TIMEZONE`. Null: the job runs only when it is requested, or when `JOB_SCHEDULES` says so. */
  readonly cron: string | null;
  /** Also runs a minute after a backend has become the leader, for what a killed process has left and what a changed setting asks for. */
  readonly afterStart?: true;
  /** The settings that change what it does. `JOB_SCHEDULES` changes when. */
  readonly settings: readonly string[];
}

const job = (title: string, cron: string | null, doc: string, settings: readonly string[] = [], afterStart?: true): Job => ({
  title,
  cron,
  doc,
  settings,
  ...(afterStart ? { afterStart } : {}),
});

export const jobCatalogue = {
  'sessions.monitor': job(
    'Monitor sessions',
    '*/5 * * * *',
    'Counts the sessions that should run and those that are connected, and disconnects those whose worker no longer renews its lease.',
    ['LEASE_SECONDS'],
  ),
  'qr.sweep': job(
    'Remove expired QR codes',
    '*/5 * * * *',
    'Removes QR codes that expired and were not replaced, so that no code is shown that WhatsApp refuses.',
  ),
  'messages.dispatch': job(
    'Dispatch what is due',
    '* * * * *',
    'Checks that scheduled messages, occurrences of schedules and bulk jobs that are due were handed over, and hands over those that were missed.',
    ['SCHEDULE_GRACE_MINUTES'],
  ),
  'messages.retry': job(
    'Retry messages',
    '*/15 * * * *',
    'Checks the messages that wait for a retry: brings forward those whose time is later than their schedule allows, and wakes connected sessions with messages that are overdue.',
    ['MESSAGE_MAX_RETRIES', 'MESSAGE_RETRY_INTERVAL'],
  ),
  'webhooks.retry': job(
    'Retry webhooks',
    '*/5 * * * *',
    'Checks the deliveries to webhooks: releases those of backends that are gone, and repairs times that are later than their retry schedule allows.',
    ['WEBHOOK_RETRY_DELAYS', 'WEBHOOK_MAX_RETRIES'],
  ),
  'quotas.reset': job(
    'Check quotas',
    '0 0 * * *',
    'Compares the quota counters of today and yesterday with the messages, repairs counters that differ, and deletes those of periods that ended long ago. New periods begin by themselves, in the time zone of each account.',
    ['QUOTA_TIMEZONE'],
  ),
  'messages.cleanup': job(
    'Delete old messages',
    '0 2 * * 0',
    'Deletes final messages, finished bulk jobs and ended schedules that are older than their retention, and replaced versions of templates.',
    ['MESSAGE_RETENTION_DAYS'],
  ),
  'statistics.reconcile': job(
    'Reconcile statistics',
    '0 3 * * *',
    'Compares the counts of the statistics with the messages, and repairs counts that differ.',
  ),
  'media.cleanup': job(
    'Delete old files',
    '30 3 * * *',
    'Deletes files and thumbnails of messages that are older than their retention, and files on the disk that no row names.',
    ['MEDIA_RETENTION_DAYS'],
  ),
  'logs.cleanup': job(
    'Delete old logs',
    '0 4 * * *',
    'Deletes events, deliveries to webhooks, failures and runs of jobs that are older than their retention.',
    ['EVENT_RETENTION_DAYS', 'WEBHOOK_LOG_RETENTION_DAYS'],
  ),
  'keys.expiry': job(
    'Announce expiring keys',
    '10 * * * *',
    'Announces API keys that expire soon, and creates their successors where rotation is on.',
    ['KEY_EXPIRY_NOTICE_DAYS', 'KEY_AUTO_ROTATION'],
    true,
  ),
  backup: job(
    'Back up',
    null,
    'Makes an encrypted backup of the database, the logins and the files, and deletes those that are more than BACKUP_KEEP. Off until BACKUP_SCHEDULE is set.',
    ['BACKUP_SCHEDULE', 'BACKUP_KEY', 'BACKUP_KEEP', 'BACKUP_DIR'],
  ),
  housekeeping: job(
    'Housekeeping',
    '20 * * * *',
    'Deletes what has expired: records of idempotency, received event ids, unused uploads, archives of exports, endpoints and thumbnails of deleted sessions, answers to opt-outs and stored names that the storage mode forbids. Seals again what an older encryption key has sealed.',
    ['IDEMPOTENCY_HOURS', 'MESSAGE_CONTENT_STORAGE', 'ENCRYPTION_KEYS'],
    true,
  ),
} as const satisfies Record<string, Job>;

export type JobName = keyof typeof jobCatalogue;
export const jobNames = Object.keys(jobCatalogue) as JobName[];
export const isJobName = (name: string): name is JobName => Object.hasOwn(jobCatalogue, name);

/** What made a job run: its schedule; a scheduled time that nothing was there for; a new leader; a failure or an interruption before; a person. */
export const jobTriggers = ['schedule', 'catch_up', 'start', 'retry', 'manual'] as const;
export type JobTrigger = (typeof jobTriggers)[number];

/** `requested`: waits for the leader. `interrupted`: the process that ran it died, froze or was stopped; what its finished steps did is done. */
export const jobRunStatuses = ['requested', 'running', 'succeeded', 'failed', 'interrupted'] as const;
export type JobRunStatus = (typeof jobRunStatuses)[number];

/** The schedules that an operator changes: five fields of cron, or null for off. */
export type JobSchedules = Partial<Record<JobName, string | null>>;

const months = 'jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec';
const days = 'sun|mon|tue|wed|thu|fri|sat';
/** The fields of cron: the smallest and largest number, and names. */
const cronFields: readonly [number, number, string][] = [
  [0, 59, ''],
  [0, 23, ''],
  [1, 31, ''],
  [1, 12, months],
  [0, 7, days],
];

/** Whether a text is a cron expression with five fields, each a list of numbers, names, ranges and steps. */
export function isCron(text: string): boolean {
  const fields = text.trim().split(/ +/);
  return fields.length === 5 && fields.every((field, index) => field.split(',').every((part) => isCronPart(part, index)));
}

function isCronPart(part: string, index: number): boolean {
  const [min, max, names] = cronFields[index]!;
  const [range = '', step, ...rest] = part.split('/');
  if (rest.length > 0 || (step !== undefined && !(/^\d{1,2}$/.test(step) && Number(step) >= 1 && Number(step) <= max)))
    return false;
  if (range === '*') return true;
  const ends = range.split('-').map((end) => valueOf(end, min, names));
  if (ends.some((end) => end === null || end < min || end > max)) return false;
  // A step needs a range: implementations of cron disagree on what `5/10` means.
  return ends.length === 1 ? step === undefined : ends.length === 2 && ends[0]! <= ends[1]!;
}

function valueOf(text: string, min: number, names: string): number | null {
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const index = names === '' ? -1 : names.split('|').indexOf(text.toLowerCase());
  return index === -1 ? null : index + min;
}
