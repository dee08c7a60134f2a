import { z } from 'zod';
import { presentJob, presentRun } from '../jobs/routes.js';
import type { Jobs } from '../jobs/jobs.js';
import { change, read, type PanelRoute } from './route.js';

/** What the panel's page of jobs shows. Times are ISO texts, as in the API. */
export interface JobsPageView {
  jobs: ReturnType<typeof presentJob>[];
  /** Whether a backend runs the jobs now. */
  hasLeader: boolean;
}

const emptyBody = z.strictObject({});

/** The page of jobs: what it reads, and what admins change. The verbs are those of the API, and write the audit log. */
export function jobRoutes(jobs: Jobs): PanelRoute[] {
  const verbs = ['start', 'stop', 'restart'] as const;
  return [
    read('/live/jobs', z.object({}), async (): Promise<JobsPageView> => {
      const [views, hasLeader] = await Promise.all([jobs.list(), jobs.hasLeader()]);
      return { jobs: views.map(presentJob), hasLeader };
    }),
    read('/live/jobs/:id/runs', z.object({}), async ({ id }) => (await jobs.runs(id, { limit: 20 })).runs.map(presentRun)),
    ...verbs.map((verb) => change('admin', `/live/jobs-${verb}`, emptyBody, ({ visitor }) => jobs[verb](visitor.caller))),
    ...verbs.map((verb) =>
      change('admin', `/live/jobs/:id/${verb}`, emptyBody, ({ visitor, id }) => jobs[verb](visitor.caller, id)),
    ),
    change('admin', '/live/jobs/:id/run', emptyBody, async ({ visitor, id }) => presentRun(await jobs.run(visitor.caller, id))),
  ];
}
