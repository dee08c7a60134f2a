import React from 'react';
import type { Overview } from '../../src/admin/overview.js';
import { usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import WorkerLoad from './WorkerLoad.js';

/** The workers as their last heartbeats reported them. The page never waits for a worker. */
const WorkersPage: React.FC = () => {
  const { value, error } = usePoll<{ at: number; workers: Overview['workers'] }>('/live/workers', 3000);
  return (
    <Page>
      <PageHead title="Workers" below={<span className={error ? 'cq-live cq-lost' : 'cq-live'}>{error ?? 'Live'}</span>} />
      <section className="cq-panel cq-roomy">
        {value ? <WorkerLoad workers={value.workers} at={value.at} /> : <p className="cq-soft">Loading …</p>}
      </section>
    </Page>
  );
};
export default WorkersPage;
