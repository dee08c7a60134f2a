import { useCurrentAdmin } from 'adminjs';
import React from 'react';
import type { JobsPageView } from '../../src/admin/job-routes.js';
import { viewerOf } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import ActionButton from '../parts/ActionButton.js';
import LiveState from '../parts/LiveState.js';
import NoticeLine from '../parts/NoticeLine.js';
import JobItem from './JobItem.js';

/** The jobs: what each does, when it ran last and with what result, when it runs next. Admins run, stop and start them. */
const JobsPage: React.FC = () => {
  const [admin] = useCurrentAdmin();
  const isAdmin = viewerOf(admin)?.role === 'admin';
  const record = useRecord<JobsPageView>('/live/jobs', 2_000);
  const { value, notice, notify } = record;
  const outcome = (text: string) => ({
    onDone: () => notify({ tone: 'good', text }),
    onError: (problem: string) => notify({ tone: 'bad', text: problem }),
  });
  return (
    <Page testId="jobs-page">
      <PageHead title="Jobs" below={<LiveState of={record} />}>
        {isAdmin && (
          <>
            <ActionButton label="Start all" path="/live/jobs-start" {...outcome('All jobs run by their schedules.')} />
            <ActionButton
              label="Restart all"
              path="/live/jobs-restart"
              {...outcome('All jobs are started, and those that failed run again.')}
            />
            <ActionButton
              label="Stop all"
              path="/live/jobs-stop"
              tone="danger"
              question="Stop the schedules of all jobs?"
              consequence="Nothing is retried, cleaned up or backed up by schedule until somebody starts them again."
              {...outcome('The schedules of all jobs are stopped.')}
            />
          </>
        )}
      </PageHead>
      <NoticeLine notice={notice} />
      {value && !value.hasLeader && (
        <p className="cq-note cq-bad" role="alert">
          No backend runs the jobs at the moment. If this does not end within a minute, look at the log of the backends.
        </p>
      )}
      <section className="cq-panel cq-roomy">
        {value ? (
          <ul className="cq-list cq-plans" data-testid="jobs">
            {value.jobs.map((job) => (
              <JobItem key={job.name} job={job} isAdmin={isAdmin} onNotice={notify} />
            ))}
          </ul>
        ) : (
          <p className="cq-soft">Loading …</p>
        )}
      </section>
    </Page>
  );
};
export default JobsPage;
