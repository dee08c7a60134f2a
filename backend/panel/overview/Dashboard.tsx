import React from 'react';
import { Link } from 'react-router-dom';
import type { Overview } from '../../src/admin/overview.js';
import { root, usePoll } from '../api.js';
import FirstPhone from './FirstPhone.js';
import MessageChart from './MessageChart.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import Problems from './Problems.js';
import SessionBars from './SessionBars.js';
import SessionList from './SessionList.js';
import Tiles from './Tiles.js';
import WorkerLoad from '../workers/WorkerLoad.js';

const lists = `${root}/resources`;

/** The current figures of the installation, renewed every few seconds. Every figure links to its records. */
const Dashboard: React.FC = () => {
  const { value, error } = usePoll<Overview>('/live/overview', 3000);
  const live = <span className={error ? 'cq-live cq-lost' : 'cq-live'}>{error ?? 'Live'}</span>;
  if (!value)
    return (
      <div className="cq-page">
        <PageHead title="Overview" below={live} />
      </div>
    );
  const { sessions, errors, workers, at } = value;
  return (
    <div className="cq-page" data-testid="dashboard">
      <PageHead title="Overview" below={live} />
      {sessions.total === 0 && <FirstPhone />}
      <Tiles overview={value} />
      <div className="cq-grid">
        <MessageChart />
        <Panel title="Sessions by state">
          <SessionBars byStatus={sessions.byStatus} total={sessions.total} />
        </Panel>
        <Panel title="Sessions" aside={<Link to={`${lists}/sessions`}>All</Link>}>
          <SessionList sessions={sessions.list} />
        </Panel>
        <Panel title="Last problems" aside={<Link to={`${lists}/messages?filters.status=failed`}>Failed messages</Link>}>
          <Problems errors={errors} />
        </Panel>
        <Panel title="Workers" aside={<Link to={`${root}/pages/workers`}>Details</Link>}>
          <WorkerLoad workers={workers} at={at} />
        </Panel>
      </div>
    </div>
  );
};
export default Dashboard;
