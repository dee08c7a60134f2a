import type { JobsPageView } from '../../src/admin/job-routes.js';
import { count, type Tone } from '../words.js';

/** The words with which the panel shows jobs and their runs. */

export type JobRow = JobsPageView['jobs'][number];
export type RunRow = NonNullable<JobRow['lastRun']>;

const statusWords: Record<JobRow['status'], [string, Tone]> = {
  scheduled: ['Scheduled', 'good'],
  requested: ['Waits to run', 'wait'],
  running: ['Running', 'info'],
  stopped: ['Stopped', 'warn'],
  off: ['No schedule', 'idle'],
};
/** Returns the word for the state of a job. A job whose last run did not succeed is shown as failing, unless it runs or was stopped. */
export const jobWord = ({ status, failures }: JobRow): [string, Tone] =>
  failures > 0 && (status === 'scheduled' || status === 'off') ? ['Failing', 'bad'] : statusWords[status];

const runWords: Record<RunRow['status'], [string, Tone]> = {
  requested: ['Waits', 'wait'],
  running: ['Running', 'info'],
  succeeded: ['Succeeded', 'good'],
  failed: ['Failed', 'bad'],
  interrupted: ['Interrupted', 'warn'],
};
export const runWord = ({ status }: RunRow): [string, Tone] => runWords[status];

const triggers: Record<RunRow['trigger'], string> = {
  schedule: 'on schedule',
  catch_up: 'caught up: nothing ran at its time',
  start: 'after a start',
  retry: 'again, after a failure',
  manual: 'by hand',
};
export const triggerText = ({ trigger, requestedBy }: RunRow): string =>
  requestedBy?.name ? `by ${requestedBy.name}` : triggers[trigger];

/** The words for the counts of steps. A count that is not listed is shown with its name. */
const countWords: Record<string, string> = {
  announced: 'keys announced',
  connected: 'connected',
  corrected: 'retry times corrected',
  desired: 'sessions should run',
  failed: 'in error',
  lost: 'disconnected because their worker is lost',
  made: 'missed occurrences made',
  overdue: 'endpoints with overdue deliveries',
  queued: 'missed messages queued',
  released: 'deliveries released',
  sealed: 'sealed with the first key',
  sessions: 'sessions cleared of names',
  woken: 'sessions woken',
};

/** Returns the result of a run in words; empty while it has not ended. */
export function resultText(run: RunRow): string {
  const done = Object.entries(run.counts)
    .filter(([, number]) => number > 0)
    .map(([name, number]) => `${count(number)} ${countWords[name] ?? name}`);
  if (run.status === 'running' || run.status === 'requested') return '';
  const what = done.length > 0 ? `${done.join(', ')}.` : run.status === 'succeeded' ? 'Nothing had to be done.' : '';
  const failed = run.steps.filter(({ error }) => error).map(({ name, error }) => `${name} failed with ${error!.code}.`);
  const why = run.status === 'interrupted' ? (run.error?.detail ?? '') : '';
  return [what, ...failed, why].filter(Boolean).join(' ');
}

export function durationText({ startedAt, endedAt }: RunRow): string {
  if (!startedAt || !endedAt) return '';
  const ms = Date.parse(endedAt) - Date.parse(startedAt);
  return ms < 1_000 ? `${ms} ms` : ms < 120_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}
