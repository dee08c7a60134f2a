import React from 'react';
import type { Overview } from '../../src/admin/overview.js';
import { usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import LiveState from '../parts/LiveState.js';
import WorkerLoad from './WorkerLoad.js';

/** The workers as their last heartbeats reported them. The page never waits for a worker. */
const WorkersPage: React.FC = () => {
  const polled = usePoll<{ at: number; workers: Overview['workers'] }>('/live/workers', 3000);
  const { value } = polled;
  return (
    <Page>
      <PageHead title="Workers" below={<LiveState of={polled} />} />
      <section className="cq-panel cq-roomy">
        {value ? <WorkerLoad workers={value.workers} at={value.at} /> : <p className="cq-soft">Loading …</p>}
      </section>
    </Page>
  );
};
export default WorkersPage;
