import { defineRoute, jobNames, jobRunStatuses, jobTriggers, listCursor, paging } from '@chasqui/shared';
import { z } from 'zod';

/** Routes for staff: the jobs of the backend, and their runs. */

const time = z.iso.datetime();

export const jobRun = z
  .object({
    id: z.string(),
    job: z.string(),
    /** `requested`: waits for the backend that runs the jobs. `interrupted`: the process died, froze or was stopped; the job runs again. */
    status: z.enum(jobRunStatuses),
    /**
     * `catch_up`: its time passed while no backend ran the jobs. `start`: a backend has begun to run the jobs. `retry`: the run before did not
     * succeed.
     */
    trigger: z.enum(jobTriggers),
    /** Null: the run was due, and no person requested it. */
    requestedBy: z.object({ accountId: z.string(), name: z.string().nullable() }).nullable(),
    /** The scheduled time that the run is for. */
    scheduledFor: time.nullable(),
    createdAt: time,
    startedAt: time.nullable(),
    endedAt: time.nullable(),
    /** What all steps together did, such as `{ "deleted": 12 }`. */
    counts: z.record(z.string(), z.number().int()),
    steps: z.array(
      z.object({
        name: z.string(),
        durationMs: z.number().int(),
        counts: z.record(z.string(), z.number().int()),
        error: z.object({ code: z.string(), detail: z.string() }).nullable(),
      }),
    ),
    /** Why it did not succeed. */
    error: z.object({ code: z.string(), detail: z.string().nullable() }).nullable(),
  })
  .meta({ id: 'JobRun' });

export const job = z
  .object({
    name: z.enum(jobNames as [string, ...string[]]),
    title: z.string(),
    description: z.string(),
    /** `stopped`: staff have stopped its schedule, which a restart of the backend does not change. `off`: has no schedule. */
    status: z.enum(['scheduled', 'requested', 'running', 'stopped', 'off']),
    isStopped: z.boolean(),
    schedule: z.object({ cron: z.string(), timezone: z.string() }).nullable(),
    /** Null: the job does not run without a request. */
    nextRunAt: time.nullable(),
    /** How many times in a row it failed or was interrupted. */
    failures: z.number().int(),
    /** The settings that change what it does. */
    settings: z.array(z.string()),
    /** The run that is requested or running, or the one that ended last. */
    lastRun: jobRun.nullable(),
  })
  .meta({ id: 'Job' });

const params = z.object({ jobName: z.string().max(64) });
/** A repeated request leaves the jobs in the same state. */
const repeatable = { without: 'Repeating it changes nothing.' } as const;

export const listJobs = defineRoute({
  id: 'admin.jobs.list',
  method: 'get',
  path: '/admin/jobs',
  summary: 'All jobs: schedule, next run and last run',
  auth: 'stf',
  reply: z.array(job),
});

const onAll = (verb: 'start' | 'stop' | 'restart', summary: string) =>
  defineRoute({
    id: `admin.jobs.${verb}All`,
    method: 'post',
    path: `/admin/jobs/${verb}`,
    summary,
    auth: 'adm',
    idempotency: repeatable,
    reply: z.array(job),
  });
export const startAll = onAll('start', 'Let all jobs run by their schedules again');
export const stopAll = onAll('stop', 'Stop the schedules of all jobs, also over restarts; running jobs end');
export const restartAll = onAll('restart', 'Start all jobs, and run those again at once that failed');

const onOne = (verb: 'start' | 'stop' | 'restart', summary: string) =>
  defineRoute({
    id: `admin.jobs.${verb}`,
    method: 'post',
    path: `/admin/jobs/:jobName/${verb}`,
    summary,
    auth: 'adm',
    idempotency: repeatable,
    params,
    reply: job,
    errors: ['JOB_NOT_FOUND'],
  });
export const startOne = onOne('start', 'Let one job run by its schedule again');
export const stopOne = onOne('stop', 'Stop the schedule of one job, also over restarts; a running one ends');
export const restartOne = onOne('restart', 'Start one job, and run it again at once if it failed');

export const runJob = defineRoute({
  id: 'admin.jobs.run',
  method: 'post',
  path: '/admin/jobs/:jobName/run',
  summary: 'Run a job now, also while it is stopped. The reply does not wait for its end',
  auth: 'adm',
  idempotency: { without: 'A second request is refused with JOB_RUNNING while the first one waits or runs.' },
  params,
  status: 202,
  reply: jobRun,
  errors: ['JOB_NOT_FOUND', 'JOB_RUNNING'],
});
export const listRuns = defineRoute({
  id: 'admin.jobs.runs',
  method: 'get',
  path: '/admin/jobs/:jobName/runs',
  summary: 'The runs of one job, newest first',
  auth: 'stf',
  params,
  query: z.strictObject({ limit: paging.limit, cursor: listCursor.optional() }),
  reply: z.array(jobRun),
  errors: ['JOB_NOT_FOUND'],
});
