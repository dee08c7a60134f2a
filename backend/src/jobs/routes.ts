import { jobCatalogue } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import type { Mount } from '../accounts/caller.js';
import { readable } from '../db/unreadable.js';
import { iso } from '../lib/iso.js';
import * as contract from './contract.js';
import type { Counts, JobRun } from './job.entity.js';
import type { Jobs, JobView } from './jobs.js';

/** Mounts the routes for staff that list, start, stop and run jobs. */
export function mountJobs(mount: Mount, { jobs }: { jobs: Jobs }): void {
  const all = async () => (await jobs.list()).map(presentJob);
  mount(contract.listJobs, all);
  for (const verb of ['start', 'stop', 'restart'] as const) {
    mount(contract[`${verb}All`], async (_input, caller) => {
      await jobs[verb](caller);
      return all();
    });
    mount(contract[`${verb}One`], async ({ params }, caller) => {
      await jobs[verb](caller, params.jobName);
      return presentJob(await jobs.one(params.jobName));
    });
  }
  mount(contract.runJob, async ({ params }, caller) => presentRun(await jobs.run(caller, params.jobName)));
  mount(contract.listRuns, async ({ params, query }) => {
    const { runs, nextCursor } = await jobs.runs(params.jobName, query);
    return new Reply(runs.map(presentRun), { meta: { limit: query.limit, nextCursor } });
  });
}

export function presentJob({ name, cron, timezone, nextRunAt, lastRun, ...view }: JobView) {
  const { title, doc, settings } = jobCatalogue[name];
  return {
    name,
    title,
    description: doc,
    ...view,
    schedule: cron === null ? null : { cron, timezone },
    nextRunAt: iso(nextRunAt),
    settings: [...settings],
    lastRun: lastRun && presentRun(lastRun),
  };
}

export function presentRun(run: JobRun) {
  const { id, job, status, trigger, requestedBy, requestedByName, code, detail } = run;
  const steps = readable(run.steps, []);
  return {
    ...{ id, job, status, trigger },
    requestedBy: requestedBy === null ? null : { accountId: requestedBy, name: requestedByName },
    scheduledFor: iso(run.scheduledFor),
    createdAt: run.createdAt.toISOString(),
    startedAt: iso(run.startedAt),
    endedAt: iso(run.endedAt),
    counts: sumOf(steps.map(({ counts }) => counts)),
    steps,
    error: code === null ? null : { code, detail },
  };
}

function sumOf(all: readonly Counts[]): Counts {
  const sum: Counts = {};
  for (const counts of all) for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
