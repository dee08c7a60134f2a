import { useCurrentAdmin } from 'adminjs';
import React from 'react';
import type { JobsPageView } from '../../src/admin/job-routes.js';
import { viewerOf } from '../api.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import ActionButton from '../parts/ActionButton.js';
import NoticeLine from '../parts/NoticeLine.js';
import JobItem from './JobItem.js';

/** The jobs: what each does, when it ran last and with what result, when it runs next. Admins run, stop and start them. */
const JobsPage: React.FC = () => {
  const [admin] = useCurrentAdmin();
  const isAdmin = viewerOf(admin)?.role === 'admin';
  const { value, error, notice, notify } = useRecord<JobsPageView>('/live/jobs', 2_000);
  const outcome = (text: string) => ({
    onDone: () => notify({ tone: 'good', text }),
    onError: (problem: string) => notify({ tone: 'bad', text: problem }),
  });
  return (
    <div className="cq-page" data-testid="jobs-page">
      <PageHead title="Jobs" below={<span className={error ? 'cq-live cq-lost' : 'cq-live'}>{error ?? 'Live'}</span>}>
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
              question="Stop the schedules of all jobs, until somebody starts them?"
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
    </div>
  );
};
export default JobsPage;
